//! `wardline up`: a hub, this machine's agent and the console, in the foreground.
//!
//! Both run as processes of their own, with the very commands a real installation uses. Each holds the read end of
//! a pipe from here and stops when it closes: whatever ends this process ends them too.

use std::io::{BufRead, BufReader, IsTerminal};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;
use wardline_agent::clock::{Clock, SystemClock};
use wardline_agent::enrol::POLICY_FILE;
use wardline_agent::state::StateDir;
use wardline_event::unhex;
use wardline_respond::record;

use crate::{agent, data, drill};

#[derive(Args)]
#[command(after_help = "Examples:
  sudo wardline up                 with root, the sensor can see and the policy can act
  wardline up --monitor            rules only record what they would have done
  wardline up --data /srv/wl --http 127.0.0.1:9000")]
pub struct UpArgs {
    /// Where everything is kept [default: wardline below the user's data folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address of the console and the API
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8700")]
    http: SocketAddr,
    /// Address at which agents reach the hub
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8701")]
    agents: SocketAddr,
    /// Monitor mode for this machine, now and from now on: rules record and do not kill
    #[arg(long)]
    monitor: bool,
    /// Once all is ready, start a harmless process that looks like an attack
    #[arg(long)]
    drill: bool,
}

/// How long a part may take to get ready.
const READY: Duration = Duration::from_mins(1);
/// How long a part may take to stop cleanly before it is ended.
const STOP: Duration = Duration::from_secs(10);

/// A child process that stops when its standard input closes.
struct Part {
    name: &'static str,
    child: Child,
}

impl Part {
    fn start(name: &'static str, args: &[&str]) -> anyhow::Result<(Self, Value)> {
        let exe = std::env::current_exe().context("finding this program's own file")?;
        let mut child = Command::new(exe)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C at the terminal reaches this process only, which then stops its parts in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting the {name}"))?;
        let out = child.stdout.take().context("the part's standard output")?;
        let (sender, ready) = mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(out).lines();
            let _ = sender.send(lines.next());
            // Nothing more is expected; reading on keeps the pipe from filling.
            lines.for_each(drop);
        });
        let part = Self { name, child };
        match ready.recv_timeout(READY) {
            Ok(Some(Ok(line))) => {
                let ready =
                    serde_json::from_str(&line).with_context(|| format!("the {name} said `{line}`"))?;
                Ok((part, ready))
            }
            // It has said why on standard error.
            Ok(_) => bail!("the {name} did not start; the reason is above"),
            Err(_) => bail!("the {name} was not ready within {} s", READY.as_secs()),
        }
    }

    fn has_ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("the {} has ended ({status})", self.name))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!("wardline: the {} did not stop within {} s and is ended", self.name, STOP.as_secs());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn run(args: &UpArgs) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    data::keep_private();
    let folder = data::folder(args.data.as_ref())?;
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let (hub_dir, agent_dir) = (folder.join("hub"), folder.join("agent"));
    let text =
        |path: &PathBuf| path.to_str().map(str::to_owned).context("the data folder's name is not UTF-8");
    let (hub_path, agent_path) = (text(&hub_dir)?, text(&agent_dir)?);
    let (http, agents) = (args.http.to_string(), args.agents.to_string());

    let state = StateDir::open(&agent_dir)?;
    let enrolled = state.is_enrolled();
    let device = if enrolled { state.identity()?.device.to_string() } else { String::new() };
    let mut hub_args =
        vec!["hub", "run", "--supervised", "--data", &hub_path, "--http", &http, "--agents", &agents];
    let mode = if args.monitor { "monitor" } else { "protect" };
    if !enrolled {
        hub_args.extend(["--token-for", mode]);
    } else if args.monitor {
        hub_args.extend(["--monitor-device", &device]);
    }
    let (mut hub, ready) = Part::start("hub", &hub_args)?;
    let field = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
    let hub_address = reachable(&field("agents"));
    if !enrolled {
        agent::enrol(&hub_address, &field("token"), &agent_dir)?;
    } else if args.monitor {
        // Before the agent starts: it must not act on the policy it has for even a moment.
        let policy = unhex(&field("policy")).context("the hub's answer to --monitor")?;
        state.write(POLICY_FILE, &policy)?;
    }
    // To try it out, in the foreground: nobody's work is to be kept safe from it.
    let agent_args =
        ["agent", "run", "--supervised", "--no-ceilings", "--data", &agent_path, "--hub", &hub_address];
    let (mut agent, watching) = Part::start("agent", &agent_args)?;

    println!();
    println!(
        "  Wardline is up ({:.1} s). Sign in with this link; it works once, for 15 minutes:",
        began.elapsed().as_secs_f64()
    );
    println!();
    println!("    {}", highlight(&field("link")));
    println!();
    let live = show_sensors(&watching);
    println!(
        "  Policy: {}",
        match watching["mode"].as_str() {
            Some("protect") => "protect — rules with a response kill the process tree",
            Some("monitor") => "monitor — rules record what they would have done",
            _ => "unknown",
        }
    );
    println!("  Rules:  {} in force", watching["rules"]);
    println!("  Data:   {}", folder.display());
    let program = std::env::current_exe().context("finding this program's own file")?;
    let program =
        format!("{}{}", if rustix::process::geteuid().is_root() { "sudo " } else { "" }, program.display());
    println!("  Another sign-in link: {program} hub link --data {hub_path} --http {}", field("http"));
    println!("  Ctrl-C ends everything; the data stays.");
    println!();
    if args.drill {
        start_drill(live);
    }
    let code = watch(&mut hub, &mut agent);
    // The agent first: it can still deliver its last records.
    drop(agent);
    drop(hub);
    say_what_is_contained(&agent_dir, &program);
    code
}

/// A containment stays in the kernel when the agent stops, and only a running agent ends it in time.
fn say_what_is_contained(agent_dir: &Path, program: &str) {
    let records = record::going_on(agent_dir, SystemClock.now());
    for record in &records {
        println!("  {} stays, by order of {}.", crate::containment::in_words(&record.rung()), record.by);
        println!("  It ends when an agent runs after {}.", record.expires);
    }
    if !records.is_empty() {
        println!("  To end everything now: {program} agent release --local --data {}", agent_dir.display());
    }
}

/// Waits for Ctrl-C or the end of a part.
fn watch(hub: &mut Part, agent: &mut Part) -> anyhow::Result<ExitCode> {
    let stopped = data::runtime()?.block_on(async {
        let mut asked = std::pin::pin!(data::stop_asked(false)?);
        loop {
            tokio::select! {
                () = &mut asked => return anyhow::Ok(None),
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
            if let Some(why) = hub.has_ended().or_else(|| agent.has_ended()) {
                return Ok(Some(why));
            }
        }
    })?;
    match stopped {
        None => {
            println!("\nstopping …");
            Ok(ExitCode::SUCCESS)
        }
        Some(why) => bail!("{why}; the reason is above"),
    }
}

/// The address under which this machine reaches a hub that listens on all of its addresses.
fn reachable(listening: &str) -> String {
    match listening.parse::<SocketAddr>() {
        Ok(a) if a.ip().is_unspecified() => {
            let host = if a.is_ipv4() { "127.0.0.1" } else { "[::1]" };
            format!("{host}:{}", a.port())
        }
        _ => listening.to_owned(),
    }
}

fn highlight(text: &str) -> String {
    if std::io::stdout().is_terminal() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

/// Says plainly which sensors are live and which are not and why; true if one is live.
fn show_sensors(watching: &Value) -> bool {
    let mut any = false;
    println!("  Sensors:");
    for sensor in watching["sensors"].as_array().into_iter().flatten() {
        let text = |name: &str| sensor[name].as_str().unwrap_or_default();
        let mark = if text("state") == "off" { "✗" } else { "✓" };
        any |= sensor["watches"] == true;
        let reason = text("reason");
        println!(
            "    {mark} {}: {}{}{reason}",
            text("title"),
            text("state"),
            if reason.is_empty() { "" } else { " — " }
        );
    }
    if !any {
        println!("    No sensor is live: nothing that happens on this machine is seen. Start with sudo.");
    }
    any
}

fn start_drill(live: bool) {
    if !live {
        println!("  No drill: without a live sensor nobody would see it.");
        return;
    }
    println!("  Drill: starting a harmless process that looks like a reverse shell (it only sleeps) …");
    std::thread::spawn(|| match drill::once(drill::Kind::ReverseShell) {
        Ok(Some(time)) => println!(
            "  Drill: it was killed {:.1} ms after its start. See it in the console under Findings.",
            time.as_secs_f64() * 1000.0
        ),
        Ok(None) => {
            println!("  Drill: it was not stopped (policy monitor?). See what was recorded in the console.");
        }
        Err(error) => println!("  Drill: {error:#}"),
    });
}
