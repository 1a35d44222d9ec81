//! What is known of something kept, as JSON in a file of its own: written so that after a crash the old or the new one is
//! there, and read with a limit, and only if this build knows its version.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// No manifest is longer.
const LONGEST: u64 = 4 * 1024 * 1024;

/// Why a manifest could not be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// There is none.
    Missing,
    /// The system refused.
    Os(io::Error),
    /// A newer version wrote it.
    Newer,
    /// It makes no sense: why.
    Damaged(String),
}

/// Writes a manifest that only its owner may read, and waits for the disk.
pub fn write(path: &Path, manifest: &impl Serialize) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec_pretty(manifest)?)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The rename itself is on disk only once the folder is.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Reads a manifest whose `version` is at most this one.
pub(super) fn read<T: DeserializeOwned>(path: &Path, version: u32) -> Result<T, Unread> {
    let mut text = Vec::new();
    match File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut text)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unread::Missing),
        read => read.map_err(Unread::Os)?,
    };
    let damaged = |error: serde_json::Error| Unread::Damaged(error.to_string());
    let json: serde_json::Value = serde_json::from_slice(&text).map_err(damaged)?;
    if json["version"].as_u64().is_some_and(|found| found > u64::from(version)) {
        return Err(Unread::Newer);
    }
    serde_json::from_value(json).map_err(damaged)
}
