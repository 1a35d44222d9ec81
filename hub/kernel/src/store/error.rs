//! What goes wrong between the hub and its database.

use std::path::PathBuf;

use sqlx::error::DatabaseError;

/// Something went wrong between the hub and its data folder.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, or the database's allowance, is full. Nothing of the transaction was stored.
    #[error("the hub's disk is full; free space in its data folder, what was not stored will be sent again")]
    Full,
    /// A question to the database failed.
    #[error("the hub's database could not answer")]
    Query(#[source] sqlx::Error),
    /// The folder or a file in it could not be made, read or written.
    #[error("cannot {doing} {path}; check that the folder exists and that you may write to it")]
    Folder {
        /// `create`, `read`, `write`, `lock`.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another hub works on the folder.
    #[error(
        "another hub is already using {path}; stop it first, or give this one a folder of its own with --data DIR"
    )]
    InUse {
        /// The data folder.
        path: PathBuf,
    },
    /// There is no hub's data in the folder.
    #[error("there is no hub in {path}; start one there first, or name its folder with --data DIR")]
    NoHub {
        /// The data folder.
        path: PathBuf,
    },
    /// The database file is not a database.
    #[error(
        "{path} cannot be opened as a database; if it is damaged, restore it from a backup. Nothing was changed"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A newer build has worked on the folder.
    #[error(
        "{path} was written by a newer version of Wardline (its `{capability}` tables have version {found}, this build knows {known}); nothing was changed. Start the newer version, or give this one an empty folder with --data DIR"
    )]
    Newer {
        /// The data folder.
        path: PathBuf,
        /// Whose tables.
        capability: String,
        /// Their version.
        found: i64,
        /// The newest that this build knows; 0 if it does not know the capability.
        known: i64,
    },
    /// A released migration is not what it was.
    #[error(
        "the schema step `{capability}` {version} in {path} differs from this build's; was it made by a development build? Nothing was changed. Start the version that made it, or give this one an empty folder with --data DIR"
    )]
    Differs {
        /// The data folder.
        path: PathBuf,
        /// Whose tables.
        capability: &'static str,
        /// Which step.
        version: i64,
    },
    /// A schema step failed and was rolled back.
    #[error(
        "could not bring the database to this version (step `{capability}` {version}); nothing was changed"
    )]
    Migrate {
        /// Whose tables.
        capability: &'static str,
        /// Which step.
        version: i64,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// What was stored cannot be read back.
    #[error("stored {what} cannot be read; restore the data folder from a backup and report this")]
    Corrupt {
        /// What it should be.
        what: &'static str,
    },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // 13 is SQLITE_FULL: the disk is full, or `max_page_count` is reached. https://www.sqlite.org/rescode.html
        let full = error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == "13");
        if full { Self::Full } else { Self::Query(error) }
    }
}
