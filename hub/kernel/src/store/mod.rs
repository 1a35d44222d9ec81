//! The state: a database, and the migrations that bring it to this build's version.

mod error;
mod migrations;
mod sqlite;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use wardline_event::Timestamp;

use crate::db::{Extent, Pool, WriteTx};

pub use error::StoreError;
pub use migrations::{MIGRATIONS, Migration};
pub(crate) use sqlite::create_private_folder;

/// The hub's database.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    read: Pool,
    write: Pool,
    /// Held until the store is closed; the operating system releases it with the process.
    lock: Mutex<Option<File>>,
}

impl Store {
    /// Opens the data folder of a hub, makes it if it is not there, and brings it to this build's version.
    /// Only one hub at a time can hold a folder.
    pub async fn open(folder: &Path, migrations: &[Migration], now: Timestamp) -> Result<Self, StoreError> {
        create_private_folder(folder)?;
        let lock = sqlite::lock(folder)?;
        sqlite::keep_private(folder)?;
        let store = Self::connect(folder, Some(lock), true).await?;
        store.migrate(migrations, now).await?;
        Ok(store)
    }

    /// Opens the folder of a hub that may be running, for one small change beside it.
    pub async fn open_beside(folder: &Path, migrations: &[Migration]) -> Result<Self, StoreError> {
        if !folder.join(sqlite::DATABASE).is_file() {
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
        let (read, write) = sqlite::connect(folder, create).await?;
        Ok(Self { folder: folder.to_owned(), read, write, lock: Mutex::new(lock) })
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
}
