//! The agent's folder: who it is, what it was told, what it did.
//!
//! | file | holds |
//! |---|---|
//! | `identity.json` | device id, private key, certificate; the hub's address, authority and command key. One file, so that key and certificate change together |
//! | `policy.bin` | the signed policy command in force |
//! | `orders.json` | the orders already carried out, so that none is carried out twice |
//! | `command-keys.json` | the keys whose commands are obeyed, once the hub has replaced that of the enrolment |
//! | `isolation.json`, `east-west.json`, `logons.json`, `process-KEY.json` | the containments in force |
//! | `spool/` | records that wait for the hub |
//! | `agent.lock` | held by the agent that works here |

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use wardline_event::{DeviceId, Timestamp, hex, unhex};
use wardline_wire::CommandKey;

/// The format of the folder that this build writes.
const VERSION: u32 = 1;

/// The agent's folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system failed.
    #[error("{doing} {path} failed", path = path.display())]
    Io {
        /// What was being tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// Not enrolled.
    #[error("this machine is not enrolled ({path} is missing): make a token at the hub with `wardline hub token` and run `wardline agent enrol HUB TOKEN`", path = .0.display())]
    NotEnrolled(PathBuf),
    /// A file is there and makes no sense.
    #[error("{path} is damaged ({what}); restore it from a backup, or remove the folder and enrol again", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Another agent works in the folder.
    #[error("another agent is already using {path}; stop it first, or give this one a folder of its own with --data DIR", path = .0.display())]
    InUse(PathBuf),
    /// Written by a newer build.
    #[error("{path} was written by a newer version of Wardline (format {found}, this build reads {VERSION}): update this one; nothing was changed", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// Who this device is, and whom it obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub device: DeviceId,
    /// The hub's address for agents, `host:port`.
    pub hub: String,
    /// The key that signs this hub's commands.
    pub command_key: CommandKey,
    /// When it was enrolled.
    pub enrolled: Timestamp,
    /// The private key, PKCS #8 DER.
    pub key_der: Vec<u8>,
    /// The certificate, DER.
    pub certificate_der: Vec<u8>,
    /// The hub's authority, DER.
    pub authority_der: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct IdentityFile {
    version: u32,
    device: DeviceId,
    hub: String,
    enrolled: Timestamp,
    command_key: Hex,
    key_der: Hex,
    certificate_der: Hex,
    authority_der: Hex,
}

/// Bytes as hexadecimal digits.
struct Hex(Vec<u8>);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        unhex(&text).map(Self).ok_or_else(|| de::Error::custom("not hexadecimal digits"))
    }
}

/// The agent's folder.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// Opens the folder, making it if need be; only its owner may look inside.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| StateError::Io {
            doing: "creating folder",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self(path.to_owned()))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes the folder for one agent, until the file is dropped or the process ends. Two agents would give the same
    /// numbers to different records.
    pub fn lock(&self) -> Result<fs::File, StateError> {
        let path = self.0.join("agent.lock");
        let failed = |source| StateError::Io { doing: "locking", path: path.clone(), source };
        let mut options = fs::OpenOptions::new();
        let file =
            options.create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(StateError::InUse(self.0.clone())),
            Err(fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// True if the device was enrolled.
    pub fn is_enrolled(&self) -> bool {
        self.0.join("identity.json").exists()
    }

    /// Reads a file; `None` if there is none.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.0.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Io { doing: "reading", path, source }),
        }
    }

    /// Fails where files cannot be written. To be asked before something is fetched that can be had only once.
    pub fn check_writable(&self) -> Result<(), StateError> {
        let path = self.0.join("writable.new");
        let try_out = || {
            let mut file = fs::File::create(&path)?;
            // As much as an identity: a disk may be full, too.
            let written = file.write_all(&[0; 8192]).and_then(|()| file.sync_all());
            fs::remove_file(&path)?;
            written
        };
        try_out().map_err(|source| StateError::Io { doing: "writing", path: path.clone(), source })
    }

    /// Writes a file whole or not at all, readable for its owner only.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let (path, temporary) = (self.0.join(name), self.0.join(format!("{name}.new")));
        let write = || {
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            fs::File::open(&self.0)?.sync_all()
        };
        write().map_err(|source| StateError::Io { doing: "writing", path: path.clone(), source })
    }

    /// Renames a file that makes no sense to `NAME.damaged`, for a person to look at; gives its new path.
    pub fn set_aside(&self, name: &str) -> Result<PathBuf, StateError> {
        let (path, aside) = (self.0.join(name), self.0.join(format!("{name}.damaged")));
        match fs::rename(&path, &aside) {
            Ok(()) => Ok(aside),
            Err(source) => Err(StateError::Io { doing: "setting aside", path, source }),
        }
    }

    /// Reads the identity.
    pub fn identity(&self) -> Result<Identity, StateError> {
        let path = self.0.join("identity.json");
        let damaged =
            |what: &dyn ToString| StateError::Damaged { path: path.clone(), what: what.to_string() };
        let Some(bytes) = self.read("identity.json")? else { return Err(StateError::NotEnrolled(path)) };
        let json: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| damaged(&e))?;
        // The version first: a newer file may not fit the struct below.
        let found = json["version"].as_u64().unwrap_or(0) as u32;
        if found > VERSION {
            return Err(StateError::Newer { path, found });
        }
        let file: IdentityFile = serde_json::from_value(json).map_err(|e| damaged(&e))?;
        let key = file.command_key.0.try_into().map_err(|_| damaged(&"command_key is not 32 bytes"))?;
        Ok(Identity {
            device: file.device,
            hub: file.hub,
            command_key: CommandKey(key),
            enrolled: file.enrolled,
            key_der: file.key_der.0,
            certificate_der: file.certificate_der.0,
            authority_der: file.authority_der.0,
        })
    }

    /// Stores an identity.
    pub fn set_identity(&self, identity: &Identity) -> Result<(), StateError> {
        let file = IdentityFile {
            version: VERSION,
            device: identity.device,
            hub: identity.hub.clone(),
            enrolled: identity.enrolled,
            command_key: Hex(identity.command_key.0.to_vec()),
            key_der: Hex(identity.key_der.clone()),
            certificate_der: Hex(identity.certificate_der.clone()),
            authority_der: Hex(identity.authority_der.clone()),
        };
        let json = serde_json::to_vec_pretty(&file).expect("an identity holds only strings and numbers");
        self.write("identity.json", &json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn identity() -> Identity {
        Identity {
            device: DeviceId(9),
            hub: "127.0.0.1:8701".into(),
            command_key: CommandKey(std::array::from_fn(|i| i as u8)),
            enrolled: Timestamp(1),
            key_der: vec![1],
            certificate_der: vec![2],
            authority_der: vec![3],
        }
    }

    #[test]
    fn an_identity_is_kept_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("agent")).unwrap();
        assert!(matches!(state.identity(), Err(StateError::NotEnrolled(_))));
        state.set_identity(&identity()).unwrap();
        assert_eq!(state.identity().unwrap(), identity());
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(state.path()), 0o700);
        assert_eq!(mode(&state.path().join("identity.json")), 0o600);
    }

    #[test]
    fn newer_and_damaged_folders_are_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        state.set_identity(&identity()).unwrap();
        let path = dir.path().join("identity.json");
        let good = fs::read_to_string(&path).unwrap();

        let newer = good.replace("\"version\": 1", "\"version\": 2, \"shape\": \"new\"");
        fs::write(&path, &newer).unwrap();
        let error = state.identity().unwrap_err().to_string();
        assert!(error.contains("newer version of Wardline (format 2"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), newer);

        fs::write(&path, &good[..good.len() / 2]).unwrap();
        assert!(matches!(state.identity(), Err(StateError::Damaged { .. })));
        fs::write(&path, good.replacen("00", "xx", 1)).unwrap();
        assert!(state.identity().unwrap_err().to_string().contains("identity.json is damaged"));
    }
}
