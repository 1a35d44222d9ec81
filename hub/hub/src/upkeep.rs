//! Looking after a hub's data: migrate, back up, restore, examine.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use wardline_kernel::audit::{self, Broken};
use wardline_kernel::backup::{self, BackupError, Summary, Target};
use wardline_kernel::db::Kind;
use wardline_kernel::{Clock, KeyError, Keys, Migration, Scope, Store, StoreError, SystemClock, tree};

use crate::rooms;

/// The steps that a data folder's database lacks, without taking them.
pub async fn lacking(data_dir: &Path) -> Result<Vec<Migration>, StoreError> {
    let store = Store::open_as_is(data_dir).await?;
    let missing = store.missing(&rooms::migrations()).await;
    store.close().await;
    missing
}

/// Brings a data folder's database to this build's version, while no hub runs on it; gives the steps that were taken.
pub async fn migrate(data_dir: &Path, database: Option<&str>) -> Result<Vec<Migration>, StoreError> {
    let (store, taken) =
        Store::open_and_tell(data_dir, database, &rooms::migrations(), SystemClock.now()).await?;
    store.close().await;
    Ok(taken)
}

/// A backup was not made or not restored.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The tables are of an older version.
    #[error(
        "the hub's database is of an older version; bring it to this one first with `wardline hub migrate`"
    )]
    Older,
    /// A file is in the way.
    #[error("{0} exists already; give the backup another name")]
    Exists(PathBuf),
    /// A file cannot be used.
    #[error("cannot {doing} {path}")]
    File {
        /// `create`, `open`, …
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Backs a hub up into one file, while it runs or not. With a passphrase its keys go along, sealed.
pub async fn back_up(
    data_dir: &Path,
    file: &Path,
    passphrase: Option<&str>,
    progress: impl FnMut(u64),
) -> Result<Summary, UpkeepError> {
    if file.exists() {
        return Err(UpkeepError::Exists(file.to_owned()));
    }
    let failed = |doing| move |source| UpkeepError::File { doing, path: file.to_owned(), source };
    let store = Store::open_as_is(data_dir).await?;
    match store.missing(&rooms::migrations()).await {
        Ok(missing) if missing.is_empty() => {}
        told => {
            store.close().await;
            return Err(told.err().map_or(UpkeepError::Older, UpkeepError::Store));
        }
    }
    // Written beside its place: a file of that name is a whole backup.
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = file.with_file_name(name);
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = async {
        let out = BufWriter::new(options.open(&partial).map_err(failed("create"))?);
        let (out, summary) = backup::write(&store, passphrase, SystemClock.now(), out, progress).await?;
        let out = out.into_inner().map_err(|error| failed("write")(error.into_error()))?;
        out.sync_all().map_err(failed("write"))?;
        std::fs::hard_link(&partial, file).map_err(failed("create"))?;
        Ok(summary)
    };
    let summary = written.await;
    store.close().await;
    let _ = std::fs::remove_file(&partial);
    summary
}

/// Reads a backup from its first to its last byte.
pub fn check_backup(file: &Path) -> Result<Summary, UpkeepError> {
    let opened = File::open(file).map_err(|source| UpkeepError::File {
        doing: "open",
        path: file.to_owned(),
        source,
    })?;
    Ok(backup::check(BufReader::new(opened)).map_err(BackupError::from)?.1)
}

/// Restores a backup into an empty folder, or an empty database on a server; brings it to this build's version and
/// follows the audit log's chains.
pub async fn restore(
    file: &Path,
    data_dir: &Path,
    database: Option<&str>,
    passphrase: Option<&str>,
) -> Result<(Summary, Result<i64, Broken>), UpkeepError> {
    let opened = File::open(file).map_err(|source| UpkeepError::File {
        doing: "open",
        path: file.to_owned(),
        source,
    })?;
    let (migrations, now) = (rooms::migrations(), SystemClock.now());
    let target = Target { folder: data_dir, database, migrations: &migrations };
    let summary = backup::restore(BufReader::new(opened), passphrase, target, now).await?;
    let store = Store::open(data_dir, database, &migrations, now).await?;
    // A backup without a passphrase holds no keys.
    let keys = Keys::open(data_dir, None).ok();
    let verdict = follow(&store, keys.as_ref()).await;
    store.close().await;
    Ok((summary, verdict?))
}

async fn follow(store: &Store, keys: Option<&Keys>) -> Result<Result<i64, Broken>, StoreError> {
    let Some((root, _)) = tree::root_of(store.read()).await? else { return Ok(Ok(0)) };
    let key = keys.map(|keys| keys.audit().key());
    audit::verify(store.read(), &Scope::within(root), key.as_deref()).await
}

/// How a hub's data is.
#[derive(Debug)]
pub struct Look {
    /// Where: the folder, or the server's address without its password.
    pub place: PathBuf,
    /// Which database.
    pub kind: Kind,
    /// The database's own word on itself; what is wrong with it otherwise.
    pub database: Result<String, StoreError>,
    /// Steps that it lacks.
    pub lacking: Result<Vec<Migration>, StoreError>,
    /// Tables that PostgreSQL does not keep apart by organisation.
    pub unfenced: Result<Vec<String>, StoreError>,
    /// Entries of the audit log, or where its chain is broken.
    pub audit: Result<Result<i64, Broken>, StoreError>,
    /// The hub's keys can be read.
    pub keys: Result<(), KeyError>,
}

/// Examines a hub's data, while it runs or not. Changes nothing.
pub async fn look(data_dir: &Path) -> Result<Look, StoreError> {
    let store = Store::open_as_is(data_dir).await?;
    let keys = Keys::open(data_dir, None);
    let look = Look {
        place: store.place(),
        kind: store.read().kind(),
        database: store.examine().await,
        lacking: store.missing(&rooms::migrations()).await,
        unfenced: store.unfenced().await,
        audit: follow(&store, keys.as_ref().ok()).await,
        keys: keys.map(drop),
    };
    store.close().await;
    Ok(look)
}
