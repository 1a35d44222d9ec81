//! The bus: small typed notices that something changed. Whoever needs the thing itself reads it from the store.

use serde::Serialize;
use tokio::sync::broadcast;

use crate::scope::OrganisationId;

/// What changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "topic", rename_all = "snake_case")]
pub enum Topic {
    /// A finding was stored for the first time.
    FindingAdded {
        /// The finding.
        id: String,
        /// The device it was made on.
        device: String,
        /// `informational` … `critical`.
        severity: String,
    },
    /// A person acknowledged, closed or reopened a finding.
    FindingChanged {
        /// The finding.
        id: String,
    },
    /// A device enrolled, spoke, fell silent or got another policy.
    DeviceChanged {
        /// The device.
        id: String,
    },
    /// An action was ordered or has another state.
    ActionChanged {
        /// The action.
        id: String,
        /// The device that is to act.
        device: String,
    },
    /// An organisation was added, changed or moved in the tree.
    OrganisationsChanged,
    /// A notice for all who see the organisation was made or ended.
    NoticesChanged,
    /// There is a signed command to send to a device at once.
    CommandReady {
        /// The device.
        device: String,
    },
}

impl Topic {
    /// The name of the console's live event for this change: `findings`, `devices`, `actions`,
    /// `organisations` or `notices`; `None` for what only the hub itself listens to.
    pub fn live_name(&self) -> Option<&'static str> {
        match self {
            Self::FindingAdded { .. } | Self::FindingChanged { .. } => Some("findings"),
            Self::DeviceChanged { .. } => Some("devices"),
            Self::ActionChanged { .. } => Some("actions"),
            Self::OrganisationsChanged => Some("organisations"),
            Self::NoticesChanged => Some("notices"),
            Self::CommandReady { .. } => None,
        }
    }
}

/// A change within one organisation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Whose it is.
    pub organisation: OrganisationId,
    /// What changed.
    pub topic: Topic,
}

/// The hub's bus. A listener that is too slow misses notices and is told so; nobody waits for it.
#[derive(Clone, Debug)]
pub struct Bus(broadcast::Sender<Notice>);

impl Default for Bus {
    fn default() -> Self {
        Self(broadcast::channel(1024).0)
    }
}

impl Bus {
    /// Tells whoever listens. Call it after the commit.
    pub fn tell(&self, organisation: &OrganisationId, topic: Topic) {
        // An error only says that nobody listens.
        let _ = self.0.send(Notice { organisation: organisation.clone(), topic });
    }

    /// Everything told from now on.
    pub fn listen(&self) -> broadcast::Receiver<Notice> {
        self.0.subscribe()
    }
}
