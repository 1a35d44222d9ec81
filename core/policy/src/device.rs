//! What a hub lays down for one device.

use serde::{Deserialize, Serialize};

use crate::flow::{KeptFlow, MAX_KEPT_FLOWS};

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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
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

    /// Reads [`DeviceClass::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Workstation, Self::Server, Self::Clinical].into_iter().find(|one| one.as_str() == text)
    }
}

/// The longest containment, in seconds: a day. Whoever needs longer renews it, which is a decision of its own.
pub const MAX_ISOLATION_S: u64 = 24 * 60 * 60;

/// The newest format that this build reads. 2 has kept flows and break-glass accounts: an agent that would overlook
/// them must not take the policy.
const VERSION: u32 = 2;
/// The most break-glass accounts.
pub const MAX_BREAK_GLASS: usize = 16;
/// The most entries about canary files.
pub const MAX_CANARY_FOLDERS: usize = 32;

/// What a hub lays down for one device. Travels as JSON inside a signed command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DevicePolicy {
    /// Format: 1, or 2 if it has what 1 does not know. Set by [`DevicePolicy::to_json`].
    pub version: u32,
    /// Whether rules may act.
    pub mode: Mode,
    /// What kind of device it is.
    pub class: DeviceClass,
    /// Executables that nothing may kill, as full paths; `*` stands for any characters but `/`.
    pub never_kill: Vec<String>,
    /// The longest containment of any kind that this device accepts, in seconds.
    pub max_isolation_s: u64,
    /// What stays open when this device is contained, because patients depend on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep_flows: Vec<KeptFlow>,
    /// Accounts that may log on while logons are suspended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub break_glass: Vec<String>,
    /// Folders that get canary files, as full paths; `/*` at the end stands for each folder in one. None: no canaries. An
    /// agent that does not know of them overlooks them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canary_folders: Vec<String>,
}

/// A policy could not be used. The one before it stays in force.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not the expected JSON.
    #[error("the policy is not readable")]
    Json(#[source] serde_json::Error),
    /// A newer format.
    #[error("the policy has version {0}; this build reads versions 1 to {VERSION}: update the agent")]
    Version(u32),
    /// A path that could never match, or would match everything.
    #[error("the policy's never_kill entry `{0}` is not a full path below /, such as /usr/sbin/sshd")]
    Path(String),
    /// Longer than a day, or nothing.
    #[error("the policy's max_isolation_s is {0}; it must be between 60 and {MAX_ISOLATION_S}")]
    Isolation(u64),
    /// A flow that may not be kept.
    #[error("the policy's kept flow `{name}` cannot be used: {what}")]
    Flow {
        /// Its name.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// More than [`MAX_KEPT_FLOWS`].
    #[error("the policy keeps {0} flows; at most {MAX_KEPT_FLOWS} can be kept")]
    TooManyFlows(usize),
    /// A folder that cannot get canaries, or too many of them.
    #[error("the policy's canary_folders {0}")]
    Canaries(String),
    /// An account that could be no account's name, or too many of them.
    #[error("the policy's break_glass {0}")]
    BreakGlass(String),
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
            keep_flows: Vec::new(),
            break_glass: Vec::new(),
            canary_folders: Vec::new(),
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
        let version = if self.keep_flows.is_empty() && self.break_glass.is_empty() { 1 } else { VERSION };
        serde_json::to_vec(&Self { version, ..self.clone() })
            .expect("a policy holds only strings and numbers")
    }

    /// Whether this policy can be laid down for a device.
    pub fn check(&self) -> Result<(), PolicyError> {
        if !(1..=VERSION).contains(&self.version) {
            return Err(PolicyError::Version(self.version));
        }
        if self.keep_flows.len() > MAX_KEPT_FLOWS {
            return Err(PolicyError::TooManyFlows(self.keep_flows.len()));
        }
        if let Some((flow, what)) = self.keep_flows.iter().find_map(|flow| Some((flow, flow.fault()?))) {
            return Err(PolicyError::Flow { name: flow.name.clone(), what });
        }
        if self.break_glass.len() > MAX_BREAK_GLASS {
            let what =
                format!("names {} accounts; at most {MAX_BREAK_GLASS} may be named", self.break_glass.len());
            return Err(PolicyError::BreakGlass(what));
        }
        if let Some(name) = self.break_glass.iter().find(|name| !is_account(name)) {
            return Err(PolicyError::BreakGlass(format!("entry {name:?} is no name of an account")));
        }
        if self.canary_folders.len() > MAX_CANARY_FOLDERS {
            let what = format!(
                "has {} entries; at most {MAX_CANARY_FOLDERS} may be named",
                self.canary_folders.len()
            );
            return Err(PolicyError::Canaries(what));
        }
        if let Some(folder) = self.canary_folders.iter().find(|folder| !takes_canaries(folder)) {
            return Err(PolicyError::Canaries(format!(
                "entry {folder:?} is no full path of a folder for people's files, such as /srv/share or /home/*"
            )));
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

/// A full path, with at most a `/*` at its end, and none of the system's own folders.
fn takes_canaries(folder: &str) -> bool {
    const SYSTEM: [&str; 12] =
        ["/", "/proc", "/sys", "/dev", "/run", "/boot", "/etc", "/usr", "/bin", "/sbin", "/lib", "/var/lib"];
    let path = folder.strip_suffix("/*").unwrap_or(folder);
    let inside = |system: &&str| {
        path == *system
            || *system != "/" && path.strip_prefix(*system).is_some_and(|rest| rest.starts_with('/'))
    };
    let plain =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['*', '\0', '\n']);
    path.len() <= 1024
        && path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain))
        && !SYSTEM.iter().any(inside)
}

/// What the tools that make accounts accept as a name (useradd(8)), a domain's accounts included: no spaces, no colons,
/// nothing that a list of names could be broken with.
fn is_account(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    first && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.@\\$".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A policy that keeps flows is not for agents that do not know of any; one that keeps none stays as it was.
    #[test]
    fn kept_flows_and_break_glass_accounts_travel_and_are_checked() {
        let policy = |keep: serde_json::Value, accounts: serde_json::Value| {
            let mut json = serde_json::to_value(DevicePolicy::default()).unwrap();
            json["keep_flows"] = keep;
            json["break_glass"] = accounts;
            DevicePolicy::from_json(json.to_string().as_bytes())
        };
        let flow = |peer: &str| {
            json!({"name": "Images", "reason": "reporting", "direction": "out", "protocol": "tcp",
                   "peer": peer, "ports": "104"})
        };
        let good = policy(json!([flow("10.1.2.3")]), json!(["oncall", "TRUST\\oncall"])).unwrap();
        let text = String::from_utf8(good.to_json()).unwrap();
        assert!(text.starts_with("{\"version\":2,"), "{text}");
        let again = DevicePolicy::from_json(text.as_bytes()).unwrap();
        assert_eq!(again, DevicePolicy { version: 2, ..good });
        let plain = String::from_utf8(DevicePolicy::default().to_json()).unwrap();
        assert!(plain.starts_with("{\"version\":1,") && !plain.contains("keep_flows"), "{plain}");

        let said = |keep, accounts| policy(keep, accounts).unwrap_err().to_string();
        assert!(said(json!([flow("10.0.0.0/8")]), json!([])).contains("`Images` cannot be used"));
        assert!(said(json!(vec![flow("10.1.2.3"); 65]), json!([])).contains("65 flows"));
        assert!(said(json!([]), json!(["a:b"])).contains("no name of an account"));
        assert!(said(json!([]), json!(["a\nroot"])).contains("no name of an account"));
        assert!(said(json!([]), json!(vec!["a"; 17])).contains("17 accounts"));
        assert!(said(json!([flow("pacs.example")]), json!([])).contains("not readable"));
    }

    #[test]
    fn a_policy_survives_its_json_form_and_bad_ones_are_refused() {
        let policy = DevicePolicy { mode: Mode::Protect, ..DevicePolicy::default() };
        assert_eq!(DevicePolicy::from_json(&policy.to_json()).unwrap(), policy);

        let refuse = |change: &dyn Fn(&mut DevicePolicy)| {
            let mut p = DevicePolicy::default();
            change(&mut p);
            DevicePolicy::from_json(&serde_json::to_vec(&p).unwrap()).unwrap_err().to_string()
        };
        assert!(refuse(&|p| p.version = 3).contains("update the agent"));
        assert!(refuse(&|p| p.never_kill = vec!["/*".into()]).contains("not a full path"));
        assert!(refuse(&|p| p.never_kill = vec!["sshd".into()]).contains("not a full path"));
        assert!(refuse(&|p| p.max_isolation_s = 0).contains("between 60 and 86400"));
        assert!(DevicePolicy::from_json(b"{\"version\":1").is_err());
        let bad =
            ["", "/", "/*", "home", "/home/../etc", "/etc", "/var/lib/x", "/home/*/x", "/home//x", "/a\nb"];
        for bad in bad {
            assert!(refuse(&|p| p.canary_folders = vec![bad.into()]).contains("canary_folders"), "{bad}");
        }
        assert!(refuse(&|p| p.canary_folders = vec!["/home/*".into(); 33]).contains("33 entries"));
        let with = DevicePolicy { canary_folders: vec!["/home/*".into(), "/srv/share".into()], ..policy };
        assert_eq!(DevicePolicy::from_json(&with.to_json()).unwrap(), with);
    }
}
