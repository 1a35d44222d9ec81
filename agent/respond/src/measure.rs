//! What a containment is: the order, its limits, its report.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wardline_event::ProcessKey;
use wardline_policy::{KeptFlow, MAX_KEPT_FLOWS, Rung};

/// The most hubs that one containment may leave reachable.
pub const MAX_HUBS: usize = 64;
/// The most descendants of a process that an order names; more are found by looking.
pub const MAX_DESCENDANTS: usize = 4096;

/// What is to be contained, with all that is needed to do it again after a reboot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Measure {
    /// The network of one process and of what it starts.
    Process(ProcessSpec),
    /// SMB, RDP, SSH and WinRM.
    EastWest(EastWestSpec),
    /// Everything.
    Isolation(IsolationSpec),
    /// New logons of people.
    Logons(LogonSpec),
}

impl Measure {
    /// Which rung of the ladder it is.
    pub fn rung(&self) -> Rung {
        match self {
            Self::Process(spec) => Rung::Process(spec.process),
            Self::EastWest(_) => Rung::EastWest,
            Self::Isolation(_) => Rung::Isolation,
            Self::Logons(_) => Rung::Logons,
        }
    }

    /// The hubs that it leaves reachable, as ordered.
    pub fn hubs(&self) -> &[SocketAddr] {
        match self {
            Self::Isolation(spec) => &spec.hubs,
            Self::EastWest(spec) => &spec.hubs,
            Self::Process(_) | Self::Logons(_) => &[],
        }
    }

    /// The flows that it keeps open.
    pub fn kept(&self) -> &[KeptFlow] {
        match self {
            Self::Isolation(spec) => &spec.keep,
            Self::EastWest(spec) => &spec.keep,
            Self::Process(_) | Self::Logons(_) => &[],
        }
    }
}

/// A process whose network is cut, with everything below it. Every packet of theirs is dropped, loopback's too: else a
/// resolver or a proxy of the machine would carry it out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// The process.
    pub process: ProcessKey,
    /// Descendants that the caller knows of, whose parents may have ended.
    #[serde(default)]
    pub descendants: Vec<ProcessKey>,
}

/// What is left of SMB, RDP, SSH and WinRM when they are cut, in both directions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EastWestSpec {
    /// The hubs.
    #[serde(default)]
    pub hubs: Vec<SocketAddr>,
    /// The flows that are kept.
    #[serde(default)]
    pub keep: Vec<KeptFlow>,
}

/// What stays reachable. Everything else is dropped, established connections too: loopback is always kept, and so
/// are IPv6 neighbour discovery on the local link and the messages of path MTU discovery, without which a hub
/// could not be reached.
///
/// Names are not resolved while a machine is isolated: whoever isolates must know the hub's addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationSpec {
    /// The hubs: TCP, connections from this machine to them.
    pub hubs: Vec<SocketAddr>,
    /// Also keep DHCP, for machines whose lease is shorter than the isolation.
    #[serde(default)]
    pub dhcp: bool,
    /// The flows that are kept.
    #[serde(default)]
    pub keep: Vec<KeptFlow>,
}

/// Who may still log on while logons are suspended, beside root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogonSpec {
    /// The break-glass accounts.
    #[serde(default)]
    pub except: Vec<String>,
}

impl IsolationSpec {
    /// An isolation that keeps these hubs and nothing else.
    pub fn to_hubs(hubs: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { hubs: hubs.into_iter().collect(), dhcp: false, keep: Vec::new() }
    }

    /// The hubs as [`checked_hubs`] has them. An isolation with nothing to reach is refused: nobody could undo it
    /// from afar.
    pub fn checked_hubs(&self) -> Result<Vec<SocketAddr>, ContainError> {
        let hubs = checked_hubs(&self.hubs)?;
        if hubs.is_empty() { Err(ContainError::NoHub) } else { Ok(hubs) }
    }
}

/// The hubs, each once, in order, IPv4 addresses in IPv6's clothes undressed.
pub fn checked_hubs(hubs: &[SocketAddr]) -> Result<Vec<SocketAddr>, ContainError> {
    let mut checked = BTreeSet::new();
    for hub in hubs {
        let ip = hub.ip().to_canonical();
        let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
        let what = if hub.port() == 0 {
            "its port is 0"
        } else if ip.is_unspecified() || ip.is_multicast() || broadcast {
            "it is not the address of one machine"
        } else {
            checked.insert(SocketAddr::new(ip, hub.port()));
            continue;
        };
        return Err(ContainError::BadHub { hub: *hub, what });
    }
    if checked.len() > MAX_HUBS {
        return Err(ContainError::TooManyHubs(checked.len()));
    }
    Ok(checked.into_iter().collect())
}

/// The flows, if all of them may be kept. A policy was checked when it came; a record on disk may have been changed.
pub fn checked_flows(keep: &[KeptFlow]) -> Result<&[KeptFlow], ContainError> {
    if keep.len() > MAX_KEPT_FLOWS {
        return Err(ContainError::TooManyFlows(keep.len()));
    }
    match keep.iter().find_map(|flow| Some((flow, flow.fault()?))) {
        Some((flow, what)) => Err(ContainError::BadFlow { flow: flow.to_string(), what }),
        None => Ok(keep),
    }
}

/// A containment is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contained {
    /// True if it replaced one of its rung that was in force.
    pub replaced: bool,
    /// From the order until the kernel had switched.
    pub took: Duration,
    /// What whoever ordered it must know: what could not be reached, what is left out. Sentences.
    pub notes: Vec<String>,
}

/// Whether a containment is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It is, and whole.
    Yes,
    /// It is not, or somebody has weakened it.
    No,
    /// What it contained is no more; why, in words.
    Over(String),
}

/// The containment is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum ContainError {
    /// Nothing would be reachable.
    #[error("isolation needs at least one hub address, or nobody could release the machine from afar")]
    NoHub,
    /// An address that cannot be a hub's.
    #[error("{hub} cannot be a hub: {what}")]
    BadHub {
        /// The address.
        hub: SocketAddr,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More than [`MAX_HUBS`].
    #[error("{0} hub addresses are too many: a containment keeps at most {MAX_HUBS}")]
    TooManyHubs(usize),
    /// A flow that may not be kept.
    #[error("the flow {flow} cannot be kept: {what}")]
    BadFlow {
        /// The flow.
        flow: String,
        /// What is wrong with it.
        what: String,
    },
    /// More than [`MAX_KEPT_FLOWS`].
    #[error("{0} kept flows are too many: a containment keeps at most {MAX_KEPT_FLOWS}")]
    TooManyFlows(usize),
    /// The caller lacks the right.
    #[error("not allowed to change the packet filter: run this as root (it needs CAP_NET_ADMIN)")]
    NotPermitted,
    /// The kernel has no nftables, or not for IPv4 and IPv6 together.
    #[error(
        "this kernel has no nf_tables (`inet` family): load it with `modprobe nf_tables`, or use a kernel with it"
    )]
    NoNfTables,
    /// This machine cannot do it; why, and what to do.
    #[error("{0}")]
    Unsupported(String),
    /// The quarantine refused.
    #[cfg(target_os = "linux")]
    #[error(transparent)]
    Quarantine(#[from] crate::linux::quarantine::Refusal),
    /// The process could not be held.
    #[error(transparent)]
    Process(#[from] crate::kill::KillError),
    /// The system refused.
    #[error("{doing} failed")]
    Os {
        /// What was being tried.
        doing: &'static str,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// The kernel's answer could not be understood.
    #[error("the kernel's answer to {doing} makes no sense: {what}")]
    Answer {
        /// What was being tried.
        doing: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hubs_are_checked_and_brought_into_one_form() {
        let check =
            |hubs: &[&str]| IsolationSpec::to_hubs(hubs.iter().map(|h| h.parse().unwrap())).checked_hubs();
        let said = |hubs: &[&str]| check(hubs).unwrap_err().to_string();
        let good =
            check(&["[2001:db8::1]:8443", "10.0.0.1:8443", "[::ffff:10.0.0.1]:8443", "127.0.0.1:1"]).unwrap();
        let good: Vec<String> = good.iter().map(ToString::to_string).collect();
        assert_eq!(good, ["10.0.0.1:8443", "127.0.0.1:1", "[2001:db8::1]:8443"]);
        assert!(said(&[]).contains("at least one hub"));
        assert!(said(&["10.0.0.1:0"]).contains("port is 0"));
        for bad in
            ["0.0.0.0:1", "[::]:1", "224.0.0.1:1", "[ff02::1]:1", "255.255.255.255:1", "[::ffff:0.0.0.0]:1"]
        {
            assert!(said(&[bad]).contains("not the address of one machine"), "{bad}");
        }
        let many: Vec<SocketAddr> = (1..=65).map(|port| SocketAddr::from(([10, 0, 0, 1], port))).collect();
        assert!(IsolationSpec::to_hubs(many).checked_hubs().unwrap_err().to_string().contains("65"));
    }
}
