//! PostgreSQL: a server that several hubs may share.
//!
//! It keeps what SQLite gives: one writer at a time (a lock that every writing transaction takes), reads that cannot write,
//! texts in the order of their bytes, an audit log that only grows. And it adds a second fence: a connection sees and
//! writes only rows of organisations within what was said for it (`wardline.within`); before anything was said, none.

use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Row};

use super::{Migration, StoreError};
use crate::db::{DbConnection, Kind, Pool};

/// The oldest version that these statements were tried with is 13.
const OLDEST: i64 = 130_000;

/// A hub that hangs must not hold up all others for ever.
const WRITING: &str = "SET application_name = 'wardline hub'; SET client_min_messages = warning; \
     SET synchronous_commit = on; SET lock_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s'";
const READING: &str = "SET application_name = 'wardline hub (reads)'; SET client_min_messages = warning; \
     SET default_transaction_read_only = on; SET idle_in_transaction_session_timeout = '60s'";

/// Migrations that PostgreSQL has in its own words: whose, which, and the words.
const OWN_WORDS: &[(&str, i64, &str)] =
    &[("kernel", 2, include_str!("../../migrations/0002_audit_append_only.postgres.sql"))];

/// Where a database is, in words that hold no password.
pub(super) fn place(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    format!("postgres://{}", rest.split('?').next().unwrap_or_default())
}

/// Opens the database: where reads go, and where writes go.
pub(super) async fn connect(url: &str) -> Result<(Pool, Pool), StoreError> {
    sqlx::any::install_default_drivers();
    let opened = |source| StoreError::Connect { place: place(url), source };
    let options: AnyConnectOptions = url.parse().map_err(opened)?;
    // A pool would try again and again; one connection says at once what is wrong.
    let mut first = DbConnection::connect_with(&options).await.map_err(opened)?;
    let facts = sqlx::query(
        "SELECT CAST(current_setting('server_version_num') AS BIGINT), current_setting('server_encoding'), \
         CAST(current_user AS TEXT), (SELECT CAST(COUNT(*) AS BIGINT) FROM pg_roles r \
         WHERE r.rolname = current_user AND (r.rolsuper OR r.rolbypassrls))",
    );
    let row = facts.fetch_one(&mut first).await.map_err(opened)?;
    let unfit = |why: String| StoreError::Unfit { place: place(url), why };
    if row.get::<i64, _>(0) < OLDEST {
        return Err(unfit("the server is older than PostgreSQL 13".into()));
    }
    if row.get::<String, _>(1) != "UTF8" {
        return Err(unfit("its encoding is not UTF8; make one with `createdb --encoding=UTF8`".into()));
    }
    if row.get::<i64, _>(3) > 0 {
        let role: String = row.get(2);
        return Err(unfit(format!(
            "the role `{role}` is a superuser or bypasses row-level security, which keeps organisations apart; make one of \
             its own with `createuser wardline` and `createdb --owner=wardline wardline`"
        )));
    }
    first.close().await.map_err(opened)?;
    let pool = |max, begin: &'static str| {
        AnyPoolOptions::new()
            .max_connections(max)
            .min_connections(1)
            .idle_timeout(None)
            .acquire_timeout(Duration::from_secs(10))
            // What is asked first says whether the connection still lives.
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                Box::pin(async move { sqlx::raw_sql(begin).execute(connection).await.map(drop) })
            })
            .connect_with(options.clone())
    };
    let write = pool(1, WRITING).await.map_err(opened)?;
    let read = pool(6, READING).await.map_err(opened)?;
    Ok((Pool::new(Kind::Postgres, read), Pool::new(Kind::Postgres, write)))
}

/// A migration's statements for PostgreSQL. Most are portable; two things are said more exactly: texts are compared and
/// ordered by their bytes, as in SQLite, and references can be checked at the end of a transaction, for a restore.
pub(super) fn statements(step: &Migration) -> String {
    let own =
        OWN_WORDS.iter().find(|(room, version, _)| (*room, *version) == (step.capability, step.version));
    if let Some((_, _, sql)) = own {
        return (*sql).to_owned();
    }
    let mut out = String::with_capacity(step.sql.len() * 2);
    let (mut last, mut before) = ("", "");
    for word in step.sql.split_inclusive([' ', '\n']) {
        let name = word.trim_end().trim_end_matches([',', ';', ')']);
        let rest = &word[name.len()..];
        out.push_str(name);
        if name == "TEXT" && last != "AS" {
            out.push_str(" COLLATE \"C\"");
        }
        // `(id)` of `REFERENCES organisation (id)`.
        match rest.strip_prefix(')').filter(|_| before == "REFERENCES" && name.starts_with('(')) {
            Some(rest) => {
                out.push_str(") DEFERRABLE");
                out.push_str(rest);
            }
            None => out.push_str(rest),
        }
        if !word.trim_end().is_empty() {
            (before, last) = (last, name);
        }
    }
    out
}

const TABLES: &str = "SELECT CAST(c.table_name AS TEXT) FROM information_schema.columns c JOIN information_schema.tables t \
     ON t.table_schema = c.table_schema AND t.table_name = c.table_name \
     WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE' \
     AND c.column_name IN ('organisation', 'left_organisation') ORDER BY 1";

/// Tables of organisations without a fence that also holds for their owner.
pub(super) async fn unfenced(pool: &Pool) -> Result<Vec<String>, StoreError> {
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(pool.everywhere()).await?;
    let fenced: Vec<String> = sqlx::query_scalar(
        "SELECT CAST(c.relname AS TEXT) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = current_schema() AND c.relrowsecurity AND c.relforcerowsecurity \
         AND EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid)",
    )
    .fetch_all(pool.everywhere())
    .await?;
    Ok(tables.into_iter().filter(|table| !fenced.contains(table)).collect())
}

/// Puts the second fence around every table that belongs to organisations, new ones among them.
pub(super) async fn fence(connection: &mut DbConnection) -> Result<(), StoreError> {
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&mut *connection).await?;
    for table in tables {
        let rule = if table == "device_move" {
            // A move is seen from where the device left and from where it came to.
            let (left, joined) =
                (within("device_move.left_organisation"), within("device_move.joined_organisation"));
            format!("{left} OR {joined}")
        } else {
            within(&format!("{table}.organisation"))
        };
        // Names from the catalogue of our own tables. FORCE: the owner is held to it as well.
        let sql = format!(
            "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; ALTER TABLE {table} FORCE ROW LEVEL SECURITY; \
             DROP POLICY IF EXISTS within ON {table}; \
             CREATE POLICY within ON {table} USING ({rule}) WITH CHECK ({rule})"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    }
    Ok(())
}

fn within(column: &str) -> String {
    let said = "(SELECT current_setting('wardline.within', true))";
    format!(
        "({said} = '*' OR {column} = {said} OR EXISTS (SELECT 1 FROM organisation_below fence \
         WHERE fence.above = {said} AND fence.below = {column}))"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portable_statements_become_exact_ones() {
        let step = |sql| Migration { capability: "test", version: 1, name: "t", sql };
        for (portable, exact) in [
            ("a TEXT NOT NULL,\n b TEXT\n", "a TEXT COLLATE \"C\" NOT NULL,\n b TEXT COLLATE \"C\"\n"),
            ("c TEXT, d BIGINT", "c TEXT COLLATE \"C\", d BIGINT"),
            ("(a TEXT)", "(a TEXT COLLATE \"C\")"),
            ("CAST(x AS TEXT)", "CAST(x AS TEXT)"),
            ("p TEXT REFERENCES o (id),", "p TEXT COLLATE \"C\" REFERENCES o (id) DEFERRABLE,"),
            ("p TEXT REFERENCES o (id);", "p TEXT COLLATE \"C\" REFERENCES o (id) DEFERRABLE;"),
            ("PRIMARY KEY (a, b)", "PRIMARY KEY (a, b)"),
            ("SUM(x) AS y FROM t (id)", "SUM(x) AS y FROM t (id)"),
        ] {
            assert_eq!(statements(&step(portable)), exact);
        }
    }

    #[test]
    fn a_place_holds_no_password() {
        for (url, said) in [
            ("postgres://wardline:se@cret@db.example/hub?sslmode=verify-full", "postgres://db.example/hub"),
            ("postgresql:///hub?host=/run/postgresql", "postgres:///hub"),
            ("nonsense", "postgres://nonsense"),
        ] {
            assert_eq!(place(url), said);
        }
    }
}
