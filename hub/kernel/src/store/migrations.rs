//! The schema's steps.

use sqlx::Row;
use wardline_event::Timestamp;

use super::{Store, StoreError, sqlite};
use crate::clock::sha256_hex;

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
        capability: "notices",
        version: 1,
        name: "notices",
        sql: include_str!("../../migrations/notices_0001.sql"),
    },
];

impl Store {
    /// The steps that the database does not have yet; refuses a database that is newer than this build.
    pub(super) async fn missing<'a>(
        &self,
        migrations: &'a [Migration],
    ) -> Result<Vec<&'a Migration>, StoreError> {
        let known_tables: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'migration'",
        )
        .fetch_one(self.read.everywhere())
        .await
        .map_err(|source| StoreError::Open { path: self.folder.join(sqlite::DATABASE), source })?;
        if known_tables == 0 {
            return Ok(migrations.iter().collect());
        }
        let rows =
            sqlx::query("SELECT capability, version, digest FROM migration ORDER BY capability, version")
                .fetch_all(self.read.everywhere())
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

    pub(super) async fn migrate(&self, migrations: &[Migration], now: Timestamp) -> Result<(), StoreError> {
        let missing = self.missing(migrations).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let mut tx = self.write_everywhere().await?;
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
