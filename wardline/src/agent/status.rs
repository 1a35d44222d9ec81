//! What a running agent writes down about itself, for `wardline agent doctor`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use wardline_agent::clock::{Clock, SystemClock};
use wardline_agent::running::Running;
use wardline_event::BootId;
use wardline_respond::linux::procfs::Stat;

const FILE: &str = "status.json";
/// How often it is written.
pub const EVERY: Duration = Duration::from_secs(10);

/// How an agent was a moment ago.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub start_ticks: u64,
    pub boot: String,
    pub time_ms: i64,
    /// A service manager watches over it.
    pub managed: bool,
    pub hub: String,
    pub connected: bool,
    pub mode: String,
    pub rules: u64,
    /// Records that wait for the hub.
    pub waiting: u64,
    pub sensors: Vec<Sensor>,
    pub courier: Courier,
}

/// A sensor or protection.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct Sensor {
    pub kind: String,
    pub state: String,
    pub reason: String,
}

#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct Courier {
    pub pid: Option<u32>,
    pub unconfined: Option<String>,
    pub restarts: u64,
    pub certificate_until_ms: Option<i64>,
    pub clock_ahead_ms: Option<i64>,
}

impl Status {
    /// What the agent of this folder wrote last.
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(FILE)).ok()?).ok()
    }

    /// True if the process that wrote it still runs.
    pub fn is_alive(&self) -> bool {
        matches!(Stat::of(self.pid), Ok(Some(stat)) if stat.start_ticks == self.start_ticks)
    }
}

/// Where it is written.
pub struct Book {
    folder: PathBuf,
    hub: String,
    boot: BootId,
    managed: bool,
    start_ticks: u64,
}

impl Book {
    pub fn new(folder: &Path, hub: &str, boot: BootId, managed: bool) -> anyhow::Result<Self> {
        let stat = Stat::of(std::process::id()).context("reading /proc")?;
        let start_ticks = stat.map_or(0, |stat| stat.start_ticks);
        Ok(Self { folder: folder.to_owned(), hub: hub.to_owned(), boot, managed, start_ticks })
    }

    fn status(&self, running: &Running) -> Status {
        let beat = running.heartbeat();
        let (courier, connected) = running.courier();
        let sensor =
            |s: wardline_wire::proto::Sensor| Sensor { kind: s.kind, state: s.state, reason: s.reason };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            start_ticks: self.start_ticks,
            boot: self.boot.0.to_string(),
            time_ms: SystemClock.now().0,
            managed: self.managed,
            hub: self.hub.clone(),
            connected,
            mode: beat.mode,
            rules: beat.rules_loaded,
            waiting: running.waiting(),
            sensors: beat.sensors.into_iter().map(sensor).collect(),
            courier: Courier {
                pid: courier.pid,
                unconfined: courier.unconfined,
                restarts: courier.restarts,
                certificate_until_ms: courier.certificate_until_ms,
                clock_ahead_ms: courier.clock_ahead_ms,
            },
        }
    }

    /// Not synced: after a power cut there is no agent that it could be about.
    pub fn write(&self, running: &Running) {
        let temporary = self.folder.join("status.json.new");
        let json = serde_json::to_vec_pretty(&self.status(running)).unwrap_or_default();
        // A full disk or one that cannot be written is told elsewhere; this is only about how it was.
        if fs::write(&temporary, json).is_ok() {
            let _ = fs::rename(&temporary, self.folder.join(FILE));
        }
    }

    /// One line for the service manager.
    pub fn line(&self, running: &Running) -> String {
        let status = self.status(running);
        let live = status.sensors.iter().filter(|s| s.state == "live").count();
        let hub = if status.connected { "connected to" } else { "no connection to" };
        format!("{}; {live} of {} sensors live; {hub} {}", status.mode, status.sensors.len(), status.hub)
    }

    /// The agent has stopped as it should.
    pub fn close(&self) {
        let _ = fs::remove_file(self.folder.join(FILE));
    }
}
