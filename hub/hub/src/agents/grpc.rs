//! The three calls of the protocol.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wardline_devices::{EnrolError, enrol, link, renew};
use wardline_event::DeviceId;
use wardline_kernel::{Kernel, StoreError};
use wardline_wire::proto::hub_server::Hub;
use wardline_wire::proto::{AgentMessage, EnrolReply, EnrolRequest, HubMessage, RenewReply, RenewRequest};

use super::conversation::converse;
use super::tls::Peer;
use crate::stats::Counters;

/// The service behind the agent port.
pub(crate) struct AgentHub {
    pub kernel: Kernel,
    pub counters: Arc<Counters>,
}

/// What an agent is told when the store fails: to come again, for nothing of its own was wrong.
pub(crate) fn unavailable(error: &StoreError) -> Status {
    tracing::error!(error = error as &dyn std::error::Error, "an agent's call failed in the store");
    Status::unavailable(format!("the hub cannot store now ({error}); try again later"))
}

fn refusal(error: EnrolError) -> Status {
    match error {
        EnrolError::Store(error) => unavailable(&error),
        EnrolError::Request(_) => Status::invalid_argument(error.to_string()),
        other => Status::permission_denied(other.to_string()),
    }
}

impl AgentHub {
    /// The device at the other end, if it showed a certificate, is known, and is not revoked.
    async fn device<T>(&self, request: &Request<T>) -> Result<link::Known, Status> {
        let peer = request.extensions().get::<Peer>();
        let identity = peer.and_then(|peer| peer.identity.clone());
        let Some((organisation, id)) = identity else {
            return Err(Status::unauthenticated(
                "this call needs the device's certificate; enrol the device first",
            ));
        };
        match link::admit(&self.kernel, &organisation, id).await {
            Ok(Some(known)) => Ok(known),
            Ok(None) => {
                let from = peer.map(|peer| peer.address.to_string()).unwrap_or_default();
                tracing::warn!(device = %id, %from, "refused a device that is unknown here or revoked");
                Err(not_admitted(id))
            }
            Err(error) => Err(unavailable(&error)),
        }
    }
}

/// What a device is told that may not connect.
pub(crate) fn not_admitted(id: DeviceId) -> Status {
    Status::permission_denied(format!(
        "device {id} is not known to this hub or was revoked; enrol it again with a new token"
    ))
}

#[tonic::async_trait]
impl Hub for AgentHub {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolReply>, Status> {
        let from = request.extensions().get::<Peer>().map(|p| p.address.to_string()).unwrap_or_default();
        match enrol(&self.kernel, request.get_ref()).await {
            Ok(reply) => Ok(Response::new(reply)),
            Err(error) => {
                tracing::warn!(%from, "{error}");
                Err(refusal(error))
            }
        }
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewReply>, Status> {
        let device = self.device(&request).await?;
        let chain = renew(&self.kernel, &device.organisation, device.id, &request.get_ref().csr_der).await;
        Ok(Response::new(RenewReply { certificate_chain: chain.map_err(refusal)? }))
    }

    type ConnectStream = ReceiverStream<Result<HubMessage, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let device = self.device(&request).await?;
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(converse(
            self.kernel.clone(),
            self.counters.clone(),
            device,
            request.into_inner(),
            sender,
        ));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
