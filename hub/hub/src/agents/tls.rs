//! TLS 1.3 only, over our own acceptor: a certificate is asked for, and verified against this hub's authority if
//! one is shown. Enrolment needs none; everything else does.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, Error as TlsError, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use wardline_event::DeviceId;
use wardline_kernel::{Kernel, OrganisationId};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::stats::{Counters, add};

/// Connections at the same time; more wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 4096;
/// Of those, connections without a certificate. They may only enrol, and have to be done with it soon.
const MOST_STRANGERS: usize = 128;
const STRANGER_LIFE: Duration = Duration::from_mins(1);
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

type SetupError = Box<dyn std::error::Error + Send + Sync>;

/// Makes the acceptor, with a fresh certificate of the hub's authority.
pub(crate) fn acceptor(kernel: &Kernel) -> Result<TlsAcceptor, SetupError> {
    let identity = kernel.keys().server_identity(kernel.now())?;
    let chain = identity.chain.into_iter().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key));

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(kernel.keys().authority().to_vec()))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would not look at the certificate again.
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Where from.
    pub address: SocketAddr,
    /// Whom its certificate names; verified against this hub's authority.
    pub identity: Option<(OrganisationId, DeviceId)>,
}

/// One connection.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    /// Until when a connection without a certificate may live, and its place among the strangers.
    stranger: Option<(Pin<Box<Sleep>>, OwnedSemaphorePermit)>,
    _permit: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some((end, _)) = &mut self.stranger
            && end.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The organisation and device that a certificate of this hub's authority names.
fn identity(certificate: &[u8]) -> Option<(OrganisationId, DeviceId)> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let device = subject.iter_common_name().next()?.as_str().ok()?.parse().ok()?;
    let organisation = subject.iter_organization().next()?.as_str().ok()?;
    Some((OrganisationId::stored(organisation), device))
}

/// In words for the log: why a handshake failed, and what to do.
fn explain(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
        Some(TlsError::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "its certificate has expired; enrol that device again".into(),
        Some(TlsError::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        )) => "its certificate is not valid yet; check both clocks".into(),
        Some(TlsError::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => "its certificate was not issued by this hub; enrol that device here".into(),
        Some(TlsError::InvalidMessage(_)) => "it does not speak TLS".into(),
        Some(TlsError::PeerIncompatible(_)) => "it does not speak TLS 1.3".into(),
        Some(TlsError::AlertReceived(alert)) => {
            format!("it does not accept this hub ({alert:?}); was it enrolled at another one?")
        }
        Some(other) => other.to_string(),
        None => error.to_string(),
    }
}

/// Accepts connections until the hub stops. A handshake waits for nobody else's.
pub(crate) fn connections(
    kernel: Kernel,
    listener: TcpListener,
    tls: TlsAcceptor,
    counters: Arc<Counters>,
) -> ReceiverStream<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(64);
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let strangers = Arc::new(Semaphore::new(MOST_STRANGERS));
    let accept = async move {
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, mostly: others may close theirs meanwhile.
                    tracing::warn!(%error, "cannot accept a connection from an agent");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let (tls, sender, counters) = (tls.clone(), sender.clone(), counters.clone());
            let strangers = strangers.clone();
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                let refused = |why: &str| {
                    add(&counters.refused_handshakes, 1);
                    tracing::warn!(from = %address, "refused a connection to the agent port: {why}");
                };
                let stream = match tokio::time::timeout(HANDSHAKE_WITHIN, tls.accept(stream)).await {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => return refused(&explain(&error)),
                    Err(_) => return refused("it did not finish the TLS handshake within 10 s"),
                };
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let identity = shown.map(|certificate| identity(certificate));
                if identity.as_ref().is_some_and(Option::is_none) {
                    return refused("its certificate names no device");
                }
                let peer = Peer { address, identity: identity.flatten() };
                let stranger = match (&peer.identity, strangers.try_acquire_owned()) {
                    (Some(_), _) => None,
                    (None, Ok(place)) => Some((Box::pin(tokio::time::sleep(STRANGER_LIFE)), place)),
                    (None, Err(_)) => return refused("too many connections without a certificate"),
                };
                let _ = sender.send(Ok(Connection { stream, peer, stranger, _permit: permit })).await;
            });
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            () = accept => {}
            () = kernel.stopped() => {}
        }
    });
    ReceiverStream::new(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        for (error, said) in [
            (TlsError::InvalidCertificate(CertificateError::Expired), "has expired; enrol that device again"),
            (TlsError::InvalidCertificate(CertificateError::UnknownIssuer), "not issued by this hub"),
            (TlsError::InvalidCertificate(CertificateError::BadSignature), "not issued by this hub"),
            (TlsError::InvalidMessage(rustls::InvalidMessage::InvalidContentType), "does not speak TLS"),
        ] {
            let text = explain(&io::Error::new(io::ErrorKind::InvalidData, error));
            assert!(text.contains(said), "{text}");
        }
    }
}
