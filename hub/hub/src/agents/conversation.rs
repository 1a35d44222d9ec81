//! The conversation with one device: Hello, then batches and heartbeats up, acknowledgements and commands down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status, Streaming};
use wardline_devices::{link, policy};
use wardline_kernel::views::HEARTBEAT_S;
use wardline_kernel::{Kernel, Scope, StoreError, Topic};
use wardline_wire::PROTOCOL;
use wardline_wire::proto::agent_message::Body as FromAgent;
use wardline_wire::proto::hub_message::Body as FromHub;
use wardline_wire::proto::{Ack, AgentMessage, Batch, Hello, HubMessage, RetryAfter, SignedCommand, Welcome};

use super::grpc::{not_admitted, unavailable};
use super::ingest::{IngestError, store_batch};
use crate::stats::{Counters, While, add};

/// The first message must come within this time.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Without a word for this long a connection is dead.
const SILENCE: Duration = Duration::from_secs(4 * HEARTBEAT_S as u64);
/// A device that does not read what it is sent is let go.
const SEND_WITHIN: Duration = Duration::from_secs(30);
/// A command without an answer is sent again after this time.
const SEND_AGAIN: Duration = Duration::from_secs(2 * HEARTBEAT_S as u64);
/// A conversation ends after this time, so that the certificate is looked at again.
const LONGEST: Duration = Duration::from_hours(12);
/// When to send again what a full hub could not store.
const RETRY_FULL_MS: u64 = 5_000;
const RETRY_MS: u64 = 1_000;

/// What a device is told that was moved while it was connected.
fn moved() -> Status {
    Status::unavailable("this device was moved to another organisation; connect again")
}

type Out = mpsc::Sender<Result<HubMessage, Status>>;

/// Talks with a device until either side hangs up.
pub(crate) async fn converse(
    kernel: Kernel,
    counters: Arc<Counters>,
    device: link::Known,
    inbound: Streaming<AgentMessage>,
    out: Out,
) {
    let _counted = While::of(&counters.connected);
    let id = device.id;
    let mut conversation = Conversation {
        kernel,
        counters: counters.clone(),
        device,
        inbound,
        out: out.clone(),
        policy: Vec::new(),
        key: Vec::new(),
        led_to: Vec::new(),
        offered: Vec::new(),
        sent: BTreeMap::new(),
    };
    if let Err(status) = conversation.run().await {
        match status.code() {
            // What the transport reports when the other side is gone: it stopped, or its network did.
            Code::Unknown => tracing::info!(device = %id, "the device hung up"),
            _ => tracing::info!(device = %id, "ended a conversation: {}", status.message()),
        }
        let _ = timeout(SEND_WITHIN, out.send(Err(status))).await;
    }
}

struct Conversation {
    kernel: Kernel,
    counters: Arc<Counters>,
    device: link::Known,
    inbound: Streaming<AgentMessage>,
    out: Out,
    /// Digest of the policy that the device says is in force.
    policy: Vec<u8>,
    /// The key whose commands the device says it obeys; empty from one that cannot learn another.
    key: Vec<u8>,
    /// The key to which it was led, until its next heartbeat.
    led_to: Vec<u8>,
    /// Digest of the policy that it was sent last, until its next heartbeat.
    offered: Vec<u8>,
    /// Commands sent in this conversation, and when.
    sent: BTreeMap<String, Instant>,
}

impl Conversation {
    /// `Ok`: the device hung up. `Err`: what it is told before the hub does.
    async fn run(&mut self) -> Result<(), Status> {
        // Listens before it looks, so that no order falls in between.
        let mut bus = self.kernel.bus().listen();
        let Some(hello) = self.hello().await? else { return Ok(()) };
        let facts = hello.facts.unwrap_or_default();
        let boot = wardline_event::hex(hello.boot_id.get(..16).unwrap_or_default());
        link::hello(&self.kernel, &self.device, &facts, &boot).await.map_err(|e| unavailable(&e))?;
        self.policy = hello.policy_digest;
        self.key = hello.command_key;
        self.send(FromHub::Welcome(Welcome {
            protocol: PROTOCOL.min(hello.protocol),
            hub_time_ms: self.kernel.now().0,
            heartbeat_s: HEARTBEAT_S,
        }))
        .await?;
        self.send_commands().await?;

        let kernel = self.kernel.clone();
        let stopped = kernel.stopped();
        let end = tokio::time::sleep(LONGEST);
        tokio::pin!(stopped, end);
        loop {
            tokio::select! {
                () = &mut stopped => return Err(Status::unavailable("the hub is stopping; connect again")),
                () = &mut end => return Err(Status::unavailable("this connection is 12 h old; connect again")),
                message = timeout(SILENCE, self.inbound.message()) => {
                    let message = message.map_err(|_| Status::deadline_exceeded(
                        format!("nothing was heard for {} s; connect again", SILENCE.as_secs())))?;
                    // A broken connection needs no answer; a broken message does, and gets it from tonic.
                    let Some(message) = message? else { return Ok(()) };
                    self.take(message).await?;
                }
                notice = bus.recv() => match notice {
                    Ok(notice) => {
                        let ours = matches!(&notice.topic, Topic::CommandReady { device } if *device == self.device.id.to_string());
                        if ours {
                            self.send_commands().await?;
                        }
                    }
                    Err(RecvError::Lagged(_)) => self.send_commands().await?,
                    Err(RecvError::Closed) => return Err(Status::unavailable("the hub is stopping; connect again")),
                },
            }
        }
    }

    async fn hello(&mut self) -> Result<Option<Hello>, Status> {
        let first = timeout(HELLO_WITHIN, self.inbound.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no Hello came within 10 s"))??;
        let Some(first) = first else { return Ok(None) };
        let Some(FromAgent::Hello(hello)) = first.body else {
            return Err(Status::failed_precondition("the first message must be Hello"));
        };
        let advice = match hello.protocol {
            p if p > PROTOCOL => "update the hub first",
            p if p == 0 || p + 1 < PROTOCOL => "update this device's agent",
            _ => return Ok(Some(hello)),
        };
        Err(Status::failed_precondition(format!(
            "this agent speaks protocol {}, this hub {PROTOCOL}: {advice}",
            hello.protocol
        )))
    }

    async fn send(&self, body: FromHub) -> Result<(), Status> {
        match timeout(SEND_WITHIN, self.out.send(Ok(HubMessage { body: Some(body) }))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Status::cancelled("the device hung up")),
            Err(_) => Err(Status::deadline_exceeded("the device does not read what it is sent")),
        }
    }

    async fn take(&mut self, message: AgentMessage) -> Result<(), Status> {
        match message.body {
            Some(FromAgent::Batch(batch)) => self.take_batch(batch).await,
            Some(FromAgent::Heartbeat(beat)) => {
                let stored = link::heartbeat(&self.kernel, &self.device, &beat).await;
                // A heartbeat that cannot be stored is not worth a broken connection; the next one comes.
                if let Err(error) = stored {
                    tracing::warn!(device = %self.device.id, %error, "could not store a heartbeat");
                }
                // A policy that the device refused (its clock is behind, its disk is full) is offered again with every
                // heartbeat until the device names it.
                self.policy = beat.policy_digest;
                self.offered.clear();
                // Likewise the key.
                self.key = beat.command_key;
                self.led_to.clear();
                self.send_commands().await
            }
            Some(FromAgent::Hello(_)) => Err(Status::failed_precondition("Hello came twice")),
            // A newer agent may say what this hub does not know.
            None => Ok(()),
        }
    }

    async fn take_batch(&mut self, batch: Batch) -> Result<(), Status> {
        match store_batch(&self.kernel, &self.device, &batch).await {
            Ok(stored) => {
                add(&self.counters.stored_records, stored.new);
                add(&self.counters.repeated_records, stored.repeated);
                if stored.unreadable > 0 {
                    add(&self.counters.unreadable_records, stored.unreadable);
                    tracing::warn!(
                        device = %self.device.id,
                        records = stored.unreadable,
                        "records could not be read; the first thousand of a device are kept in the table unreadable_record"
                    );
                }
                self.send(FromHub::Ack(Ack { spool_id: stored.spool.to_vec(), up_to_seq: stored.up_to }))
                    .await
            }
            Err(IngestError::Batch(error)) => {
                add(&self.counters.refused_batches, 1);
                tracing::warn!(device = %self.device.id, "{error}");
                Err(Status::invalid_argument(error.to_string()))
            }
            Err(IngestError::Moved) => Err(moved()),
            Err(IngestError::Store(error)) => {
                add(&self.counters.put_off_batches, 1);
                tracing::error!(device = %self.device.id, error = &error as &dyn std::error::Error,
                    "could not store a batch; its device will send it again");
                let full = matches!(error, StoreError::Full);
                let after_ms = if full { RETRY_FULL_MS } else { RETRY_MS };
                self.send(FromHub::RetryAfter(RetryAfter { after_ms, reason: error.to_string() })).await
            }
        }
    }

    /// Leads the device to the key that signs now. What is sent after that is signed with it.
    async fn send_keys(&mut self) -> Result<(), Status> {
        let now = self.kernel.keys().signer().key().0.to_vec();
        if self.key == now || self.led_to == now {
            return Ok(());
        }
        for message in self.kernel.keys().lead(&self.key) {
            self.send(FromHub::Command(message)).await?;
        }
        self.led_to = now;
        Ok(())
    }

    async fn send_command(&self, stored: &SignedCommand) -> Result<(), Status> {
        for command in self.kernel.keys().for_device(&self.key, stored) {
            self.send(FromHub::Command(command)).await?;
        }
        Ok(())
    }

    /// Sends the policy if the device has another, and every command that waits for an answer.
    async fn send_commands(&mut self) -> Result<(), Status> {
        let (kernel, home, device) = (self.kernel.clone(), &self.device.organisation, self.device.id);
        let id = device.to_string();
        let found = async {
            let admitted = link::admit(&kernel, home, device).await?;
            let policy = policy::newest(&kernel, &Scope::within(home.clone()), &id).await?;
            let pending = wardline_actions::pending(kernel.store().read(), home, &id, kernel.now()).await?;
            Ok::<_, StoreError>((admitted, policy, pending))
        };
        let (admitted, policy, pending) = match found.await {
            Ok(found) => found,
            Err(error) => {
                // They stay in the store and are looked for again at the next heartbeat.
                tracing::warn!(device = %id, %error, "could not look for commands");
                return Ok(());
            }
        };
        match admitted {
            None => return Err(not_admitted(device)),
            Some(known) if known.organisation != *home => return Err(moved()),
            Some(_) => {}
        }
        self.send_keys().await?;
        let unconfirmed = policy.filter(|p| p.digest != self.policy && p.digest != self.offered);
        if let Some(policy) = unconfirmed {
            self.offered = policy.digest;
            self.send_command(&policy.command).await?;
        }
        self.sent.retain(|action, _| pending.iter().any(|p| p.action_id == *action));
        for command in pending {
            let due = self.sent.get(&command.action_id).is_none_or(|at| at.elapsed() >= SEND_AGAIN);
            if due {
                self.sent.insert(command.action_id, Instant::now());
                self.send_command(&command.command).await?;
            }
        }
        Ok(())
    }
}
