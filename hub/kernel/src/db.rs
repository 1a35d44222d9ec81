//! The database as rooms see it: the same names and the same SQL, whether it is SQLite or PostgreSQL.
//!
//! Reading needs to say on whose behalf: [`Pool::within`] a scope, or [`Pool::everywhere`] for the few statements by
//! which somebody gains one. SQLite answers a statement as it stands. PostgreSQL has a second fence: it shows a
//! connection only the rows that lie within what was said, whatever the statement forgot.

use std::pin::Pin;
use std::task::{Context, Poll};

use sqlx::any::{AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::{Any, AnyConnection, AnyPool, Either, Execute, SqlStr, Transaction};
use tokio_stream::{Stream, StreamExt};

use crate::scope::{OrganisationId, Scope};
use crate::store::StoreError;

pub use crate::sql::{Sql, Values};

/// Either database, as sqlx's type.
pub type Db = Any;
/// A row of it.
pub type DbRow = AnyRow;
/// A connection to it.
pub type DbConnection = AnyConnection;
/// A transaction that may write; rolled back unless it is committed.
pub type WriteTx = Transaction<'static, Db>;
/// A transaction that reads, all of one moment.
pub type Snapshot = Transaction<'static, Db>;

/// What a statement can be run on: [`Pool::within`] something, or a transaction (`&mut *tx`).
pub trait Executor<'c>: sqlx::Executor<'c, Database = Db> {}
impl<'c, T: sqlx::Executor<'c, Database = Db>> Executor<'c> for T {}

/// Which of the two it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A file in the data folder.
    Sqlite,
    /// A server, which several hubs may share.
    Postgres,
}

/// On whose behalf: a scope, or one organisation.
pub trait Extent: Sync {
    /// The id of the organisation at its top.
    fn extent(&self) -> &str;
}

impl Extent for Scope {
    fn extent(&self) -> &str {
        self.id()
    }
}

impl Extent for OrganisationId {
    fn extent(&self) -> &str {
        self.as_str()
    }
}

/// A text as every database can keep it: PostgreSQL takes no NUL characters.
pub fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// What no organisation is called: everything.
const EVERYWHERE: &str = "*";

/// Where reads go. A connection from here refuses to write.
#[derive(Clone, Debug)]
pub struct Pool {
    kind: Kind,
    inner: AnyPool,
}

impl Pool {
    pub(crate) fn new(kind: Kind, inner: AnyPool) -> Self {
        Self { kind, inner }
    }

    /// Which database it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Runs one statement within an organisation and all below it.
    pub fn within<'p>(&'p self, extent: &'p impl Extent) -> Reader<'p> {
        Reader { pool: self, extent: extent.extent() }
    }

    /// Runs one statement within no organisation: only for how somebody gains a scope, and for the hub's own upkeep.
    /// A test holds the list of who may.
    pub fn everywhere(&self) -> Reader<'_> {
        Reader { pool: self, extent: EVERYWHERE }
    }

    /// Begins to read within an organisation and all below it, all of one moment.
    pub async fn snapshot(&self, extent: &impl Extent) -> Result<Snapshot, StoreError> {
        self.begin_snapshot(extent.extent()).await
    }

    /// Begins to read everything, all of one moment.
    pub async fn snapshot_everywhere(&self) -> Result<Snapshot, StoreError> {
        self.begin_snapshot(EVERYWHERE).await
    }

    async fn begin_snapshot(&self, extent: &str) -> Result<Snapshot, StoreError> {
        match self.kind {
            Kind::Sqlite => Ok(self.inner.begin().await?),
            Kind::Postgres => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                begin_scoped(&self.inner, begin, "SELECT set_config('wardline.within', $1, true)", extent)
                    .await
            }
        }
    }

    /// Begins to write, as the only one: on SQLite by its lock, on PostgreSQL by one lock that every hub takes.
    pub(crate) async fn begin_write(&self, extent: Option<&str>) -> Result<WriteTx, StoreError> {
        match self.kind {
            Kind::Sqlite => Ok(self.inner.begin_with("BEGIN IMMEDIATE").await?),
            Kind::Postgres => {
                // Each statement sees what was committed before it began: after the lock, everything.
                let enter = "SELECT set_config('wardline.within', $1, true), \
                     CAST(pg_advisory_xact_lock(6287978104612474181) AS TEXT)";
                begin_scoped(&self.inner, "BEGIN", enter, extent.unwrap_or(EVERYWHERE)).await
            }
        }
    }

    pub(crate) async fn close(&self) {
        self.inner.close().await;
    }
}

/// Connections that a restarted server has left dead are tried in turn, and one more.
const TRIES: usize = 10;

/// The server ended this connection, or it broke.
fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(why) => why
            .code()
            .is_some_and(|code| code.starts_with("57P") || (code.len() == 5 && code.starts_with("08"))),
        _ => false,
    }
}

async fn begin_scoped(
    pool: &AnyPool,
    begin: &'static str,
    enter: &'static str,
    extent: &str,
) -> Result<Transaction<'static, Db>, StoreError> {
    let mut tries = 0;
    loop {
        let begun = async {
            let mut tx = pool.begin_with(begin).await?;
            sqlx::query(enter).bind(extent).fetch_one(&mut *tx).await?;
            Ok(tx)
        };
        match begun.await {
            Ok(tx) => return Ok(tx),
            Err(error) if is_lost(&error) && tries < TRIES => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

type BoxFuture<'e, T> = Pin<Box<dyn Future<Output = T> + Send + 'e>>;
type BoxStream<'e, T> = Pin<Box<dyn Stream<Item = T> + Send + 'e>>;

/// Runs one statement on behalf of somebody.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'p> {
    pool: &'p Pool,
    extent: &'p str,
}

impl Reader<'_> {
    /// A connection that shows what this reader may see.
    async fn connection(&self) -> Result<sqlx::pool::PoolConnection<Db>, sqlx::Error> {
        let mut tries = 0;
        loop {
            let mut connection = self.pool.inner.acquire().await?;
            if self.pool.kind == Kind::Sqlite {
                return Ok(connection);
            }
            let said = sqlx::query("SELECT set_config('wardline.within', $1, false)")
                .bind(self.extent)
                .fetch_one(&mut *connection);
            match said.await {
                Ok(_) => return Ok(connection),
                Err(error) if is_lost(&error) && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

impl<'c> sqlx::Executor<'c> for Reader<'c> {
    type Database = Db;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Db>,
    {
        // Lists have limits: they are read whole, and the connection is free again.
        let steps = async move {
            let mut connection = self.connection().await?;
            let mut stream = sqlx::Executor::fetch_many(&mut *connection, query);
            let mut steps = Vec::new();
            while let Some(step) = stream.next().await {
                steps.push(step?);
            }
            Ok(steps)
        };
        Box::pin(Whole { reading: Some(Box::pin(steps)), steps: Vec::new().into_iter() })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Db>,
    {
        Box::pin(async move { sqlx::Executor::fetch_optional(&mut *self.connection().await?, query).await })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            sqlx::Executor::prepare_with(&mut *self.connection().await?, sql, parameters).await
        })
    }
}

type Step = Either<AnyQueryResult, AnyRow>;

/// A stream of what is read first and given then.
struct Whole<'e> {
    reading: Option<BoxFuture<'e, Result<Vec<Step>, sqlx::Error>>>,
    steps: std::vec::IntoIter<Step>,
}

impl Stream for Whole<'_> {
    type Item = Result<Step, sqlx::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(reading) = &mut self.reading {
            match reading.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(read) => {
                    self.reading = None;
                    match read {
                        Ok(steps) => self.steps = steps.into_iter(),
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    }
                }
            }
        }
        Poll::Ready(self.steps.next().map(Ok))
    }
}
