//! The courier's process: how it is started, and what it does first.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use wardline_agent::clock::SystemClock;
use wardline_agent::courier::confine::{Wish, confine};
use wardline_agent::courier::{self, Place};
use wardline_agent::keeper::Launch;
use wardline_agent::link::{Enrol, Enrolled, Frames, MOST_TO_GUARD, ToCourier, ToGuard, VERSION, printable};
use wardline_respond::linux::procfs::Stat;

use crate::{data, logging};

/// The user that the package makes for the courier.
const USER: &str = "wardline-courier";
/// Where there is none: a number that nobody has, from those that systemd keeps for services without a user of their own
/// (systemd.exec(5), `DynamicUser=`).
const NUMBERS: std::ops::RangeInclusive<u32> = 61_184..=65_519;

#[derive(Args)]
pub struct CourierArgs {
    /// User to become
    #[arg(long, requires = "gid")]
    uid: Option<u32>,
    /// Group to become
    #[arg(long)]
    gid: Option<u32>,
    /// The hub's port
    #[arg(long)]
    port: Option<u16>,
    /// The guard's process: its pid and its start
    #[arg(long, value_name = "PID:TICKS")]
    guard: String,
}

/// The courier's process, with the line to the guard as standard input. Confined before anything else.
pub fn run(args: &CourierArgs) -> anyhow::Result<()> {
    // When memory is short the guard is to stay. proc_pid_oom_score_adj(5)
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    let missing = confine(Wish { user: args.uid.zip(args.gid), port: args.port })?;
    logging::start(false);
    let (pid, start) = args.guard.split_once(':').context("--guard is PID:TICKS")?;
    let place = Place {
        socket: io::stdin().as_fd().try_clone_to_owned().context("taking the line to the guard")?.into(),
        unconfined: missing.join("; "),
        guard: Some((pid.parse()?, start.parse()?)),
        clock: Arc::new(SystemClock),
        random: data::random,
    };
    let runtime = data::runtime()?;
    let done = runtime.block_on(courier::run(place));
    // A name may still be asked for, which can take long.
    runtime.shutdown_background();
    done.context("the line to the guard")
}

/// Starts couriers for a hub at this address.
pub fn launch(hub: &str) -> Launch {
    let port = hub.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    Box::new(move |line| start(line, port))
}

fn start(line: OwnedFd, port: Option<u16>) -> io::Result<Child> {
    let own = std::process::id();
    let ticks = Stat::of(own)?.map_or(0, |stat| stat.start_ticks);
    // The very program that runs, also after its file was replaced by a newer one.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("wardline").args(["agent", "courier", "--guard", &format!("{own}:{ticks}")]);
    if let Some(port) = port {
        command.args(["--port", &port.to_string()]);
    }
    if rustix::process::geteuid().is_root() {
        let (uid, gid) = user()?;
        command.args(["--uid", &uid.to_string(), "--gid", &gid.to_string()]);
    }
    let kept = ["WARDLINE_LOG", "RUST_BACKTRACE", "TZ", "LANG"];
    let kept: Vec<_> = kept.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))).collect();
    command
        .env_clear()
        .envs(kept)
        .current_dir("/")
        .stdin(Stdio::from(line))
        .stdout(Stdio::null())
        // Ctrl-C at the terminal is for the guard, which tells the courier.
        .process_group(0)
        .spawn()
}

/// User and group of the courier.
fn user() -> io::Result<(u32, u32)> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let group = std::fs::read_to_string("/etc/group").unwrap_or_default();
    // `name:password:uid:gid:…`, passwd(5).
    let number = |line: &str, field: usize| line.split(':').nth(field)?.parse::<u32>().ok();
    let own = passwd.lines().find(|line| line.split(':').next() == Some(USER));
    if let Some(line) = own
        && let Some(ids) = number(line, 2).zip(number(line, 3))
        && ids.0 != 0
        && ids.1 != 0
    {
        return Ok(ids);
    }
    let named = passwd.lines().chain(group.lines()).filter_map(|line| number(line, 2));
    let running = std::fs::read_dir("/proc")?.filter_map(|entry| {
        let metadata = entry.ok()?.metadata().ok()?;
        Some([metadata.uid(), metadata.gid()])
    });
    let taken: BTreeSet<u32> = named.chain(running.flatten()).collect();
    NUMBERS
        .rev()
        .find(|id| !taken.contains(id))
        .map(|id| (id, id))
        .ok_or_else(|| io::Error::other(format!("no number is free for its user; make a user named {USER}")))
}

/// Has a courier enrol this machine: what a hub says is read by a process that may do nothing else.
pub fn enrol(wish: Enrol) -> anyhow::Result<Enrolled> {
    let (ours, theirs) = UnixStream::pair().context("making the line to the courier")?;
    let mut child = launch(&wish.hub)(theirs.into()).context("starting the courier")?;
    let answer = ask(&ours, wish);
    drop(ours);
    let _ = child.kill();
    let _ = child.wait();
    answer
}

fn ask(line: &UnixStream, wish: Enrol) -> anyhow::Result<Enrolled> {
    let (mut frames, mut buffer) = (Frames::new(MOST_TO_GUARD), vec![0; 32 << 10]);
    let mut wish = Some(wish);
    loop {
        let n = io::Read::read(&mut &*line, &mut buffer).context("hearing from the courier")?;
        if n == 0 {
            bail!("the courier ended before it had an answer; the reason is above");
        }
        frames.push(&buffer[..n]);
        while let Some(frame) = frames.cut()? {
            match ToGuard::decode(frame)? {
                ToGuard::Hello { version: VERSION, .. } if wish.is_some() => {
                    let Some(wish) = wish.take() else { continue };
                    io::Write::write_all(&mut &*line, &ToCourier::Enrol(wish).encode())
                        .context("speaking to the courier")?;
                }
                ToGuard::Enrolled(enrolled) => return Ok(*enrolled),
                ToGuard::NotEnrolled(why) => bail!("{}", printable(&why)),
                _ => bail!("the courier said what it was not asked"),
            }
        }
    }
}
