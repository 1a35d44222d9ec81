//! TLS 1.3 to the hub, and to nobody else.
//!
//! The hub's own authority is the only root. Before enrolment the device knows just its fingerprint, from the
//! token; afterwards it has the certificate itself.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use ring::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use tokio::io::AsyncBufRead;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use wardline_wire::HUB_TLS_NAME;

use crate::known_hubs::KnownHubs;

/// How long a hub may take to say its first word. One that waits for ours instead is spoken to after that.
const FIRST_WORD: Duration = Duration::from_secs(2);
/// How long an attempt to reach the hub may take, the name service included.
const DIAL: Duration = Duration::from_secs(4);
/// How long connecting may take in all: by name, then at two known addresses.
const CONNECT: Duration = Duration::from_secs(15);

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// For enrolment: trusts the authority with this SHA-256 fingerprint, which the hub must present in its chain.
pub fn for_enrolment(authority: [u8; 32]) -> Result<ClientConfig, TlsError> {
    let verifier = PinnedAuthority { fingerprint: authority, provider: provider() };
    Ok(ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// What an enrolled device shows, and whom it trusts.
#[derive(Clone)]
#[allow(clippy::struct_field_names, reason = "as the identity, the protocol and rustls call them")]
pub struct Credentials {
    /// Its private key, PKCS #8.
    pub key_der: Vec<u8>,
    /// Its certificate, X.509.
    pub certificate_der: Vec<u8>,
    /// The hub's authority, X.509.
    pub authority_der: Vec<u8>,
}

/// For an enrolled device: trusts its hub's authority, shows its own certificate.
pub fn for_device(identity: &Credentials) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from(identity.authority_der.clone());
    roots.add(authority.clone())?;
    let key = PrivateKeyDer::try_from(identity.key_der.clone())
        .map_err(|what| TlsError::General(format!("the device's key is not usable: {what}")))?;
    let chain = vec![CertificateDer::from(identity.certificate_der.clone()), authority];
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
}

/// Connects to `hub` (`host:port`). The name in the hub's certificate is always [`HUB_TLS_NAME`]: the authority
/// signs for nobody else, so a changed address needs no new certificate.
///
/// `known` learns where the hub was found. Where its name leads nowhere (in isolation no name can be resolved), it is
/// looked for at the known addresses.
pub async fn connect(
    hub: &str,
    mut config: ClientConfig,
    known: KnownHubs,
) -> Result<Channel, tonic::transport::Error> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let address = hub.to_owned();
    let dial = tower::service_fn(move |_: Uri| {
        let (connector, address, known) = (connector.clone(), address.clone(), known.clone());
        async move {
            let tcp = reach(&address, &known).await?;
            let peer = tcp.peer_addr()?;
            tcp.set_nodelay(true)?;
            let name = ServerName::try_from(HUB_TLS_NAME).map_err(io::Error::other)?;
            let mut tls = connector.connect(name, tcp).await?;
            // In TLS 1.3 the hub judges this device's certificate only after the handshake has ended on this side.
            // Its first word is either its HTTP/2 settings or an alert; what is written before that could make the
            // alert get lost, and with it the reason.
            let first_word = poll_fn(|cx| Pin::new(&mut tls).poll_fill_buf(cx).map_ok(<[u8]>::len));
            if let Ok(heard) = timeout(FIRST_WORD, first_word).await {
                heard?;
            }
            known.reached(peer);
            Ok::<_, io::Error>(TokioIo::new(tls))
        }
    });
    // The address given here is only a name for the HTTP/2 `:authority`; `dial` decides where to go.
    Endpoint::from_static("http://hub")
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .keep_alive_while_idle(true)
        .connect_with_connector(dial)
        .await
}

/// Connects to the hub by its name or, failing that, where it was before.
async fn reach(hub: &str, known: &KnownHubs) -> io::Result<TcpStream> {
    let lost = |_| io::Error::from(io::ErrorKind::TimedOut);
    let by_name = timeout(DIAL, TcpStream::connect(hub)).await.map_err(lost).flatten();
    let Err(error) = by_name else { return by_name };
    // An address needs no second try.
    if hub.parse::<SocketAddr>().is_err() {
        for address in known.addresses() {
            if let Ok(Ok(tcp)) = timeout(DIAL, TcpStream::connect(address)).await {
                return Ok(tcp);
            }
        }
    }
    Err(error)
}

/// Accepts exactly the chains that end in the authority whose fingerprint the token carries.
#[derive(Debug)]
struct PinnedAuthority {
    fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let authority = intermediates
            .iter()
            .find(|c| digest::digest(&digest::SHA256, c).as_ref() == self.fingerprint)
            .ok_or(TlsError::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|e| TlsError::General(e.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsError::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Says in a person's words why a connection failed, and what to do.
pub fn explain(hub: &str, error: &(dyn std::error::Error + 'static)) -> String {
    use rustls::AlertDescription as Alert;
    let mut at = Some(error);
    while let Some(e) = at {
        if let Some(tls) = e.downcast_ref::<TlsError>().or_else(|| {
            e.downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
                .and_then(|inner| inner.downcast_ref::<TlsError>())
        }) {
            return match tls {
                TlsError::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::BadSignature,
                ) => {
                    format!(
                        "{hub} is not the hub that this token or enrolment names: its authority is another one. Check the address; if the hub was set up anew, enrol again with a fresh token"
                    )
                }
                TlsError::InvalidCertificate(
                    CertificateError::Expired | CertificateError::ExpiredContext { .. },
                ) => format!(
                    "the certificate of the hub at {hub} has expired; restart the hub, which renews it, and check both clocks"
                ),
                TlsError::AlertReceived(Alert::CertificateExpired) => {
                    format!(
                        "the hub at {hub} refused this device's certificate: it has expired. Enrol again with a fresh token (`wardline agent enrol`); records that wait here are kept"
                    )
                }
                TlsError::AlertReceived(
                    Alert::UnknownCA
                    | Alert::BadCertificate
                    | Alert::DecryptError
                    | Alert::CertificateUnknown,
                ) => format!(
                    "the hub at {hub} refused this device's certificate: it was issued by another hub. Enrol with this hub (`wardline agent enrol`)"
                ),
                other => format!("TLS with the hub at {hub} failed: {other}"),
            };
        }
        if let Some(io) = e.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::ConnectionRefused
        {
            return format!("nothing answers at {hub}: is the hub running?");
        }
        at = e.source();
    }
    format!("no connection to the hub at {hub}: {error}")
}
