//! The agent port: TLS 1.3, gRPC, and the conversation with each device.

mod conversation;
mod grpc;
mod ingest;
pub(crate) mod tls;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::transport::Server;
use wardline_kernel::Kernel;
use wardline_wire::proto::hub_server::HubServer;

use crate::stats::Counters;

/// The largest message that is read: a full batch and its frame.
const MAX_MESSAGE: usize = 4 << 20;

/// Serves agents until the hub stops.
pub(crate) async fn serve(kernel: Kernel, listener: TcpListener, tls: TlsAcceptor, counters: Arc<Counters>) {
    let connections = tls::connections(kernel.clone(), listener, tls, counters.clone());
    let service = HubServer::new(grpc::AgentHub { kernel: kernel.clone(), counters })
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let served = Server::builder()
        // Of one connection an agent needs one conversation and, seldom, a renewal.
        .max_concurrent_streams(8)
        .concurrency_limit_per_connection(8)
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .http2_max_header_list_size(16 << 10)
        .timeout(Duration::from_secs(30))
        .add_service(service)
        .serve_with_incoming_shutdown(connections, async move { kernel.stopped().await });
    if let Err(error) = served.await {
        tracing::error!(error = &error as &dyn std::error::Error, "the agent port stopped");
    }
}
