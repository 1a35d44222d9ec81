//! What the command line does on a hub's data folder, while the hub runs or not.

use std::path::Path;
use std::sync::Arc;

use wardline_devices::{EnrolError, TokenSpec, make_token};
use wardline_kernel::audit::{self, Broken};
use wardline_kernel::{FIRST_PERSON, Kernel, KernelConfig, OpenError, StoreError, SystemClock};
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
}

async fn open(data_dir: &Path) -> Result<Kernel, OpenError> {
    let config =
        KernelConfig { clock: Arc::new(SystemClock), ..KernelConfig::new(data_dir, rooms::migrations()) };
    Kernel::open_beside(config).await
}

/// Makes a one-time sign-in code. The link is `http://ADDRESS/signin/CODE`, with the address on which that hub's
/// console listens.
pub async fn make_link(data_dir: &Path) -> Result<String, BesideError> {
    let kernel = open(data_dir).await?;
    let code = kernel.make_link().await;
    kernel.store().close().await;
    Ok(code?)
}

/// Makes an enrolment token.
pub async fn make_enrolment_token(data_dir: &Path, spec: &TokenSpec) -> Result<EnrolmentToken, BesideError> {
    let kernel = open(data_dir).await?;
    let made = make_token(&kernel, kernel.home(), FIRST_PERSON, spec).await;
    kernel.store().close().await;
    Ok(made?.1)
}

/// Checks the audit log; gives the number of its entries, or where its chain is broken.
pub async fn verify_audit(data_dir: &Path) -> Result<Result<i64, Broken>, BesideError> {
    let kernel = open(data_dir).await?;
    let verdict = audit::verify(kernel.store().read(), kernel.home()).await;
    kernel.store().close().await;
    Ok(verdict?)
}
