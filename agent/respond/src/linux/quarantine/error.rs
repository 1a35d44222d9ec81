//! Why nothing was done, and where a crash may come.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

/// Nothing was changed, or it was changed back.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Such files are not taken.
    #[error("only regular files are taken; this is {0}")]
    Kind(&'static str),
    /// The path cannot be used.
    #[error("the path cannot be used: {0}")]
    Path(String),
    /// Policy or common sense forbids it.
    #[error("refused: {0}")]
    Protected(String),
    /// Somebody writes to it.
    #[error("the file changes while it is taken: stop the process that writes to it first")]
    Changing,
    /// Somebody put another file in its place.
    #[error("another file was put in its place while it was taken; that one was left alone")]
    Exchanged,
    /// No room.
    #[error(
        "the quarantine holds {used} of at most {limit} bytes; {wanted} more do not fit: purge what is no longer needed"
    )]
    Full {
        /// Bytes in the store.
        used: u64,
        /// Bytes that the file would add.
        wanted: u64,
        /// The limit.
        limit: u64,
    },
    /// There is no such file in the store.
    #[error("the quarantine holds no file `{0}`")]
    Unknown(String),
    /// Something is there already.
    #[error("{} is there already, and nothing is overwritten: move it away, or restore to another path", .0.display())]
    Occupied(PathBuf),
    /// Content or manifest make no sense.
    #[error("{} is damaged ({what}); it was left as it is", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The manifest was written by a newer version.
    #[error("{} was written by a newer version of Wardline: update this one", .0.display())]
    Newer(PathBuf),
    /// The system refused.
    #[error("{doing} failed")]
    Os {
        /// What was being tried.
        doing: &'static str,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
}

impl Refusal {
    pub(in crate::linux) fn io(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Os { doing, source }
    }

    pub(in crate::linux) fn errno(doing: &'static str) -> impl Fn(Errno) -> Self {
        move |source| Self::Os { doing, source: source.into() }
    }
}

/// The points between which a crash may come; tests stop there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The manifest says that a file is being taken.
    Announced,
    /// Its content is sealed and on disk.
    Sealed,
    /// The manifest says so.
    Stored,
    /// The file has another name.
    Aside,
    /// It is gone from its folder.
    Removed,
    /// The manifest says so.
    Held,
    /// The file is back at its place.
    Restored,
    /// The manifest is gone.
    Forgotten,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Announced,
        Self::Sealed,
        Self::Stored,
        Self::Aside,
        Self::Removed,
        Self::Held,
        Self::Restored,
        Self::Forgotten,
    ];
}
