//! A backup: one file, of either database, made while the hub runs, and restored into either.
//!
//! What is in it is of one moment. Rows go as they are, table by table; tables that later versions add go along by
//! themselves. A restore makes the tables as they were when the backup was made, fills them in one transaction, and
//! leaves the rest to the migrations.

pub mod format;
pub mod keys;

use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;
use sqlx::any::AnyTypeInfoKind;
use sqlx::{AssertSqlSafe, Row, TypeInfo, ValueRef};
use tokio_stream::StreamExt;
use wardline_event::Timestamp;

use self::format::{FormatError, Header, Piece, Reader, Writer};
use self::keys::{KeyFiles, SealError};
use crate::db::{DbConnection, DbRow, Kind, Sql};
use crate::store::{Migration, Store, StoreError};
use crate::tree;

/// Bound values of one statement at most.
const MOST_VALUES: usize = 20_000;

/// A backup could not be made or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be written.
    #[error("cannot write the backup")]
    Write(#[source] std::io::Error),
    /// The file cannot be read as a backup.
    #[error("the backup cannot be restored: {0}")]
    Format(#[from] FormatError),
    /// The passphrase.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A key file.
    #[error("cannot read {0}, without which a restored hub would lock every device out")]
    Key(PathBuf, #[source] std::io::Error),
    /// The backup has sealed keys and nobody said how to open them.
    #[error("the keys in this backup are sealed; give the passphrase in a file with --passphrase-file FILE")]
    NoPassphrase,
    /// The backup has no keys and the folder has none either.
    #[error(
        "this backup was made without the hub's keys; put the folder `keys` of that hub into {0} first, or every device has to be enrolled again"
    )]
    NoKeys(PathBuf),
    /// The folder or the database is in use.
    #[error("{0} already holds a hub; restore into an empty folder and an empty database")]
    NotEmpty(String),
    /// The backup does not fit its own schema.
    #[error("the backup cannot be restored: {0}")]
    Unfit(String),
}

/// What was written or read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Rows by table.
    pub tables: BTreeMap<String, u64>,
    /// The organisation that runs the hub.
    pub organisation: String,
    /// When the backup was made.
    pub made: Timestamp,
    /// Whether the hub's keys are in it.
    pub keys: bool,
}

impl Summary {
    /// Rows in all.
    pub fn rows(&self) -> u64 {
        self.tables.values().sum()
    }
}

/// Writes everything that the database holds, as of this moment.
pub async fn write<W: Write>(
    store: &Store,
    passphrase: Option<&str>,
    now: Timestamp,
    out: W,
    mut progress: impl FnMut(u64),
) -> Result<(W, Summary), BackupError> {
    let sealed = match passphrase {
        Some(passphrase) => {
            let files = keys::read(store.folder()).map_err(|(path, error)| BackupError::Key(path, error))?;
            Some(keys::seal(&files, passphrase)?)
        }
        None => None,
    };
    let (organisation_id, organisation) = tree::root_of(store.read())
        .await?
        .ok_or_else(|| StoreError::NoHub { path: store.folder().to_owned() })?;
    let mut snapshot = store.read().snapshot_everywhere().await?;
    let kind = store.read().kind();
    let migrations: Vec<(String, i64, String)> =
        sqlx::query_as("SELECT capability, version, digest FROM migration ORDER BY capability, version")
            .fetch_all(&mut *snapshot)
            .await
            .map_err(StoreError::from)?;
    let mut writer = Writer::new(out).map_err(BackupError::Write)?;
    let header = Header {
        made_ms: now.0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        organisation: organisation.clone(),
        organisation_id: organisation_id.to_string(),
        migrations,
        keys: sealed.is_some(),
    };
    writer.begin(&Piece::Header(header)).map_err(BackupError::Write)?;
    let mut summary = Summary { tables: BTreeMap::new(), organisation, made: now, keys: sealed.is_some() };
    if let Some(sealed) = sealed {
        writer.begin(&Piece::Keys(sealed)).map_err(BackupError::Write)?;
    }
    let mut done = 0;
    for (table, columns) in tables(&mut snapshot, kind).await? {
        let piece = Piece::Rows { table: table.clone(), columns: columns.clone() };
        writer.begin(&piece).map_err(BackupError::Write)?;
        // Names from the catalogue of our own tables.
        let sql = format!("SELECT {} FROM {table}", columns.join(", "));
        let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(&mut *snapshot);
        let mut count = 0;
        while let Some(row) = rows.next().await {
            let row = values(&row.map_err(StoreError::from)?)?;
            if writer.row(&row).map_err(BackupError::Write)? {
                writer.begin(&piece).map_err(BackupError::Write)?;
                progress(done + count);
            }
            count += 1;
        }
        done += count;
        progress(done);
        summary.tables.insert(table, count);
    }
    let (out, _) = writer.end().map_err(BackupError::Write)?;
    Ok((out, summary))
}

/// The tables of the hub, each with its columns.
async fn tables(connection: &mut DbConnection, kind: Kind) -> Result<Vec<(String, Vec<String>)>, StoreError> {
    let rows: Vec<(String, String)> = sqlx::query_as(match kind {
        Kind::Sqlite => {
            "SELECT t.name, c.name FROM sqlite_master t JOIN pragma_table_info(t.name) c \
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name <> 'migration' ORDER BY t.name, c.cid"
        }
        Kind::Postgres => {
            "SELECT CAST(c.table_name AS TEXT), CAST(c.column_name AS TEXT) FROM information_schema.columns c \
             JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name \
             WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE' AND c.table_name <> 'migration' \
             ORDER BY c.table_name, c.ordinal_position"
        }
    })
    .fetch_all(connection)
    .await?;
    let mut tables: Vec<(String, Vec<String>)> = Vec::new();
    for (table, column) in rows {
        match tables.last_mut() {
            Some((last, columns)) if *last == table => columns.push(column),
            _ => tables.push((table, vec![column])),
        }
    }
    Ok(tables)
}

/// A row's values: numbers, texts, nulls. Nothing else is stored.
fn values(row: &DbRow) -> Result<Vec<Value>, StoreError> {
    (0..row.len())
        .map(|i| {
            let value = row.try_get_raw(i)?;
            if value.is_null() {
                return Ok(Value::Null);
            }
            match value.type_info().kind() {
                kind if kind.is_integer() => Ok(Value::from(row.try_get::<i64, _>(i)?)),
                AnyTypeInfoKind::Text => Ok(Value::from(row.try_get::<String, _>(i)?)),
                _ => Err(StoreError::Corrupt { what: value.type_info().name().to_owned().leak() }),
            }
        })
        .collect()
}

/// Where a backup goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'t> {
    /// The data folder; made if it is not there.
    pub folder: &'t Path,
    /// The database server, if it is not to be a file in that folder.
    pub database: Option<&'t str>,
    /// Every room's tables.
    pub migrations: &'t [Migration],
}

/// Reads a backup from its first to its last byte: whether it is whole, and what is in it.
pub fn check(mut file: impl Read) -> Result<(Header, Summary), FormatError> {
    let mut reader = Reader::new(&mut file)?;
    let mut header = None;
    let mut tables = BTreeMap::new();
    while let Some((piece, rows)) = reader.piece()? {
        match piece {
            Piece::Header(found) => header = Some(found),
            Piece::Rows { table, .. } => *tables.entry(table).or_default() += rows.len() as u64,
            Piece::Keys(_) | Piece::End { .. } => {}
        }
    }
    let header = header.ok_or(FormatError::CutOff(0))?;
    let summary = Summary {
        tables,
        organisation: header.organisation.clone(),
        made: Timestamp(header.made_ms),
        keys: header.keys,
    };
    Ok((header, summary))
}

/// Restores a backup into an empty folder and an empty database. If it fails, both are as they were.
pub async fn restore(
    mut file: impl Read + Seek,
    passphrase: Option<&str>,
    target: Target<'_>,
    now: Timestamp,
) -> Result<Summary, BackupError> {
    // All of it is read before anything is written.
    let (header, summary) = check(&mut file)?;
    let steps = steps(&header, target.migrations)?;
    file.rewind().map_err(FormatError::Io)?;

    let folder = target.folder;
    let holds = |name: &str| folder.join(name).exists();
    if holds("hub.db") || holds(crate::store::REMEMBERED) {
        return Err(BackupError::NotEmpty(folder.display().to_string()));
    }
    let own_keys = keys::read(folder).ok();
    if own_keys.is_none() {
        match (header.keys, passphrase) {
            (true, None) => return Err(BackupError::NoPassphrase),
            (false, _) => return Err(BackupError::NoKeys(folder.to_owned())),
            _ => {}
        }
    }
    // A file is made beside its place and put there when it is whole.
    let beside = folder.join("restoring");
    if beside.exists() {
        std::fs::remove_dir_all(&beside).map_err(|source| StoreError::Folder {
            doing: "clear",
            path: beside.clone(),
            source,
        })?;
    }
    let filled = fill(file, passphrase, target, &beside, &steps, own_keys, now).await;
    let cleared = std::fs::remove_dir_all(&beside);
    filled?;
    cleared.map_err(|source| StoreError::Folder { doing: "clear", path: beside, source })?;
    Ok(summary)
}

/// The schema steps that the backup's tables have had.
fn steps(header: &Header, known: &[Migration]) -> Result<Vec<Migration>, BackupError> {
    let mut steps: Vec<Migration> = Vec::new();
    for step in known {
        let found = header
            .migrations
            .iter()
            .find(|(room, version, _)| (room.as_str(), *version) == (step.capability, step.version));
        if let Some((_, _, digest)) = found {
            if *digest != step.digest() {
                return Err(BackupError::Unfit(format!(
                    "its tables were made by another build (step `{}` {})",
                    step.capability, step.version
                )));
            }
            steps.push(*step);
        }
    }
    if steps.len() < header.migrations.len() {
        return Err(FormatError::Newer.into());
    }
    Ok(steps)
}

async fn fill(
    file: impl Read,
    passphrase: Option<&str>,
    target: Target<'_>,
    beside: &Path,
    steps: &[Migration],
    own_keys: Option<KeyFiles>,
    now: Timestamp,
) -> Result<(), BackupError> {
    let store = Store::open_bare(beside, target.database).await?;
    let key_files = load(&store, file, passphrase, steps, own_keys.is_none(), now).await;
    store.close().await;
    let key_files = key_files?;
    // The keys first: a database without them is a hub that lacks them, keys without a database are none.
    if let Some(files) = key_files {
        crate::keys::write_all(target.folder, &files)?;
    }
    match target.database {
        Some(url) => crate::store::remember(target.folder, url)?,
        None => {
            let (from, to) = (beside.join("hub.db"), target.folder.join("hub.db"));
            let moved = std::fs::rename(&from, &to);
            moved.map_err(|source| StoreError::Folder { doing: "put in place", path: to, source })?;
        }
    }
    Ok(())
}

async fn load(
    store: &Store,
    file: impl Read,
    passphrase: Option<&str>,
    steps: &[Migration],
    need_keys: bool,
    now: Timestamp,
) -> Result<Option<KeyFiles>, BackupError> {
    let kind = store.read().kind();
    let mut tx = store.write_everywhere().await?;
    if !tables(&mut tx, kind).await?.is_empty() {
        return Err(BackupError::NotEmpty("the database".into()));
    }
    store.apply(&mut tx, steps, now).await?;
    let known: BTreeMap<String, Vec<String>> = tables(&mut tx, kind).await?.into_iter().collect();
    // Rows come in any order; that they fit together is looked at when all are there.
    let later = match kind {
        Kind::Sqlite => "PRAGMA defer_foreign_keys = ON",
        Kind::Postgres => "SET CONSTRAINTS ALL DEFERRED",
    };
    sqlx::raw_sql(later).execute(&mut *tx).await.map_err(StoreError::from)?;
    let mut key_files = None;
    let mut reader = Reader::new(file)?;
    while let Some((piece, rows)) = reader.piece()? {
        match piece {
            Piece::Keys(sealed) if need_keys => {
                key_files = Some(keys::open(&sealed, passphrase.ok_or(BackupError::NoPassphrase)?)?);
            }
            Piece::Header(_) | Piece::End { .. } | Piece::Keys(_) => {}
            Piece::Rows { table, columns } => {
                let fits = known.get(&table).is_some_and(|known| columns.iter().all(|c| known.contains(c)));
                if !fits || columns.is_empty() {
                    return Err(BackupError::Unfit(format!(
                        "it has a table `{}` that its version does not have",
                        table.escape_debug()
                    )));
                }
                for chunk in rows.chunks((MOST_VALUES / columns.len()).max(1)) {
                    insert(&mut tx, &table, &columns, chunk).await?;
                }
            }
        }
    }
    tx.commit().await.map_err(StoreError::from)?;
    if need_keys && key_files.is_none() {
        return Err(BackupError::Unfit("it says that it holds keys, and does not".into()));
    }
    Ok(key_files)
}

async fn insert(
    connection: &mut DbConnection,
    table: &str,
    columns: &[String],
    rows: &[Vec<Value>],
) -> Result<(), BackupError> {
    let mut sql = Sql::new(&format!("INSERT INTO {table} ({}) ", columns.join(", ")));
    let mut odd = false;
    sql.push_values(rows, |out, row| {
        for value in row {
            match value {
                Value::Null => out.push_null(),
                Value::String(text) => out.push_bind(text.as_str()),
                other => {
                    odd |= other.as_i64().is_none();
                    out.push_bind(other.as_i64())
                }
            };
        }
    });
    if odd {
        return Err(BackupError::Unfit(format!("a row of `{table}` holds neither text nor a whole number")));
    }
    sql.build().persistent(false).execute(connection).await.map_err(StoreError::from)?;
    Ok(())
}
