//! The state: a database, and the migrations that bring it to this build's version.
//!
//! It is a file in the data folder ([SQLite](sqlite)), or on a server ([PostgreSQL](postgres)); the folder remembers which.

mod error;
mod migrations;
mod postgres;
mod sqlite;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use wardline_event::Timestamp;

use crate::db::{Extent, Kind, Pool, WriteTx};

pub use error::StoreError;
pub use migrations::{MIGRATIONS, Migration};
pub(crate) use sqlite::{create_private_folder, write_private};

/// The hub's database.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    /// The server's address without its password; a file otherwise.
    server: Option<String>,
    read: Pool,
    write: Pool,
    /// Held until the store is closed; the operating system releases it with the process.
    lock: Mutex<Option<File>>,
}

/// Name of the file that says which database server the hub of this folder uses.
pub(crate) const REMEMBERED: &str = "database";

/// The database server that this folder's hub uses; `None`: a file in the folder.
fn remembered(folder: &Path) -> Result<Option<String>, StoreError> {
    let path = folder.join(REMEMBERED);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Folder { doing: "read", path, source }),
    }
}

/// Notes which database server this folder's hub uses. Its owner alone may read it: there may be a password in it.
pub(crate) fn remember(folder: &Path, url: &str) -> Result<(), StoreError> {
    let path = folder.join(REMEMBERED);
    write_private(&path, format!("{url}\n").as_bytes()).map_err(|source| StoreError::Folder {
        doing: "write",
        path,
        source,
    })
}

fn is_address(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

impl Store {
    /// Opens the data folder of a hub, makes it if it is not there, and brings its database to this build's version.
    /// Only one hub at a time can hold a folder. `database`: the address of a server, which the folder then remembers;
    /// if it is not given, what the folder remembers, or else a file in it.
    pub async fn open(
        folder: &Path,
        database: Option<&str>,
        migrations: &[Migration],
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        Ok(Self::open_and_tell(folder, database, migrations, now).await?.0)
    }

    /// As [`Store::open`]; tells the schema steps that were taken.
    pub async fn open_and_tell(
        folder: &Path,
        database: Option<&str>,
        migrations: &[Migration],
        now: Timestamp,
    ) -> Result<(Self, Vec<Migration>), StoreError> {
        let known = remembered(folder)?;
        let url = database.or(known.as_deref());
        if url.is_some() && folder.join(sqlite::DATABASE).exists() {
            return Err(StoreError::OnSqlite { path: folder.to_owned() });
        }
        let store = Self::open_bare(folder, url).await?;
        let taken = match store.migrate(migrations, now).await {
            Ok(taken) => taken,
            Err(error) => {
                store.close().await;
                return Err(error);
            }
        };
        if let Some(url) = database.filter(|url| known.as_deref() != Some(*url)) {
            remember(folder, url)?;
        }
        Ok((store, taken))
    }

    /// Opens a folder, makes it if it is not there, and leaves the database as it is.
    pub(crate) async fn open_bare(folder: &Path, url: Option<&str>) -> Result<Self, StoreError> {
        create_private_folder(folder)?;
        let lock = sqlite::lock(folder)?;
        sqlite::keep_private(folder, url.is_none())?;
        Self::connect(folder, url, Some(lock), true).await
    }

    /// Opens the folder of a hub that may be running, for one small change beside it.
    pub async fn open_beside(folder: &Path, migrations: &[Migration]) -> Result<Self, StoreError> {
        let store = Self::open_as_is(folder).await?;
        if store.missing(migrations).await?.is_empty() {
            Ok(store)
        } else {
            Err(StoreError::NoHub { path: folder.to_owned() })
        }
    }

    /// Opens the folder of a hub that may be running, of whatever version.
    pub async fn open_as_is(folder: &Path) -> Result<Self, StoreError> {
        let url = remembered(folder)?;
        if url.is_none() && !folder.join(sqlite::DATABASE).is_file() {
            return Err(StoreError::NoHub { path: folder.to_owned() });
        }
        Self::connect(folder, url.as_deref(), None, false).await
    }

    async fn connect(
        folder: &Path,
        url: Option<&str>,
        lock: Option<File>,
        create: bool,
    ) -> Result<Self, StoreError> {
        let (read, write) = match url {
            None => sqlite::connect(folder, create).await?,
            Some(url) if is_address(url) => postgres::connect(url).await?,
            Some(_) => return Err(StoreError::Address),
        };
        let server = url.map(postgres::place);
        Ok(Self { folder: folder.to_owned(), server, read, write, lock: Mutex::new(lock) })
    }

    /// Where reads go. A connection from here refuses to write.
    pub fn read(&self) -> &Pool {
        &self.read
    }

    /// Begins a transaction that may write within an organisation and all below it. It is rolled back unless it is
    /// committed.
    pub async fn write(&self, within: &impl Extent) -> Result<WriteTx, StoreError> {
        self.write.begin_write(Some(within.extent())).await
    }

    /// Begins a transaction that may write anything: only for how somebody gains a scope, and for the hub's own upkeep.
    pub async fn write_everywhere(&self) -> Result<WriteTx, StoreError> {
        self.write.begin_write(None).await
    }

    /// The database's own word on how it is; an error if something is wrong with it.
    pub async fn examine(&self) -> Result<String, StoreError> {
        Ok(match self.read.kind() {
            Kind::Sqlite => {
                let word: String =
                    sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(self.read.everywhere()).await?;
                if word != "ok" {
                    return Err(StoreError::Corrupt { what: "database file" });
                }
                "SQLite, and its file is whole".to_owned()
            }
            Kind::Postgres => {
                let version: String = sqlx::query_scalar("SELECT current_setting('server_version')")
                    .fetch_one(self.read.everywhere())
                    .await?;
                format!("PostgreSQL {version}")
            }
        })
    }

    /// Tables of organisations that PostgreSQL does not keep apart; on SQLite the statements alone do.
    pub async fn unfenced(&self) -> Result<Vec<String>, StoreError> {
        match self.read.kind() {
            Kind::Sqlite => Ok(Vec::new()),
            Kind::Postgres => postgres::unfenced(&self.read).await,
        }
    }

    /// The data folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the data is, for people: the folder, or the server's address without its password.
    pub fn place(&self) -> PathBuf {
        match (&self.server, self.read.kind()) {
            (Some(server), Kind::Postgres) => PathBuf::from(server),
            _ => self.folder.clone(),
        }
    }

    /// Closes the database and lets go of the folder; pending reads and writes end first.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
