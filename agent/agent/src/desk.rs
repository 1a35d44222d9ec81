//! Where the guard serves the courier: one conversation at a time, and nothing that the courier says is taken on trust.
//!
//! Records are the guard's own, on its own disk: a courier that dies, is killed, or was turned by an attacker loses
//! none of them. What such a courier can do at worst is said in `docs/architecture.md`.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use prost::Message;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{info, warn};
use wardline_event::BootId;
use wardline_wire::MAX_BATCH_BYTES;
use wardline_wire::proto::{DeviceFacts, SignedCommand};

use crate::guard::Guard;
use crate::known_hubs::KnownHubs;
use crate::link::{Frames, MOST_TO_GUARD, Setup, ToCourier, ToGuard, VERSION, printable};
use crate::outbox::{Lane, Outbox};
use crate::running::heartbeat;
use crate::state::{Identity, StateDir};

/// How long the desk waits between looks at whether the agent stops.
const LOOK: Duration = Duration::from_millis(100);
/// A courier that does not take what it asked for within this time is stuck.
const TAKE_WITHIN: Duration = Duration::from_secs(5);
/// The first word must come within this time.
const HELLO_WITHIN: Duration = Duration::from_secs(30);
/// How long a courier may take to leave.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);
/// A certificate is renewed hourly at most.
const KEEP_CERTIFICATE_EVERY: Duration = Duration::from_mins(1);

/// How a conversation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The agent stops, and the courier was told.
    Stopped,
    /// The courier closed its end: it has ended.
    HungUp,
    /// It did what an honest courier never does; the text is for a person.
    Misbehaved(String),
}

/// How the courier is, as far as the guard knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CourierState {
    /// Its process, if it has one of its own.
    pub pid: Option<u32>,
    /// What is missing of its confinement by its own account; empty if nothing, `None` until it has spoken.
    pub unconfined: Option<String>,
    /// How often it had to be started again.
    pub restarts: u64,
    /// When this device's certificate expires, by its account; `None` until it has reached the hub.
    pub certificate_until_ms: Option<i64>,
    /// How far this machine's clock is ahead of the hub's, by its account.
    pub clock_ahead_ms: Option<i64>,
}

/// The guard's side of the counter.
pub struct Desk {
    /// The guard.
    pub guard: Arc<Mutex<Guard>>,
    /// Its records.
    pub outbox: Arc<Outbox>,
    /// Its folder.
    pub state: StateDir,
    /// Who this device is; renewed here.
    pub identity: Mutex<Identity>,
    /// What it says about itself.
    pub facts: DeviceFacts,
    /// This boot.
    pub boot: BootId,
    /// Where the hub is; learnt here.
    pub hubs: KnownHubs,
    /// Where commands go, to be verified.
    pub commands: mpsc::SyncSender<SignedCommand>,
    /// True while the hub listens.
    pub connected: AtomicBool,
    /// Set when the courier is to leave.
    pub closing: AtomicBool,
    /// How the courier is.
    pub courier: Mutex<CourierState>,
}

/// One conversation.
struct Talk<'a> {
    desk: &'a Desk,
    socket: &'a UnixStream,
    greeted: bool,
    /// True after a lane had nothing, until the courier was told that there may be something.
    wants_wake: bool,
    purse: Purse,
    commands: Purse,
    certificate_kept: Option<Instant>,
}

impl Desk {
    /// How the courier is.
    pub fn courier(&self) -> MutexGuard<'_, CourierState> {
        self.courier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a courier until either side ends it.
    pub fn serve(&self, socket: &UnixStream) -> End {
        let mut talk = Talk {
            desk: self,
            socket,
            greeted: false,
            wants_wake: false,
            purse: Purse::new(2000.0, 1000.0),
            commands: Purse::new(100.0, 20.0),
            certificate_kept: None,
        };
        let end = talk.run();
        self.connected.store(false, Ordering::Relaxed);
        end
    }

    fn setup(&self) -> Setup {
        let identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        Setup {
            version: VERSION,
            device: identity.device,
            boot: self.boot,
            hub: identity.hub.clone(),
            key_der: identity.key_der.clone(),
            certificate_der: identity.certificate_der.clone(),
            authority_der: identity.authority_der.clone(),
            facts: self.facts.encode_to_vec(),
            hubs: self.hubs.addresses(),
        }
    }

    /// Isolation keeps these open, and it is the courier that names them: only the hub's own port counts, and if the
    /// hub is known by address, only that.
    fn learn(&self, addresses: Vec<SocketAddr>) {
        let hub = self.identity.lock().unwrap_or_else(PoisonError::into_inner).hub.clone();
        let known = believable(&hub, addresses);
        if !known.is_empty() {
            self.hubs.replace(known);
        }
    }

    /// Keeps a renewed certificate. It is not read here: what came from the network is the courier's to read.
    fn keep(&self, key_der: Vec<u8>, certificate_der: Vec<u8>) -> bool {
        let mut identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        let renewed = Identity { key_der, certificate_der, ..identity.clone() };
        match self.state.set_identity(&renewed) {
            Ok(()) => {
                *identity = renewed;
                true
            }
            Err(error) => {
                warn!("a renewed certificate could not be kept: {}", crate::chain(&error));
                false
            }
        }
    }

    /// Bytes of memory that the courier's process takes; 0 if it has none of its own.
    fn courier_rss(&self) -> u64 {
        let pid = self.courier().pid;
        pid.map_or(0, |pid| crate::guard::rss_bytes(&format!("/proc/{pid}/statm")))
    }
}

fn believable(hub: &str, addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if let Ok(only) = hub.parse::<SocketAddr>() {
        return vec![only];
    }
    let port = hub.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    addresses.into_iter().filter(|a| Some(a.port()) == port).collect()
}

impl Talk<'_> {
    fn run(&mut self) -> End {
        let _ = self.socket.set_write_timeout(Some(TAKE_WITHIN));
        let (mut frames, mut buffer) = (Frames::new(MOST_TO_GUARD), vec![0; 32 << 10]);
        let began = Instant::now();
        let mut leave_until: Option<Instant> = None;
        loop {
            if self.desk.closing.load(Ordering::Relaxed) && leave_until.is_none() {
                leave_until = Some(Instant::now() + LEAVE_WITHIN);
                let _ = self.say(&ToCourier::Stop);
            }
            if leave_until.is_some_and(|until| Instant::now() >= until) {
                return End::Stopped;
            }
            if !self.greeted && began.elapsed() > HELLO_WITHIN {
                return End::Misbehaved("it did not say a word".to_owned());
            }
            let (readable, rung) = match self.wait() {
                Ok(ready) => ready,
                Err(error) => return End::Misbehaved(format!("waiting for it failed ({error})")),
            };
            if rung {
                self.desk.outbox.bell.hush();
                if std::mem::take(&mut self.wants_wake)
                    && let Err(end) = self.say(&ToCourier::Wake)
                {
                    return end;
                }
            }
            if !readable {
                continue;
            }
            match (&mut &*self.socket).read(&mut buffer) {
                Ok(0) | Err(_) if leave_until.is_some() => return End::Stopped,
                Ok(0) => return End::HungUp,
                Ok(n) => frames.push(&buffer[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return End::HungUp,
            }
            loop {
                let message = match frames.cut() {
                    Ok(None) => break,
                    Ok(Some(frame)) => ToGuard::decode(frame),
                    Err(malformed) => Err(malformed),
                };
                let answered = match message {
                    // What still comes after the farewell needs no answer, but what the hub has is worth knowing.
                    Ok(message) if leave_until.is_some() && !matches!(message, ToGuard::Ack { .. }) => Ok(()),
                    Ok(message) => self.answer(message),
                    Err(malformed) => Err(End::Misbehaved(malformed.to_string())),
                };
                if let Err(end) = answered {
                    return end;
                }
            }
        }
    }

    /// Whether the courier has said something, and whether there is something new to send.
    fn wait(&self) -> std::io::Result<(bool, bool)> {
        let mut fds =
            [PollFd::new(self.socket, PollFlags::IN), PollFd::new(&self.desk.outbox.bell, PollFlags::IN)];
        let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK.subsec_nanos()) };
        match poll(&mut fds, Some(&wait)) {
            Ok(_) => Ok((!fds[0].revents().is_empty(), !fds[1].revents().is_empty())),
            Err(rustix::io::Errno::INTR) => Ok((false, false)),
            Err(e) => Err(e.into()),
        }
    }

    fn say(&mut self, message: &ToCourier) -> Result<(), End> {
        let frame = message.encode();
        // A courier that asks for much waits for it: it must not keep a processor busy.
        self.purse.pay(frame.len() as f64 / 65_536.0);
        (&mut &*self.socket).write_all(&frame).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => End::Misbehaved(format!(
                "it did not take what it was sent within {} s",
                TAKE_WITHIN.as_secs()
            )),
            _ => End::HungUp,
        })
    }

    fn answer(&mut self, message: ToGuard) -> Result<(), End> {
        self.purse.pay(1.0);
        let desk = self.desk;
        match message {
            ToGuard::Hello { version, unconfined } => {
                if self.greeted || version != VERSION {
                    return Err(End::Misbehaved(format!("it said hello in version {version}, or twice")));
                }
                self.greeted = true;
                let unconfined = printable(&unconfined);
                let mut courier = desk.courier();
                if !unconfined.is_empty() && courier.pid.is_some() {
                    info!("the courier is not confined in full: {unconfined}");
                }
                courier.unconfined = Some(unconfined);
                drop(courier);
                self.say(&ToCourier::Setup(Box::new(desk.setup())))
            }
            _ if !self.greeted => Err(End::Misbehaved("it did not say hello".to_owned())),
            ToGuard::Read { lane, from } => match desk.outbox.read(lane, from, MAX_BATCH_BYTES) {
                Some((spool, run)) => self.say(&ToCourier::Records {
                    lane,
                    spool,
                    first_seq: run.first_seq,
                    records: run.records,
                }),
                None => {
                    self.wants_wake = true;
                    self.say(&ToCourier::Nothing { lane })
                }
            },
            ToGuard::Ack { spool, up_to } => {
                for lane in Lane::ALL {
                    let mut of = desk.outbox.lane(lane);
                    if of.id() == spool
                        && let Err(error) = of.ack(up_to)
                    {
                        warn!("an acknowledgement could not be noted: {}", crate::chain(&error));
                    }
                }
                Ok(())
            }
            ToGuard::Beat => {
                let mut beat = heartbeat(&desk.guard, &desk.outbox);
                beat.rss_bytes += desk.courier_rss();
                self.say(&ToCourier::Heartbeat(beat.encode_to_vec()))
            }
            ToGuard::Command(signed) => {
                self.commands.pay(1.0);
                if desk.commands.try_send(signed).is_err() {
                    warn!("more commands came than could be looked at; the hub sends again what it meant");
                }
                Ok(())
            }
            ToGuard::Hubs(addresses) => {
                desk.learn(addresses);
                Ok(())
            }
            ToGuard::Certificate { key_der, certificate_der } => {
                let early = self.certificate_kept.is_some_and(|at| at.elapsed() < KEEP_CERTIFICATE_EVERY);
                let kept = !early && desk.keep(key_der, certificate_der);
                if kept {
                    self.certificate_kept = Some(Instant::now());
                }
                self.say(&ToCourier::Stored(kept))
            }
            ToGuard::Connected(yes) => {
                desk.connected.store(yes, Ordering::Relaxed);
                Ok(())
            }
            ToGuard::About { certificate_until_ms, clock_ahead_ms } => {
                let mut courier = desk.courier();
                courier.certificate_until_ms = Some(certificate_until_ms).filter(|at| *at > 0);
                courier.clock_ahead_ms = Some(clock_ahead_ms);
                Ok(())
            }
            ToGuard::Enrolled(_) | ToGuard::NotEnrolled(_) => {
                Err(End::Misbehaved("it answered what it was not asked".to_owned()))
            }
        }
    }
}

/// So much may be asked at once, and so much per second from then on; who asks for more waits.
struct Purse {
    most: f64,
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Purse {
    fn new(most: f64, per_second: f64) -> Self {
        Self { most, per_second, left: most, at: Instant::now() }
    }

    fn pay(&mut self, price: f64) {
        let now = Instant::now();
        self.left = (self.left + now.duration_since(self.at).as_secs_f64() * self.per_second).min(self.most);
        self.at = now;
        self.left -= price;
        if self.left < 0.0 {
            std::thread::sleep(Duration::from_secs_f64((-self.left / self.per_second).min(5.0)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hubs_own_port_is_kept_open_in_isolation() {
        let all = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let said = all(&["10.0.0.1:8701", "10.0.0.9:443", "[fd00::1]:8701"]);
        let known = believable("hub.trust.example:8701", said.clone());
        assert_eq!(known, all(&["10.0.0.1:8701", "[fd00::1]:8701"]));
        assert_eq!(believable("10.0.0.7:8701", said.clone()), all(&["10.0.0.7:8701"]));
        assert_eq!(believable("no port", said), []);
    }

    #[test]
    fn who_asks_for_much_waits() {
        let mut purse = Purse::new(10.0, 1000.0);
        let began = Instant::now();
        (0..60).for_each(|_| purse.pay(1.0));
        assert!(began.elapsed() >= Duration::from_millis(45), "{:?}", began.elapsed());
    }
}
