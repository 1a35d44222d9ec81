//! What a hub lays down for one device.

use serde::{Deserialize, Serialize};

/// Whether rules may act by themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Findings are recorded, with what would have been done.
    Monitor,
    /// Rules with a response act at once.
    Protect,
}

impl Mode {
    /// `monitor` or `protect`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Monitor => "monitor",
            Self::Protect => "protect",
        }
    }
}

/// What kind of device it is, as far as safety cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceClass {
    /// A person's computer.
    #[default]
    Workstation,
    /// A server.
    Server,
    /// Patients depend on it directly: analyser, imaging, monitoring. Rules never kill or contain here (domain
    /// rule "no scan and no kill on clinical-class devices by default"); a person may.
    Clinical,
}

impl DeviceClass {
    /// `workstation`, `server` or `clinical`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workstation => "workstation",
            Self::Server => "server",
            Self::Clinical => "clinical",
        }
    }
}

/// The longest containment, in seconds: a day. Whoever needs longer renews it, which is a decision of its own.
pub const MAX_ISOLATION_S: u64 = 24 * 60 * 60;

/// What a hub lays down for one device. Travels as JSON inside a signed command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DevicePolicy {
    /// Format; this build reads 1.
    pub version: u32,
    /// Whether rules may act.
    pub mode: Mode,
    /// What kind of device it is.
    pub class: DeviceClass,
    /// Executables that nothing may kill, as full paths; `*` stands for any characters but `/`.
    pub never_kill: Vec<String>,
    /// The longest isolation that this device accepts, in seconds.
    pub max_isolation_s: u64,
}

/// A policy could not be used. The one before it stays in force.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not the expected JSON.
    #[error("the policy is not readable")]
    Json(#[source] serde_json::Error),
    /// A newer format.
    #[error("the policy has version {0}; this build reads version 1: update the agent")]
    Version(u32),
    /// A path that could never match, or would match everything.
    #[error("the policy's never_kill entry `{0}` is not a full path below /, such as /usr/sbin/sshd")]
    Path(String),
    /// Longer than a day, or nothing.
    #[error("the policy's max_isolation_s is {0}; it must be between 60 and {MAX_ISOLATION_S}")]
    Isolation(u64),
}

impl Default for DevicePolicy {
    fn default() -> Self {
        Self {
            version: 1,
            mode: Mode::Monitor,
            class: DeviceClass::Workstation,
            // What a person needs to get back in, and what holds the session together.
            never_kill: [
                "/usr/sbin/sshd",
                "/usr/lib/systemd/*",
                "/lib/systemd/*",
                "/usr/bin/dbus-daemon",
                "/usr/sbin/NetworkManager",
                "/usr/bin/containerd",
                "/usr/bin/dockerd",
            ]
            .map(String::from)
            .to_vec(),
            max_isolation_s: MAX_ISOLATION_S,
        }
    }
}

impl DevicePolicy {
    /// Reads and checks a policy.
    pub fn from_json(json: &[u8]) -> Result<Self, PolicyError> {
        let policy: Self = serde_json::from_slice(json).map_err(PolicyError::Json)?;
        policy.check()?;
        Ok(policy)
    }

    /// The JSON that travels.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a policy holds only strings and numbers")
    }

    fn check(&self) -> Result<(), PolicyError> {
        if self.version != 1 {
            return Err(PolicyError::Version(self.version));
        }
        let vague = |p: &&String| !p.starts_with('/') || p.starts_with("/*") || p.len() < 3;
        if let Some(path) = self.never_kill.iter().find(vague) {
            return Err(PolicyError::Path(path.clone()));
        }
        if !(60..=MAX_ISOLATION_S).contains(&self.max_isolation_s) {
            return Err(PolicyError::Isolation(self.max_isolation_s));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_survives_its_json_form_and_bad_ones_are_refused() {
        let policy = DevicePolicy { mode: Mode::Protect, ..DevicePolicy::default() };
        assert_eq!(DevicePolicy::from_json(&policy.to_json()).unwrap(), policy);

        let refuse = |change: &dyn Fn(&mut DevicePolicy)| {
            let mut p = DevicePolicy::default();
            change(&mut p);
            DevicePolicy::from_json(&p.to_json()).unwrap_err().to_string()
        };
        assert!(refuse(&|p| p.version = 2).contains("update the agent"));
        assert!(refuse(&|p| p.never_kill = vec!["/*".into()]).contains("not a full path"));
        assert!(refuse(&|p| p.never_kill = vec!["sshd".into()]).contains("not a full path"));
        assert!(refuse(&|p| p.max_isolation_s = 0).contains("between 60 and 86400"));
        assert!(DevicePolicy::from_json(b"{\"version\":1").is_err());
    }
}
