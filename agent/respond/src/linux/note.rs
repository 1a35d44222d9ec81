//! Who contained this machine: a note beside the kernel's state, so that `wardline agent release --local` finds the
//! agent's folder without being told. Like the kernel's state it goes with a reboot, and there is one per network
//! namespace. It is a help to people: nothing is decided by it, and without it everything works.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Only root may write below `/run`.
const FOLDER: &str = "/run/wardline";

/// The note about the calling thread's network namespace.
fn path() -> io::Result<PathBuf> {
    let namespace = fs::metadata("/proc/thread-self/ns/net")?.ino();
    Ok(Path::new(FOLDER).join(format!("isolated-by-{namespace}")))
}

/// Notes that the agent whose folder is `state_dir` has isolated this network namespace.
pub fn leave(state_dir: &Path) -> io::Result<()> {
    let (path, folder) = (path()?, fs::canonicalize(state_dir)?);
    fs::create_dir_all(FOLDER)?;
    // Whoever looks after a machine may know where its agent lives, whatever this process' umask is.
    fs::set_permissions(FOLDER, Permissions::from_mode(0o755))?;
    let new = path.with_extension("new");
    fs::write(&new, folder.as_os_str().as_bytes())?;
    fs::set_permissions(&new, Permissions::from_mode(0o644))?;
    fs::rename(&new, &path)
}

/// The folder of the agent that isolated this network namespace, if it is known.
pub fn find() -> Option<PathBuf> {
    let bytes = fs::read(path().ok()?).ok()?;
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes))).filter(|p| p.is_absolute())
}

/// Removes the note, where there is one.
pub fn remove() {
    if let Ok(path) = path() {
        let _ = fs::remove_file(path);
    }
}
