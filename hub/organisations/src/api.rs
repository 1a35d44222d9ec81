//! Organisations in the API.
#![allow(unused_qualifications)] // utoipa's macros write paths out in full.

use axum::Json;
use axum::extract::{Path, Query as Asked, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wardline_kernel::tree::{self, Facts, Organisation, OrganisationKind};
use wardline_kernel::{ApiError, Kernel, Problem, Session};

use crate::manage;
use crate::store::{self, Order, Page, Place, Query};

/// The routes.
pub fn api() -> OpenApiRouter<Kernel> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(one, change)).routes(routes!(put_under))
}

#[derive(Debug, Deserialize, IntoParams)]
struct Filter {
    /// Only those whose name begins with this, in any case, or that have this ODS code.
    text: Option<String>,
    /// Only of this kind.
    #[param(inline)]
    kind: Option<OrganisationKind>,
    /// Only those directly below this organisation.
    parent: Option<String>,
    /// `name` (if not said) or `ods`.
    #[serde(default)]
    #[param(inline)]
    order: Order,
    /// `next` of the page before.
    after: Option<String>,
    /// At most this many, 1 to 500; 100 if not said.
    limit: Option<u32>,
}

/// Organisations, page by page: yours and all below it.
#[utoipa::path(get, path = "/api/v1/organisations", tag = "organisations", params(Filter),
    responses((status = 200, body = Page), (status = 400, body = Problem), (status = 401, body = Problem)))]
async fn list(
    State(kernel): State<Kernel>,
    session: Session,
    Asked(filter): Asked<Filter>,
) -> Result<Json<Page>, ApiError> {
    let after = filter.after.map(|text| {
        Place::parse(&text).ok_or_else(|| {
            ApiError::invalid(
                format!("`{}` is no place in this list", text.escape_debug()),
                "use `next` of the page before, with the same `order`",
            )
        })
    });
    let query = Query {
        text: filter.text,
        kind: filter.kind,
        parent: filter.parent,
        order: filter.order,
        after: after.transpose()?,
        limit: filter.limit.unwrap_or(100),
    };
    Ok(Json(store::list(kernel.store().read(), &session.scope, &query).await?))
}

/// What is known of an organisation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFacts {
    /// Its name.
    pub name: String,
    /// What kind it is.
    pub kind: OrganisationKind,
    /// Its code of the Organisation Data Service, if it has one.
    pub ods: Option<String>,
    /// Where it is.
    #[serde(default)]
    pub town: String,
    /// Its postcode.
    #[serde(default)]
    pub postcode: String,
}

impl NewFacts {
    fn facts(self) -> Facts {
        let Self { name, kind, ods, town, postcode } = self;
        Facts { name, kind, ods, town, postcode }
    }
}

/// A new organisation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrganisation {
    /// The organisation above it; yours if not said.
    pub parent: Option<String>,
    /// What is known of it.
    pub facts: NewFacts,
}

/// An organisation that was added.
#[derive(Debug, Serialize, ToSchema)]
pub struct Added {
    /// Its id.
    pub id: String,
}

/// Adds an organisation.
#[utoipa::path(post, path = "/api/v1/organisations", tag = "organisations", request_body = NewOrganisation,
    responses((status = 201, body = Added), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn create(
    State(kernel): State<Kernel>,
    session: Session,
    Json(wish): Json<NewOrganisation>,
) -> Result<(StatusCode, Json<Added>), ApiError> {
    let parent = wish.parent.as_deref().unwrap_or(session.scope.id());
    let id = manage::add(&kernel, &session.scope, &session.person, parent, wish.facts.facts()).await?;
    Ok((StatusCode::CREATED, Json(Added { id: id.to_string() })))
}

/// One organisation.
#[utoipa::path(get, path = "/api/v1/organisations/{id}", tag = "organisations", params(("id" = String, Path)),
    responses((status = 200, body = Organisation), (status = 401, body = Problem), (status = 404, body = Problem)))]
async fn one(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
) -> Result<Json<Organisation>, ApiError> {
    let found = tree::organisation(kernel.store().read(), &session.scope, &id).await?;
    let mut found = found.ok_or_else(|| ApiError::not_found("organisation", &id))?;
    // Who is above the top of what somebody may see is not theirs to know.
    found.parent = found.parent.filter(|_| found.id != session.scope.id());
    Ok(Json(found))
}

/// Changes what is known of an organisation.
#[utoipa::path(put, path = "/api/v1/organisations/{id}", tag = "organisations", params(("id" = String, Path)),
    request_body = NewFacts,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn change(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
    Json(facts): Json<NewFacts>,
) -> Result<StatusCode, ApiError> {
    manage::change(&kernel, &session.scope, &session.person, &id, facts.facts()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Another place in the tree.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewParent {
    /// The organisation that it is put under.
    pub parent: String,
    /// Why.
    pub reason: String,
}

/// Puts an organisation, with all below it, under another one.
#[utoipa::path(put, path = "/api/v1/organisations/{id}/parent", tag = "organisations",
    params(("id" = String, Path)), request_body = NewParent,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn put_under(
    State(kernel): State<Kernel>,
    session: Session,
    Path(id): Path<String>,
    Json(wish): Json<NewParent>,
) -> Result<StatusCode, ApiError> {
    manage::put_under(&kernel, &session.scope, &session.person, &id, &wish.parent, &wish.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}
