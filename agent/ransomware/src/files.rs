//! Finds the files that the kernel told of, and looks into them.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::record::Evidence;

/// Blocks of a file that are looked at, spread over all of it.
const BLOCKS: u64 = 16;
/// Bytes of each.
const BLOCK: usize = 256;
/// Of 256 random bytes, 161.8 ± 5.0 are different.
const RANDOM: usize = 144;

/// What a file looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Texture {
    /// Blocks looked at.
    pub blocks: usize,
    /// Of those, how many look random.
    pub random: usize,
    /// The first of them does.
    pub head: bool,
}

/// The file of a piece of evidence, if it is still where it was.
pub(crate) fn find(evidence: &Evidence, mounts: &str) -> Option<PathBuf> {
    let is_it =
        |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|m| m.is_file() && m.ino() == evidence.ino);
    places(evidence.dev, Path::new(&evidence.path), mounts).into_iter().find(is_it)
}

/// Where a path within a file system may be seen here: it may be mounted more than once.
pub(crate) fn places(dev: u32, within: &Path, mounts: &str) -> Vec<PathBuf> {
    let device = format!("{}:{}", dev >> 20, dev & 0xf_ffff);
    let points = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(2);
        let (dev, root, point) = (fields.next()?, fields.next()?, fields.next()?);
        (dev == device).then_some((root, point))
    });
    let place = |(root, point): (&str, &str)| {
        let root = unescape(root);
        // No component may lead upwards: the path is the kernel's, but what is in it was somebody's choice.
        let below = within.strip_prefix(&root).ok()?;
        Some(Path::new(&unescape(point)).join(below.strip_prefix("/").unwrap_or(below)))
    };
    points.filter_map(place).collect()
}

/// Spaces and backslashes are written as octal numbers (proc_pid_mountinfo(5)).
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Looks at blocks spread over a file.
pub(crate) fn look(path: &Path) -> io::Result<Texture> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut texture = Texture::default();
    let whole = length / BLOCK as u64;
    for i in 0..BLOCKS.min(whole) {
        let at = whole * i / BLOCKS.min(whole) * BLOCK as u64;
        let mut block = [0; BLOCK];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut block)?;
        let random = different(&block) >= RANDOM;
        texture.head |= random && i == 0;
        texture.blocks += 1;
        texture.random += usize::from(random);
    }
    Ok(texture)
}

/// How many different bytes there are.
fn different(bytes: &[u8]) -> usize {
    let mut seen = [false; 256];
    for byte in bytes {
        seen[usize::from(*byte)] = true;
    }
    seen.iter().filter(|s| **s).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_chance() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "A patient came in on Monday.\n".repeat(500)).unwrap();
        assert_eq!(look(&path).unwrap(), Texture { blocks: 16, random: 0, head: false });
        let mut noise = vec![0; 20_000];
        File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
        fs::write(&path, noise).unwrap();
        let texture = look(&path).unwrap();
        assert!(texture.blocks == 16 && texture.random >= 15, "{texture:?}");
        fs::write(&path, "short").unwrap();
        assert_eq!(look(&path).unwrap(), Texture::default());
    }
}
