//! Enrolment: a key made here, a certificate from the hub, and the hub's word on what to obey.

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use ring::digest;
use tonic::Code;
use wardline_event::{DeviceId, Timestamp, hex};
use wardline_policy::DevicePolicy;
use wardline_wire::proto::hub_client::HubClient;
use wardline_wire::proto::{DeviceFacts, EnrolRequest, RenewRequest, command::Kind};
use wardline_wire::{CommandKey, EnrolmentToken, Refusal, VerifiedCommand};

use crate::known_hubs::KnownHubs;
use crate::link::Enrolled;
use crate::state::{Identity, StateDir, StateError};
use crate::tls;

/// Enrolment failed; nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// No connection, or to the wrong hub.
    #[error("{0}")]
    Connect(String),
    /// The hub said no.
    #[error("the hub at {hub} refused the enrolment: {why}")]
    Refused {
        /// The hub's address.
        hub: String,
        /// Its reason.
        why: String,
    },
    /// The hub's answer makes no sense.
    #[error("the hub's answer to the enrolment is unusable: {0}; is the hub newer than this agent?")]
    Answer(String),
    /// The key could not be made.
    #[error("making the device's key failed")]
    Key(#[source] rcgen::Error),
    /// The folder could not be written.
    #[error(transparent)]
    State(#[from] StateError),
}

fn key_and_request() -> Result<(KeyPair, Vec<u8>), EnrolError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(EnrolError::Key)?;
    let mut params = CertificateParams::default();
    // The hub writes the subject itself; whatever stands here is ignored.
    params.distinguished_name.push(DnType::CommonName, "wardline device");
    let request = params.serialize_request(&key).map_err(EnrolError::Key)?;
    let der = request.der().to_vec();
    Ok((key, der))
}

/// Enrols this machine with the hub at `hub` (`host:port`) and stores its identity and first policy, all in this process:
/// for tests and exercises. A machine's own agent has a courier [`ask`].
pub async fn enrol(
    hub: &str,
    token: &EnrolmentToken,
    facts: DeviceFacts,
    state: &StateDir,
    now: Timestamp,
) -> Result<Identity, EnrolError> {
    let enrolled = ask(hub, &token.secret_text(), token.authority, facts).await?;
    accept(hub, token, enrolled, state, now)
}

/// Asks the hub to enrol this machine. Speaks to the network, so a courier does it.
pub async fn ask(
    hub: &str,
    secret: &str,
    authority: [u8; 32],
    facts: DeviceFacts,
) -> Result<Enrolled, EnrolError> {
    let (key, csr_der) = key_and_request()?;
    let config = tls::for_enrolment(authority).map_err(|e| EnrolError::Connect(e.to_string()))?;
    let channel = tls::connect(hub, config, KnownHubs::default())
        .await
        .map_err(|e| EnrolError::Connect(tls::explain(hub, &e)))?;
    let request = EnrolRequest { secret: secret.to_owned(), csr_der, facts: Some(facts) };
    let reply = HubClient::new(channel)
        .enrol(request)
        .await
        .map_err(|status| match status.code() {
            Code::Unavailable => EnrolError::Connect(tls::explain(hub, &status)),
            _ => EnrolError::Refused { hub: hub.to_owned(), why: status.message().to_owned() },
        })?
        .into_inner();

    let answer = |what: &str| EnrolError::Answer(what.to_owned());
    let id: [u8; 16] = reply.device_id.as_slice().try_into().map_err(|_| answer("device id"))?;
    let command_key: [u8; 32] = reply.command_key.as_slice().try_into().map_err(|_| answer("command key"))?;
    let [certificate, authority] = reply.certificate_chain.as_slice() else {
        return Err(answer("certificate chain"));
    };
    let policy = reply.policy.ok_or_else(|| answer("policy"))?;
    Ok(Enrolled {
        device: DeviceId::from_bytes(id),
        command_key,
        key_der: key.serialize_der(),
        certificate_der: certificate.clone(),
        authority_der: authority.clone(),
        policy,
    })
}

/// Stores what a hub gave, if it is from the hub that the token names.
pub fn accept(
    hub: &str,
    token: &EnrolmentToken,
    enrolled: Enrolled,
    state: &StateDir,
    now: Timestamp,
) -> Result<Identity, EnrolError> {
    let Enrolled { device, command_key, key_der, certificate_der, authority_der, policy } = enrolled;
    if digest::digest(&digest::SHA256, &authority_der).as_ref() != token.authority {
        return Err(EnrolError::Answer("the authority is not the one that the token names".to_owned()));
    }
    let identity = Identity {
        device,
        hub: hub.to_owned(),
        command_key: CommandKey(command_key),
        enrolled: now,
        key_der,
        certificate_der,
        authority_der,
    };
    read_policy(&identity, &policy, now).map_err(|e| EnrolError::Answer(e.to_string()))?;
    store_policy(state, &policy)?;
    state.set_identity(&identity)?;
    Ok(identity)
}

/// Gets a fresh certificate with a fresh key, while the old one is still valid: key and certificate, DER.
pub async fn renew(
    hub: &str,
    client: &mut HubClient<tonic::transport::Channel>,
) -> Result<(Vec<u8>, Vec<u8>), EnrolError> {
    let (key, csr_der) = key_and_request()?;
    let refused = |status: tonic::Status| match status.code() {
        Code::Unavailable | Code::Unknown => EnrolError::Connect(tls::explain(hub, &status)),
        _ => EnrolError::Refused { hub: hub.to_owned(), why: status.message().to_owned() },
    };
    let reply = client.renew(RenewRequest { csr_der }).await.map_err(refused)?.into_inner();
    let Some(certificate) = reply.certificate_chain.into_iter().next() else {
        return Err(EnrolError::Answer("certificate chain".into()));
    };
    Ok((key.serialize_der(), certificate))
}

/// A policy command was not accepted; the one before stays in force.
#[derive(Debug, thiserror::Error)]
pub enum PolicyRefused {
    /// Not a command that this device may obey.
    #[error(transparent)]
    Command(#[from] Refusal),
    /// Some other command.
    #[error("refused: this is not a policy")]
    NotAPolicy,
    /// A policy that makes no sense.
    #[error("refused: {0}")]
    Policy(String),
}

/// Verifies a signed policy and reads it.
pub fn read_policy(
    identity: &Identity,
    signed: &wardline_wire::proto::SignedCommand,
    now: Timestamp,
) -> Result<DevicePolicy, PolicyRefused> {
    policy_of(&identity.command_key.verify(signed, identity.device, now)?)
}

/// Reads the policy of a command that was verified.
pub(crate) fn policy_of(verified: &VerifiedCommand) -> Result<DevicePolicy, PolicyRefused> {
    let Some(Kind::SetPolicy(set)) = &verified.get().kind else { return Err(PolicyRefused::NotAPolicy) };
    DevicePolicy::from_json(&set.policy_json).map_err(|e| PolicyRefused::Policy(e.to_string()))
}

/// The signed policy in force, in the agent's folder.
pub const POLICY_FILE: &str = "policy.bin";

/// Stores the signed policy, so that it holds after a restart without the hub.
pub fn store_policy(
    state: &StateDir,
    signed: &wardline_wire::proto::SignedCommand,
) -> Result<(), StateError> {
    state.write(POLICY_FILE, &prost::Message::encode_to_vec(signed))
}

/// The fingerprint of a policy that the agent returned from.
const REJECTED: &str = "policy.rejected";

/// Names a policy, as it is stored.
pub fn policy_fingerprint(stored: &[u8]) -> String {
    hex(&digest::digest(&digest::SHA256, stored).as_ref()[..8])
}

/// Remembers that the agent returned from this policy: the hub, which does not know, will offer it again.
pub fn reject_policy(state: &StateDir, fingerprint: &str) -> Result<(), StateError> {
    state.write(REJECTED, fingerprint.as_bytes())
}

/// True if the agent returned from this policy.
pub fn is_rejected(state: &StateDir, signed: &wardline_wire::proto::SignedCommand) -> bool {
    let fingerprint = policy_fingerprint(&prost::Message::encode_to_vec(signed));
    state.read(REJECTED).ok().flatten().is_some_and(|rejected| rejected == fingerprint.as_bytes())
}
