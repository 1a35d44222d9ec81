//! Commands from the hub, as an agent meets them.

use prost::Message;
use ring::signature::{Ed25519KeyPair, KeyPair};
use wardline_event::{DeviceId, ProcessKey, Timestamp};
use wardline_policy::DevicePolicy;
use wardline_wire::proto::SignedCommand;
use wardline_wire::proto::command::Kind;
use wardline_wire::{CommandKey, Refusal};

const DEVICE: DeviceId = DeviceId(77);
const NOW: Timestamp = Timestamp(1_000_000_000);
/// As `proto/wardline.proto` says.
const CONTEXT: &[u8] = b"wardline command v1\0";

/// The input as a signed command, which nobody signed, and as a command, which this hub signed whatever it says.
pub fn verify(data: &[u8]) {
    let hub = Ed25519KeyPair::from_seed_unchecked(&[3; 32]).expect("ring accepts every seed of 32 bytes");
    let key = CommandKey(hub.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes"));
    if let Ok(signed) = SignedCommand::decode(data) {
        assert_eq!(key.verify(&signed, DEVICE, NOW), Err(Refusal::Signature));
    }
    let signature = hub.sign(&[CONTEXT, data].concat()).as_ref().to_vec();
    let signed = SignedCommand { command: data.to_vec(), signature };
    match key.verify(&signed, DEVICE, NOW) {
        Err(refusal) => assert_ne!(refusal, Refusal::Signature),
        Ok(verified) => {
            let command = verified.get();
            assert_eq!(command.device_id, DEVICE.0.to_be_bytes());
            assert!(command.issued_ms <= NOW.0 + 5 * 60 * 1000);
            match command.kind.as_ref().expect("a command without an order is refused") {
                Kind::SetPolicy(set) => {
                    assert!(command.expires_ms == 0 || command.expires_ms > NOW.0);
                    let _ = DevicePolicy::from_json(&set.policy_json);
                }
                kind => {
                    assert!(command.expires_ms > NOW.0);
                    if let Kind::KillProcess(kill) = kind {
                        let _ = kill.process_key.parse::<ProcessKey>();
                    }
                }
            }
        }
    }
}
