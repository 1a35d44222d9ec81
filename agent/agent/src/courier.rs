//! The courier: carries records to the hub and commands back, for as long as it takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tracing::{info, warn};
use wardline_event::BootId;
use wardline_wire::proto::agent_message::Body as ToHub;
use wardline_wire::proto::hub_client::HubClient;
use wardline_wire::proto::hub_message::Body as FromHub;
use wardline_wire::proto::{AgentMessage, DeviceFacts, Heartbeat, Hello, HubMessage, Record, SignedCommand};
use wardline_wire::{MAX_BATCH_BYTES, PROTOCOL, make_batch};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::clock::Clock;
use crate::enrol;
use crate::known_hubs::KnownHubs;
use crate::outbox::{Lane, Outbox};
use crate::state::{Identity, StateDir};
use crate::tls;

/// Waits between attempts to connect: doubling, and each spread at random, so that ten thousand agents do not
/// come back in the same second.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(1);
/// Between attempts to renew the certificate, each of which interrupts the conversation. A third of its life is left.
const RENEW_EVERY: Duration = Duration::from_hours(1);

/// What the courier needs from the rest of the agent.
pub struct Courier {
    /// The agent's folder.
    pub state: StateDir,
    /// Who this device is.
    pub identity: Identity,
    /// What the device says about itself.
    pub facts: DeviceFacts,
    /// This boot.
    pub boot: BootId,
    /// The records to carry.
    pub outbox: Arc<Outbox>,
    /// Where the hub is; learnt here.
    pub hubs: KnownHubs,
    /// Where commands go: to the guard, which verifies them.
    pub commands: std::sync::mpsc::Sender<SignedCommand>,
    /// Asks the guard how it is.
    pub heartbeat: Arc<dyn Fn() -> Heartbeat + Send + Sync>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// 16 random bytes.
    pub random: fn() -> [u8; 16],
    /// True while the hub listens.
    pub connected: Arc<AtomicBool>,
    /// When a renewal of the certificate was last tried; `None` at the start.
    pub renewal_tried: Option<Instant>,
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
struct Place {
    next: u64,
    awaited: Option<u64>,
}

impl Courier {
    /// Runs until `stop` says so.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut wait = RETRY_MIN;
        let mut said = String::new();
        loop {
            let mut welcomed = false;
            let end = self.session(&mut stop, &mut welcomed).await;
            self.connected.store(false, Ordering::Relaxed);
            match end {
                End::Stop => return,
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
            let jitter = u64::from(u16::from_be_bytes([(self.random)()[0], (self.random)()[1]]));
            let pause = wait / 2 + wait.mul_f64(jitter as f64 / f64::from(u16::MAX)) / 2;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.wait_for(|s| *s) => return,
            }
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    async fn session(&mut self, stop: &mut watch::Receiver<bool>, welcomed: &mut bool) -> End {
        tokio::select! {
            end = self.talk(welcomed) => end,
            _ = stop.wait_for(|s| *s) => End::Stop,
        }
    }

    async fn connect(&mut self) -> Result<HubClient<Channel>, String> {
        let hub = self.identity.hub.clone();
        let config = tls::for_device(&self.identity).map_err(|e| tls::explain(&hub, &e))?;
        let channel =
            tls::connect(&hub, config, self.hubs.clone()).await.map_err(|e| tls::explain(&hub, &e))?;
        Ok(HubClient::new(channel))
    }

    /// A certificate is renewed once two thirds of its life are over: long before it can expire unnoticed.
    /// One that failed is tried again hourly.
    fn renewal_due(&self) -> bool {
        if self.renewal_tried.is_some_and(|at| at.elapsed() < RENEW_EVERY) {
            return false;
        }
        let Ok((_, certificate)) = X509Certificate::from_der(&self.identity.certificate_der) else {
            return false;
        };
        let (from, to) = (certificate.validity().not_before, certificate.validity().not_after);
        let (from, to) = (from.timestamp() * 1000, to.timestamp() * 1000);
        self.clock.now().0 > from + (to - from) / 3 * 2
    }

    async fn talk(&mut self, welcomed: &mut bool) -> End {
        let hub = self.identity.hub.clone();
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
            match enrol::renew(&self.identity, &mut client, &self.state).await {
                Ok(renewed) => {
                    self.identity = renewed;
                    info!("renewed this device's certificate");
                    match self.connect().await {
                        Ok(fresh) => client = fresh,
                        Err(why) => return End::Lost(why),
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
        let (to_hub, outgoing) = mpsc::channel::<AgentMessage>(8);
        let heartbeat = self.ask_guard().await;
        let hello = Hello {
            protocol: PROTOCOL,
            facts: Some(self.facts.clone()),
            boot_id: self.boot.0.to_be_bytes().to_vec(),
            policy_digest: heartbeat.policy_digest.clone(),
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
        self.connected.store(true, Ordering::Relaxed);
        info!(target: "wardline::link", "connected to the hub at {hub}");

        let mut places = [Place::default(), Place::default()];
        let mut pause_until = Instant::now();
        let mut next_beat = Instant::now() + beat;
        loop {
            if Instant::now() >= pause_until {
                for (lane, place) in Lane::ALL.into_iter().zip(&mut places) {
                    if place.awaited.is_none()
                        && let Some((spool, run)) = self.outbox.read(lane, place.next, MAX_BATCH_BYTES)
                    {
                        let last = run.first_seq + run.records.len() as u64 - 1;
                        let record = |(kind, body)| Record { kind: i32::from(kind), body };
                        let batch =
                            make_batch(spool, run.first_seq, run.records.into_iter().map(record).collect());
                        (place.awaited, place.next) = (Some(last), last + 1);
                        if to_hub.send(AgentMessage { body: Some(ToHub::Batch(batch)) }).await.is_err() {
                            return End::Lost(format!("the hub at {hub} hung up"));
                        }
                    }
                }
            }
            tokio::select! {
                message = incoming.message() => match message {
                    Ok(Some(HubMessage { body: Some(body) })) => {
                        self.receive(body, &mut places, &mut pause_until);
                    }
                    // A message of a newer kind: ignored, as the rules of change ask.
                    Ok(Some(HubMessage { body: None })) => {}
                    Ok(None) => return End::Lost(format!("the hub at {hub} hung up")),
                    Err(status) => return lost(&status),
                },
                () = self.outbox.wake.notified() => {}
                () = sleep_until(pause_until), if pause_until > Instant::now() => {}
                () = sleep_until(next_beat) => {
                    next_beat = Instant::now() + beat;
                    let heartbeat = self.ask_guard().await;
                    if to_hub.send(AgentMessage { body: Some(ToHub::Heartbeat(heartbeat)) }).await.is_err() {
                        return End::Lost(format!("the hub at {hub} hung up"));
                    }
                    if self.renewal_due() {
                        return End::Lost("reconnecting to renew this device's certificate".into());
                    }
                }
            }
        }
    }

    /// The guard may be busy for a moment (waiting for a process to die); the conversation goes on meanwhile.
    async fn ask_guard(&self) -> Heartbeat {
        let ask = Arc::clone(&self.heartbeat);
        tokio::task::spawn_blocking(move || ask()).await.unwrap_or_default()
    }

    fn receive(&self, body: FromHub, places: &mut [Place; 2], pause_until: &mut Instant) {
        match body {
            FromHub::Ack(ack) => {
                for (lane, place) in Lane::ALL.into_iter().zip(places) {
                    let mut spool = self.outbox.lane(lane);
                    if spool.id()[..] != ack.spool_id[..] {
                        continue;
                    }
                    if let Err(error) = spool.ack(ack.up_to_seq) {
                        warn!("an acknowledgement could not be noted: {}", crate::chain(&error));
                    }
                    if place.awaited.is_some_and(|seq| seq <= ack.up_to_seq) {
                        place.awaited = None;
                    }
                }
            }
            FromHub::RetryAfter(retry) => {
                let wait = Duration::from_millis(retry.after_ms.clamp(100, 600_000));
                warn!(target: "wardline::link", "the hub cannot store now ({}); records wait here, next try in {wait:?}", retry.reason);
                *pause_until = Instant::now() + wait;
                *places = [Place::default(), Place::default()];
            }
            FromHub::Command(command) => {
                // The receiver is gone only when the agent stops.
                let _ = self.commands.send(command);
            }
            FromHub::Welcome(_) => {}
        }
    }
}
