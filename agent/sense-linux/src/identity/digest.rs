//! Digests of files, slowly enough not to be felt.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use md5::{Digest, Md5};
use ring::digest::{Context, SHA256};
use wardline_event::Digests;

use super::file;
use crate::record::FileState;

/// Read at once.
const PIECE: usize = 256 << 10;
/// Bytes that may be read at once after a while without reading …
const BURST: f64 = (128 << 20) as f64;
/// … and in each second.
const PER_SECOND: f64 = (32 << 20) as f64;

/// How much may be read now.
#[derive(Debug)]
pub(crate) struct Pace {
    credit: f64,
    at: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self { credit: BURST, at: Instant::now() }
    }
}

impl Pace {
    /// How long to wait before so many bytes are read.
    fn wait(&mut self, bytes: usize, now: Instant) -> Duration {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * PER_SECOND;
        self.at = now;
        self.credit = (self.credit + earned).min(BURST) - bytes as f64;
        Duration::from_secs_f64((-self.credit / PER_SECOND).max(0.0))
    }

    fn spend(&mut self, bytes: usize) {
        let wait = self.wait(bytes, Instant::now());
        if !wait.is_zero() {
            thread::sleep(wait);
        }
    }
}

/// The digests of an open file that is in this state before and after it was read.
pub(crate) fn of(file: &File, state: &FileState, pace: &mut Pace) -> Result<Digests, String> {
    let (mut sha256, mut md5) = (Context::new(&SHA256), Md5::new());
    let mut piece = vec![0; PIECE.min(usize::try_from(state.size).unwrap_or(PIECE)).max(1)];
    let mut at = 0;
    while at < state.size {
        let n = file.read_at(&mut piece, at).map_err(|e| format!("reading it failed ({e})"))?;
        if n == 0 {
            break;
        }
        pace.spend(n);
        sha256.update(&piece[..n]);
        md5.update(&piece[..n]);
        at += n as u64;
    }
    if at != state.size || !file::is_in(file, state) {
        return Err("it was changed while it was read".to_owned());
    }
    let sha256 = sha256.finish().as_ref().try_into().map_err(|_| "a digest of another length".to_owned())?;
    Ok(Digests { sha256, md5: md5.finalize().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_paced() {
        let start = Instant::now();
        let mut pace = Pace { credit: BURST, at: start };
        assert_eq!(pace.wait(BURST as usize, start), Duration::ZERO);
        assert_eq!(pace.wait(32 << 20, start), Duration::from_secs(1));
        // A second later that is paid for.
        assert_eq!(pace.wait(0, start + Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(pace.wait(0, start + Duration::from_hours(1)), Duration::ZERO);
        assert!(pace.credit <= BURST);
    }

    #[test]
    fn digests_are_those_that_everybody_has() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let open = File::open(file.path()).unwrap();
        let state = file::state(&open).unwrap();
        let digests = of(&open, &state, &mut Pace::default()).unwrap();
        assert_eq!(
            digests.sysmon(),
            "MD5=900150983CD24FB0D6963F7D28E17F72,\
             SHA256=BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"
        );
        std::fs::write(file.path(), "abcd").unwrap();
        assert!(of(&open, &state, &mut Pace::default()).unwrap_err().contains("changed"));
    }
}
