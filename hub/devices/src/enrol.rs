//! Tokens and certificates: how a device becomes one of the hub's.

use serde_json::json;
use wardline_event::{DeviceId, Timestamp, hex};
use wardline_kernel::audit::{self, Act};
use wardline_kernel::clock::sha256_hex;
use wardline_kernel::keys::DEVICE_CERTIFICATE_DAYS;
use wardline_kernel::{Kernel, KeyError, OrganisationId, Scope, StoreError, Topic, random_bytes, random_id};
use wardline_policy::DevicePolicy;
use wardline_wire::EnrolmentToken;
use wardline_wire::proto::{EnrolReply, EnrolRequest};

use crate::domain::{TokenSpec, fact};
use crate::{policy, store};

/// Why a device was not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// No token has this secret.
    #[error(
        "enrolment refused: this hub does not know the token; make one with `wardline hub token` and copy it whole"
    )]
    UnknownToken,
    /// Too old.
    #[error("enrolment refused: the token expired at {at}; make a new one with `wardline hub token`")]
    Expired {
        /// When it expired.
        at: Timestamp,
    },
    /// As many devices as it was for have enrolled with it.
    #[error("enrolment refused: the token has been used already; make a new one with `wardline hub token`")]
    UsedUp,
    /// Somebody took it back.
    #[error("enrolment refused: the token was revoked; make a new one with `wardline hub token`")]
    Revoked,
    /// The token cannot be made as asked.
    #[error("{0}")]
    Spec(String),
    /// The request for a certificate.
    #[error("enrolment refused: {0}")]
    Request(#[source] KeyError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes an enrolment token; gives its id, by which it is revoked.
pub async fn make_token(
    kernel: &Kernel,
    organisation: &OrganisationId,
    by: &str,
    spec: &TokenSpec,
) -> Result<(String, EnrolmentToken), EnrolError> {
    spec.check().map_err(EnrolError::Spec)?;
    let now = kernel.now();
    let token = EnrolmentToken { secret: random_bytes(), authority: kernel.keys().fingerprint() };
    let id = random_id();
    let mut tx = kernel.store().write(organisation).await?;
    let hash = sha256_hex(token.secret_text().as_bytes());
    store::insert_token(&mut tx, organisation, &id, &hash, by, spec, now).await?;
    let act = Act {
        actor: by.to_owned(),
        act: "enrolment_token.made",
        target: id.clone(),
        detail: json!({"role": fact(&spec.role), "class": spec.class, "mode": spec.mode, "uses": spec.uses,
                       "life_s": spec.life_s}),
    };
    audit::append(&mut tx, organisation, now, act).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok((id, token))
}

/// Revokes a token; false if there is none with this id that could still be used.
pub async fn revoke_token(kernel: &Kernel, scope: &Scope, by: &str, id: &str) -> Result<bool, StoreError> {
    let now = kernel.now();
    let mut tx = kernel.store().write(scope).await?;
    let Some(organisation) = store::revoke_token(&mut tx, scope, id, now).await? else { return Ok(false) };
    let act = Act {
        actor: by.to_owned(),
        act: "enrolment_token.revoked",
        target: id.to_owned(),
        detail: json!({}),
    };
    audit::append(&mut tx, &organisation, now, act).await?;
    tx.commit().await?;
    Ok(true)
}

/// Enrols a device. A refused request uses nothing up.
pub async fn enrol(kernel: &Kernel, request: &EnrolRequest) -> Result<EnrolReply, EnrolError> {
    let now = kernel.now();
    let hash = sha256_hex(request.secret.as_bytes());
    // Looks before it locks: a stranger without a token holds nobody up.
    let token = store::usable_token(kernel.store().read().everywhere(), &hash, now).await?;
    let organisation = token.organisation;
    let facts = request.facts.clone().unwrap_or_default();
    let device = DeviceId::from_bytes(random_bytes());
    let certificate =
        kernel.keys().certify(&request.csr_der, device, &organisation, now).map_err(EnrolError::Request)?;
    let mut tx = kernel.store().write(&organisation).await?;
    // Somebody else may have used it meanwhile.
    store::usable_token(&mut *tx, &hash, now).await?;
    store::use_token(&mut tx, &organisation, &token.id).await?;
    let policy = DevicePolicy { mode: token.mode, class: token.class, ..DevicePolicy::default() };
    // One for both: the hub may begin to sign with another key at any time.
    let signer = kernel.keys().signer();
    let signed = policy::sign(&signer, device, &policy, &token.made_by, "enrolment", now);
    let role = if token.role.is_empty() { fact(&facts.role) } else { token.role };
    let row = store::NewDevice {
        id: device.to_string(),
        token: token.id.clone(),
        role,
        certificate_until_ms: certificate_end(now),
    };
    store::insert_device(&mut tx, &organisation, &row, &facts, &policy, &signed, now).await?;
    let act = Act {
        actor: format!("enrolment token {}", token.id),
        act: "device.enrolled",
        target: device.to_string(),
        detail: json!({
            "hostname": fact(&facts.hostname),
            "simulated": facts.simulated,
            "certificate": hex(&ring_sha256(&certificate)),
        }),
    };
    audit::append(&mut tx, &organisation, now, act).await?;
    tx.commit().await.map_err(StoreError::from)?;
    kernel.bus().tell(&organisation, Topic::DeviceChanged { id: device.to_string() });
    Ok(EnrolReply {
        device_id: device.0.to_be_bytes().to_vec(),
        certificate_chain: vec![certificate, kernel.keys().authority().to_vec()],
        command_key: signer.key().0.to_vec(),
        policy: Some(signed.command),
    })
}

/// Gives a device that holds a valid certificate a fresh one; gives the chain.
pub async fn renew(
    kernel: &Kernel,
    organisation: &OrganisationId,
    device: DeviceId,
    csr_der: &[u8],
) -> Result<Vec<Vec<u8>>, EnrolError> {
    let now = kernel.now();
    let certificate =
        kernel.keys().certify(csr_der, device, organisation, now).map_err(EnrolError::Request)?;
    let mut tx = kernel.store().write(organisation).await?;
    store::certificate_renewed(&mut tx, organisation, &device.to_string(), certificate_end(now)).await?;
    let act = Act {
        actor: format!("device {device}"),
        act: "device.certificate_renewed",
        target: device.to_string(),
        detail: json!({"certificate": hex(&ring_sha256(&certificate))}),
    };
    audit::append(&mut tx, organisation, now, act).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(vec![certificate, kernel.keys().authority().to_vec()])
}

fn certificate_end(now: Timestamp) -> i64 {
    now.0 + DEVICE_CERTIFICATE_DAYS * 24 * 60 * 60 * 1000
}

fn ring_sha256(bytes: &[u8]) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().to_vec()
}
