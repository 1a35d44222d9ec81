//! What goes wrong between the hub and its database.

use std::path::PathBuf;

use sqlx::error::DatabaseError;

/// Something went wrong between the hub and its data folder.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, or the database's allowance, is full. Nothing of the transaction was stored.
    #[error("the hub's disk is full; free space in its data folder, what was not stored will be sent again")]
    Full,
    /// The database server is gone, is starting, or is too busy to answer in time.
    #[error(
        "the hub's database cannot be reached now; check that the server runs. What was not stored will be sent again"
    )]
    Away(#[source] sqlx::Error),
    /// A text that the database cannot keep or look for.
    #[error("a text with a NUL character in it can be neither kept nor found")]
    Text,
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
    /// The database server cannot be reached, or lets nobody in.
    #[error(
        "cannot open the database {place}; check its address, the role's password (PGPASSWORD or PGPASSFILE) and that the server runs. Nothing was changed"
    )]
    Connect {
        /// Where it is.
        place: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The database is not one that a hub can work with.
    #[error("the database {place} cannot be used: {why}. Nothing was changed")]
    Unfit {
        /// Where it is.
        place: String,
        /// Why.
        why: String,
    },
    /// The address is not one of a database.
    #[error(
        "the address of the database must begin with `postgres://`, as in `postgres://wardline@db.example/wardline`"
    )]
    Address,
    /// The folder has an SQLite database, and another database was named.
    #[error(
        "{path} holds a hub on SQLite; to move it to a server make a backup (`wardline hub backup FILE`) and restore that into an empty folder with --database. Nothing was changed"
    )]
    OnSqlite {
        /// The data folder.
        path: PathBuf,
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
        // Five characters are PostgreSQL's. https://www.postgresql.org/docs/current/errcodes-appendix.html
        let code = error.as_database_error().and_then(DatabaseError::code);
        match code.as_deref() {
            Some("13" | "53100") => Self::Full,
            Some("22021") => Self::Text,
            // It shuts down or starts; it is full of connections; a lock was not given in time.
            Some("57P01" | "57P02" | "57P03" | "53300" | "55P03") => Self::Away(error),
            Some(code) if code.len() == 5 && code.starts_with("08") => Self::Away(error),
            None if matches!(error, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut) => Self::Away(error),
            _ => Self::Query(error),
        }
    }
}
