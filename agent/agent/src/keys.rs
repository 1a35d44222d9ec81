//! The keys whose commands this device obeys, kept in its folder once it has learnt another than that of its enrolment.

use serde::{Deserialize, Serialize};
use tracing::warn;
use wardline_event::{Timestamp, hex, unhex};
use wardline_wire::{CommandKey, KeyRing, MOST_RETIRED};

use crate::state::{Identity, StateDir, StateError};

/// `enrolled` is the key of the enrolment from which all others follow: after another enrolment the file says nothing.
#[derive(Debug, Serialize, Deserialize)]
struct File {
    version: u32,
    enrolled: String,
    current: String,
    before: Option<(String, Timestamp)>,
    retired: Vec<String>,
}

const FILE: &str = "command-keys.json";
const VERSION: u32 = 1;

fn key(text: &str) -> Option<CommandKey> {
    Some(CommandKey(unhex(text)?.try_into().ok()?))
}

fn read(json: &[u8], identity: &Identity) -> Result<Option<KeyRing>, String> {
    let file: File = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    if file.version != VERSION {
        return Err(format!("it has format {}, this build reads {VERSION}", file.version));
    }
    if key(&file.enrolled) != Some(identity.command_key) {
        return Ok(None);
    }
    let bad = || "a key in it is not 32 bytes".to_owned();
    let before = match &file.before {
        None => None,
        Some((text, until)) => Some((key(text).ok_or_else(bad)?, *until)),
    };
    let retired = file.retired.iter().take(MOST_RETIRED).map(|text| key(text).ok_or_else(bad));
    Ok(Some(KeyRing {
        current: key(&file.current).ok_or_else(bad)?,
        before,
        retired: retired.collect::<Result<_, _>>()?,
    }))
}

/// The keys that this device knows. A damaged file is set aside: the hub leads the device from the key of its enrolment to
/// the one that signs now again.
pub(crate) fn load(state: &StateDir, identity: &Identity) -> Result<KeyRing, StateError> {
    let enrolled = KeyRing::new(identity.command_key);
    let Some(json) = state.read(FILE)? else { return Ok(enrolled) };
    match read(&json, identity) {
        Ok(ring) => Ok(ring.unwrap_or(enrolled)),
        Err(why) => {
            let aside = state.set_aside(FILE)?;
            warn!(file = %aside.display(), "the keys of this hub could not be read ({why}); set aside, and learnt again from the hub");
            Ok(enrolled)
        }
    }
}

/// Keeps the keys.
pub(crate) fn store(state: &StateDir, identity: &Identity, ring: &KeyRing) -> Result<(), StateError> {
    let text = |key: &CommandKey| hex(&key.0);
    let file = File {
        version: VERSION,
        enrolled: text(&identity.command_key),
        current: text(&ring.current),
        before: ring.before.as_ref().map(|(key, until)| (text(key), *until)),
        retired: ring.retired.iter().map(text).collect(),
    };
    let json = serde_json::to_vec_pretty(&file).expect("keys are strings and numbers");
    state.write(FILE, &json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardline_event::DeviceId;

    #[test]
    fn keys_are_kept_until_the_device_enrols_anew_and_damage_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let identity = Identity {
            device: DeviceId(9),
            hub: "127.0.0.1:8701".into(),
            command_key: CommandKey([1; 32]),
            enrolled: Timestamp(1),
            key_der: vec![],
            certificate_der: vec![],
            authority_der: vec![],
        };
        assert_eq!(load(&state, &identity).unwrap(), KeyRing::new(CommandKey([1; 32])));
        let ring = KeyRing {
            current: CommandKey([3; 32]),
            before: Some((CommandKey([2; 32]), Timestamp(99))),
            retired: vec![CommandKey([1; 32])],
        };
        store(&state, &identity, &ring).unwrap();
        assert_eq!(load(&state, &identity).unwrap(), ring);
        let anew = Identity { command_key: CommandKey([7; 32]), ..identity.clone() };
        assert_eq!(load(&state, &anew).unwrap(), KeyRing::new(CommandKey([7; 32])));
        state.write(FILE, b"{\"version\": 1, \"enrolled\": \"00\"").unwrap();
        assert_eq!(load(&state, &identity).unwrap(), KeyRing::new(CommandKey([1; 32])));
        assert!(dir.path().join("command-keys.json.damaged").exists());
    }
}
