//! What a hub is told when it starts.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use wardline_kernel::{Clock, SystemClock};

/// What a hub is told when it starts.
#[derive(Clone)]
pub struct HubConfig {
    /// The data folder; made if it is not there.
    pub data_dir: PathBuf,
    /// Address of a database server, `postgres://…`; `None`: what the folder remembers, or a file in it.
    pub database: Option<String>,
    /// Where the console and the API listen. Port 0: any free one.
    pub http: SocketAddr,
    /// Where agents connect. Port 0: any free one.
    pub agents: SocketAddr,
    /// Name of the organisation; used once, when the data folder is new.
    pub organisation: String,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl HubConfig {
    /// A hub on the usual ports of this machine: console and API on 127.0.0.1:8700, agents on port 8701 of every
    /// address.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            database: None,
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 8700)),
            agents: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8701)),
            organisation: "This organisation".into(),
            clock: Arc::new(SystemClock),
        }
    }
}
