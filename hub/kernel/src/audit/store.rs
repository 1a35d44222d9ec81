//! The audit log's tables: one chain for each organisation. Entries are appended and looked for here.

use sqlx::Row;
use wardline_event::Timestamp;

use super::{Act, Entry, GENESIS, link};
use crate::db::{DbRow, Pool, Sql, WriteTx};
use crate::scope::{OrganisationId, Reach, Scope};
use crate::store::StoreError;

/// Appends an entry in the transaction of the act itself: neither is ever stored without the other. It stands in the
/// chain of the organisation that was acted on, whoever acted.
pub async fn append(
    tx: &mut WriteTx,
    organisation: &OrganisationId,
    now: Timestamp,
    act: Act,
) -> Result<Entry, StoreError> {
    let organisation = organisation.as_str();
    let head: Option<(i64, String)> =
        sqlx::query_as("SELECT number, hash FROM audit_head WHERE organisation = $1")
            .bind(organisation)
            .fetch_optional(&mut **tx)
            .await?;
    let (number, previous) = head.unwrap_or((0, GENESIS.to_owned()));
    let entry = link(organisation, number + 1, previous, now, act);
    sqlx::query(
        "INSERT INTO audit (organisation, number, time_ms, actor, act, target, detail, previous, hash) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(organisation)
    .bind(entry.number)
    .bind(entry.time_ms)
    .bind(&entry.actor)
    .bind(&entry.act)
    .bind(&entry.target)
    .bind(&entry.detail)
    .bind(&entry.previous)
    .bind(&entry.hash)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "INSERT INTO audit_head (organisation, number, hash) VALUES ($1, $2, $3) \
         ON CONFLICT (organisation) DO UPDATE SET number = excluded.number, hash = excluded.hash",
    )
    .bind(organisation)
    .bind(entry.number)
    .bind(&entry.hash)
    .execute(&mut **tx)
    .await?;
    Ok(entry)
}

macro_rules! columns {
    () => {
        "organisation, number, time_ms, actor, act, target, detail, previous, hash"
    };
}
pub(super) use columns;

pub(super) fn entry(row: &DbRow) -> Entry {
    Entry {
        organisation: row.get("organisation"),
        number: row.get("number"),
        time_ms: row.get("time_ms"),
        actor: row.get("actor"),
        act: row.get("act"),
        target: row.get("target"),
        detail: row.get("detail"),
        previous: row.get("previous"),
        hash: row.get("hash"),
    }
}

/// A place in the log of a subtree: the last entry of the page before. As text: `TIME_MS-ORGANISATION-NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    time_ms: i64,
    organisation: String,
    number: i64,
}

impl Place {
    /// The place of an entry.
    pub fn of(entry: &Entry) -> Self {
        Self { time_ms: entry.time_ms, organisation: entry.organisation.clone(), number: entry.number }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (time, organisation, number) = (parts.next()?, parts.next()?, parts.next()?);
        let plain = organisation.len() <= 32 && organisation.bytes().all(|b| b.is_ascii_alphanumeric());
        (plain && parts.next().is_none()).then_some(Self {
            time_ms: time.parse().ok()?,
            organisation: organisation.to_owned(),
            number: number.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}-{}", self.time_ms, self.organisation, self.number)
    }
}

/// What is looked for in the log. Each part that is not empty narrows it down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Who: a part of the name.
    pub actor: String,
    /// What was done: the dotted name or its beginning, `device` or `device.revoked`.
    pub act: String,
    /// To what: the id.
    pub target: String,
    /// Not before this time, in milliseconds since 1970 (UTC).
    pub from_ms: Option<i64>,
    /// Before this time.
    pub until_ms: Option<i64>,
    /// Only entries after this place.
    pub after: Option<Place>,
}

/// A pattern for LIKE that takes the text as it is, in small letters.
fn like(before: &str, text: &str) -> String {
    let text = text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("{before}{text}%")
}

/// The newest entries that fit, newest first, at most `limit`.
pub async fn list(pool: &Pool, scope: &Scope, search: &Search, limit: i64) -> Result<Vec<Entry>, StoreError> {
    let reach = scope.reach(pool).await?;
    let mut sql = Sql::new(concat!("SELECT ", columns!(), " FROM audit WHERE "));
    scope.filter(&mut sql, "audit", reach);
    for (column, before, text) in [("actor", "%", &search.actor), ("act", "", &search.act)] {
        if !text.is_empty() {
            sql.push(" AND lower(").push(column).push(") LIKE ").push_bind(like(before, text));
            sql.push(" ESCAPE '\\'");
        }
    }
    if !search.target.is_empty() {
        sql.push(" AND target = ").push_bind(search.target.as_str());
    }
    if let Some(from) = search.from_ms {
        sql.push(" AND time_ms >= ").push_bind(from);
    }
    if let Some(until) = search.until_ms {
        sql.push(" AND time_ms < ").push_bind(until);
    }
    match (reach, &search.after) {
        (_, None) => {}
        (Reach::One, Some(place)) => {
            sql.push(" AND number < ").push_bind(place.number);
        }
        (Reach::Many, Some(place)) => {
            sql.push(" AND (time_ms, organisation, number) < (").push_bind(place.time_ms);
            sql.push(", ").push_bind(place.organisation.as_str());
            sql.push(", ").push_bind(place.number).push(")");
        }
    }
    sql.push(match reach {
        Reach::One => " ORDER BY number DESC LIMIT ",
        Reach::Many => " ORDER BY time_ms DESC, organisation DESC, number DESC LIMIT ",
    });
    sql.push_bind(limit);
    Ok(sql.build().fetch_all(pool.within(scope)).await?.iter().map(entry).collect())
}
