//! Starting and stopping.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use wardline_devices::TokenSpec;
use wardline_devices::policy::{self, Change, ChangeError};
use wardline_kernel::web;
use wardline_kernel::{FIRST_PERSON, Kernel, KernelConfig, KeyError, OpenError, StoreError};
use wardline_policy::Mode;
use wardline_wire::EnrolmentToken;

use crate::api::Shared;
use crate::config::HubConfig;
use crate::stats::{AgentStats, Counters};
use crate::{agents, jobs, rooms};

/// How long connections get to end when the hub stops.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// The hub did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The port is taken.
    #[error(
        "port {} on {} ({purpose}) is already in use, perhaps by another Wardline hub; `ss -ltnp 'sport = :{}'` shows by whom. Stop that program, or choose another port with {flag} {}:PORT", address.port(), address.ip(), address.port(), address.ip()
    )]
    PortInUse {
        /// What was to listen there.
        purpose: &'static str,
        /// Where.
        address: SocketAddr,
        /// The option that changes it.
        flag: &'static str,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address} ({purpose}); choose another address with {flag} ADDRESS:PORT")]
    Listen {
        /// What was to listen there.
        purpose: &'static str,
        /// Where.
        address: SocketAddr,
        /// The option that changes it.
        flag: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The agent port's certificate or TLS settings.
    #[error(
        "cannot set up TLS for agents; check the further names of this hub, and its keys in the data folder"
    )]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A hub that serves.
pub struct RunningHub {
    kernel: Kernel,
    http_addr: SocketAddr,
    agents_addr: SocketAddr,
    counters: Arc<Counters>,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
}

async fn listen(
    purpose: &'static str,
    address: SocketAddr,
    flag: &'static str,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source: io::Error| {
        if source.kind() == io::ErrorKind::AddrInUse {
            StartError::PortInUse { purpose, address, flag }
        } else {
            StartError::Listen { purpose, address, flag, source }
        }
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Starts a hub. It serves until [`RunningHub::stop`].
pub async fn start(config: HubConfig) -> Result<RunningHub, StartError> {
    let kernel = Kernel::open(KernelConfig {
        data_dir: config.data_dir,
        database: config.database,
        organisation: config.organisation,
        clock: config.clock,
        migrations: rooms::migrations(),
        access: crate::access::ACCESS.to_vec(),
    })
    .await?;
    // Both ports before anything serves: a hub that can do half of its work is not a hub.
    let served = async {
        let http = listen("console and API", config.http, "--http").await?;
        let agents = listen("agents", config.agents, "--agents").await?;
        let tls = agents::tls::acceptor(&kernel).map_err(StartError::Tls)?;
        Ok((http, agents, tls))
    };
    let ((http, http_addr), (agents, agents_addr), tls) = match served.await {
        Ok(served) => served,
        Err(error) => {
            kernel.store().close().await;
            return Err(error);
        }
    };

    let counters = Arc::new(Counters::default());
    let (api, openapi) = rooms::api();
    let shared =
        Shared { counters: counters.clone(), openapi: Arc::new(openapi), started_ms: kernel.now().0 };
    let routes = api.merge(rooms::console()).layer(Extension(shared));
    let app = web::protect(routes, kernel.clone()).into_make_service_with_connect_info::<SocketAddr>();
    let stopping = kernel.clone();
    let serve_http = async move {
        let served = axum::serve(http, app).with_graceful_shutdown(async move { stopping.stopped().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "the console and API stopped");
        }
    };
    let tasks = vec![
        ("console and API", tokio::spawn(serve_http)),
        ("agents", tokio::spawn(agents::serve(kernel.clone(), agents, tls, counters.clone()))),
        ("jobs", tokio::spawn(jobs::run(kernel.clone()))),
    ];
    tracing::info!(http = %http_addr, agents = %agents_addr, "the hub serves");
    Ok(RunningHub { kernel, http_addr, agents_addr, counters, tasks })
}

impl RunningHub {
    /// Where the console and the API listen.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Where agents connect.
    pub fn agents_addr(&self) -> SocketAddr {
        self.agents_addr
    }

    /// The kernel: store, clock, bus.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// What the agent port has seen.
    pub fn agent_stats(&self) -> AgentStats {
        self.counters.read()
    }

    /// Makes a one-time sign-in link to the console.
    pub async fn make_link(&self) -> Result<String, StoreError> {
        Ok(format!("http://{}/signin/{}", self.http_addr, self.kernel.make_link().await?))
    }

    /// Makes an enrolment token.
    pub async fn make_enrolment_token(
        &self,
        spec: &TokenSpec,
    ) -> Result<EnrolmentToken, wardline_devices::EnrolError> {
        let made =
            wardline_devices::make_token(&self.kernel, self.kernel.home().root(), FIRST_PERSON, spec).await?;
        Ok(made.1)
    }

    /// Lays down monitor mode for a device; gives the signed policy command, encoded, as the device stores it.
    pub async fn monitor_only(&self, device: &str, reason: &str) -> Result<Vec<u8>, ChangeError> {
        let (kernel, scope) = (&self.kernel, self.kernel.home());
        let change = Change { mode: Some(Mode::Monitor), ..Change::default() };
        policy::change(kernel, scope, FIRST_PERSON, device, change, reason).await?;
        let signed = policy::newest(kernel, scope, device).await?;
        let signed = signed.ok_or_else(|| ChangeError::NoDevice(device.to_owned()))?;
        Ok(signed.command.encode_to_vec())
    }

    /// Stops serving, ends every connection, and lets go of the data folder.
    pub async fn stop(self) {
        self.kernel.stop();
        for (name, mut task) in self.tasks {
            if tokio::time::timeout(STOP_WITHIN, &mut task).await.is_err() {
                tracing::warn!(task = name, "did not end in time and was cut off");
                task.abort();
            }
        }
        self.kernel.store().close().await;
    }
}

impl From<KeyError> for StartError {
    fn from(error: KeyError) -> Self {
        Self::Tls(error.into())
    }
}
