//! Content, sealed: chunks of 64 KiB under ChaCha20-Poly1305 (RFC 8439), each with its number for a nonce, the last one
//! marked. So nothing can be run, recognised, cut short or exchanged in the store without notice.

use std::io::{self, Read, Write};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{Context, SHA256};
use wardline_event::hex;

const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;

fn cipher(key: &[u8]) -> io::Result<LessSafeKey> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|_| invalid("the key has not 32 bytes"))?;
    Ok(LessSafeKey::new(key))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A key seals one content only, so that a number never comes twice under it.
fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Reads until the buffer is full or there is no more.
fn fill(from: &mut dyn Read, buffer: &mut Vec<u8>, size: usize) -> io::Result<()> {
    buffer.clear();
    from.take(size as u64).read_to_end(buffer).map(drop)
}

/// Seals at most `most` bytes; more are an error. Gives the length and the SHA-256 of what was sealed.
pub(super) fn seal(
    key: &[u8],
    from: &mut dyn Read,
    to: &mut dyn Write,
    most: u64,
) -> io::Result<(u64, String)> {
    let (cipher, mut digest) = (cipher(key)?, Context::new(&SHA256));
    let (mut buffer, mut length) = (Vec::with_capacity(CHUNK + TAG), 0);
    for number in 0.. {
        fill(from, &mut buffer, CHUNK)?;
        let last = buffer.len() < CHUNK;
        length += buffer.len() as u64;
        if length > most {
            return Err(invalid("the file grew while it was read"));
        }
        digest.update(&buffer);
        cipher
            .seal_in_place_append_tag(nonce(number), Aad::from([u8::from(last)]), &mut buffer)
            .map_err(|_| invalid("a chunk could not be sealed"))?;
        to.write_all(&buffer)?;
        if last {
            break;
        }
    }
    Ok((length, hex(digest.finish().as_ref())))
}

/// Opens what [`seal`] made, and gives the length and the SHA-256 of it. What was written before an error is worthless.
pub(super) fn open(key: &[u8], from: &mut dyn Read, to: &mut dyn Write) -> io::Result<(u64, String)> {
    let (cipher, mut digest) = (cipher(key)?, Context::new(&SHA256));
    let (mut buffer, mut length) = (Vec::with_capacity(CHUNK + TAG), 0);
    for number in 0.. {
        fill(from, &mut buffer, CHUNK + TAG)?;
        let last = buffer.len() < CHUNK + TAG;
        let content = cipher
            .open_in_place(nonce(number), Aad::from([u8::from(last)]), &mut buffer)
            .map_err(|_| invalid("the sealed content is damaged"))?;
        length += content.len() as u64;
        digest.update(content);
        to.write_all(content)?;
        if last {
            break;
        }
    }
    Ok((length, hex(digest.finish().as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 32] = [7; 32];

    fn sealed(content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        seal(&KEY, &mut &*content, &mut out, u64::MAX).unwrap();
        out
    }

    #[test]
    fn every_length_around_a_chunk_comes_back() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK - 16] {
            let content: Vec<u8> = (0..length).map(|i| (i * 31) as u8).collect();
            let mut back = Vec::new();
            let (read, sha) = open(&KEY, &mut sealed(&content).as_slice(), &mut back).unwrap();
            assert_eq!((read, &back), (length as u64, &content));
            assert_eq!(sha, hex(ring::digest::digest(&SHA256, &content).as_ref()));
        }
        assert!(seal(&KEY, &mut [0; 9].as_slice(), &mut Vec::new(), 8).is_err(), "longer than it said");
    }

    proptest! {
        #[test]
        fn what_was_changed_or_cut_is_noticed(
            content in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let good = sealed(&content);
            let mut changed = good.clone();
            changed[at.index(good.len())] ^= 1 << bit;
            prop_assert!(open(&KEY, &mut changed.as_slice(), &mut Vec::new()).is_err());
            let cut = &good[..at.index(good.len())];
            prop_assert!(open(&KEY, &mut &*cut, &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn a_whole_chunk_less_is_noticed() {
        let good = sealed(&vec![1; 2 * CHUNK]);
        let cut = &good[..good.len() - TAG - (CHUNK + TAG)];
        assert!(open(&KEY, &mut &*cut, &mut Vec::new()).is_err());
    }
}
