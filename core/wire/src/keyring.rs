//! The keys whose commands a device obeys, and how it learns the next one.

use wardline_event::{DeviceId, Timestamp};

use crate::command::{CommandKey, Refusal, VerifiedCommand};
use crate::proto::SignedCommand;

/// Keys of before that are remembered. Only what they signed long ago and was kept, a policy, is still read with them.
pub const MOST_RETIRED: usize = 16;

/// The keys whose commands a device obeys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRing {
    /// The one that signs now, and alone names the next.
    pub current: CommandKey,
    /// The one before, and until when it is still obeyed.
    pub before: Option<(CommandKey, Timestamp)>,
    /// Those before that, the newest last.
    pub retired: Vec<CommandKey>,
}

/// What came of a message that names the next key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Learnt {
    /// It is the one that signs now.
    New,
    /// It was known already.
    Known,
}

impl KeyRing {
    /// A device that knows the key of its enrolment.
    pub fn new(current: CommandKey) -> Self {
        Self { current, before: None, retired: Vec::new() }
    }

    /// Checks a command as [`CommandKey::verify`] does, with the key that signs now, and with the one before as long as it
    /// is still obeyed.
    pub fn verify(
        &self,
        signed: &SignedCommand,
        device: DeviceId,
        now: Timestamp,
    ) -> Result<VerifiedCommand, Refusal> {
        match (self.current.verify(signed, device, now), self.before) {
            (Err(Refusal::Signature), Some((before, until))) => match before.verify(signed, device, now) {
                Err(Refusal::Signature) => Err(Refusal::Signature),
                _ if until <= now => Err(Refusal::OldKey { at: until }),
                verdict => verdict,
            },
            (verdict, _) => verdict,
        }
    }

    /// Checks what was obeyed before and kept since: any key that this device ever knew may have signed it.
    pub fn verify_kept(
        &self,
        signed: &SignedCommand,
        device: DeviceId,
        now: Timestamp,
    ) -> Result<VerifiedCommand, Refusal> {
        let known = self.retired.iter().chain(self.before.iter().map(|(key, _)| key));
        let mut verdict = self.current.verify(signed, device, now);
        for key in known {
            if verdict != Err(Refusal::Signature) {
                break;
            }
            verdict = key.verify(signed, device, now);
        }
        verdict
    }

    /// Learns the next key from a message that the one that signs now has signed. A key of before never comes back: what
    /// was told once could be told again.
    pub fn learn(&mut self, signed: &SignedCommand, now: Timestamp) -> Result<Learnt, Refusal> {
        let known = |ring: &Self, key: CommandKey| {
            ring.current == key
                || ring.before.is_some_and(|(before, _)| before == key)
                || ring.retired.contains(&key)
        };
        let (next, until) = match self.current.next_key(signed, now) {
            // Told again by a key that this one has replaced.
            Err(Refusal::Signature) => {
                let mut olds = self.retired.iter().chain(self.before.iter().map(|(key, _)| key));
                let told = olds.find_map(|old| old.next_key(signed, now).ok());
                return match told {
                    Some((next, _)) if known(self, next) => Ok(Learnt::Known),
                    _ => Err(Refusal::Signature),
                };
            }
            other => other?,
        };
        if known(self, next) {
            return Ok(Learnt::Known);
        }
        if let Some((before, _)) = self.before.take() {
            self.retired.push(before);
        }
        self.before = Some((std::mem::replace(&mut self.current, next), until));
        let surplus = self.retired.len().saturating_sub(MOST_RETIRED);
        self.retired.drain(..surplus);
        Ok(Learnt::New)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CommandSigner;
    use crate::proto::command::Kind;
    use crate::proto::{Command, Release};
    use proptest::prelude::*;

    const DEVICE: DeviceId = DeviceId(77);
    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn signer(n: u8) -> CommandSigner {
        CommandSigner::from_seed(&[n; 32])
    }

    fn release(by: &CommandSigner) -> SignedCommand {
        by.sign(&Command {
            action_id: "a".into(),
            device_id: DEVICE.0.to_be_bytes().to_vec(),
            issued_ms: NOW.0,
            expires_ms: NOW.0 + 600_000,
            kind: Some(Kind::Release(Release {})),
            ..Command::default()
        })
    }

    #[test]
    fn an_old_key_is_obeyed_until_the_overlap_ends_and_never_names_a_key() {
        let (one, two, three) = (signer(1), signer(2), signer(3));
        let mut ring = KeyRing::new(one.key());
        let until = NOW.plus(std::time::Duration::from_mins(1));
        let told = one.name_next(two.key(), until, NOW);
        assert_eq!(ring.learn(&told, NOW), Ok(Learnt::New));
        assert_eq!(ring.learn(&told, NOW), Ok(Learnt::Known), "told again");
        for (by, at, good) in
            [(&one, NOW, true), (&two, NOW, true), (&two, until, true), (&three, NOW, false)]
        {
            assert_eq!(ring.verify(&release(by), DEVICE, at).is_ok(), good);
        }
        assert_eq!(ring.verify(&release(&one), DEVICE, until), Err(Refusal::OldKey { at: until }));
        // The old key names nothing any more, within the overlap too.
        let forged = one.name_next(three.key(), until, NOW);
        assert_eq!(ring.learn(&forged, NOW), Err(Refusal::Signature));
        // And the way back is closed.
        let back = two.name_next(one.key(), until, NOW);
        assert_eq!(ring.learn(&back, NOW), Ok(Learnt::Known));
        assert_eq!(ring.current, two.key());
        assert!(ring.verify_kept(&release(&one), DEVICE, until).is_ok(), "what was kept is still read");
    }

    #[test]
    fn a_key_is_named_by_its_own_message_only() {
        let (one, two) = (signer(1), signer(2));
        let told = one.name_next(two.key(), NOW, NOW);
        // It is no order to anybody.
        assert!(matches!(one.key().verify(&told, DEVICE, NOW), Err(Refusal::OtherDevice { .. })));
        let mut ring = KeyRing::new(one.key());
        assert_eq!(ring.learn(&release(&one), NOW), Err(Refusal::Unreadable));
        let early = Timestamp(NOW.0 - 3_600_000);
        assert!(matches!(ring.learn(&told, early), Err(Refusal::NotYet { .. })));
    }

    proptest! {
        /// Whatever is told in whatever order: the key that signs now was named by the one that signed then, and a device
        /// that missed some messages is led to the same key by all of them in order.
        #[test]
        fn every_device_ends_with_the_newest_key(heard in prop::collection::vec(0usize..6, 0..20)) {
            let signers: Vec<CommandSigner> = (1..=7).map(signer).collect();
            let chain: Vec<SignedCommand> =
                signers.windows(2).map(|pair| pair[0].name_next(pair[1].key(), NOW, NOW)).collect();
            let mut ring = KeyRing::new(signers[0].key());
            let mut at = 0;
            for i in heard {
                let learnt = ring.learn(&chain[i], NOW);
                if i == at {
                    prop_assert_eq!(learnt, Ok(Learnt::New));
                    at += 1;
                } else {
                    prop_assert_ne!(learnt, Ok(Learnt::New));
                }
                prop_assert_eq!(ring.current, signers[at].key());
            }
            for message in &chain {
                let _ = ring.learn(message, NOW);
            }
            prop_assert_eq!(ring.current, signers[6].key());
        }
    }
}
