//! `wardline drill`: a harmless process that looks like an attack.
//!
//! The process sleeps and does nothing else: the words on its command line are what a rule sees. If the machine is
//! protected, it dies within milliseconds; if not, the drill ends it after a while and says so.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::json;

#[derive(Args)]
#[command(after_help = "Examples:
  wardline drill                              a process that looks like a reverse shell
  wardline drill encryptor                    one that looks like ransomware at work
  wardline drill --runs 200 --json            measure: from start to death, 200 times")]
pub struct DrillArgs {
    /// What the process looks like
    #[arg(value_enum, default_value_t = Kind::ReverseShell)]
    kind: Kind,
    /// How often
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// Seconds to wait for the process to be stopped
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    wait: u64,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Kind {
    /// A shell whose command line ties it to the network
    ReverseShell,
    /// A shell whose command line encrypts files and destroys the originals
    Encryptor,
}

impl Kind {
    /// What the shell is given. `exec sleep` would replace the command line by which the rule knows the process, so
    /// the shell stays, and `:` (do nothing) takes the words that look dangerous as arguments it ignores.
    fn script(self) -> &'static str {
        match self {
            Self::ReverseShell => "sleep 60; : wardline-drill 'bash -i >& /dev/tcp/127.0.0.1/9 0>&1'",
            Self::Encryptor => {
                "sleep 60; : wardline-drill 'find /nowhere/wardline-drill -type f -exec openssl enc -aes-256-cbc -in {} -out {}.locked ; -exec shred -u {} ;'"
            }
        }
    }
}

/// Starts the harmless process.
fn start(kind: Kind) -> anyhow::Result<Child> {
    Command::new("bash")
        .args(["-c", kind.script()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting bash for the drill")
}

/// Waits for the process to die; gives the time since `began` if a signal killed it, `None` if it lived on (it is
/// ended then).
fn wait(mut child: Child, began: Instant, limit: Duration) -> anyhow::Result<Option<Duration>> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let pid = child.id();
    // The waiting thread owns the child, so that its death is seen at once and not by polling.
    let waiter = std::thread::spawn(move || {
        let status = child.wait();
        let _ = sender.send((status, Instant::now()));
    });
    let answer = receiver.recv_timeout(limit);
    if answer.is_err() {
        // Ours and still alive, so the pid cannot have been reused: nobody has waited for it yet.
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).context("the drill's pid")?;
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        let _ = receiver.recv();
    }
    let _ = waiter.join();
    match answer {
        Err(_) => Ok(None),
        Ok((status, at)) => match status?.signal() {
            Some(9) => Ok(Some(at.duration_since(began))),
            _ => bail!("the drill's process ended by itself; is bash usable here?"),
        },
    }
}

/// Runs one drill; gives the time from start to death, `None` if the process was not stopped within 5 s.
pub fn once(kind: Kind) -> anyhow::Result<Option<Duration>> {
    let began = Instant::now();
    wait(start(kind)?, began, Duration::from_secs(5))
}

pub fn run(args: &DrillArgs) -> anyhow::Result<ExitCode> {
    let mut times: Vec<f64> = Vec::new();
    for run in 1..=args.runs {
        let began = Instant::now();
        let child = start(args.kind)?;
        let pid = child.id();
        if let Some(time) = wait(child, began, Duration::from_secs(args.wait))? {
            times.push(time.as_secs_f64() * 1000.0);
            if !args.json && args.runs <= 5 {
                println!(
                    "drill {run}: process {pid} was killed {:.1} ms after its start",
                    time.as_secs_f64() * 1000.0
                );
            }
        } else {
            if !args.json {
                println!(
                    "drill {run}: process {pid} was NOT stopped within {} s; the drill has ended it",
                    args.wait
                );
                println!("  Is an agent running on this machine, with a live sensor and policy `protect`?");
            }
            break;
        }
        // Some distance, so that each run is measured by itself.
        if args.runs > 1 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let stopped = times.len();
    times.sort_by(f64::total_cmp);
    let at = |p: f64| times.get(((times.len() as f64 * p).ceil() as usize).saturating_sub(1)).copied();
    if args.json {
        println!(
            "{}",
            json!({"runs": args.runs, "stopped": stopped, "kill_p50_ms": at(0.5), "kill_p99_ms": at(0.99), "kill_max_ms": times.last()})
        );
    } else if let (Some(p50), Some(p99), true) = (at(0.5), at(0.99), stopped > 5) {
        println!("{stopped} of {} stopped; from start to death p50 {p50:.2} ms, p99 {p99:.2} ms", args.runs);
    }
    Ok(if stopped == args.runs as usize { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
