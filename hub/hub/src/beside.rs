//! What the command line does on a hub's data folder, while the hub runs or not.

use std::path::Path;
use std::sync::Arc;

use wardline_devices::{EnrolError, TokenSpec, make_token};
use wardline_kernel::audit::{self, Act, Broken};
use wardline_kernel::tree;
use wardline_kernel::{
    FIRST_PERSON, Kernel, KernelConfig, OpenError, OrganisationId, Rotated, StoreError, SystemClock, auth,
};
use wardline_organisations::{Format, ImportError, Imported, Page, Plan, PlanError, Query};
use wardline_policy::Role;
use wardline_wire::EnrolmentToken;

use crate::rooms;

/// The command line could not do it.
#[derive(Debug, thiserror::Error)]
pub enum BesideError {
    /// The data folder.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The token.
    #[error(transparent)]
    Token(#[from] EnrolError),
    /// The file of organisations.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The import stopped half way.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// What was asked for could not be written down.
    #[error("the copy could not be written; what there is of it is no whole copy")]
    Write(#[source] std::io::Error),
    /// A name that cannot be kept.
    #[error("a person's name has 1 to 80 printable characters")]
    Person,
    /// Nothing has this code.
    #[error(
        "no organisation of this hub has the ODS code `{0}`; `wardline hub organisations list` shows them"
    )]
    NoOrganisation(String),
}

async fn open(data_dir: &Path) -> Result<Kernel, OpenError> {
    let config =
        KernelConfig { clock: Arc::new(SystemClock), ..KernelConfig::new(data_dir, rooms::migrations()) };
    Kernel::open_beside(config).await
}

/// Whom a sign-in link is for.
#[derive(Clone, Debug)]
pub struct Invited {
    /// Their name, as it goes into the audit log.
    pub person: String,
    /// What they may do.
    pub role: Role,
    /// ODS code of the organisation in which, and in all below it; the hub's own if not said.
    pub organisation: Option<String>,
}

impl Default for Invited {
    /// Whoever runs the hub.
    fn default() -> Self {
        Self { person: FIRST_PERSON.into(), role: Role::Administrator, organisation: None }
    }
}

/// Makes a one-time sign-in code. The link is `http://ADDRESS/signin/CODE`, with the address on which that hub's
/// console listens.
pub async fn make_link(data_dir: &Path, invited: &Invited) -> Result<String, BesideError> {
    let kernel = open(data_dir).await?;
    let code = link_for(&kernel, invited).await;
    kernel.store().close().await;
    code
}

/// The organisation with this code; the root if none is named.
async fn named(kernel: &Kernel, code: Option<&str>) -> Result<OrganisationId, BesideError> {
    let Some(code) = code else { return Ok(kernel.home().root().clone()) };
    tree::by_ods(kernel.store().read().within(kernel.home()), kernel.home(), &code.to_ascii_uppercase())
        .await?
        .ok_or_else(|| BesideError::NoOrganisation(code.to_owned()))
}

async fn link_for(kernel: &Kernel, invited: &Invited) -> Result<String, BesideError> {
    let organisation = named(kernel, invited.organisation.as_deref()).await?;
    let person = invited.person.trim();
    if person.is_empty() || person.chars().count() > 80 || person.chars().any(char::is_control) {
        return Err(BesideError::Person);
    }
    Ok(auth::make_link(kernel.store(), &organisation, person, invited.role, kernel.now()).await?)
}

/// Makes an enrolment token.
pub async fn make_enrolment_token(data_dir: &Path, spec: &TokenSpec) -> Result<EnrolmentToken, BesideError> {
    let kernel = open(data_dir).await?;
    let made = make_token(&kernel, kernel.home().root(), FIRST_PERSON, spec).await;
    kernel.store().close().await;
    Ok(made?.1)
}

/// Imports organisations from a file's text below the one with this ODS code, or below the root. With faults nothing is
/// imported unless `despite_faults`. Gives the plan and what came of it; `None` if nothing was imported.
pub async fn import_organisations(
    data_dir: &Path,
    text: &str,
    format: Format,
    under: Option<&str>,
    despite_faults: bool,
    progress: impl FnMut(usize),
) -> Result<(Plan, Option<Imported>), BesideError> {
    let kernel = open(data_dir).await?;
    let done = import(&kernel, text, format, under, despite_faults, progress).await;
    kernel.store().close().await;
    done
}

async fn import(
    kernel: &Kernel,
    text: &str,
    format: Format,
    under: Option<&str>,
    despite_faults: bool,
    progress: impl FnMut(usize),
) -> Result<(Plan, Option<Imported>), BesideError> {
    let (pool, home) = (kernel.store().read(), kernel.home());
    let under = named(kernel, under).await?;
    let known = tree::codes(pool, home).await?;
    let plan = wardline_organisations::plan(text, format, &|code| known.contains(code))?;
    if plan.faults.is_empty() || despite_faults {
        let imported =
            wardline_organisations::import(kernel, home, FIRST_PERSON, &under, &plan, progress).await?;
        return Ok((plan, Some(imported)));
    }
    Ok((plan, None))
}

/// Checks the audit log; gives the number of its entries, or where its chain is broken.
pub async fn verify_audit(data_dir: &Path) -> Result<Result<i64, Broken>, BesideError> {
    let kernel = open(data_dir).await?;
    let key = kernel.keys().audit().key();
    let verdict = audit::verify(kernel.store().read(), kernel.home(), Some(&key)).await;
    kernel.store().close().await;
    Ok(verdict?)
}

/// Makes the next key that signs commands; a hub that runs takes it up by itself. Devices obey the one before for so long.
pub async fn rotate_command_key(data_dir: &Path, overlap_ms: i64) -> Result<Rotated, BesideError> {
    let kernel = open(data_dir).await?;
    let done = rotate(&kernel, data_dir, overlap_ms).await;
    kernel.store().close().await;
    done
}

async fn rotate(kernel: &Kernel, data_dir: &Path, overlap_ms: i64) -> Result<Rotated, BesideError> {
    let now = kernel.now();
    let mut tx = kernel.store().write(kernel.home()).await?;
    let rotated = wardline_kernel::rotate_command_key(data_dir, overlap_ms, now).map_err(OpenError::from)?;
    let act = Act {
        actor: "hub".to_owned(),
        act: "command_key.rotated",
        target: rotated.to.clone(),
        detail: serde_json::json!({"from": rotated.from, "old_until_ms": rotated.old_until_ms}),
    };
    audit::append(&mut tx, kernel.home().root(), now, act).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(rotated)
}

/// The key that signs the audit log's checkpoints and copies, 64 hexadecimal digits.
pub async fn audit_key(data_dir: &Path) -> Result<String, BesideError> {
    let kernel = open(data_dir).await?;
    let key = kernel.keys().audit().key();
    kernel.store().close().await;
    Ok(key)
}

/// Writes a signed copy of the whole audit log, piece by piece; gives the number of entries.
pub async fn export_audit(
    data_dir: &Path,
    mut write: impl FnMut(&str) -> std::io::Result<()>,
) -> Result<i64, BesideError> {
    let kernel = open(data_dir).await?;
    let mut failed = None;
    let done = async {
        audit::api::taken(&kernel, kernel.home(), FIRST_PERSON).await?;
        audit::api::write_copy(&kernel, kernel.home(), kernel.organisation(), |piece| {
            failed = failed.take().or_else(|| write(&piece).err());
            std::future::ready(failed.is_none())
        })
        .await
    }
    .await;
    kernel.store().close().await;
    match failed {
        Some(error) => Err(BesideError::Write(error)),
        None => Ok(done?),
    }
}

/// Lists organisations, page by page.
pub async fn list_organisations(data_dir: &Path, query: &Query) -> Result<Page, BesideError> {
    let kernel = open(data_dir).await?;
    let page = wardline_organisations::list(kernel.store().read(), kernel.home(), query).await;
    kernel.store().close().await;
    Ok(page?)
}
