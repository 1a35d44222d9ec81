//! Signed commands: named to one device, expiring, verified before they are even looked at.

use prost::Message;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use wardline_event::{DeviceId, Timestamp, hex};

use crate::proto::command::Kind;
use crate::proto::{Command, NextKey, SignedCommand};

/// Signed in front of every command, so that a signature made for another purpose never fits.
const CONTEXT: &[u8] = b"wardline command v1\0";

/// How far a hub's clock may be ahead of the device's before its commands look like they come from the future.
const CLOCK_SKEW_MS: i64 = 5 * 60 * 1000;

/// Why an agent did not obey. Sent to the hub as the action's result.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// Not signed by the hub's command key.
    #[error("refused: the command is not signed by this hub's command key")]
    Signature,
    /// Signed, and yet unreadable: a newer hub, perhaps.
    #[error("refused: the command cannot be read; is the hub newer than this agent?")]
    Unreadable,
    /// For somebody else.
    #[error("refused: the command names another device ({named})")]
    OtherDevice {
        /// The device it names.
        named: String,
    },
    /// Too old.
    #[error("refused: the command expired at {at}")]
    Expired {
        /// When it expired.
        at: Timestamp,
    },
    /// From the future.
    #[error("refused: the command was issued at {at}, which is in the future; check both clocks")]
    NotYet {
        /// When it says it was issued.
        at: Timestamp,
    },
    /// Signed with a key that the hub has replaced.
    #[error("refused: the command is signed with a key that this hub replaced; it was obeyed until {at}")]
    OldKey {
        /// Until when that key was obeyed.
        at: Timestamp,
    },
    /// Only a policy may come without an expiry.
    #[error("refused: the command has no expiry")]
    NoExpiry,
}

/// Signs commands; lives at the hub.
pub struct CommandSigner(Ed25519KeyPair);

impl CommandSigner {
    /// Makes the key pair from 32 random bytes, which are the secret to keep.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(seed).expect("ring accepts every seed of 32 bytes"))
    }

    /// The public half, given to agents at enrolment.
    pub fn key(&self) -> CommandKey {
        CommandKey(self.0.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes"))
    }

    /// Names the key that signs from now on, to every device of this hub. Commands of this one are obeyed until `old_until`.
    pub fn name_next(&self, next: CommandKey, old_until: Timestamp, now: Timestamp) -> SignedCommand {
        let next = NextKey { key: next.0.to_vec(), old_until_ms: old_until.0 };
        self.sign(&Command { issued_ms: now.0, kind: Some(Kind::NextKey(next)), ..Command::default() })
    }

    /// Signs a command that was encoded before: with this key instead of another.
    pub fn sign_again(&self, command: Vec<u8>) -> SignedCommand {
        let signature = self.0.sign(&[CONTEXT, &command].concat()).as_ref().to_vec();
        SignedCommand { command, signature }
    }

    /// Signs a command.
    pub fn sign(&self, command: &Command) -> SignedCommand {
        self.sign_again(command.encode_to_vec())
    }
}

/// Verifies commands; lives at the agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandKey(pub [u8; 32]);

/// A command that this device may consider: signed, for it, and fresh. Made by [`CommandKey::verify`] only.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedCommand(Command);

impl VerifiedCommand {
    /// The command.
    pub fn get(&self) -> &Command {
        &self.0
    }
}

impl CommandKey {
    fn read(self, signed: &SignedCommand) -> Result<Command, Refusal> {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(&[CONTEXT, &signed.command].concat(), &signed.signature)
            .map_err(|_| Refusal::Signature)?;
        Command::decode(signed.command.as_slice()).map_err(|_| Refusal::Unreadable)
    }

    /// The key that a message of this key names, and until when this one is still obeyed.
    pub(crate) fn next_key(
        self,
        signed: &SignedCommand,
        now: Timestamp,
    ) -> Result<(Self, Timestamp), Refusal> {
        let command = self.read(signed)?;
        let Some(Kind::NextKey(next)) = &command.kind else { return Err(Refusal::Unreadable) };
        if command.issued_ms > now.0.saturating_add(CLOCK_SKEW_MS) {
            return Err(Refusal::NotYet { at: Timestamp(command.issued_ms) });
        }
        let key = next.key.as_slice().try_into().map_err(|_| Refusal::Unreadable)?;
        Ok((Self(key), Timestamp(next.old_until_ms)))
    }

    /// Whether this key signed that another one signs from now on.
    pub fn names_next(self, signed: &SignedCommand) -> bool {
        matches!(self.read(signed), Ok(Command { kind: Some(Kind::NextKey(_)), .. }))
    }

    /// Checks signature, device and freshness at `now`.
    pub fn verify(
        &self,
        signed: &SignedCommand,
        device: DeviceId,
        now: Timestamp,
    ) -> Result<VerifiedCommand, Refusal> {
        let command = self.read(signed)?;
        let Some(kind) = &command.kind else { return Err(Refusal::Unreadable) };
        if command.device_id != device.0.to_be_bytes() {
            let named = hex(&command.device_id);
            return Err(Refusal::OtherDevice { named });
        }
        if command.issued_ms > now.0.saturating_add(CLOCK_SKEW_MS) {
            return Err(Refusal::NotYet { at: Timestamp(command.issued_ms) });
        }
        match (command.expires_ms, kind) {
            (0, Kind::SetPolicy(_)) => {}
            (0, _) => return Err(Refusal::NoExpiry),
            (at, _) if at <= now.0 => return Err(Refusal::Expired { at: Timestamp(at) }),
            _ => {}
        }
        Ok(VerifiedCommand(command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Isolate;
    use proptest::prelude::*;

    const DEVICE: DeviceId = DeviceId(77);
    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn command() -> Command {
        Command {
            action_id: "a1".into(),
            device_id: DEVICE.0.to_be_bytes().to_vec(),
            issued_ms: NOW.0 - 10,
            expires_ms: NOW.0 + 60_000,
            requested_by: "analyst".into(),
            reason: "test".into(),
            kind: Some(Kind::Isolate(Isolate { for_s: 60 })),
            authority: None,
        }
    }

    fn verify(change: impl FnOnce(&mut Command)) -> Result<VerifiedCommand, Refusal> {
        let signer = CommandSigner::from_seed(&[3; 32]);
        let mut command = command();
        change(&mut command);
        signer.key().verify(&signer.sign(&command), DEVICE, NOW)
    }

    #[test]
    fn only_fresh_commands_for_this_device_pass() {
        assert!(verify(|_| ()).is_ok());
        assert!(matches!(verify(|c| c.device_id = vec![1; 16]), Err(Refusal::OtherDevice { .. })));
        assert_eq!(verify(|c| c.expires_ms = NOW.0), Err(Refusal::Expired { at: NOW }));
        assert_eq!(verify(|c| c.expires_ms = 0), Err(Refusal::NoExpiry));
        assert!(matches!(verify(|c| c.issued_ms = NOW.0 + CLOCK_SKEW_MS + 1), Err(Refusal::NotYet { .. })));
        assert_eq!(verify(|c| c.kind = None), Err(Refusal::Unreadable));
    }

    #[test]
    fn another_hub_is_not_obeyed() {
        let ours = CommandSigner::from_seed(&[3; 32]);
        let theirs = CommandSigner::from_seed(&[4; 32]);
        let signed = theirs.sign(&command());
        assert_eq!(ours.key().verify(&signed, DEVICE, NOW), Err(Refusal::Signature));
    }

    proptest! {
        #[test]
        fn one_changed_bit_is_refused(byte in any::<prop::sample::Index>(), bit in 0u8..8, in_signature: bool) {
            let signer = CommandSigner::from_seed(&[3; 32]);
            let mut signed = signer.sign(&command());
            let bytes = if in_signature { &mut signed.signature } else { &mut signed.command };
            let at = byte.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(signer.key().verify(&signed, DEVICE, NOW), Err(Refusal::Signature));
        }
    }
}
