//! Proof that each part of the sensor sees: once a minute a thread does something harmless that each must tell, and
//! what is not told in time is said.

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};

use super::load::Family;

/// How long what was done may take until it is told.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The program of the process canary, and what its argument begins with.
const PROGRAM: &str = "/bin/true";
pub(super) const MARK: &str = "wardline-canary-";

/// The address of `wardline-canary.invalid`, asked for.
const QUESTION: &[u8] = b"\x57\x43\x01\0\0\x01\0\0\0\0\0\0\x0fwardline-canary\x07invalid\0\0\x01\0\x01";

/// What is waited for, of one family.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Waiting {
    /// Nothing was done yet.
    No,
    /// Since then.
    Since(Instant),
    /// It could not be done.
    Failed,
}

/// What was done and what was told, by family.
#[derive(Debug)]
pub(super) struct Seen {
    /// Not told yet; told again with the next canary.
    waiting: [Waiting; Family::ALL.len()],
}

impl Seen {
    pub fn new() -> Self {
        Self { waiting: [Waiting::No; Family::ALL.len()] }
    }

    /// Something is about to be done that this family must tell. What is overdue stays so.
    fn sent(&mut self, family: Family, now: Instant) {
        let waiting = &mut self.waiting[family as usize];
        if !matches!(waiting, Waiting::Since(_)) {
            *waiting = Waiting::Since(now);
        }
    }

    fn failed(&mut self, family: Family) {
        self.waiting[family as usize] = Waiting::Failed;
    }

    /// It was told.
    pub fn told(&mut self, family: Family) {
        self.waiting[family as usize] = Waiting::No;
    }

    /// Why it is not certain that a family sees.
    pub fn doubt(&self, family: Family, now: Instant) -> Option<String> {
        match self.waiting[family as usize] {
            Waiting::Since(then) if now.saturating_duration_since(then) > PATIENCE => Some(format!(
                "it is silent: what the agent did itself {} s ago to prove that it sees was not told",
                now.saturating_duration_since(then).as_secs()
            )),
            Waiting::Failed => {
                Some("whether it sees is not known: the agent could not do what would prove it".to_owned())
            }
            Waiting::No | Waiting::Since(_) => None,
        }
    }
}

/// The thread that proves.
pub(super) struct Canary {
    pub seen: Arc<Mutex<Seen>>,
    /// Dropped first: then the thread ends.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Canary {
    /// Starts it. `announce` tells the kernel half the thread whose doings it must not leave out.
    pub fn start(
        every: Duration,
        families: Vec<Family>,
        announce: impl FnOnce(u32) + Send + 'static,
    ) -> std::io::Result<Self> {
        let seen = Arc::new(Mutex::new(Seen::new()));
        let (stop, stopped) = mpsc::channel();
        let shared = Arc::clone(&seen);
        let thread = thread::Builder::new().name("canary".to_owned()).spawn(move || {
            announce(rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned());
            loop {
                for family in &families {
                    shared.lock().unwrap_or_else(PoisonError::into_inner).sent(*family, Instant::now());
                    if let Err(error) = sing(*family) {
                        tracing::debug!(?family, %error, "a canary could not be sent");
                        shared.lock().unwrap_or_else(PoisonError::into_inner).failed(*family);
                    }
                }
                if stopped.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Self { seen, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Does something harmless that a family tells.
fn sing(family: Family) -> std::io::Result<()> {
    match family {
        Family::Process => {
            let mark = format!("{MARK}{}", std::process::id());
            let mut command = Command::new(PROGRAM);
            command.arg(mark).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().map(drop)
        }
        // To be connected sends nothing, and nobody need listen.
        Family::Network => UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.connect((Ipv4Addr::LOCALHOST, 9)),
        Family::File => OpenOptions::new().write(true).open("/proc/self/comm").map(drop),
        Family::Call => memfd_create(MARK, MemfdFlags::CLOEXEC).map(drop).map_err(Into::into),
        // To a loopback address that nobody has reason to serve. A resolver that listens on all of them knows by itself
        // that there is nothing below `invalid` (RFC 6761).
        Family::Dns => {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.send_to(QUESTION, (Ipv4Addr::new(127, 83, 83, 83), 53)).map(drop)
        }
        Family::Uring | Family::Verdict => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_said_after_a_while_and_until_it_ends() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut seen = Seen::new();
        assert_eq!(seen.doubt(Family::File, start), None, "nothing was done yet");
        seen.sent(Family::File, start);
        assert_eq!(seen.doubt(Family::File, after(9)), None);
        assert!(seen.doubt(Family::File, after(11)).unwrap().contains("11 s ago"));
        assert_eq!(seen.doubt(Family::Network, after(11)), None);
        // The next one does not forgive the last.
        seen.sent(Family::File, after(60));
        assert!(seen.doubt(Family::File, after(61)).unwrap().contains("61 s ago"));
        seen.told(Family::File);
        assert_eq!(seen.doubt(Family::File, after(62)), None);
        seen.sent(Family::File, after(120));
        assert_eq!(seen.doubt(Family::File, after(121)), None);
        seen.failed(Family::File);
        assert!(seen.doubt(Family::File, after(121)).unwrap().contains("could not"));
        seen.sent(Family::File, after(180));
        assert_eq!(seen.doubt(Family::File, after(181)), None);
    }
}
