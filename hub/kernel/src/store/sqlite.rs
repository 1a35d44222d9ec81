//! SQLite: one file in the data folder, with its lock.
//!
//! Reads come from connections that cannot write; writes go through one connection, one transaction at a time, begun with
//! `BEGIN IMMEDIATE`. So no transaction ever fails half way because another one wrote first, and a second process
//! (`wardline hub link`) waits its turn.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::{REMEMBERED, StoreError};
use crate::db::{DbConnection, Kind, Pool};

/// Name of the database within the data folder.
pub(super) const DATABASE: &str = "hub.db";

/// An acknowledged batch must survive a power cut: with WAL, only FULL waits for the disk at commit.
const WRITING: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
     PRAGMA foreign_keys = ON";
const READING: &str = "PRAGMA busy_timeout = 10000; PRAGMA foreign_keys = ON; PRAGMA query_only = 1";

/// Opens the database: where reads go, and where writes go.
pub(super) async fn connect(folder: &Path, create: bool) -> Result<(Pool, Pool), StoreError> {
    sqlx::any::install_default_drivers();
    let file = folder.join(DATABASE);
    let opened = |source| StoreError::Open { path: file.clone(), source };
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(create);
    let options = AnyConnectOptions::from_url(&options.to_url_lossy()).map_err(opened)?;
    // A pool would try again and again to open what is no database; one connection says at once what is wrong.
    let mut first = DbConnection::connect_with(&options).await.map_err(opened)?;
    sqlx::raw_sql(WRITING).execute(&mut first).await.map_err(opened)?;
    first.close().await.map_err(opened)?;
    let pool = |max, begin: &'static str| {
        AnyPoolOptions::new()
            .max_connections(max)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(Duration::from_secs(30))
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                Box::pin(async move { sqlx::raw_sql(begin).execute(connection).await.map(drop) })
            })
            .connect_with(options.clone())
    };
    let write = pool(1, WRITING).await.map_err(opened)?;
    let read = pool(4, READING).await.map_err(opened)?;
    Ok((Pool::new(Kind::Sqlite, read), Pool::new(Kind::Sqlite, write)))
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
pub(super) fn keep_private(folder: &Path, make: bool) -> Result<(), StoreError> {
    let names =
        [DATABASE.to_owned(), format!("{DATABASE}-wal"), format!("{DATABASE}-shm"), REMEMBERED.to_owned()];
    for (i, path) in names.iter().map(|name| folder.join(name)).enumerate() {
        let failed = |source| StoreError::Folder { doing: "protect", path: path.clone(), source };
        // An empty file is an empty database.
        match private_file(make && i == 0, &path) {
            Ok(_) => {}
            Err(error) if !(make && i == 0) && error.kind() == std::io::ErrorKind::NotFound => {}
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

pub(super) fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join("hub.lock");
    let failed = |source| StoreError::Folder { doing: "lock", path: path.clone(), source };
    let file = private_file(true, &path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse { path: folder.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let fresh = path.with_extension("new");
    let mut file = private_file(true, &fresh)?;
    file.set_len(0)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(fresh, path)
}
