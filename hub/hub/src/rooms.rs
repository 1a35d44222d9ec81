//! The rooms of this hub. A new capability is one line in each list.

use axum::Router;
use utoipa::openapi::path::PathItem;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{InfoBuilder, License, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use wardline_kernel::{Kernel, Migration};

/// Every room's tables, the kernel's first.
pub fn migrations() -> Vec<Migration> {
    [
        wardline_kernel::store::MIGRATIONS,
        wardline_devices::MIGRATIONS,
        wardline_incidents::MIGRATIONS,
        wardline_actions::MIGRATIONS,
    ]
    .concat()
}

/// The API of every room, with its description.
pub(crate) fn api() -> (Router<Kernel>, OpenApi) {
    let info = InfoBuilder::new()
        .title("Wardline hub")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Devices, events, findings and actions of an organisation and all below it. Times are milliseconds since 1970 in \
             UTC. Every call needs `Authorization: Bearer TOKEN` or the console's session.",
        ))
        .license(Some(License::new("Apache-2.0")));
    let (routes, mut openapi) = OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info.build()).build())
        .merge(wardline_kernel::api::api())
        .merge(wardline_organisations::api())
        .merge(wardline_devices::api())
        .merge(wardline_incidents::api())
        .merge(wardline_actions::api())
        .merge(crate::api::api())
        .split_for_parts();
    for (path, item) in &mut openapi.paths.paths {
        name_calls(path, item);
    }
    let token = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let session = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(wardline_kernel::auth::COOKIE)));
    let components = openapi.components.get_or_insert_default();
    components.add_security_scheme("token", token);
    components.add_security_scheme("session", session);
    let none: [&str; 0] = [];
    openapi.security =
        Some(vec![SecurityRequirement::new("token", none), SecurityRequirement::new("session", none)]);
    (routes, openapi)
}

/// Gives each call an id that no other has: method and path, `get_findings_id_tree`.
fn name_calls(path: &str, item: &mut PathItem) {
    let words: Vec<&str> =
        path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).skip(2).collect();
    let words = words.join("_");
    for (method, call) in [
        ("get", &mut item.get),
        ("put", &mut item.put),
        ("post", &mut item.post),
        ("delete", &mut item.delete),
    ] {
        if let Some(call) = call {
            call.operation_id = Some(format!("{method}_{words}"));
        }
    }
}

/// The description of the API.
pub fn openapi() -> OpenApi {
    api().1
}

/// The console's pages of every room.
pub(crate) fn console() -> Router<Kernel> {
    Router::new()
        .merge(wardline_kernel::auth::console())
        .merge(wardline_kernel::live::console())
        .merge(wardline_kernel::page::console())
        .merge(wardline_organisations::console::console())
        .merge(wardline_devices::console::console())
        .merge(wardline_incidents::console::console())
        .merge(wardline_actions::console::console())
}
