//! The courier: carries records to the hub and commands back, for as long as it takes.
//!
//! All that it knows comes from the guard over a [`Line`], all that it learns goes there: it needs no file. So it can run
//! as a process of its own that may do nothing else ([`confine`]); as a thread beside a guard it does the same.

pub mod confine;
mod line;
mod orphan;

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tracing::{info, warn};
use wardline_event::BootId;
use wardline_wire::proto::agent_message::Body as ToHub;
use wardline_wire::proto::hub_client::HubClient;
use wardline_wire::proto::hub_message::Body as FromHub;
use wardline_wire::proto::{AgentMessage, DeviceFacts, Heartbeat, Hello, HubMessage, Record};
use wardline_wire::{PROTOCOL, make_batch};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::clock::Clock;
use crate::enrol;
use crate::known_hubs::KnownHubs;
use crate::link::{Enrol, Setup, ToCourier, ToGuard, VERSION};
use crate::outbox::Lane;
use crate::tls::{self, Credentials};
use line::{Fate, Line};
pub use orphan::RULE_ID as GUARD_ENDED;

/// Waits between attempts to connect: doubling, and each spread at random, so that ten thousand agents do not
/// come back in the same second.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(1);
/// Between attempts to renew the certificate, each of which interrupts the conversation. A third of its life is left.
const RENEW_EVERY: Duration = Duration::from_hours(1);

/// What a courier has from where it runs; the rest comes from the guard.
pub struct Place {
    /// The line to the guard.
    pub socket: UnixStream,
    /// What is missing of its confinement, for a person; empty if nothing.
    pub unconfined: String,
    /// The guard's pid and start in clock ticks since boot; `None` for a thread of its process.
    pub guard: Option<(u32, u64)>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// 16 random bytes.
    pub random: fn() -> [u8; 16],
}

/// Serves a guard until it says that the agent stops; if it is gone without a word, tells the hub.
pub async fn run(place: Place) -> io::Result<()> {
    let Place { socket, unconfined, guard, clock, random } = place;
    // From here on it does not end when asked to: the guard says when, and a courier without guard has something to tell.
    let asked_to_leave = guard.map(|_| signal(SignalKind::terminate())).transpose()?;
    let mut line = Line::new(socket)?;
    line.say(ToGuard::Hello { version: VERSION, unconfined }).await;
    match line.hear().await {
        Some(ToCourier::Setup(setup)) if setup.version == VERSION => {
            let mut courier = Courier::new(line, *setup, guard.unwrap_or_default(), clock, random);
            let fate = courier.run().await;
            // A thread has nobody to mourn that would not take it along.
            if let Some(asked) = asked_to_leave.filter(|_| fate == Fate::Gone) {
                courier.mourn(asked).await;
            }
        }
        Some(ToCourier::Enrol(wish)) => enrol_for(&mut line, wish).await,
        // The agent stopped, or is another build's.
        _ => {}
    }
    Ok(())
}

async fn enrol_for(line: &mut Line, wish: Enrol) {
    let Enrol { hub, secret, authority, facts } = wish;
    let facts = DeviceFacts::decode(facts.as_slice()).unwrap_or_default();
    let answer = match enrol::ask(&hub, &secret, authority, facts).await {
        Ok(enrolled) => ToGuard::Enrolled(Box::new(enrolled)),
        Err(error) => ToGuard::NotEnrolled(crate::chain(&error)),
    };
    line.say(answer).await;
}

/// A courier at work.
struct Courier {
    line: Line,
    hub: String,
    credentials: Credentials,
    facts: DeviceFacts,
    boot: BootId,
    guard: (u32, u64),
    hubs: KnownHubs,
    /// The addresses that the guard was told.
    told_hubs: Vec<std::net::SocketAddr>,
    clock: Arc<dyn Clock>,
    random: fn() -> [u8; 16],
    /// When a renewal of the certificate was last tried; `None` at the start.
    renewal_tried: Option<Instant>,
    /// How the device was when the guard last said so.
    last_beat: Heartbeat,
    /// Answers to [`ToGuard::Read`], by lane, that belong to a conversation which has ended.
    stale: [u32; 2],
}

/// Why a session ended.
enum End {
    /// The agent stops.
    Stop,
    /// Try again; the text is for a person.
    Lost(String),
}

/// One lane's place in the conversation. One batch is under way at a time: were a second one stored while the
/// first was refused, the hub would take the first one, sent again, for a duplicate.
#[derive(Default)]
struct Progress {
    next: u64,
    /// The last number of the batch that is under way, and its spool.
    awaited: Option<([u8; 16], u64)>,
    /// The guard was asked for records and has not answered.
    asked: bool,
    /// The guard has none; it says when it may.
    idle: bool,
}

impl Courier {
    fn new(
        line: Line,
        setup: Setup,
        guard: (u32, u64),
        clock: Arc<dyn Clock>,
        random: fn() -> [u8; 16],
    ) -> Self {
        let Setup { boot, hub, key_der, certificate_der, authority_der, facts, hubs: addresses, .. } = setup;
        let hubs = KnownHubs::default();
        hubs.expect(addresses);
        Self {
            line,
            hub,
            credentials: Credentials { key_der, certificate_der, authority_der },
            facts: DeviceFacts::decode(facts.as_slice()).unwrap_or_default(),
            boot,
            guard,
            hubs,
            told_hubs: Vec::new(),
            clock,
            random,
            renewal_tried: None,
            last_beat: Heartbeat::default(),
            stale: [0; 2],
        }
    }

    /// Runs until the guard says stop, or is gone.
    async fn run(&mut self) -> Fate {
        let mut fate = self.line.fate();
        let (hubs, hub) = (self.hubs.clone(), self.hub.clone());
        // Asking for a name may take long.
        tokio::task::spawn_blocking(move || hubs.resolve(&hub));
        let mut wait = RETRY_MIN;
        let mut said = String::new();
        loop {
            let mut welcomed = false;
            let end = self.session(&mut fate, &mut welcomed).await;
            if welcomed {
                self.line.say(ToGuard::Connected(false)).await;
            }
            match end {
                End::Stop => break,
                End::Lost(why) => {
                    if welcomed {
                        (wait, said) = (RETRY_MIN, String::new());
                    }
                    // Once per cause: an hour without a hub is one line, not sixty.
                    if why != said {
                        warn!(target: "wardline::link", "{why}; the device goes on protecting itself, records wait on disk");
                        said = why;
                    }
                }
            }
            self.tell_hubs().await;
            let jitter = u64::from(u16::from_be_bytes([(self.random)()[0], (self.random)()[1]]));
            let pause = wait / 2 + wait.mul_f64(jitter as f64 / f64::from(u16::MAX)) / 2;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = fate.wait_for(|f| *f != Fate::Alive) => break,
            }
            wait = (wait * 2).min(RETRY_MAX);
        }
        *fate.borrow()
    }

    async fn session(&mut self, fate: &mut watch::Receiver<Fate>, welcomed: &mut bool) -> End {
        tokio::select! {
            end = self.talk(welcomed) => end,
            _ = fate.wait_for(|f| *f != Fate::Alive) => End::Stop,
        }
    }

    /// Tells the guard where the hub is, if that has changed.
    async fn tell_hubs(&mut self) {
        let addresses = self.hubs.addresses();
        if addresses != self.told_hubs {
            self.told_hubs.clone_from(&addresses);
            self.line.say(ToGuard::Hubs(addresses)).await;
        }
    }

    /// Asks the guard how the device is.
    async fn ask_guard(&mut self) -> Option<Heartbeat> {
        self.line.say(ToGuard::Beat).await;
        loop {
            match self.line.hear().await? {
                ToCourier::Heartbeat(bytes) => return Some(self.note_beat(&bytes)),
                ToCourier::Records { lane, .. } | ToCourier::Nothing { lane } => {
                    self.stale[lane as usize] = self.stale[lane as usize].saturating_sub(1);
                }
                _ => {}
            }
        }
    }

    fn note_beat(&mut self, bytes: &[u8]) -> Heartbeat {
        self.last_beat = Heartbeat::decode(bytes).unwrap_or_default();
        self.last_beat.clone()
    }

    /// Has the guard keep a renewed certificate.
    async fn keep(&mut self, renewed: Credentials) -> bool {
        let (key_der, certificate_der) = (renewed.key_der.clone(), renewed.certificate_der.clone());
        self.line.say(ToGuard::Certificate { key_der, certificate_der }).await;
        loop {
            match self.line.hear().await {
                Some(ToCourier::Stored(true)) => {
                    self.credentials = renewed;
                    return true;
                }
                Some(ToCourier::Stored(false)) | None => return false,
                Some(ToCourier::Records { lane, .. } | ToCourier::Nothing { lane }) => {
                    self.stale[lane as usize] = self.stale[lane as usize].saturating_sub(1);
                }
                Some(_) => {}
            }
        }
    }

    async fn connect(&self) -> Result<HubClient<Channel>, String> {
        let hub = &self.hub;
        let config = tls::for_device(&self.credentials).map_err(|e| tls::explain(hub, &e))?;
        let channel =
            tls::connect(hub, config, self.hubs.clone()).await.map_err(|e| tls::explain(hub, &e))?;
        Ok(HubClient::new(channel))
    }

    /// A certificate is renewed once two thirds of its life are over: long before it can expire unnoticed.
    /// One that failed is tried again hourly.
    fn renewal_due(&self) -> bool {
        if self.renewal_tried.is_some_and(|at| at.elapsed() < RENEW_EVERY) {
            return false;
        }
        self.validity().is_some_and(|(from, to)| self.clock.now().0 > from + (to - from) / 3 * 2)
    }

    /// From when to when the certificate is valid, in milliseconds since 1970.
    fn validity(&self) -> Option<(i64, i64)> {
        let (_, certificate) = X509Certificate::from_der(&self.credentials.certificate_der).ok()?;
        let (from, to) = (certificate.validity().not_before, certificate.validity().not_after);
        Some((from.timestamp().checked_mul(1000)?, to.timestamp().checked_mul(1000)?))
    }

    async fn talk(&mut self, welcomed: &mut bool) -> End {
        let hub = self.hub.clone();
        let lost = |status: &tonic::Status| match status.code() {
            tonic::Code::Unavailable | tonic::Code::Unknown => End::Lost(tls::explain(&hub, status)),
            _ => End::Lost(format!("the hub at {hub} ended the conversation: {}", status.message())),
        };
        let mut client = match self.connect().await {
            Ok(client) => client,
            Err(why) => return End::Lost(why),
        };
        if self.renewal_due() {
            self.renewal_tried = Some(Instant::now());
            match enrol::renew(&hub, &mut client).await {
                Ok((key_der, certificate_der)) => {
                    let authority_der = self.credentials.authority_der.clone();
                    if self.keep(Credentials { key_der, certificate_der, authority_der }).await {
                        info!("renewed this device's certificate");
                        match self.connect().await {
                            Ok(fresh) => client = fresh,
                            Err(why) => return End::Lost(why),
                        }
                    }
                }
                Err(error) => {
                    warn!(
                        "renewing the certificate failed; trying again in an hour: {}",
                        crate::chain(&error)
                    );
                }
            }
        }
        self.tell_hubs().await;
        let (to_hub, outgoing) = mpsc::channel::<AgentMessage>(8);
        let Some(heartbeat) = self.ask_guard().await else { return End::Stop };
        let hello = Hello {
            protocol: PROTOCOL,
            facts: Some(self.facts.clone()),
            boot_id: self.boot.0.to_be_bytes().to_vec(),
            policy_digest: heartbeat.policy_digest.clone(),
            command_key: heartbeat.command_key.clone(),
        };
        for body in [ToHub::Hello(hello), ToHub::Heartbeat(heartbeat)] {
            if to_hub.send(AgentMessage { body: Some(body) }).await.is_err() {
                return End::Lost(format!("the hub at {hub} hung up"));
            }
        }
        let mut incoming = match client.connect(ReceiverStream::new(outgoing)).await {
            Ok(reply) => reply.into_inner(),
            Err(status) => return lost(&status),
        };
        let beat = match incoming.message().await {
            Ok(Some(HubMessage { body: Some(FromHub::Welcome(w)) })) => {
                let about = ToGuard::About {
                    certificate_until_ms: self.validity().map_or(0, |(_, until)| until),
                    clock_ahead_ms: self.clock.now().0.saturating_sub(w.hub_time_ms),
                };
                self.line.say(about).await;
                Duration::from_secs(u64::from(w.heartbeat_s.clamp(1, 300)))
            }
            Ok(_) => {
                return End::Lost(format!(
                    "the hub at {hub} did not say welcome; is it newer than this agent?"
                ));
            }
            Err(status) => return lost(&status),
        };
        *welcomed = true;
        self.line.say(ToGuard::Connected(true)).await;
        info!(target: "wardline::link", "connected to the hub at {hub}");

        let mut conversation =
            Conversation { courier: self, to_hub, lanes: Default::default(), pause_until: Instant::now() };
        let end = conversation.go_on(&mut incoming, beat).await;
        for (lane, progress) in conversation.lanes.iter().enumerate() {
            self.stale[lane] += u32::from(progress.asked);
        }
        match end {
            Ok(None) => End::Lost(format!("the hub at {hub} hung up")),
            Ok(Some(why)) => End::Lost(why.to_owned()),
            Err(status) => lost(&status),
        }
    }
}

/// From the hub's welcome on.
struct Conversation<'a> {
    courier: &'a mut Courier,
    to_hub: mpsc::Sender<AgentMessage>,
    lanes: [Progress; 2],
    pause_until: Instant,
}

impl Conversation<'_> {
    /// Goes on until the hub hangs up (`Ok(None)`), an error, or there is another reason to connect anew.
    async fn go_on(
        &mut self,
        incoming: &mut tonic::Streaming<HubMessage>,
        beat: Duration,
    ) -> Result<Option<&'static str>, tonic::Status> {
        let mut next_beat = Instant::now() + beat;
        loop {
            if Instant::now() >= self.pause_until {
                for (lane, progress) in Lane::ALL.into_iter().zip(&mut self.lanes) {
                    if progress.awaited.is_none() && !progress.asked && !progress.idle {
                        progress.asked = true;
                        self.courier.line.say(ToGuard::Read { lane, from: progress.next }).await;
                    }
                }
            }
            tokio::select! {
                message = incoming.message() => match message? {
                    Some(HubMessage { body: Some(body) }) => self.receive(body).await,
                    // A message of a newer kind: ignored, as the rules of change ask.
                    Some(HubMessage { body: None }) => {}
                    None => return Ok(None),
                },
                heard = self.courier.line.hear() => {
                    // The guard is gone or stops; whoever watches its fate ends this.
                    let Some(message) = heard else { return std::future::pending().await };
                    if let Some(body) = self.pass_on(message)
                        && self.to_hub.send(AgentMessage { body: Some(body) }).await.is_err()
                    {
                        return Ok(None);
                    }
                }
                () = sleep_until(self.pause_until), if self.pause_until > Instant::now() => {}
                () = sleep_until(next_beat) => {
                    next_beat = Instant::now() + beat;
                    self.courier.line.say(ToGuard::Beat).await;
                    if self.courier.renewal_due() {
                        return Ok(Some("reconnecting to renew this device's certificate"));
                    }
                }
            }
        }
    }

    /// What the guard said, as the hub is to hear it.
    fn pass_on(&mut self, message: ToCourier) -> Option<ToHub> {
        match message {
            ToCourier::Records { lane, spool, first_seq, records } => {
                if self.was_stale(lane) || records.is_empty() {
                    return None;
                }
                let last = first_seq + records.len() as u64 - 1;
                let record = |(kind, body)| Record { kind: i32::from(kind), body };
                let batch = make_batch(spool, first_seq, records.into_iter().map(record).collect());
                let progress = &mut self.lanes[lane as usize];
                *progress = Progress { next: last + 1, awaited: Some((spool, last)), ..Progress::default() };
                Some(ToHub::Batch(batch))
            }
            ToCourier::Nothing { lane } => {
                if !self.was_stale(lane) {
                    let progress = &mut self.lanes[lane as usize];
                    (progress.asked, progress.idle) = (false, true);
                }
                None
            }
            ToCourier::Wake => {
                self.lanes.iter_mut().for_each(|progress| progress.idle = false);
                None
            }
            ToCourier::Heartbeat(bytes) => Some(ToHub::Heartbeat(self.courier.note_beat(&bytes))),
            ToCourier::Setup(_) | ToCourier::Enrol(_) | ToCourier::Stored(_) | ToCourier::Stop => None,
        }
    }

    /// True if this answer was to a question of before.
    fn was_stale(&mut self, lane: Lane) -> bool {
        let stale = &mut self.courier.stale[lane as usize];
        let was = *stale > 0;
        *stale = stale.saturating_sub(1);
        was
    }

    async fn receive(&mut self, body: FromHub) {
        match body {
            FromHub::Ack(ack) => {
                let Ok(spool) = <[u8; 16]>::try_from(ack.spool_id.as_slice()) else { return };
                for progress in &mut self.lanes {
                    if progress.awaited.is_some_and(|(of, seq)| of == spool && seq <= ack.up_to_seq) {
                        progress.awaited = None;
                    }
                }
                self.courier.line.say(ToGuard::Ack { spool, up_to: ack.up_to_seq }).await;
            }
            FromHub::RetryAfter(retry) => {
                let wait = Duration::from_millis(retry.after_ms.clamp(100, 600_000));
                warn!(target: "wardline::link", "the hub cannot store now ({}); records wait here, next try in {wait:?}", retry.reason);
                self.pause_until = Instant::now() + wait;
                for (lane, progress) in self.lanes.iter_mut().enumerate() {
                    self.courier.stale[lane] += u32::from(progress.asked);
                    *progress = Progress::default();
                }
            }
            FromHub::Command(command) => self.courier.line.say(ToGuard::Command(command)).await,
            FromHub::Welcome(_) => {}
        }
    }
}
