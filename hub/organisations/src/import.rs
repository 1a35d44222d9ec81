//! Carrying out an import: in short transactions, so that devices can store meanwhile.

use serde_json::json;
use wardline_kernel::audit::{self, Act};
use wardline_kernel::tree::{self, Facts, OrganisationKind, TreeError};
use wardline_kernel::{Kernel, OrganisationId, Scope, StoreError, Topic, WriteTx};

use crate::domain::{Plan, Row};

/// Organisations in one transaction.
const AT_ONCE: usize = 200;

/// What an import came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Imported {
    /// New on this hub.
    pub added: usize,
    /// Known, and something of it changed.
    pub changed: usize,
    /// Known, and now below another organisation.
    pub moved: usize,
    /// Known, and as it was.
    pub same: usize,
}

impl Imported {
    /// All that were looked at.
    pub fn all(&self) -> usize {
        self.added + self.changed + self.same
    }
}

/// The import stopped; what was imported before stays, and importing the same file again goes on from there.
#[derive(Debug, thiserror::Error)]
#[error("entry {at} could not be imported, {done} before it were: {source}")]
pub struct ImportError {
    /// The entry.
    pub at: usize,
    /// How many were done.
    pub done: usize,
    /// Why.
    #[source]
    pub source: TreeError,
}

/// Imports a plan below `under`. An organisation is known again by its code; one that names nobody above it is put
/// below `under` when it is new and stays where it is when it is known.
pub async fn import(
    kernel: &Kernel,
    scope: &Scope,
    by: &str,
    under: &OrganisationId,
    plan: &Plan,
    mut progress: impl FnMut(usize),
) -> Result<Imported, ImportError> {
    let mut imported = Imported::default();
    for rows in plan.rows.chunks(AT_ONCE) {
        let first = rows.first().map_or(0, |row| row.at);
        let failed = |at: usize, imported: &Imported, source: TreeError| ImportError {
            at,
            done: imported.all(),
            source,
        };
        let before = imported;
        let store = |error: StoreError| failed(first, &before, error.into());
        let mut tx = kernel.store().write(scope).await.map_err(store)?;
        for row in rows {
            // What failed takes its whole transaction with it.
            put(&mut tx, kernel, scope, by, under, row, &mut imported)
                .await
                .map_err(|error| failed(row.at, &before, error))?;
        }
        tx.commit().await.map_err(|error| failed(first, &before, StoreError::from(error).into()))?;
        kernel.bus().tell(under, Topic::OrganisationsChanged);
        progress(imported.all());
    }
    Ok(imported)
}

async fn put(
    tx: &mut WriteTx,
    kernel: &Kernel,
    scope: &Scope,
    by: &str,
    under: &OrganisationId,
    row: &Row,
    imported: &mut Imported,
) -> Result<(), TreeError> {
    let named = match &row.parent {
        Some(code) => Some(
            tree::by_ods(&mut **tx, scope, code)
                .await?
                .ok_or_else(|| TreeError::NoOrganisation(code.clone()))?,
        ),
        None => None,
    };
    let code = row.facts.ods.as_deref().unwrap_or_default();
    let Some(id) = tree::by_ods(&mut **tx, scope, code).await? else {
        let parent = named.as_ref().unwrap_or(under);
        add(tx, kernel, by, parent, &row.facts).await?;
        imported.added += 1;
        return Ok(());
    };
    if tree::edit(tx, scope, id.as_str(), &row.facts).await? {
        changed(tx, kernel, by, &id, &row.facts).await?;
        imported.changed += 1;
    } else {
        imported.same += 1;
    }
    if let Some(parent) = named
        && id != *scope.root()
        && tree::reparent(tx, scope, &id, &parent).await?
    {
        moved(tx, kernel, by, &id, &parent, "import").await?;
        imported.moved += 1;
    }
    Ok(())
}

fn told(facts: &Facts) -> serde_json::Value {
    let kind: OrganisationKind = facts.kind;
    json!({"name": facts.name, "kind": kind, "ods": facts.ods})
}

/// Adds one organisation, with its entry in its own new chain.
pub(crate) async fn add(
    tx: &mut WriteTx,
    kernel: &Kernel,
    by: &str,
    parent: &OrganisationId,
    facts: &Facts,
) -> Result<OrganisationId, TreeError> {
    let (id, now) = (tree::new_id(), kernel.now());
    tree::insert(tx, &id, Some(parent), facts, now).await?;
    let mut detail = told(facts);
    detail["under"] = json!(parent);
    let act = Act { actor: by.to_owned(), act: "organisation.added", target: id.to_string(), detail };
    audit::append(tx, &id, now, act).await?;
    Ok(id)
}

/// The entry for changed facts.
pub(crate) async fn changed(
    tx: &mut WriteTx,
    kernel: &Kernel,
    by: &str,
    id: &OrganisationId,
    facts: &Facts,
) -> Result<(), StoreError> {
    let act = Act {
        actor: by.to_owned(),
        act: "organisation.changed",
        target: id.to_string(),
        detail: told(facts),
    };
    audit::append(tx, id, kernel.now(), act).await?;
    Ok(())
}

/// The entry for another place in the tree.
pub(crate) async fn moved(
    tx: &mut WriteTx,
    kernel: &Kernel,
    by: &str,
    id: &OrganisationId,
    parent: &OrganisationId,
    reason: &str,
) -> Result<(), StoreError> {
    let act = Act {
        actor: by.to_owned(),
        act: "organisation.moved",
        target: id.to_string(),
        detail: json!({"under": parent, "reason": reason}),
    };
    audit::append(tx, id, kernel.now(), act).await?;
    Ok(())
}
