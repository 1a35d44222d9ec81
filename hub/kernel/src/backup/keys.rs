//! The hub's keys within a backup, sealed with a passphrase.

use std::num::NonZeroU32;
use std::path::Path;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::pbkdf2;
use serde::{Deserialize, Serialize};

use crate::clock::random_bytes;
use crate::keys::ALWAYS;
use wardline_event::hex;

/// Rounds that make a passphrase slow to guess.
// A build for development is some fifty times slower at it.
const ROUNDS: u32 = if cfg!(debug_assertions) { 12_000 } else { 600_000 };
/// More rounds than this are refused: a file must not hold the machine up for hours.
const MOST_ROUNDS: u32 = 10_000_000;
/// Characters of a passphrase at least.
pub const SHORTEST: usize = 12;
/// Bytes of one key file at most.
const LARGEST: usize = 1 << 20;

/// Whether a file of the folder `keys` may be called so: never a way out of the folder.
fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.')
}

/// The key files, sealed: ChaCha20-Poly1305 under a key that PBKDF2-HMAC-SHA256 makes of the passphrase.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sealed {
    rounds: u32,
    salt: String,
    nonce: String,
    ciphertext: String,
}

/// The keys cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Too easy to guess.
    #[error("a passphrase for the hub's keys has at least {SHORTEST} characters")]
    Short,
    /// It does not open them.
    #[error("the passphrase does not open the keys in this backup")]
    Wrong,
    /// What is sealed is not the keys of a hub.
    #[error("the keys in this backup cannot be understood")]
    Nonsense,
}

fn key(passphrase: &str, salt: &[u8], rounds: u32) -> Result<LessSafeKey, SealError> {
    let rounds = NonZeroU32::new(rounds).filter(|n| n.get() <= MOST_ROUNDS).ok_or(SealError::Nonsense)?;
    let mut bytes = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, passphrase.as_bytes(), &mut bytes);
    let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_| SealError::Nonsense)?;
    Ok(LessSafeKey::new(key))
}

fn unhex(text: &str) -> Result<Vec<u8>, SealError> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect::<Option<_>>()
        .ok_or(SealError::Nonsense)
}

/// Seals the key files: name and bytes of each.
pub fn seal(files: &[(String, Vec<u8>)], passphrase: &str) -> Result<Sealed, SealError> {
    if passphrase.chars().count() < SHORTEST {
        return Err(SealError::Short);
    }
    let (salt, nonce) = (random_bytes::<16>(), random_bytes::<NONCE_LEN>());
    let named: Vec<(&str, String)> = files.iter().map(|(name, bytes)| (name.as_str(), hex(bytes))).collect();
    let mut bytes = serde_json::to_vec(&named).map_err(|_| SealError::Nonsense)?;
    key(passphrase, &salt, ROUNDS)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(b"wardline keys 1"),
            &mut bytes,
        )
        .map_err(|_| SealError::Nonsense)?;
    Ok(Sealed { rounds: ROUNDS, salt: hex(&salt), nonce: hex(&nonce), ciphertext: hex(&bytes) })
}

/// Opens them; gives only files that may lie in the folder `keys`.
pub fn open(sealed: &Sealed, passphrase: &str) -> Result<KeyFiles, SealError> {
    let nonce: [u8; NONCE_LEN] = unhex(&sealed.nonce)?.try_into().map_err(|_| SealError::Nonsense)?;
    let mut bytes = unhex(&sealed.ciphertext)?;
    let plain = key(passphrase, &unhex(&sealed.salt)?, sealed.rounds)?
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(b"wardline keys 1"), &mut bytes)
        .map_err(|_| SealError::Wrong)?;
    let named: Vec<(String, String)> = serde_json::from_slice(plain).map_err(|_| SealError::Nonsense)?;
    let mut files = Vec::new();
    for (name, content) in named {
        if !is_name(&name) || content.len() > 2 * LARGEST {
            return Err(SealError::Nonsense);
        }
        files.push((name, unhex(&content)?));
    }
    let whole = ALWAYS.iter().all(|name| files.iter().any(|(found, _)| found == name));
    if whole { Ok(files) } else { Err(SealError::Nonsense) }
}

/// Key files: name and bytes of each.
pub type KeyFiles = Vec<(String, Vec<u8>)>;

/// Reads the key files of a data folder; the one that cannot be read otherwise, and why.
pub fn read(folder: &Path) -> Result<KeyFiles, (std::path::PathBuf, std::io::Error)> {
    let folder = folder.join("keys");
    let read = |path: std::path::PathBuf| std::fs::read(&path).map_err(|error| (path, error));
    let mut files = KeyFiles::new();
    for name in ALWAYS {
        files.push((name.to_owned(), read(folder.join(name))?));
    }
    let entries = std::fs::read_dir(&folder).map_err(|error| (folder.clone(), error))?;
    for entry in entries {
        let path = entry.map_err(|error| (folder.clone(), error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.is_file() && is_name(&name) && !ALWAYS.contains(&name.as_str()) {
            files.push((name, read(path)?));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_opened_by_their_passphrase_alone() {
        let names = ["authority.key", "authority.der", "command-2.seed"];
        let files: KeyFiles = names.map(|name| (name.to_owned(), name.as_bytes().to_vec())).to_vec();
        assert!(matches!(seal(&files, "too short"), Err(SealError::Short)));
        let sealed = seal(&files, "correct horse battery").unwrap();
        assert_eq!(open(&sealed, "correct horse battery").unwrap(), files);
        assert!(matches!(open(&sealed, "correct horse batterx"), Err(SealError::Wrong)));
        let mut changed = sealed.clone();
        changed
            .ciphertext
            .replace_range(0..2, if changed.ciphertext.starts_with("00") { "01" } else { "00" });
        assert!(matches!(open(&changed, "correct horse battery"), Err(SealError::Wrong)));
        let endless = Sealed { rounds: u32::MAX, ..sealed };
        assert!(matches!(open(&endless, "correct horse battery"), Err(SealError::Nonsense)));
        // No file leaves its folder.
        let strange = [files, vec![("../hub.db".to_owned(), vec![1])]].concat();
        let sealed = seal(&strange, "correct horse battery").unwrap();
        assert!(matches!(open(&sealed, "correct horse battery"), Err(SealError::Nonsense)));
    }
}
