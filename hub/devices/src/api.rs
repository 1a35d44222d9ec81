//! Devices in the API.
#![allow(unused_qualifications)] // utoipa's macros write paths out in full.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wardline_kernel::views::{self, DeviceOrder, DevicePage, DevicePlace, DeviceQuery, Presence};
use wardline_kernel::{ApiError, Kernel, Problem, Session, fit_reason, tree};
use wardline_policy::{DeviceClass, KeptFlow, Mode};

use crate::domain::{DeviceDetail, TokenSpec, TokenSummary};
use crate::enrol::EnrolError;
use crate::policy::{self, Change, ChangeError};
use crate::whereabouts::{self, Whereabouts};
use crate::{enrol, link, place, store};

/// The routes.
pub fn api() -> OpenApiRouter<Kernel> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one))
        .routes(routes!(set_mode))
        .routes(routes!(set_kept))
        .routes(routes!(set_canaries))
        .routes(routes!(set_organisation))
        .routes(routes!(set_whereabouts))
        .routes(routes!(import_whereabouts))
        .routes(routes!(revoke))
        .routes(routes!(list_tokens, make_token))
        .routes(routes!(revoke_token))
}

/// Which devices to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
pub struct Filter {
    /// Only of this organisation and those below it.
    organisation: Option<String>,
    /// Only those whose name begins with this, in any case.
    name: Option<String>,
    /// `live`, `silent`, `never_connected` or `revoked`.
    #[param(inline)]
    presence: Option<Presence>,
    /// `workstation`, `server` or `clinical`.
    class: Option<String>,
    /// Only isolated ones.
    #[serde(default)]
    isolated: bool,
    /// `name` (if not said) or `silence`: those first that have not been heard for longest.
    #[serde(default)]
    #[param(inline)]
    order: DeviceOrder,
    /// `next` of the page before.
    after: Option<String>,
    /// At most this many, 1 to 500; 100 if not said.
    limit: Option<u32>,
}

/// Devices, page by page.
#[utoipa::path(get, path = "/api/v1/devices", tag = "devices", params(Filter),
    responses((status = 200, body = DevicePage), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
async fn list(
    State(kernel): State<Kernel>,
    session: Session,
    Query(filter): Query<Filter>,
) -> Result<Json<DevicePage>, ApiError> {
    let pool = kernel.store().read();
    let scope = match &filter.organisation {
        None => session.scope,
        Some(id) => tree::within(pool, &session.scope, id)
            .await?
            .ok_or_else(|| ApiError::not_found("organisation", id))?,
    };
    let after = filter.after.map(|text| {
        DevicePlace::parse(filter.order, &text).ok_or_else(|| {
            ApiError::invalid(
                format!("`{}` is no place in this list", text.escape_debug()),
                "use `next` of the page before, with the same `order`",
            )
        })
    });
    let query = DeviceQuery {
        name: filter.name,
        presence: filter.presence,
        class: filter.class,
        isolated: filter.isolated,
        order: filter.order,
        after: after.transpose()?,
        limit: filter.limit.unwrap_or(100),
    };
    Ok(Json(views::devices(pool, &scope, &query, kernel.now()).await?))
}

/// Another organisation for a device.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewPlace {
    /// The organisation's id.
    pub organisation: String,
    /// Why.
    pub reason: String,
}

/// Moves a device to another organisation within yours. What it saw stays with the one that it leaves.
#[utoipa::path(put, path = "/api/v1/devices/{id}/organisation", tag = "devices", params(("id" = String, Path)),
    request_body = NewPlace,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn set_organisation(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
    Json(wish): Json<NewPlace>,
) -> Result<StatusCode, ApiError> {
    place::move_device(&kernel, &session.scope, &session.person, &id, &wish.organisation, &wish.reason)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// One device: facts, policy, sensors, losses.
#[utoipa::path(get, path = "/api/v1/devices/{id}", tag = "devices", params(("id" = String, Path)),
    responses((status = 200, body = DeviceDetail), (status = 401, body = Problem), (status = 404, body = Problem)))]
async fn one(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
) -> Result<Json<DeviceDetail>, ApiError> {
    let device = store::detail(&kernel, &session.scope, &id).await?;
    device.map(Json).ok_or_else(|| ApiError::not_found("device", &id))
}

/// Another mode for a device.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewMode {
    /// `monitor` or `protect`.
    #[schema(value_type = String)]
    pub mode: Mode,
    /// Why.
    pub reason: String,
}

/// Whether rules may act on a device.
#[utoipa::path(put, path = "/api/v1/devices/{id}/mode", tag = "devices", params(("id" = String, Path)),
    request_body = NewMode,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
async fn set_mode(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
    Json(wish): Json<NewMode>,
) -> Result<StatusCode, ApiError> {
    let change = Change { mode: Some(wish.mode), ..Change::default() };
    policy::change(&kernel, &session.scope, &session.person, &id, change, &wish.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Other whereabouts for a device.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewWhereabouts {
    /// Where it stands and what it is, in place of what was known before.
    #[serde(flatten)]
    pub at: Whereabouts,
    /// Why.
    pub reason: String,
}

/// Where a device stands and what it is: what the limits of containment are counted by.
#[utoipa::path(put, path = "/api/v1/devices/{id}/whereabouts", tag = "devices", params(("id" = String, Path)),
    request_body = NewWhereabouts,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
async fn set_whereabouts(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
    Json(wish): Json<NewWhereabouts>,
) -> Result<StatusCode, ApiError> {
    whereabouts::change(&kernel, &session.scope, &session.person, &id, &wish.at, &wish.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A list of whereabouts.
#[derive(Debug, Deserialize, ToSchema)]
pub struct WhereaboutsList {
    /// CSV; the first line names the columns `device` (id or name), `site`, `ward`, `type`.
    pub csv: String,
    /// Why.
    pub reason: String,
}

/// What came of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Imported {
    /// Devices that changed.
    pub changed: usize,
}

/// Takes a list of whereabouts, whole or not at all.
#[utoipa::path(post, path = "/api/v1/devices/whereabouts", tag = "devices", request_body = WhereaboutsList,
    responses((status = 200, body = Imported), (status = 400, body = Problem), (status = 401, body = Problem)))]
async fn import_whereabouts(
    State(kernel): State<Kernel>,
    session: Session,
    Json(list): Json<WhereaboutsList>,
) -> Result<Json<Imported>, ApiError> {
    let changed =
        whereabouts::import(&kernel, &session.scope, &session.person, &list.csv, &list.reason).await?;
    Ok(Json(Imported { changed }))
}

/// What a device keeps when it is contained.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewKept {
    /// Flows that stay open, in place of those of before: `name`, `reason`, `direction` (`out`, `in`), `protocol`
    /// (`tcp`, `udp`), `peer` (an address or a network), `ports` (one or a range).
    #[schema(value_type = Vec<Object>)]
    pub keep_flows: Vec<KeptFlow>,
    /// Accounts that may log on while logons are suspended, in place of those of before.
    #[serde(default)]
    pub break_glass: Vec<String>,
    /// Why.
    pub reason: String,
}

/// What stays open, and for whom, when a device is contained.
#[utoipa::path(put, path = "/api/v1/devices/{id}/kept", tag = "devices", params(("id" = String, Path)),
    request_body = NewKept,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
async fn set_kept(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
    Json(wish): Json<NewKept>,
) -> Result<StatusCode, ApiError> {
    let (keep_flows, break_glass) = (Some(wish.keep_flows), Some(wish.break_glass));
    let change = Change { keep_flows, break_glass, ..Change::default() };
    policy::change(&kernel, &session.scope, &session.person, &id, change, &wish.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which folders of a device get canary files.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewCanaries {
    /// Full paths, such as `/srv/share`; `/home/*` stands for each folder in `/home`. They replace those of before; none
    /// takes all canary files away.
    pub folders: Vec<String>,
    /// Why.
    pub reason: String,
}

/// Folders that get canary files, which nobody has reason to change: who does is stopped at the first.
#[utoipa::path(put, path = "/api/v1/devices/{id}/canaries", tag = "devices", params(("id" = String, Path)),
    request_body = NewCanaries,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
async fn set_canaries(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
    Json(wish): Json<NewCanaries>,
) -> Result<StatusCode, ApiError> {
    let change = Change { canary_folders: Some(wish.folders), ..Change::default() };
    policy::change(&kernel, &session.scope, &session.person, &id, change, &wish.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NoDevice(id) => Self::not_found("device", &id),
            ChangeError::Prohibited(why) => {
                Self::invalid(why.to_string(), "say in `reason` why the policy changes")
            }
            ChangeError::Policy(why) => Self::invalid(why.to_string(), "correct it and send it again"),
            ChangeError::Reason(error) => error.into(),
            ChangeError::Store(error) => error.into(),
        }
    }
}

/// Why.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Reason {
    /// In words that others can read later.
    pub reason: String,
}

/// Forbids a device to connect. It must enrol again to come back.
#[utoipa::path(post, path = "/api/v1/devices/{id}/revoke", tag = "devices", params(("id" = String, Path)),
    request_body = Reason,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
async fn revoke(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
    Json(Reason { reason }): Json<Reason>,
) -> Result<StatusCode, ApiError> {
    let reason = fit_reason(&reason)?;
    if reason.is_empty() {
        return Err(ApiError::invalid("revoking a device needs a reason", "say in `reason` why"));
    }
    if link::revoke(&kernel, &session.scope, &session.person, &id, &reason).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("device that may connect", &id))
    }
}

/// All enrolment tokens, without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens/enrolment", tag = "access",
    responses((status = 200, body = Vec<TokenSummary>), (status = 401, body = Problem)))]
async fn list_tokens(
    State(kernel): State<Kernel>,
    session: Session,
) -> Result<Json<Vec<TokenSummary>>, ApiError> {
    Ok(Json(store::tokens(kernel.store().read(), &session.scope).await?))
}

fn one_use() -> u32 {
    1
}

fn a_day() -> u64 {
    24 * 60 * 60
}

fn workstation() -> DeviceClass {
    DeviceClass::Workstation
}

fn monitor() -> Mode {
    Mode::Monitor
}

/// A wish for an enrolment token.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewToken {
    /// The organisation that the devices join; yours if not said.
    pub organisation: Option<String>,
    /// What the devices are for: "ward PC". Empty: as the device says.
    #[serde(default)]
    pub role: String,
    /// `workstation`, `server` or `clinical`; `workstation` if not said.
    #[serde(default = "workstation")]
    #[schema(value_type = Option<String>)]
    pub class: DeviceClass,
    /// `monitor` or `protect`; `monitor` if not said.
    #[serde(default = "monitor")]
    #[schema(value_type = Option<String>)]
    pub mode: Mode,
    /// How many devices may use it; 1 if not said.
    #[serde(default = "one_use")]
    pub uses: u32,
    /// How long it can be used, in seconds; a day if not said.
    #[serde(default = "a_day")]
    pub life_s: u64,
}

/// A fresh enrolment token.
#[derive(Debug, Serialize, ToSchema)]
pub struct Token {
    /// Its id, by which it is revoked.
    pub id: String,
    /// The token: `wardline1.…`. Shown this once.
    pub token: String,
}

/// Makes an enrolment token.
#[utoipa::path(post, path = "/api/v1/tokens/enrolment", tag = "access", request_body = NewToken,
    responses((status = 201, body = Token), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
async fn make_token(
    State(kernel): State<Kernel>,
    session: Session,
    Json(wish): Json<NewToken>,
) -> Result<(StatusCode, Json<Token>), ApiError> {
    let spec = TokenSpec {
        role: wish.role,
        class: wish.class,
        mode: wish.mode,
        uses: wish.uses,
        life_s: wish.life_s,
    };
    let pool = kernel.store().read();
    let organisation = match &wish.organisation {
        None => session.scope.root().clone(),
        Some(id) => tree::find(pool.within(&session.scope), &session.scope, id)
            .await?
            .ok_or_else(|| ApiError::not_found("organisation", id))?,
    };
    let (id, token) =
        enrol::make_token(&kernel, &organisation, &session.person, &spec).await.map_err(|e| match e {
            EnrolError::Store(error) => error.into(),
            other => ApiError::invalid(other.to_string(), "ask for a token within these bounds"),
        })?;
    Ok((StatusCode::CREATED, Json(Token { id, token: token.to_string() })))
}

/// Revokes an enrolment token. Devices that enrolled with it stay.
#[utoipa::path(delete, path = "/api/v1/tokens/enrolment/{id}", tag = "access", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem)))]
async fn revoke_token(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if enrol::revoke_token(&kernel, &session.scope, &session.person, &id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("enrolment token", &id))
    }
}
