//! The console's pages about devices.

pub mod list;
pub mod page;
#[cfg(test)]
mod samples;

use axum::Router;
use axum::extract::{Form, Path};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use wardline_kernel::page::{Section, Visit, action_row};
use wardline_kernel::views::{self, ActionQuery, FindingQuery};
use wardline_kernel::{ApiError, Kernel};
use wardline_policy::Mode;

use self::list::ListPage;
use self::page::DevicePage;
use crate::policy::{self, Change};
use crate::store;

/// Every route of [`console`]: method and path, for the test that none of them answers a stranger.
pub const ROUTES: &[(&str, &str)] =
    &[("GET", "/devices"), ("GET", "/devices/{id}"), ("POST", "/devices/{id}/mode")];

/// Findings and actions on a device's page.
const MOST_FINDINGS: u32 = 10;
const MOST_ACTIONS: u32 = 5;

/// The pages.
pub fn console() -> Router<Kernel> {
    Router::new()
        .route("/devices", get(list))
        .route("/devices/{id}", get(one))
        .route("/devices/{id}/mode", post(set_mode))
}

async fn list(visit: Visit) -> Response {
    let devices = views::devices(visit.kernel.store().read(), &visit.session.scope, visit.now).await;
    let result = devices
        .map(|devices| visit.page(Section::Devices, "Devices", &ListPage::of(&devices, visit.now)))
        .map_err(ApiError::from);
    visit.answer(Section::Devices, result)
}

async fn one(visit: Visit, Path(id): Path<String>) -> Response {
    let result = read_one(&visit, &id).await.map(|(name, page)| visit.page(Section::Devices, &name, &page));
    visit.answer(Section::Devices, result)
}

async fn read_one(visit: &Visit, id: &str) -> Result<(String, DevicePage), ApiError> {
    let (pool, scope) = (visit.kernel.store().read(), &visit.session.scope);
    let device =
        store::detail(&visit.kernel, scope, id).await?.ok_or_else(|| ApiError::not_found("device", id))?;
    let on_it = FindingQuery { device: Some(id.to_owned()), limit: MOST_FINDINGS, ..FindingQuery::default() };
    let findings = views::findings(pool, scope, &on_it).await?;
    let of_it = ActionQuery { device: Some(id.to_owned()), limit: MOST_ACTIONS, ..ActionQuery::default() };
    let actions = views::actions(pool, scope, &of_it).await?;
    let actions = actions.iter().map(|a| action_row(a, visit.now)).collect();
    let page = DevicePage::of(&device, &findings, actions, visit.now);
    Ok((device.summary.hostname, page))
}

/// What the form for a device's mode sends.
#[derive(Debug, Deserialize)]
struct NewMode {
    mode: String,
    #[serde(default)]
    reason: String,
}

async fn set_mode(visit: Visit, Path(id): Path<String>, Form(wish): Form<NewMode>) -> Response {
    let result = async {
        let mode = match wish.mode.as_str() {
            "protect" => Mode::Protect,
            "monitor" => Mode::Monitor,
            _ => return Err(ApiError::invalid("no mode was chosen", "go back and choose one")),
        };
        let change = Change { mode: Some(mode), class: None };
        policy::change(
            &visit.kernel,
            &visit.session.scope,
            &visit.session.person,
            &id,
            change,
            wish.reason.trim(),
        )
        .await?;
        Ok(visit.done(&format!("/devices/{id}"), "policy"))
    };
    visit.answer(Section::Devices, result.await)
}
