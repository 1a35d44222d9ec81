//! The checks.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use wardline_agent::ceilings::{CPU_PERCENT, MEMORY, Mounts, look};
use wardline_agent::clock::{Clock, SystemClock};
use wardline_agent::outbox::Budget;
use wardline_agent::state::{StateDir, StateError};
use wardline_agent::trial::Trial;
use wardline_event::Timestamp;
use wardline_respond::linux::nft;
use wardline_respond::record::{self, Record};
use wardline_respond::{Holds, IsolationSpec, LinuxResponder, Protected, Responder};

use super::super::status::Status;
use super::{Check, State};
use State::{Degraded, Fault, Good, Unknown};

/// A status that is older than this is not how the agent is now.
const FRESH_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 3600 * 1000;

fn check(name: &'static str, why: &'static str, found: (State, String, String)) -> Check {
    let (state, what, mend) = found;
    Check { name, state, what, why, mend }
}

fn good(what: impl Into<String>) -> (State, String, String) {
    (Good, what.into(), String::new())
}

fn bad(state: State, what: impl Into<String>, mend: impl Into<String>) -> (State, String, String) {
    (state, what.into(), mend.into())
}

/// All checks, the most important first.
pub fn all(folder: &Path) -> Vec<Check> {
    let status = Status::read(folder).filter(Status::is_alive);
    let status = status.as_ref();
    let mut checks = vec![
        check("enrolment", "an agent that no hub knows tells nobody", enrolment(folder)),
        check("agent", "only a running agent protects this machine", agent(status)),
        check("other agents", "two agents act twice and share the ceilings of one", others()),
        check(
            "rights",
            "without root no program of the kernel can be loaded and nobody stopped",
            rights(status),
        ),
        check("policy", "it says whether rules may act", policy(status)),
        check("last change", "what is new may be what makes an agent or a machine fail", trial(folder)),
    ];
    checks.extend(sensors(status));
    checks.extend([
        check(
            "kernel types",
            "the sensor's programs fit themselves to this kernel by its types (BTF)",
            btf(),
        ),
        check("packet filter", "isolation is a table of nftables", packet_filter()),
        check("containment", "what was ordered must hold, and end", containment(folder)),
        check("hub", "people see and order through the hub; without it the agent acts alone", hub(status)),
        check("certificate", "with an expired certificate the hub refuses this device", certificate(status)),
        check("clock", "orders expire by the clock, and findings are told by it", clock(status)),
        check("courier", "it reads what comes from the network, and may do nothing else", courier(status)),
        check(
            "spool",
            "records wait here for the hub; without room the oldest are lost, and counted",
            spool(folder),
        ),
        check(
            "ceilings",
            "an agent must never take the machine from those who work with it",
            ceilings(status),
        ),
        check("limits", "an agent that may not open files or lock memory sees less", limits(status)),
        check(
            "service",
            "a service manager starts the agent at boot, and again when it fails",
            service(status),
        ),
    ]);
    checks
}

fn not_running() -> (State, String, String) {
    bad(Unknown, "no agent is running", "")
}

fn enrolment(folder: &Path) -> (State, String, String) {
    let enrol = "make a token at the hub (wardline hub token) and run: wardline agent enrol HUB TOKEN";
    if !folder.exists() {
        return bad(Fault, format!("there is no folder {}", folder.display()), enrol);
    }
    if fs::read_dir(folder).is_err() {
        return bad(Unknown, format!("{} may not be read", folder.display()), "run it as root (sudo)");
    }
    match StateDir::open(folder).and_then(|state| state.identity()) {
        Ok(identity) => good(format!("device {} of the hub at {}", identity.device, identity.hub)),
        Err(StateError::NotEnrolled(_)) => bad(Fault, "this machine is not enrolled", enrol),
        Err(error) => bad(Fault, wardline_agent::chain(&error), "as it says"),
    }
}

fn agent(status: Option<&Status>) -> (State, String, String) {
    match status {
        Some(status) if SystemClock.now().0 - status.time_ms > FRESH_MS => bad(
            Fault,
            format!("process {} runs, and has not said how it is for more than a minute", status.pid),
            "look at its log; restart it (systemctl restart wardline-agent)",
        ),
        Some(status) => good(format!("version {} runs as process {}", status.version, status.pid)),
        None => bad(
            Fault,
            "no agent is running",
            "systemctl start wardline-agent, or in the foreground: sudo wardline agent run",
        ),
    }
}

/// Processes whose command line is that of a running agent.
fn others() -> (State, String, String) {
    let mut running = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let mut words = line.split('\0');
        let program = words.next().unwrap_or_default();
        if program.rsplit('/').next() == Some("wardline")
            && words.next() == Some("agent")
            && words.next() == Some("run")
        {
            running.push(pid.to_string());
        }
    }
    if running.len() < 2 {
        return good("none");
    }
    let what = format!("{} agents run on this machine: processes {}", running.len(), running.join(", "));
    bad(Degraded, what, "stop those that are not meant to run")
}

fn rights(status: Option<&Status>) -> (State, String, String) {
    let Some(status) = status else { return not_running() };
    match proc_status(status.pid) {
        Some(facts) if facts.get("Uid").is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0")) => {
            good("the guard is root")
        }
        Some(_) => bad(Fault, "the guard is not root", "start it as root: the package's service does"),
        None => bad(Unknown, "its process may not be looked at", "run it as root (sudo)"),
    }
}

fn policy(status: Option<&Status>) -> (State, String, String) {
    let Some(status) = status else { return not_running() };
    let rules = format!("{} rules in force", status.rules);
    match status.mode.as_str() {
        "protect" => good(format!("protect; {rules}")),
        mode => bad(
            Degraded,
            format!("{mode}: rules record, and nothing is stopped; {rules}"),
            "set the device to protect at the hub, when you are ready",
        ),
    }
}

fn trial(folder: &Path) -> (State, String, String) {
    let read = fs::read(folder.join("trial.json")).ok();
    let Some(trial) = read.and_then(|bytes| serde_json::from_slice::<Trial>(&bytes).ok()) else {
        return bad(Unknown, "nothing is known of how long anything has lasted", "");
    };
    match trial.rejected() {
        None => good("nothing had to be given up"),
        Some(rejected) => bad(
            Degraded,
            format!(
                "the agent failed again and again with version {}, rules {}, policy {}, and runs with what was good before \
                 where it is asked for that again",
                rejected.version, rejected.content, rejected.policy
            ),
            "find out why in the agent's log; other rules, another policy or another version are tried anew",
        ),
    }
}

fn sensors(status: Option<&Status>) -> Vec<Check> {
    let why = "what no sensor sees, no rule finds";
    let Some(status) = status else { return vec![check("sensors", why, not_running())] };
    let live = status
        .sensors
        .iter()
        .any(|s| s.state != "off" && s.kind.starts_with("linux_") && s.kind != "linux_proc");
    let mut checks = Vec::new();
    if !live {
        let what = "no sensor sees: nothing that happens on this machine is noticed";
        checks.push(check(
            "sensors",
            why,
            bad(Fault, what, "see why below; the agent needs root and Linux 5.8"),
        ));
    }
    for sensor in &status.sensors {
        let said = if sensor.reason.is_empty() {
            format!("{} is {}", sensor.kind, sensor.state)
        } else {
            format!("{} is {} ({})", sensor.kind, sensor.state, sensor.reason)
        };
        let name = match sensor.kind.as_str() {
            "ransomware_guard" => "protection",
            kind if kind.starts_with("verdict_") => "rules in the kernel",
            _ => "sensor",
        };
        checks.push(check(
            name,
            why,
            if sensor.state == "live" { good(said) } else { bad(Degraded, said, "") },
        ));
    }
    checks
}

fn btf() -> (State, String, String) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if Path::new("/sys/kernel/btf/vmlinux").exists() {
        return good(format!("Linux {} describes them", release.trim()));
    }
    bad(
        Degraded,
        format!("Linux {} does not: only programs that start and end are seen", release.trim()),
        "use a kernel with CONFIG_DEBUG_INFO_BTF (Debian 11, Ubuntu 20.10, RHEL 8.2 and later have it)",
    )
}

/// A hub that is nobody's, to see whether the packet filter answers at all.
fn asks_for_nothing() -> IsolationSpec {
    IsolationSpec::to_hubs(vec![SocketAddr::from(([127, 0, 0, 1], 1))])
}

fn packet_filter() -> (State, String, String) {
    match nft::is_isolated(&asks_for_nothing()) {
        Ok(_) => good("nftables works"),
        Err(error) if !rustix::process::geteuid().is_root() => {
            bad(Unknown, wardline_agent::chain(&error), "run it as root (sudo)")
        }
        Err(error) => bad(
            Degraded,
            format!(
                "it cannot be used, so this machine cannot be isolated: {}",
                wardline_agent::chain(&error)
            ),
            "load the module nf_tables (modprobe nf_tables)",
        ),
    }
}

fn containment(folder: &Path) -> (State, String, String) {
    let ordered = record::going_on(folder, SystemClock.now());
    if ordered.is_empty() {
        return good("none is ordered");
    }
    let names =
        |records: &[&Record]| records.iter().map(|r| r.rung().to_string()).collect::<Vec<_>>().join(", ");
    let Ok(mut responder) = LinuxResponder::new(Protected::default()) else {
        return bad(
            Unknown,
            format!("ordered: {}", names(&ordered.iter().collect::<Vec<_>>())),
            "mount /proc",
        );
    };
    let open: Vec<&Record> =
        ordered.iter().filter(|r| matches!(responder.holds(&r.measure), Ok(Holds::No))).collect();
    if open.is_empty() {
        return good(format!("ordered and not found open: {}", names(&ordered.iter().collect::<Vec<_>>())));
    }
    let what = format!("ordered and not in force: {}", names(&open));
    bad(Fault, what, "a running agent puts it back within seconds; see also: wardline agent status")
}

fn hub(status: Option<&Status>) -> (State, String, String) {
    let Some(status) = status else { return not_running() };
    let waiting = format!("{} records wait", status.waiting);
    if status.connected {
        return good(format!("connected to {}; {waiting}", status.hub));
    }
    let what = format!("no connection to {}; {waiting}", status.hub);
    bad(Degraded, what, "is the hub running, its name known, its port open? The agent's log says what failed")
}

fn certificate(status: Option<&Status>) -> (State, String, String) {
    let Some(status) = status else { return not_running() };
    let Some(until) = status.courier.certificate_until_ms else {
        return bad(Unknown, "it is looked at once the hub was reached", "");
    };
    let left = until - SystemClock.now().0;
    let what = format!("valid until {}", Timestamp(until));
    match left {
        ..=0 => bad(Fault, format!("expired at {}", Timestamp(until)), "enrol again with a fresh token"),
        // It lives for thirty days and is renewed after twenty.
        1..604_800_000 => {
            bad(Degraded, format!("{what}, and was not renewed in time"), "see the agent's log")
        }
        _ => good(format!("{what}, {} days", left / DAY_MS)),
    }
}

fn clock(status: Option<&Status>) -> (State, String, String) {
    let now = SystemClock.now();
    // 2026-01-01: no agent is older.
    if now.0 < 1_767_225_600_000 {
        return bad(
            Fault,
            format!("it says {now}, which lies before this program"),
            "set the clock (timedatectl)",
        );
    }
    match status.and_then(|status| status.courier.clock_ahead_ms) {
        Some(ahead) if ahead.abs() > 60_000 => {
            let (by, way) = (ahead.abs() / 1000, if ahead > 0 { "ahead of" } else { "behind" });
            let what = format!("{by} s {way} the hub's: beyond 300 s the hub's orders are refused");
            bad(if by > 300 { Fault } else { Degraded }, what, "set both clocks by a time server")
        }
        Some(ahead) => good(format!("{} s beside the hub's", ahead.abs() / 1000)),
        None => bad(Unknown, format!("{now}; the hub was not asked yet"), ""),
    }
}

fn courier(status: Option<&Status>) -> (State, String, String) {
    let Some(status) = status else { return not_running() };
    let courier = &status.courier;
    let again = format!("started again {} times", courier.restarts);
    let Some(pid) = courier.pid else {
        return bad(
            Degraded,
            format!("it does not run; {again}"),
            "see the agent's log; nothing reaches the hub",
        );
    };
    let Some(facts) = proc_status(pid) else {
        return bad(Unknown, format!("process {pid} may not be looked at"), "run it as root (sudo)");
    };
    let is = |name: &str, value: &str| facts.get(name).is_some_and(|found| found == value);
    let mut missing = Vec::new();
    if facts.get("Uid").is_none_or(|ids| ids.split_whitespace().any(|id| id == "0")) {
        missing.push("it is root");
    }
    for (name, value, without) in [
        ("CapEff", "0000000000000000", "it has capabilities"),
        ("NoNewPrivs", "1", "it can gain rights"),
        ("Seccomp", "2", "it can make any system call"),
    ] {
        if !is(name, value) {
            missing.push(without);
        }
    }
    let said = courier.unconfined.clone().unwrap_or_default();
    if missing.is_empty() && said.is_empty() {
        return good(format!("process {pid} is confined; {again}"));
    }
    let what = missing.into_iter().map(str::to_owned).chain(Some(said).filter(|s| !s.is_empty()));
    let what = format!("process {pid} is not confined in full: {}", what.collect::<Vec<_>>().join("; "));
    bad(Degraded, what, "a kernel from 6.12 on has all of it; Landlock may have to be named in `lsm=`")
}

fn spool(folder: &Path) -> (State, String, String) {
    let Ok(space) = rustix::fs::statvfs(folder) else {
        return bad(Unknown, format!("{} cannot be looked at", folder.display()), "");
    };
    if space.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return bad(
            Fault,
            format!("{} is on a file system that cannot be written", folder.display()),
            "mount it for writing, or give the agent another folder with --data",
        );
    }
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let Budget { findings, telemetry } = Budget::default();
    let (mb, wanted) = (free >> 20, findings + telemetry);
    match free {
        ..0x10_0000 => bad(Fault, format!("the disk of {} is full", folder.display()), "make room"),
        _ if free < wanted => bad(
            Degraded,
            format!("{mb} MB are free on its disk, less than the {} MB it may use", wanted >> 20),
            "make room, so that nothing is lost when the hub is away for long",
        ),
        _ => good(format!("{mb} MB are free on its disk")),
    }
}

fn ceilings(status: Option<&Status>) -> (State, String, String) {
    let Some(status) = status else { return not_running() };
    let found =
        Mounts::of_host().and_then(|mounts| look(Path::new(&format!("/proc/{}", status.pid)), &mounts));
    let Ok(limits) = found else {
        return bad(Unknown, "its cgroup may not be looked at", "run it as root (sudo)");
    };
    let memory = limits.memory.filter(|bytes| *bytes <= MEMORY);
    let cpu = limits.cpu_percent.filter(|percent| *percent <= CPU_PERCENT);
    match (memory, cpu) {
        (Some(memory), Some(cpu)) => good(format!("{} MB of memory, {cpu} % of one core", memory >> 20)),
        _ => bad(
            Degraded,
            format!(
                "memory: {}; processor time: {}",
                memory.map_or("no limit".to_owned(), |bytes| format!("{} MB", bytes >> 20)),
                cpu.map_or("no limit".to_owned(), |percent| format!("{percent} %"))
            ),
            "run it as the package's service, or on a host with cgroups for memory and cpu, without --no-ceilings",
        ),
    }
}

fn limits(status: Option<&Status>) -> (State, String, String) {
    let Some(status) = status else { return not_running() };
    let Ok(text) = fs::read_to_string(format!("/proc/{}/limits", status.pid)) else {
        return bad(Unknown, "they may not be looked at", "run it as root (sudo)");
    };
    // `Max open files            1024                 524288               files`
    let soft = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next().map(str::to_owned)
    };
    let files = soft("Max open files").unwrap_or_default();
    if files.parse::<u64>().is_ok_and(|n| n < 256) {
        return bad(
            Degraded,
            format!("it may open {files} files only"),
            "raise RLIMIT_NOFILE (LimitNOFILE=)",
        );
    }
    good(format!("{files} open files"))
}

fn service(status: Option<&Status>) -> (State, String, String) {
    let Some(status) = status else { return not_running() };
    if status.managed {
        return good("a service manager watches over it");
    }
    bad(Degraded, "nobody starts it again when it ends", "install the package: its unit does (docs/agent.md)")
}

/// `/proc/PID/status` by its names (proc_pid_status(5)).
fn proc_status(pid: u32) -> Option<BTreeMap<String, String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line =
        |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    Some(text.lines().filter_map(line).collect())
}
