//! The trial of what is new, on disk: which setting an agent runs with, and what is needed to return to the last good one.
//!
//! Below the agent's folder: `trial.json`, and in `good/` the policy, the added rules and the program that proved good.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tracing::{info, warn};
use wardline_agent::enrol::{POLICY_FILE, policy_fingerprint, reject_policy};
use wardline_agent::guard::OwnFinding;
use wardline_agent::running::Running;
use wardline_agent::state::StateDir;
use wardline_agent::trial::{Advice, FAILURES, Setting, Trial};
use wardline_event::{SensorKind, Severity, hex};

const FILE: &str = "trial.json";
/// Set for the good program that a newer one starts in its place.
const GOOD: &str = "WARDLINE_GOOD";

/// A trial at work.
pub struct Trying {
    state: StateDir,
    trial: Trial,
    /// What the agent returned from, and to what; for people.
    pub returned: Option<String>,
    proven_after: Duration,
    since: Instant,
    done: bool,
}

/// A fingerprint of files, whatever their names.
pub fn fingerprint<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for text in texts {
        context.update(&(text.len() as u64).to_le_bytes());
        context.update(text.as_bytes());
    }
    hex(&context.finish().as_ref()[..8])
}

fn policy(state: &StateDir) -> String {
    let signed = state.read(POLICY_FILE).ok().flatten().unwrap_or_default();
    policy_fingerprint(&signed)
}

/// The rules that proved good, once they were kept.
pub fn good_rules(state: &StateDir) -> PathBuf {
    state.path().join("good/rules")
}

impl Trying {
    /// Begins with rules of this fingerprint, or returns to what was good: then the policy is that again, the caller takes
    /// [`good_rules`], and a newer program is replaced by the good one, in which case this does not return.
    pub fn begin(state: &StateDir, content: String, proven_after: Duration) -> Self {
        let read = state.read(FILE).ok().flatten();
        let trial: Trial = read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let mut trying = Self {
            state: state.clone(),
            trial,
            returned: None,
            proven_after,
            since: Instant::now(),
            done: false,
        };
        let wanted =
            Setting { version: env!("CARGO_PKG_VERSION").to_owned(), content, policy: policy(state) };
        if let Some(why) = std::env::var_os(GOOD) {
            // The newer program has begun already, and has put back what was good.
            trying.returned = Some(why.to_string_lossy().into_owned());
            return trying;
        }
        if let Advice::GoBack(good) = trying.trial.begin(&wanted) {
            trying.go_back(&wanted, &good);
        }
        trying.save();
        trying
    }

    fn go_back(&mut self, wanted: &Setting, good: &Setting) {
        let mut parts = Vec::new();
        if wanted.policy != good.policy {
            if let Err(error) = reject_policy(&self.state, &wanted.policy) {
                warn!("the policy that failed could not be noted: {}", wardline_agent::chain(&error));
            }
            let kept = fs::read(self.state.path().join("good").join(POLICY_FILE));
            match kept.map_err(|e| e.to_string()).and_then(|bytes| {
                self.state.write(POLICY_FILE, &bytes).map_err(|e| wardline_agent::chain(&e))
            }) {
                Ok(()) => parts.push("the policy before".to_owned()),
                Err(why) => warn!("the last good policy cannot be put back: {why}"),
            }
        }
        if wanted.content != good.content {
            parts.push("the rules before".to_owned());
        }
        if wanted.version != good.version {
            parts.push(format!("version {}", good.version));
        }
        let why = format!(
            "the agent or this machine failed {FAILURES} times within minutes; back to {}",
            parts.join(", ")
        );
        warn!("{why}");
        self.save();
        if wanted.version != good.version {
            let program = self.state.path().join("good/wardline");
            let error = Command::new(&program).args(std::env::args_os().skip(1)).env(GOOD, &why).exec();
            warn!(
                "the last good program cannot be started ({}: {error}); going on with this one",
                program.display()
            );
        }
        self.returned = Some(why);
    }

    fn save(&self) {
        let json = serde_json::to_vec_pretty(&self.trial).expect("texts and numbers");
        if let Err(error) = self.state.write(FILE, &json) {
            warn!("what is on trial could not be noted: {}", wardline_agent::chain(&error));
        }
    }

    /// Call it now and then: notes a policy that has come, and what has lasted. `rules` are the texts of added rules.
    pub fn look(&mut self, rules: &[(String, String)]) {
        if self.trial.changed(&policy(&self.state)) {
            (self.since, self.done) = (Instant::now(), false);
            self.save();
        }
        if self.done || self.since.elapsed() < self.proven_after {
            return;
        }
        self.done = true;
        if self.trial.lasted().is_some() {
            match keep(&self.state, rules) {
                Ok(()) => info!("what is new has lasted: it counts as good from now on"),
                Err(error) => warn!("what has proved good could not be kept to return to: {error}"),
            }
            self.save();
        }
    }

    /// Tells the hub that the agent returned to what was good.
    pub fn tell(&self, running: &Running) {
        let Some(why) = &self.returned else { return };
        running.tell_of_itself(OwnFinding {
            id: "9e6b1c57-4d2f-4f0a-8b63-7c5d0a1e2f48",
            title: "The agent returned to what was good before",
            description: "A new version, new rules or a new policy were followed by failures of the agent or of this machine. \
                          The agent goes on with what worked before. Find out why it failed before it is tried again."
                .into(),
            severity: Severity::High,
            part: SensorKind::LinuxProc,
            matched: ("agent".to_owned(), "lasts".to_owned(), why.clone()),
            detail: why.clone(),
        });
    }

    /// The agent stops as it should.
    pub fn end(mut self) {
        self.trial.ended();
        self.save();
    }
}

/// Keeps what is needed to return to what runs now.
fn keep(state: &StateDir, rules: &[(String, String)]) -> std::io::Result<()> {
    let good = state.path().join("good");
    fs::create_dir_all(&good)?;
    if let Ok(Some(policy)) = state.read(POLICY_FILE) {
        fs::write(good.join(POLICY_FILE), policy)?;
    }
    let folder = good.join("rules");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir(&folder)?;
    for (n, (_, text)) in rules.iter().enumerate() {
        fs::write(folder.join(format!("{n:05}.yml")), text)?;
    }
    copy_program(&good.join("wardline"))
}

/// Whole or not at all, and only if it is another one.
fn copy_program(to: &Path) -> std::io::Result<()> {
    let own = Path::new("/proc/self/exe");
    let same = fs::metadata(to).is_ok_and(|kept| fs::metadata(own).is_ok_and(|own| own.len() == kept.len()));
    if same && fs::read(to)? == fs::read(own)? {
        return Ok(());
    }
    let temporary = to.with_extension("new");
    fs::copy(own, &temporary)?;
    fs::rename(&temporary, to)
}
