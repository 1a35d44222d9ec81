//! The guard is gone and did not say that it would: the courier tells the hub, which nobody else can.
//!
//! What it tells is a finding in a spool of its own with this one record, so the hub stores it once, like any other. It
//! says no more than the courier can know.

use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tracing::warn;
use wardline_event::{
    ActionTaken, Body, Disposition, Event, EventId, Finding, Process, ProcessKey, RuleRef, SensorKind,
    SensorLoss, Severity, Technique, ocsf,
};
use wardline_wire::proto::agent_message::Body as ToHub;
use wardline_wire::proto::hub_message::Body as FromHub;
use wardline_wire::proto::{AgentMessage, Hello, HubMessage, Record, RecordKind};
use wardline_wire::{PROTOCOL, make_batch};

use super::Courier;

/// Findings that the guard has ended carry this id for a rule's.
pub const RULE_ID: &str = "0c5a3a7e-7d1c-4f52-8d3c-6f0d5c2b9a14";
/// A guard that is to come back does so within seconds; a courier that cannot tell for so long gives up.
const MOURN: Duration = Duration::from_hours(1);
/// After it was told, the device stays in sight for as long; then it is silent, which the hub shows.
const STAY: Duration = Duration::from_mins(5);
/// What it takes to tell the hub, for a courier that is asked to leave before it has.
const GRACE: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(2);
/// How long an attempt to tell may take.
const TELL_WITHIN: Duration = Duration::from_secs(20);
const BEAT: Duration = Duration::from_secs(10);

impl Courier {
    /// Tells the hub, and stays for a while, until somebody asks it to leave: the next guard, or a service manager.
    pub(super) async fn mourn(&mut self, mut asked_to_leave: Signal) {
        tokio::select! {
            () = self.stay() => {}
            () = async {
                asked_to_leave.recv().await;
                sleep(GRACE).await;
            } => {}
        }
    }

    async fn stay(&mut self) {
        warn!("the guard of this agent has ended without a word; telling the hub");
        let record = Record { kind: RecordKind::Finding.into(), body: self.obituary() };
        let batch = make_batch((self.random)(), 1, vec![record]);
        let until = Instant::now() + MOURN;
        while Instant::now() < until {
            match timeout(TELL_WITHIN, self.tell(&batch)).await {
                Ok(Ok(stay)) => {
                    let _ = timeout(STAY, stay).await;
                    return;
                }
                Ok(Err(why)) => warn!("the hub was not told yet: {why}"),
                Err(_) => warn!("the hub was not told yet: it did not answer in time"),
            }
            sleep(RETRY).await;
        }
    }

    /// Tells the hub; when that is done, gives what keeps the conversation up.
    async fn tell(
        &mut self,
        batch: &wardline_wire::proto::Batch,
    ) -> Result<impl Future<Output = ()> + use<>, String> {
        let mut client = self.connect().await?;
        let (to_hub, outgoing) = mpsc::channel::<AgentMessage>(8);
        let mut beat = self.last_beat.clone();
        for sensor in &mut beat.sensors {
            "off".clone_into(&mut sensor.state);
            "the guard has ended".clone_into(&mut sensor.reason);
        }
        beat.time_ms = self.clock.now().0;
        let hello = Hello {
            protocol: PROTOCOL,
            facts: Some(self.facts.clone()),
            boot_id: self.boot.0.to_be_bytes().to_vec(),
            policy_digest: beat.policy_digest.clone(),
            command_key: beat.command_key.clone(),
        };
        let words = [ToHub::Hello(hello), ToHub::Heartbeat(beat.clone()), ToHub::Batch(batch.clone())];
        for body in words {
            to_hub.send(AgentMessage { body: Some(body) }).await.map_err(|_| "it hung up".to_owned())?;
        }
        let reply = client.connect(ReceiverStream::new(outgoing)).await;
        let mut incoming = reply.map_err(|status| status.message().to_owned())?.into_inner();
        loop {
            match incoming.message().await {
                Ok(Some(HubMessage { body: Some(FromHub::Ack(ack)) })) if ack.spool_id == batch.spool_id => {
                    break;
                }
                Ok(Some(HubMessage { body: Some(FromHub::RetryAfter(retry)) })) => return Err(retry.reason),
                Ok(Some(_)) => {}
                Ok(None) => return Err("it hung up".to_owned()),
                Err(status) => return Err(status.message().to_owned()),
            }
        }
        Ok(async move {
            loop {
                tokio::select! {
                    message = incoming.message() => if !matches!(message, Ok(Some(_))) {
                        return;
                    },
                    () = sleep(BEAT) => {
                        beat.time_ms += BEAT.as_millis() as i64;
                        let message = AgentMessage { body: Some(ToHub::Heartbeat(beat.clone())) };
                        if to_hub.send(message).await.is_err() {
                            return;
                        }
                    }
                }
            }
        })
    }

    /// The finding, as OCSF.
    fn obituary(&self) -> Vec<u8> {
        let guard = Process {
            key: ProcessKey { boot: self.boot, start_ticks: self.guard.1, pid: self.guard.0 },
            image: "wardline".to_owned(),
            ..Process::default()
        };
        let fresh = || EventId::from_bytes((self.random)());
        let loss = SensorLoss { sensor: SensorKind::LinuxEbpf, lost: 0, total: 0, agent: guard };
        let event = Event {
            id: fresh(),
            time: self.clock.now(),
            product: "linux".into(),
            simulated: self.facts.simulated,
            body: Body::Loss(loss),
        };
        let finding = Finding {
            id: fresh(),
            time: event.time,
            simulated: event.simulated,
            severity: Severity::High,
            rule: RuleRef {
                id: RULE_ID.to_owned(),
                title: "The guard of this device has ended".to_owned(),
                description: "The part of the agent that sees and stops ended without being asked to: it was killed, or \
                              it failed. Until it is back only what the kernel itself enforces holds: an isolation, and \
                              the ransomware guard where it is pinned."
                    .to_owned(),
                source: String::new(),
            },
            // Impair Defenses: Disable or Modify Tools.
            techniques: vec![Technique("T1562.001".to_owned())],
            matched: Vec::new(),
            event,
            ancestors: Vec::new(),
            action: ActionTaken {
                disposition: Disposition::Recorded,
                action: String::new(),
                by: "the courier".to_owned(),
                detail: format!("process {} is gone; the courier told of it", self.guard.0),
                decided_after_us: 0,
                done_after_us: None,
            },
        };
        serde_json::to_vec(&ocsf::finding_to_json(&finding)).unwrap_or_default()
    }
}
