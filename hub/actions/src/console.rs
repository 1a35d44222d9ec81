//! The console's pages about actions.

use axum::Router;
use wardline_kernel::Kernel;

/// Every route of [`console`]: method and path, for the test that none of them answers a stranger.
pub const ROUTES: &[(&str, &str)] = &[];

/// The pages.
pub fn console() -> Router<Kernel> {
    Router::new()
}
