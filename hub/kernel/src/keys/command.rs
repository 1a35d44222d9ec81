//! The keys that sign commands, one after the other.
//!
//! | file | what |
//! |---|---|
//! | `command.seed` | the seed of the first |
//! | `command-N.seed` | the seed of the N-th; a seed is removed once its key is obeyed no longer |
//! | `command-chain.json` | who follows whom: messages to devices, each signed with the key that it replaces |
//!
//! The chain is what counts: a seed that it does not name is left from a rotation that was cut off.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use wardline_event::{Timestamp, hex, unhex};
use wardline_wire::proto::SignedCommand;
use wardline_wire::{CommandKey, CommandSigner};

use super::{KeyError, read, read_seed, write_private};
use crate::clock::random_bytes;
use crate::store::StoreError;

const VERSION: u32 = 1;
const CHAIN: &str = "command-chain.json";

/// One key replaced by the next.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Link {
    from: String,
    to: String,
    made_ms: i64,
    old_until_ms: i64,
    command: String,
    signature: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Chain {
    version: u32,
    links: Vec<Link>,
}

/// What the running hub holds of it.
struct Held {
    signer: Arc<CommandSigner>,
    /// The key before, as long as it is obeyed: for agents that cannot learn another one.
    before: Option<Arc<CommandSigner>>,
    links: Vec<Link>,
    stamp: Option<(SystemTime, u64)>,
}

/// What came of a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rotated {
    /// The key before, 64 hexadecimal digits.
    pub from: String,
    /// The key that signs from now on.
    pub to: String,
    /// Until when devices obey the key before, in milliseconds since 1970.
    pub old_until_ms: i64,
}

/// The keys that sign commands.
pub(crate) struct CommandKeys {
    folder: PathBuf,
    held: RwLock<Held>,
}

fn seed_path(folder: &Path, generation: usize) -> PathBuf {
    match generation {
        1 => folder.join("command.seed"),
        n => folder.join(format!("command-{n}.seed")),
    }
}

fn signer(path: &Path) -> Result<CommandSigner, KeyError> {
    Ok(CommandSigner::from_seed(&read_seed(path)?))
}

fn read_chain(folder: &Path) -> Result<Vec<Link>, KeyError> {
    let path = folder.join(CHAIN);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let what = "the chain of command keys";
    let chain: Option<Chain> = serde_json::from_slice(&read(&path, what)?).ok();
    match chain {
        Some(chain) if chain.version == VERSION => Ok(chain.links),
        _ => Err(KeyError::Damaged { path, what }),
    }
}

fn stamp(folder: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(folder.join(CHAIN)).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn hold(folder: &Path) -> Result<Held, KeyError> {
    // The stamp first: what is written in between is read again.
    let stamp = stamp(folder);
    let links = read_chain(folder)?;
    let path = seed_path(folder, links.len() + 1);
    let current = signer(&path)?;
    if links.last().is_some_and(|link| link.to != hex(&current.key().0)) {
        return Err(KeyError::Damaged { path, what: "the seed of the key that the chain names" });
    }
    let old = seed_path(folder, links.len());
    let before = if links.is_empty() || !old.exists() { None } else { Some(Arc::new(signer(&old)?)) };
    Ok(Held { signer: Arc::new(current), before, links, stamp })
}

impl CommandKeys {
    /// Reads the keys of the folder `keys`.
    pub fn open(folder: &Path) -> Result<Self, KeyError> {
        Ok(Self { folder: folder.to_owned(), held: RwLock::new(hold(folder)?) })
    }

    fn held<T>(&self, of: impl FnOnce(&Held) -> T) -> T {
        of(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The key that signs now.
    pub fn signer(&self) -> Arc<CommandSigner> {
        self.held(|held| Arc::clone(&held.signer))
    }

    /// The key before, as long as devices obey it.
    pub fn before(&self) -> Option<Arc<CommandSigner>> {
        self.held(|held| held.before.clone())
    }

    /// The messages that lead a device from the key that it obeys to the one that signs now; none if it is there, or if
    /// this hub never had its key.
    pub fn lead(&self, from: &[u8]) -> Vec<SignedCommand> {
        let from = hex(from);
        self.held(|held| {
            let Some(at) = held.links.iter().position(|link| link.from == from) else { return Vec::new() };
            let message = |link: &Link| {
                Some(SignedCommand { command: unhex(&link.command)?, signature: unhex(&link.signature)? })
            };
            held.links[at..].iter().filter_map(message).collect()
        })
    }

    /// Looks whether somebody rotated the keys beside this hub, and removes the seed of a key that is obeyed no longer.
    /// True if another key signs now.
    pub fn refresh(&self, now: Timestamp) -> Result<bool, KeyError> {
        let (was, over) = self.held(|held| {
            let over = held.before.is_some() && held.links.last().is_some_and(|l| l.old_until_ms <= now.0);
            (held.stamp, over.then_some(held.links.len()))
        });
        if let Some(generation) = over {
            let path = seed_path(&self.folder, generation);
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::Folder { doing: "remove", path, source }.into());
                }
                _ => tracing::info!(
                    "the overlap is over: the key before is obeyed no longer, its seed was removed"
                ),
            }
        }
        let changed = was != stamp(&self.folder);
        if !changed && over.is_none() {
            return Ok(false);
        }
        let fresh = hold(&self.folder)?;
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(changed)
    }
}

/// Makes the next key and has the present one name it to all devices. Devices obey the present one for `overlap_ms` more.
pub(crate) fn rotate(folder: &Path, overlap_ms: i64, now: Timestamp) -> Result<Rotated, KeyError> {
    let held = hold(folder)?;
    if let Some(last) = held.links.last().filter(|last| last.old_until_ms > now.0 && overlap_ms > 0) {
        return Err(KeyError::Overlap { until: Timestamp(last.old_until_ms) });
    }
    let path = seed_path(folder, held.links.len() + 2);
    let seed = random_bytes::<32>();
    write_private(&path, &seed)?;
    let next = CommandSigner::from_seed(&seed).key();
    let old_until = Timestamp(now.0.saturating_add(overlap_ms));
    let SignedCommand { command, signature } = held.signer.name_next(next, old_until, now);
    let text = |CommandKey(key): CommandKey| hex(&key);
    let rotated = Rotated { from: text(held.signer.key()), to: text(next), old_until_ms: old_until.0 };
    let mut links = held.links;
    links.push(Link {
        from: rotated.from.clone(),
        to: rotated.to.clone(),
        made_ms: now.0,
        old_until_ms: old_until.0,
        command: hex(&command),
        signature: hex(&signature),
    });
    let json = serde_json::to_vec_pretty(&Chain { version: VERSION, links }).expect("strings and numbers");
    write_private(&folder.join(CHAIN), &json)?;
    Ok(rotated)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        write_private(&seed_path(folder.path(), 1), &[1; 32]).unwrap();
        folder
    }

    #[test]
    fn a_running_hub_takes_up_a_rotation_and_leads_devices_along() {
        let folder = folder();
        let keys = CommandKeys::open(folder.path()).unwrap();
        let first = keys.signer().key();
        assert!(!keys.refresh(NOW).unwrap() && keys.lead(&first.0).is_empty());
        let rotated = rotate(folder.path(), 1000, NOW).unwrap();
        assert!(keys.refresh(NOW).unwrap());
        assert_eq!(hex(&keys.signer().key().0), rotated.to);
        assert_eq!(keys.before().unwrap().key(), first);
        let told = keys.lead(&first.0);
        assert!(told.len() == 1 && first.names_next(&told[0]));
        assert!(keys.lead(&keys.signer().key().0).is_empty() && keys.lead(&[7; 32]).is_empty());
        // Within the overlap no other one begins, but at once.
        let early = rotate(folder.path(), 1000, NOW).unwrap_err().to_string();
        assert!(early.contains("still obeyed until"), "{early}");
        // After it the old seed is gone, and the device of before is still led.
        keys.refresh(Timestamp(NOW.0 + 1000)).unwrap();
        assert!(keys.before().is_none() && !seed_path(folder.path(), 1).exists());
        rotate(folder.path(), 0, Timestamp(NOW.0 + 2000)).unwrap();
        let again = CommandKeys::open(folder.path()).unwrap();
        assert_eq!(again.lead(&first.0).len(), 2);
    }

    #[test]
    fn a_rotation_that_was_cut_off_changes_nothing_and_damage_is_named() {
        let folder = folder();
        write_private(&seed_path(folder.path(), 2), &[9; 32]).unwrap();
        let keys = CommandKeys::open(folder.path()).unwrap();
        assert_eq!(keys.signer().key(), CommandSigner::from_seed(&[1; 32]).key());
        rotate(folder.path(), 0, NOW).unwrap();
        std::fs::write(seed_path(folder.path(), 2), [9; 32]).unwrap();
        let wrong = CommandKeys::open(folder.path()).err().unwrap().to_string();
        assert!(wrong.contains("command-2.seed") && wrong.contains("the chain names"), "{wrong}");
        std::fs::write(folder.path().join(CHAIN), "{").unwrap();
        assert!(CommandKeys::open(folder.path()).err().unwrap().to_string().contains(CHAIN));
        assert!(keys.refresh(NOW).is_err(), "the keys of before stay in force");
    }
}
