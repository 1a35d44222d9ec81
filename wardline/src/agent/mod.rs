//! `wardline agent`: enrol, run.

mod courier;
mod doctor;
mod status;
mod trial;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::ransomware::Watch;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use tracing::{error, info, warn};
use wardline_agent::ceilings::{Group, Mounts};
use wardline_agent::clock::{Clock, SystemClock};
use wardline_agent::guard::Ruleset;
use wardline_agent::keeper::CourierHost;
use wardline_agent::link::Enrol;
use wardline_agent::outbox::Budget;
use wardline_agent::running::{Setup, facts, start};
use wardline_agent::service::Service;
use wardline_agent::state::StateDir;
use wardline_event::{SensorKind, SensorState, SensorStatus};
use wardline_policy::DevicePolicy;
use wardline_respond::{LinuxResponder, Protected};
use wardline_wire::EnrolmentToken;

use crate::canaries::{self, CanariesArgs};
use crate::containment::{self, ReleaseArgs, StatusArgs};
use crate::data::{self, Folder};
use crate::logging;
use crate::quarantine::{self, QuarantineArgs};
use crate::undo::{self, UndoArgs};

#[derive(Subcommand)]
pub enum AgentCommand {
    /// Make this machine known to a hub
    #[command(after_help = "Examples:
  ssh hub.trust.example wardline hub token | wardline agent enrol hub.trust.example:8701 -
  WARDLINE_TOKEN=wardline1.3f… wardline agent enrol hub.trust.example:8701
  wardline agent enrol hub.trust.example:8701 wardline1.3f…\n\nMake the token at the hub: wardline hub token. On the command line every user of this machine can see it.")]
    Enrol(EnrolArgs),
    /// Watch over this machine, in the foreground
    Run(RunArgs),
    /// Say how this machine's agent is: what works, what does not, why it matters, what to do
    #[command(
        after_help = "Exit codes: 0 all is well, 2 something is missing, 1 this machine is not protected.\n\n\
Examples:\n  sudo wardline agent doctor\n  sudo wardline agent doctor --json --data /var/lib/wardline/agent"
    )]
    Doctor(doctor::DoctorArgs),
    /// Undo every containment at the machine; needs root, and neither agent, hub nor network
    #[command(after_help = "Examples:
  sudo wardline agent release --local
  sudo wardline agent release --local --only logons")]
    Release(ReleaseArgs),
    /// The part of a running agent that speaks with the hub; started by it
    #[command(hide = true)]
    Courier(courier::CourierArgs),
    /// What is contained on this machine, by whose order, and until when
    #[command(after_help = "Example:\n  sudo wardline agent status --json")]
    Status(StatusArgs),
    /// Files in quarantine: add, list, show, restore, purge
    Quarantine(QuarantineArgs),
    /// The canary files of the ransomware guard on this machine: list them, or take them away
    #[command(
        after_help = "Examples:\n  sudo wardline agent canaries\n  sudo wardline agent canaries --remove"
    )]
    Canaries(CanariesArgs),
    /// Give back what an encryptor destroyed before it was stopped; needs no network
    Undo(UndoArgs),
}

#[derive(Args)]
pub struct EnrolArgs {
    /// The hub's address for agents, host:port
    hub: String,
    /// The token, from `wardline hub token`; `-` reads it from standard input [default: the variable WARDLINE_TOKEN]
    token: Option<String>,
    #[command(flatten)]
    folder: Folder,
}

#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    folder: Folder,
    /// The hub's address, if it is no longer the one of the enrolment
    #[arg(long, value_name = "HOST:PORT")]
    hub: Option<String>,
    /// Further Sigma rules: files or folders, besides Wardline's own
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// Set no ceilings of memory and processor time where no service manager does
    #[arg(long)]
    no_ceilings: bool,
    /// Seconds that a new version, new rules or a new policy must last before they count as good
    #[arg(long, hide = true, default_value_t = 600)]
    proven_after: u64,
    /// Report readiness as JSON on standard output and stop when standard input closes
    #[arg(long, hide = true)]
    supervised: bool,
}

/// The folder of the packaged agent.
pub const PACKAGED: &str = "/var/lib/wardline/agent";
/// A thread of the agent that does not go round for so long does no longer protect.
const STUCK: Duration = Duration::from_secs(30);

pub fn run(command: &AgentCommand) -> anyhow::Result<ExitCode> {
    match command {
        AgentCommand::Enrol(args) => {
            logging::start(false);
            data::keep_private();
            enrol(&args.hub, &token(args.token.as_deref())?, &args.folder.path("agent")?)?;
            println!("enrolled with {}; start with: wardline agent run", args.hub);
        }
        AgentCommand::Run(args) => {
            logging::start(false);
            data::keep_private();
            watch(args)?;
        }
        AgentCommand::Doctor(args) => return doctor::run(args),
        AgentCommand::Courier(args) => courier::run(args)?,
        AgentCommand::Release(args) => return containment::release(args),
        AgentCommand::Status(args) => containment::status(args)?,
        AgentCommand::Quarantine(args) => quarantine::run(args)?,
        AgentCommand::Canaries(args) => return canaries::run(args),
        AgentCommand::Undo(args) => return undo::run(args),
    }
    Ok(ExitCode::SUCCESS)
}

/// The token as given, from standard input, or from the environment.
fn token(given: Option<&str>) -> anyhow::Result<String> {
    match given {
        Some("-") => {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).context("reading the token from standard input")?;
            Ok(line.trim().to_owned())
        }
        Some(token) => Ok(token.to_owned()),
        None => match std::env::var("WARDLINE_TOKEN") {
            Ok(token) => Ok(token.trim().to_owned()),
            Err(_) => bail!(
                "no token: make one at the hub with `wardline hub token`, and give it in WARDLINE_TOKEN or, with `-`, on standard input"
            ),
        },
    }
}

/// Enrols this machine; used by `wardline up` as well.
pub fn enrol(hub: &str, token: &str, folder: &Path) -> anyhow::Result<()> {
    let token: EnrolmentToken = token.parse()?;
    let state = StateDir::open(folder)?;
    if state.is_enrolled() {
        // An unreadable or newer identity is reported, never overwritten.
        let known = state.identity()?;
        // The authority says which hub it is; the address may have changed.
        let authority = ring::digest::digest(&ring::digest::SHA256, &known.authority_der);
        if known.hub != hub && authority.as_ref() != token.authority {
            bail!(
                "this machine is enrolled with {} already; to change hubs, move {} away first",
                known.hub,
                folder.display()
            );
        }
        warn!("this machine was enrolled before; it gets a new identity");
    }
    // A token is good for one enrolment: it must not be used up by one that cannot be kept.
    state.check_writable()?;
    let facts = prost::Message::encode_to_vec(&facts(env!("CARGO_PKG_VERSION")));
    let wish = Enrol { hub: hub.to_owned(), secret: token.secret_text(), authority: token.authority, facts };
    let enrolled = courier::enrol(wish)?;
    wardline_agent::enrol::accept(hub, &token, enrolled, &state, SystemClock.now())?;
    Ok(())
}

/// Rule files that were added: their paths and texts.
type Added = Vec<(String, String)>;

fn read_rules(more: &[PathBuf]) -> anyhow::Result<Added> {
    let mut files = Added::new();
    let found = crate::rules::files::Files::collect(more);
    if let Some(fault) = found.faults.first() {
        bail!("{fault}");
    }
    for file in found.list {
        let text = std::fs::read_to_string(&file.path)
            .with_context(|| format!("reading rule {}", file.path.display()))?;
        files.push((file.path.display().to_string(), text));
    }
    Ok(files)
}

/// All rules: Wardline's own and those added.
fn load_rules(added: &Added) -> anyhow::Result<Ruleset> {
    let own = wardline_content::rules().iter().map(|r| (r.path, r.text));
    let (rules, problems) = Ruleset::load(own.chain(added.iter().map(|(p, t)| (p.as_str(), t.as_str()))));
    for problem in &problems {
        warn!("{problem}; this rule is not in force");
    }
    if rules.is_empty() {
        bail!("no usable rule: the agent would watch without seeing");
    }
    Ok(rules)
}

fn watch(args: &RunArgs) -> anyhow::Result<()> {
    let runtime = data::runtime()?;
    // Before anything else: who stops the agent while it starts must not make its start look like a failure.
    let asked = {
        let _within = runtime.enter();
        data::stop_asked(args.supervised)?
    };
    let service = Service::find(|name| std::env::var(name).ok()).context("finding the service manager")?;
    let mounts = Mounts::of_host().unwrap_or_default();
    // The unit file of the package has them already.
    let mut group = (!service.is_managed() && !args.no_ceilings).then(|| Group::enter(&mounts));
    let state = StateDir::open(&args.folder.path("agent")?)?;
    let folder = state.path().to_owned();
    let hub = args.hub.clone().map_or_else(|| state.identity().map(|identity| identity.hub), Ok)?;
    let mut added = read_rules(&args.rules)?;
    // Before anything that may fail with it: what is new is on trial.
    let lock = state.lock()?;
    let content = trial::fingerprint(added.iter().map(|(_, text)| text.as_str()));
    let mut trying = trial::Trying::begin(&state, content, Duration::from_secs(args.proven_after));
    if trying.returned.is_some() {
        let good = trial::good_rules(&state);
        added = if good.exists() { read_rules(&[good])? } else { Added::new() };
    }
    drop(lock);
    let rules = load_rules(&added)?;
    let rule_count = rules.len();
    let protected = Protected { executables: DevicePolicy::default().never_kill, ..Protected::default() };
    let responder = LinuxResponder::new(protected).context("reading /proc")?.noting(state.path());
    let boot = responder.boot();
    let opened = wardline_sense_linux::open(&wardline_sense_linux::Options::default());
    let (sensors, others) = (opened.sensors, opened.statuses);
    let statuses: Vec<SensorStatus> =
        sensors.iter().flat_map(|s| s.statuses()).chain(others.iter().cloned()).collect();
    let running = start(Setup {
        state,
        hub: args.hub.clone(),
        facts: facts(env!("CARGO_PKG_VERSION")),
        boot,
        rules,
        responder: Box::new(responder),
        sensors,
        others,
        found: opened.found,
        processes: opened.processes,
        kernel_rules: opened.kernel_rules,
        clock: Arc::new(SystemClock),
        random: data::random,
        budget: Budget::default(),
        courier: CourierHost::Process(courier::launch(&hub)),
    })?;
    let mode = running.heartbeat().mode;
    if args.supervised {
        let sensors: Vec<_> = statuses.iter().map(describe).collect();
        let mut out = std::io::stdout();
        writeln!(out, "{}", json!({"sensors": sensors, "mode": mode, "rules": rule_count}))?;
        out.flush()?;
    } else {
        info!("{rule_count} rules in force, policy {mode}");
        for status in &statuses {
            let (title, state, reason) = words(status);
            info!("sensor {title}: {state}{}{reason}", if reason.is_empty() { "" } else { " — " });
        }
    }
    trying.tell(&running);
    let ransomware = Watch::start(running.court(), boot, &folder);
    if let Some(group) = &mut group {
        group.limit_cpu();
        group.refused.iter().for_each(|why| info!("a ceiling could not be set: {why}"));
    }
    let book = status::Book::new(&folder, &hub, boot, service.is_managed())?;
    service.tell(&["READY=1"]);
    runtime.block_on(async {
        let beat = service.watchdog().unwrap_or(status::EVERY).min(status::EVERY);
        let mut asked = std::pin::pin!(asked);
        let mut wait = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                () = &mut asked => return,
                () = tokio::time::sleep(wait) => wait = beat,
            }
            book.write(&running);
            trying.look(&added);
            let stuck = running.stuck(STUCK);
            if stuck.is_empty() {
                service.tell(&["WATCHDOG=1", &format!("STATUS={}", book.line(&running))]);
            } else {
                // The service manager, which no longer hears that all is well, starts the agent again.
                error!("threads of the agent stand still: {}", stuck.join(", "));
                service.tell(&[&format!("STATUS=threads stand still: {}", stuck.join(", "))]);
            }
        }
    });
    service.tell(&["STOPPING=1"]);
    drop(ransomware);
    running.stop();
    book.close();
    trying.end();
    Ok(())
}

fn words(status: &SensorStatus) -> (&'static str, &'static str, &str) {
    match &status.state {
        SensorState::Live => (status.kind.title(), "live", ""),
        SensorState::Degraded { reason } => (status.kind.title(), "degraded", reason),
        SensorState::Off { reason } => (status.kind.title(), "off", reason),
    }
}

fn describe(status: &SensorStatus) -> serde_json::Value {
    let (title, state, reason) = words(status);
    // `/proc` is read once at the start: it watches nothing.
    let watches = status.kind != SensorKind::LinuxProc && state != "off";
    json!({"title": title, "state": state, "reason": reason, "watches": watches})
}
