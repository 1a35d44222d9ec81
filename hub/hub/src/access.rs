//! Every route and what whoever uses it does. Who may do that, the policies say (`core/policy/policies`).
//!
//! The door reads this table: a route that is missing from it answers nobody, and a test fails until it is here and in
//! the test's own table of who may.

use wardline_kernel::auth::Access;
use wardline_policy::Deed::{
    CancelOrder, EnrolDevices, HandleFindings, Look, ManageOrganisations, ManageTokens, MoveDevice, Order,
    Own, ReadAudit, RevokeDevice, SetDevicePolicy,
};

/// Method, path as it is routed, and the deed.
pub const ACCESS: &[Access] = &[
    // The console.
    ("GET", "/signin", Own),
    ("GET", "/signin/{code}", Own),
    ("POST", "/signin/{code}", Own),
    ("GET", "/assets/{name}", Own),
    ("POST", "/signout", Own),
    ("POST", "/theme", Own),
    ("GET", "/live", Look),
    ("GET", "/", Look),
    ("GET", "/findings", Look),
    ("GET", "/findings/{id}", Look),
    ("GET", "/findings/{id}/evidence.json", Look),
    ("POST", "/findings/{id}/state", HandleFindings),
    ("GET", "/devices", Look),
    ("GET", "/devices.csv", Look),
    ("GET", "/devices/{id}", Look),
    ("POST", "/devices/{id}/mode", SetDevicePolicy),
    ("POST", "/devices/{id}/organisation", MoveDevice),
    ("GET", "/actions", Look),
    ("POST", "/actions", Order),
    ("POST", "/actions/{id}/cancel", CancelOrder),
    ("GET", "/organisations", Look),
    ("GET", "/organisations.csv", Look),
    ("POST", "/organisations", ManageOrganisations),
    ("GET", "/organisations/{id}", Look),
    ("POST", "/organisations/{id}", ManageOrganisations),
    ("POST", "/organisations/{id}/parent", ManageOrganisations),
    ("GET", "/audit", ReadAudit),
    // The API.
    ("GET", "/api/v1/status", Look),
    ("GET", "/api/v1/openapi.json", Look),
    ("GET", "/api/v1/stream", Look),
    ("GET", "/api/v1/events", Look),
    ("GET", "/api/v1/findings", Look),
    ("GET", "/api/v1/findings/{id}", Look),
    ("GET", "/api/v1/findings/{id}/tree", Look),
    ("GET", "/api/v1/findings/{id}/timeline", Look),
    ("POST", "/api/v1/findings/{id}/state", HandleFindings),
    ("GET", "/api/v1/devices", Look),
    ("GET", "/api/v1/devices/{id}", Look),
    ("PUT", "/api/v1/devices/{id}/mode", SetDevicePolicy),
    ("PUT", "/api/v1/devices/{id}/organisation", MoveDevice),
    ("POST", "/api/v1/devices/{id}/revoke", RevokeDevice),
    ("GET", "/api/v1/actions", Look),
    ("POST", "/api/v1/actions", Order),
    ("GET", "/api/v1/actions/{id}", Look),
    ("POST", "/api/v1/actions/{id}/cancel", CancelOrder),
    ("GET", "/api/v1/organisations", Look),
    ("POST", "/api/v1/organisations", ManageOrganisations),
    ("GET", "/api/v1/organisations/{id}", Look),
    ("PUT", "/api/v1/organisations/{id}", ManageOrganisations),
    ("PUT", "/api/v1/organisations/{id}/parent", ManageOrganisations),
    ("GET", "/api/v1/audit", ReadAudit),
    ("GET", "/api/v1/audit/verify", ReadAudit),
    ("GET", "/api/v1/tokens/enrolment", EnrolDevices),
    ("POST", "/api/v1/tokens/enrolment", EnrolDevices),
    ("DELETE", "/api/v1/tokens/enrolment/{id}", EnrolDevices),
    ("GET", "/api/v1/tokens/api", ManageTokens),
    ("POST", "/api/v1/tokens/api", ManageTokens),
    ("DELETE", "/api/v1/tokens/api/{id}", ManageTokens),
];
