//! The schema's steps.

use sqlx::{AssertSqlSafe, Row};
use wardline_event::Timestamp;

use super::{Store, StoreError, postgres};
use crate::clock::sha256_hex;
use crate::db::{DbConnection, Executor, Kind, WriteTx};

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
        sql: include_str!("../../migrations/0001_kernel.sql"),
    },
    Migration {
        capability: "kernel",
        version: 2,
        name: "audit log is append-only",
        sql: include_str!("../../migrations/0002_audit_append_only.sql"),
    },
    Migration {
        capability: "kernel",
        version: 3,
        name: "organisations are a tree",
        sql: include_str!("../../migrations/0003_organisations.sql"),
    },
    Migration {
        capability: "kernel",
        version: 4,
        name: "roles",
        sql: include_str!("../../migrations/0004_roles.sql"),
    },
    Migration {
        capability: "kernel",
        version: 5,
        name: "signed checkpoints of the audit log",
        sql: include_str!("../../migrations/0005_audit_checkpoint.sql"),
    },
    Migration {
        capability: "notices",
        version: 1,
        name: "notices",
        sql: include_str!("../../migrations/notices_0001.sql"),
    },
];

impl Migration {
    /// SHA-256 over its statements, in hexadecimal: by it a step is known again in either database.
    pub fn digest(&self) -> String {
        sha256_hex(self.sql.as_bytes())
    }
}

impl Store {
    /// Whether the database has tables of a hub.
    pub(super) async fn is_made<'e>(&self, database: impl Executor<'e>) -> Result<bool, StoreError> {
        let tables: i64 = sqlx::query_scalar(match self.read.kind() {
            Kind::Sqlite => "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'migration'",
            Kind::Postgres => {
                "SELECT CAST(COUNT(*) AS BIGINT) FROM information_schema.tables \
                 WHERE table_schema = current_schema() AND table_name = 'migration'"
            }
        })
        .fetch_one(database)
        .await?;
        Ok(tables > 0)
    }

    /// The steps that the database does not have yet; refuses a database that is newer than this build.
    pub async fn missing(&self, migrations: &[Migration]) -> Result<Vec<Migration>, StoreError> {
        let mut connection = self.read.snapshot_everywhere().await?;
        self.missing_in(&mut connection, migrations).await
    }

    async fn missing_in(
        &self,
        connection: &mut DbConnection,
        migrations: &[Migration],
    ) -> Result<Vec<Migration>, StoreError> {
        let made = self.is_made(&mut *connection).await.map_err(|error| match error {
            StoreError::Query(source) => StoreError::Open { path: self.place(), source },
            other => other,
        })?;
        if !made {
            return Ok(migrations.to_vec());
        }
        let rows =
            sqlx::query("SELECT capability, version, digest FROM migration ORDER BY capability, version")
                .fetch_all(connection)
                .await?;
        let mut done = Vec::with_capacity(rows.len());
        for row in rows {
            let (capability, version): (String, i64) = (row.get(0), row.get(1));
            let digest: String = row.get(2);
            let Some(ours) = migrations.iter().find(|m| m.capability == capability && m.version == version)
            else {
                let known = migrations.iter().filter(|m| m.capability == capability);
                return Err(StoreError::Newer {
                    path: self.place(),
                    known: known.map(|m| m.version).max().unwrap_or(0),
                    capability,
                    found: version,
                });
            };
            if digest != ours.digest() {
                return Err(StoreError::Differs { path: self.place(), capability: ours.capability, version });
            }
            done.push((capability, version));
        }
        let is_done = |m: &&Migration| done.iter().any(|(c, v)| c == m.capability && *v == m.version);
        Ok(migrations.iter().filter(|m| !is_done(m)).copied().collect())
    }

    /// Brings the database to this build's version; gives the steps that were taken.
    pub async fn migrate(
        &self,
        migrations: &[Migration],
        now: Timestamp,
    ) -> Result<Vec<Migration>, StoreError> {
        if self.missing(migrations).await?.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.write_everywhere().await?;
        // Another hub on the same database may have taken them while this one waited.
        let missing = self.missing_in(&mut tx, migrations).await?;
        self.apply(&mut tx, &missing, now).await?;
        tx.commit().await?;
        Ok(missing)
    }

    /// Takes these steps in a transaction.
    pub(crate) async fn apply(
        &self,
        tx: &mut WriteTx,
        steps: &[Migration],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "CREATE TABLE IF NOT EXISTS migration (capability TEXT NOT NULL, version BIGINT NOT NULL, \
             name TEXT NOT NULL, digest TEXT NOT NULL, applied_ms BIGINT NOT NULL, \
             PRIMARY KEY (capability, version))",
        )
        .execute(&mut **tx)
        .await?;
        for step in steps {
            let sql = match self.read.kind() {
                Kind::Sqlite => step.sql.to_owned(),
                Kind::Postgres => postgres::statements(step),
            };
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **tx).await.map_err(
                |error| match StoreError::from(error) {
                    StoreError::Query(source) => {
                        StoreError::Migrate { capability: step.capability, version: step.version, source }
                    }
                    full => full,
                },
            )?;
            sqlx::query(
                "INSERT INTO migration (capability, version, name, digest, applied_ms) \
                 VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(step.capability)
            .bind(step.version)
            .bind(step.name)
            .bind(step.digest())
            .bind(now.0)
            .execute(&mut **tx)
            .await?;
        }
        if self.read.kind() == Kind::Postgres {
            postgres::fence(tx).await?;
        }
        Ok(())
    }
}
