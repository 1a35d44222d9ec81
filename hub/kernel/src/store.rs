//! The state: one SQLite database in the data folder, its lock, and its migrations.
//!
//! Reads come from a pool of connections that cannot write; writes go through one connection, one transaction
//! at a time, begun with `BEGIN IMMEDIATE`. So no transaction ever fails half way because another one wrote
//! first, and a second process (`wardline hub link`) waits its turn.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row, Sqlite, Transaction};
use wardline_event::Timestamp;

use crate::clock::sha256_hex;

/// A transaction that may write.
pub type WriteTx = Transaction<'static, Sqlite>;

/// One step of one capability's schema. Never changed once released; the next change is the next version.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// The room it belongs to: `kernel`, `devices`, …
    pub capability: &'static str,
    /// 1, 2, 3, … within the capability.
    pub version: i64,
    /// What it does, in a word or two.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

/// The kernel's own tables.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        capability: "kernel",
        version: 1,
        name: "kernel",
        sql: include_str!("../migrations/0001_kernel.sql"),
    },
    Migration {
        capability: "kernel",
        version: 2,
        name: "audit log is append-only",
        sql: include_str!("../migrations/0002_audit_append_only.sql"),
    },
    Migration {
        capability: "kernel",
        version: 3,
        name: "organisations are a tree",
        sql: include_str!("../migrations/0003_organisations.sql"),
    },
    Migration {
        capability: "kernel",
        version: 4,
        name: "roles",
        sql: include_str!("../migrations/0004_roles.sql"),
    },
];

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

/// The hub's database.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    read: SqlitePool,
    write: SqlitePool,
    /// Held until the store is closed; the operating system releases it with the process.
    lock: Mutex<Option<File>>,
}

/// Name of the database within the data folder.
const DATABASE: &str = "hub.db";

impl Store {
    /// Opens the data folder of a hub, makes it if it is not there, and brings it to this build's version.
    /// Only one hub at a time can hold a folder.
    pub async fn open(folder: &Path, migrations: &[Migration], now: Timestamp) -> Result<Self, StoreError> {
        create_private_folder(folder)?;
        let lock = lock(folder)?;
        keep_private(folder)?;
        let store = Self::connect(folder, Some(lock), true).await?;
        store.migrate(migrations, now).await?;
        Ok(store)
    }

    /// Opens the folder of a hub that may be running, for one small change beside it.
    pub async fn open_beside(folder: &Path, migrations: &[Migration]) -> Result<Self, StoreError> {
        if !folder.join(DATABASE).is_file() {
            return Err(StoreError::NoHub { path: folder.to_owned() });
        }
        let store = Self::connect(folder, None, false).await?;
        if store.missing(migrations).await?.is_empty() {
            Ok(store)
        } else {
            Err(StoreError::NoHub { path: folder.to_owned() })
        }
    }

    async fn connect(folder: &Path, lock: Option<File>, create: bool) -> Result<Self, StoreError> {
        let file = folder.join(DATABASE);
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(create)
            .journal_mode(SqliteJournalMode::Wal)
            // An acknowledged batch must survive a power cut: with WAL, only FULL waits for the disk at commit.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10));
        let opened = |source| StoreError::Open { path: file.clone(), source };
        let pool = |max| {
            SqlitePoolOptions::new()
                .max_connections(max)
                .min_connections(1)
                .idle_timeout(None)
                .max_lifetime(None)
                .acquire_timeout(Duration::from_secs(30))
        };
        let write = pool(1).connect_with(options.clone()).await.map_err(opened)?;
        let read = pool(4).connect_with(options.pragma("query_only", "1")).await.map_err(opened)?;
        Ok(Self { folder: folder.to_owned(), read, write, lock: Mutex::new(lock) })
    }

    /// Where reads go. A connection from here refuses to write.
    pub fn read(&self) -> &SqlitePool {
        &self.read
    }

    /// Begins a transaction that may write. It is rolled back unless it is committed.
    pub async fn write(&self) -> Result<WriteTx, StoreError> {
        Ok(self.write.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// The data folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Closes the database and lets go of the folder; pending reads and writes end first.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The steps that the database does not have yet; refuses a database that is newer than this build.
    async fn missing<'a>(&self, migrations: &'a [Migration]) -> Result<Vec<&'a Migration>, StoreError> {
        let known_tables: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'migration'",
        )
        .fetch_one(&self.read)
        .await
        .map_err(|source| StoreError::Open { path: self.folder.join(DATABASE), source })?;
        if known_tables == 0 {
            return Ok(migrations.iter().collect());
        }
        let rows =
            sqlx::query("SELECT capability, version, digest FROM migration ORDER BY capability, version")
                .fetch_all(&self.read)
                .await?;
        let mut done = Vec::with_capacity(rows.len());
        for row in rows {
            let (capability, version): (String, i64) = (row.get(0), row.get(1));
            let digest: String = row.get(2);
            let Some(ours) = migrations.iter().find(|m| m.capability == capability && m.version == version)
            else {
                let known = migrations.iter().filter(|m| m.capability == capability);
                return Err(StoreError::Newer {
                    path: self.folder.clone(),
                    known: known.map(|m| m.version).max().unwrap_or(0),
                    capability,
                    found: version,
                });
            };
            if digest != sha256_hex(ours.sql.as_bytes()) {
                return Err(StoreError::Differs {
                    path: self.folder.clone(),
                    capability: ours.capability,
                    version,
                });
            }
            done.push((capability, version));
        }
        let is_done = |m: &&Migration| done.iter().any(|(c, v)| c == m.capability && *v == m.version);
        Ok(migrations.iter().filter(|m| !is_done(m)).collect())
    }

    async fn migrate(&self, migrations: &[Migration], now: Timestamp) -> Result<(), StoreError> {
        let missing = self.missing(migrations).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let mut tx = self.write().await?;
        sqlx::query(
            "CREATE TABLE IF NOT EXISTS migration (capability TEXT NOT NULL, version BIGINT NOT NULL, \
             name TEXT NOT NULL, digest TEXT NOT NULL, applied_ms BIGINT NOT NULL, \
             PRIMARY KEY (capability, version))",
        )
        .execute(&mut *tx)
        .await?;
        for step in missing {
            sqlx::raw_sql(step.sql).execute(&mut *tx).await.map_err(|error| {
                match StoreError::from(error) {
                    StoreError::Query(source) => {
                        StoreError::Migrate { capability: step.capability, version: step.version, source }
                    }
                    full => full,
                }
            })?;
            sqlx::query(
                "INSERT INTO migration (capability, version, name, digest, applied_ms) \
                 VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(step.capability)
            .bind(step.version)
            .bind(step.name)
            .bind(sha256_hex(step.sql.as_bytes()))
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }
}

/// Makes a folder that only its owner may enter, if it is not there.
pub(crate) fn create_private_folder(folder: &Path) -> Result<(), StoreError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|source| StoreError::Folder {
        doing: "create",
        path: folder.to_owned(),
        source,
    })
}

/// Makes the database readable for its owner only, whatever the folder and the umask allow. SQLite gives the files
/// that it makes beside the database the database's own mode.
fn keep_private(folder: &Path) -> Result<(), StoreError> {
    let names = [DATABASE.to_owned(), format!("{DATABASE}-wal"), format!("{DATABASE}-shm")];
    for (i, path) in names.iter().map(|name| folder.join(name)).enumerate() {
        let failed = |source| StoreError::Folder { doing: "protect", path: path.clone(), source };
        // An empty file is an empty database.
        match private_file(i == 0, &path) {
            Ok(_) => {}
            Err(error) if i > 0 && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

/// Opens a file that only its owner may read and write, whoever could before.
fn private_file(create: bool, path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.create(create).truncate(false).read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
    }
    Ok(file)
}

fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join("hub.lock");
    let failed = |source| StoreError::Folder { doing: "lock", path: path.clone(), source };
    let file = private_file(true, &path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse { path: folder.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}
