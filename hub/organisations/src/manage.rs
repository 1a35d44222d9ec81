//! Adding, changing and moving one organisation.

use wardline_kernel::tree::{self, Facts, TreeError};
use wardline_kernel::{Kernel, OrganisationId, Scope, StoreError, Topic, fit_reason};

use crate::import;

async fn find(kernel: &Kernel, scope: &Scope, id: &str) -> Result<OrganisationId, TreeError> {
    let found = tree::find(kernel.store().read().within(scope), scope, id).await?;
    found.ok_or_else(|| TreeError::NoOrganisation(id.to_owned()))
}

/// Adds an organisation below another one; gives its id.
pub async fn add(
    kernel: &Kernel,
    scope: &Scope,
    by: &str,
    parent: &str,
    facts: Facts,
) -> Result<OrganisationId, TreeError> {
    let facts = facts.fit()?;
    let parent = find(kernel, scope, parent).await?;
    let mut tx = kernel.store().write(scope).await?;
    let id = import::add(&mut tx, kernel, by, &parent, &facts).await?;
    tx.commit().await.map_err(StoreError::from)?;
    kernel.bus().tell(&parent, Topic::OrganisationsChanged);
    Ok(id)
}

/// Changes what is known of an organisation.
pub async fn change(
    kernel: &Kernel,
    scope: &Scope,
    by: &str,
    id: &str,
    facts: Facts,
) -> Result<(), TreeError> {
    let facts = facts.fit()?;
    let id = find(kernel, scope, id).await?;
    let mut tx = kernel.store().write(scope).await?;
    if tree::edit(&mut tx, scope, id.as_str(), &facts).await? {
        import::changed(&mut tx, kernel, by, &id, &facts).await?;
        tx.commit().await.map_err(StoreError::from)?;
        kernel.bus().tell(&id, Topic::OrganisationsChanged);
    }
    Ok(())
}

/// Puts an organisation, with all below it, under another one. Who may see it changes with it.
pub async fn put_under(
    kernel: &Kernel,
    scope: &Scope,
    by: &str,
    id: &str,
    parent: &str,
    reason: &str,
) -> Result<(), TreeError> {
    let reason = fit_reason(reason).map_err(|error| TreeError::Fact(error.to_string()))?;
    if reason.is_empty() {
        return Err(TreeError::Fact(
            "moving an organisation needs a reason that others can read later".into(),
        ));
    }
    let (id, parent) = (find(kernel, scope, id).await?, find(kernel, scope, parent).await?);
    let mut tx = kernel.store().write(scope).await?;
    if tree::reparent(&mut tx, scope, &id, &parent).await? {
        import::moved(&mut tx, kernel, by, &id, &parent, &reason).await?;
        tx.commit().await.map_err(StoreError::from)?;
        kernel.bus().tell(&id, Topic::OrganisationsChanged);
    }
    Ok(())
}
