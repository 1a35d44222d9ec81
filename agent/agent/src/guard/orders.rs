//! Orders from people: verified, carried out once, answered through the spool.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use wardline_event::{ActionState, ActionUpdate, ProcessKey};
use wardline_policy::{Order, Rung, permit};
use wardline_respond::measure::MAX_DESCENDANTS;
use wardline_respond::{
    EastWestSpec, FileOrder, IsolationSpec, KillError, LogonSpec, Measure, ProcessSpec, Record,
};
use wardline_wire::proto::command::Kind;
use wardline_wire::proto::{Command, RecordKind, SignedCommand};
use wardline_wire::{Learnt, VerifiedCommand};

use super::{Guard, authority, finding};
use crate::enrol::{is_rejected, policy_of, store_policy};
use crate::state::{StateDir, StateError};

/// The orders that were carried out, so that the same command arriving twice is executed once.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Orders {
    done: VecDeque<ActionUpdate>,
}

/// Orders expire within a day, and nobody gives a device a thousand in a day.
const REMEMBER: usize = 1000;
const FILE: &str = "orders.json";

impl Orders {
    /// Reads the remembered orders. A damaged file is set aside: an order done twice does less harm than a device without
    /// its agent, and the orders that are still valid are few.
    pub fn load(state: &StateDir) -> Result<Self, StateError> {
        let Some(bytes) = state.read(FILE)? else { return Ok(Self::default()) };
        serde_json::from_slice(&bytes).or_else(|error| {
            let aside = state.set_aside(FILE)?;
            warn!(
                file = %aside.display(),
                "the list of orders already carried out was damaged ({error}); set it aside and began a new one: an order that the hub sends again may be carried out again"
            );
            Ok(Self::default())
        })
    }

    fn get(&self, action_id: &str) -> Option<&ActionUpdate> {
        self.done.iter().find(|u| u.action_id == action_id)
    }

    fn remember(&mut self, update: ActionUpdate, state: &StateDir) {
        self.done.push_back(update);
        while self.done.len() > REMEMBER {
            self.done.pop_front();
        }
        let json = serde_json::to_vec(self).expect("orders hold only strings and numbers");
        if let Err(error) = state.write(FILE, &json) {
            warn!("an order was carried out and could not be noted: {}", crate::chain(&error));
        }
    }
}

impl Guard {
    /// Obeys a command, or refuses it and says why.
    pub fn on_command(&mut self, signed: &SignedCommand) {
        let now = self.now();
        if names_a_key(signed) {
            self.learn_key(signed);
            return;
        }
        let verified = match self.keys.verify(signed, self.parts.identity.device, now) {
            Ok(verified) => verified,
            Err(refusal) => {
                warn!(target: "wardline::order", "{refusal}");
                // Only a command that is truly the hub's tells which action to answer for.
                if let Some(action_id) = self.action_of(signed) {
                    self.answer(&action_id, ActionState::Failed, refusal.to_string());
                }
                return;
            }
        };
        if matches!(verified.get().kind, Some(Kind::SetPolicy(_))) {
            self.obey_policy(signed, &verified);
            return;
        }
        self.obey(&verified);
    }

    /// The action id of a command that is signed by the hub and still must be refused (expired, say).
    fn action_of(&self, signed: &SignedCommand) -> Option<String> {
        let command: Command = prost::Message::decode(signed.command.as_slice()).ok()?;
        let issued = wardline_event::Timestamp(command.issued_ms);
        // Signed with a key that the hub replaced: it is the hub's own, or was.
        let known = self.keys.verify_kept(signed, self.parts.identity.device, issued);
        known.is_ok().then_some(command.action_id)
    }

    fn answer(&self, action_id: &str, state: ActionState, detail: String) -> ActionUpdate {
        let update = ActionUpdate { action_id: action_id.to_owned(), state, at: self.now(), detail };
        self.put(RecordKind::ActionUpdate, &update);
        update
    }

    /// Learns the key that signs from now on. It is kept before it is obeyed: after a restart nothing else would be.
    fn learn_key(&mut self, signed: &SignedCommand) {
        let mut keys = self.keys.clone();
        match keys.learn(signed, self.now()) {
            Ok(Learnt::Known) => {}
            Ok(Learnt::New) => match crate::keys::store(&self.parts.state, &self.parts.identity, &keys) {
                Ok(()) => {
                    let until = keys.before.map_or_else(String::new, |(_, until)| until.to_string());
                    info!(target: "wardline::order", "the hub signs with another key from now on; the one before is obeyed until {until}");
                    self.keys = keys;
                }
                Err(error) => {
                    warn!(
                        "the hub's new key could not be kept, the one before is still obeyed: {}",
                        crate::chain(&error)
                    );
                }
            },
            Err(refusal) => warn!(target: "wardline::order", "a message that names another key: {refusal}"),
        }
    }

    fn obey_policy(&mut self, signed: &SignedCommand, verified: &VerifiedCommand) {
        let command = verified.get();
        let result =
            policy_of(verified).map_err(|e| e.to_string()).and_then(|p| {
                if is_rejected(&self.parts.state, signed) {
                    return Err("refused: under this policy the agent or this device failed again and again; set it anew to try it once more".to_owned());
                }
                store_policy(&self.parts.state, signed).map_err(|e| crate::chain(&e))?;
                Ok(p)
            });
        let (state, detail) = match result {
            Ok(policy) => {
                let mode = policy.mode.as_str();
                info!(target: "wardline::order", "policy is now {mode} (by {})", command.requested_by);
                self.take_policy(policy, signed);
                (ActionState::Succeeded, format!("policy {mode} is in force"))
            }
            Err(why) => {
                warn!(target: "wardline::order", "{why}; the policy before stays in force");
                (ActionState::Failed, why)
            }
        };
        if !command.action_id.is_empty() {
            self.answer(&command.action_id, state, detail);
        }
    }

    fn obey(&mut self, verified: &VerifiedCommand) {
        let command = verified.get();
        if let Some(done) = self.orders.get(&command.action_id).cloned() {
            // Sent again because our answer was lost: answer again, do nothing.
            self.put(RecordKind::ActionUpdate, &done);
            return;
        }
        let Some(kind) = &command.kind else { return };
        let permitted = order_of(kind).and_then(|order| {
            permit(&order, &command.reason, &self.policy).map_err(|e| e.to_string())?;
            authority::enough(command, &order, self.policy.class)
        });
        let (state, detail) = match permitted {
            Err(why) => (ActionState::Failed, format!("refused: {why}")),
            Ok(()) => {
                self.answer(&command.action_id, ActionState::InProgress, "the device has begun".to_owned());
                match self.carry_out(command, kind) {
                    Ok(detail) => (ActionState::Succeeded, detail),
                    Err(detail) => (ActionState::Failed, detail),
                }
            }
        };
        info!(target: "wardline::order", "order by {} ({}): {detail}", command.requested_by, command.reason);
        let update = self.answer(&command.action_id, state, detail);
        self.orders.remember(update, &self.parts.state);
    }

    fn carry_out(&mut self, command: &Command, kind: &Kind) -> Result<String, String> {
        match kind {
            Kind::KillProcess(kill) => {
                let key: ProcessKey = kill.process_key.parse().map_err(|e| format!("refused: {e}"))?;
                let extra = self.processes().live_descendants(&key);
                let result = self.parts.responder.kill_tree(&key, &extra);
                let text = finding::describe(&result);
                match result {
                    Ok(report) if report.succeeded() => Ok(text),
                    // The person wanted it dead, and it is.
                    Err(KillError::Gone(_)) => Ok("the process had already ended".to_owned()),
                    Ok(_) | Err(_) => Err(text),
                }
            }
            Kind::Isolate(isolate) => self.contain(command, Rung::Isolation, isolate.for_s),
            Kind::Release(_) => self.lift(command, Rung::Isolation),
            Kind::Contain(contain) => self.contain(command, rung(&contain.rung)?, contain.for_s),
            Kind::Lift(lift) => self.lift(command, rung(&lift.rung)?),
            Kind::QuarantineFile(file) => {
                let (by, reason) = (command.requested_by.as_str(), command.reason.as_str());
                let order = FileOrder { by, reason, at: self.now() };
                self.parts.responder.quarantine(&file.path, &order).map_err(|e| crate::chain(&e))
            }
            Kind::RestoreFile(file) => self.parts.responder.restore(&file.id).map_err(|e| crate::chain(&e)),
            Kind::SetPolicy(_) | Kind::NextKey(_) => Err("refused: this is not an order".to_owned()),
        }
    }

    fn contain(&mut self, command: &Command, rung: Rung, for_s: u64) -> Result<String, String> {
        let (hubs, keep) = (self.parts.hubs.addresses(), self.policy.keep_flows.clone());
        let measure = match rung {
            Rung::Isolation if hubs.is_empty() => {
                return Err("refused: no address of the hub is known yet, so that nobody could release this device from afar; try again once it has connected".to_owned());
            }
            Rung::Isolation => Measure::Isolation(IsolationSpec { hubs, dhcp: false, keep }),
            Rung::EastWest => Measure::EastWest(EastWestSpec { hubs, keep }),
            Rung::Logons => Measure::Logons(LogonSpec { except: self.policy.break_glass.clone() }),
            Rung::Process(process) => {
                let mut descendants = self.processes().live_descendants(&process);
                descendants.truncate(MAX_DESCENDANTS);
                Measure::Process(ProcessSpec { process, descendants })
            }
        };
        let now = self.now();
        let expires = now.plus(Duration::from_secs(for_s));
        let kept: Vec<&str> = measure.kept().iter().map(|flow| flow.name.as_str()).collect();
        let kept =
            if kept.is_empty() { String::new() } else { format!(" and what is kept ({})", kept.join(", ")) };
        let what = match rung {
            Rung::Isolation => format!("only the hub{kept} stays reachable"),
            Rung::EastWest => format!("SMB, RDP, SSH and WinRM are cut, but for the hub{kept}"),
            Rung::Logons => "new logons are refused".to_owned(),
            Rung::Process(key) => format!("process {} and what it starts have no network", key.pid),
        };
        let record = Record::new(now, expires, measure).ordered(
            &command.requested_by,
            &command.reason,
            &command.action_id,
        );
        let (responder, boot_ns) = (&mut *self.parts.responder, self.parts.clock.boot_ns());
        let contained = self.keeper.contain(responder, &record, boot_ns).map_err(|e| crate::chain(&e))?;
        let did = if rung == Rung::Isolation { "isolated" } else { "done" };
        let took = contained.took.as_secs_f64() * 1000.0;
        let notes: String = contained.notes.iter().flat_map(|note| ["; ", note]).collect();
        Ok(format!("{did} in {took:.1} ms until {expires}; {what}{notes}"))
    }

    fn lift(&mut self, command: &Command, rung: Rung) -> Result<String, String> {
        let now = self.now();
        let was = self
            .keeper
            .lift(&mut *self.parts.responder, &rung, now, &command.requested_by)
            .map_err(|e| crate::chain(&e))?;
        let nothing =
            if rung == Rung::Isolation { "the device was not isolated" } else { "there was nothing to undo" };
        Ok(if was { "released" } else { nothing }.to_owned())
    }
}

/// True if it names a key instead of ordering something.
fn names_a_key(signed: &SignedCommand) -> bool {
    let command: Result<Command, _> = prost::Message::decode(signed.command.as_slice());
    command.is_ok_and(|command| matches!(command.kind, Some(Kind::NextKey(_))))
}

/// The order that policy judges.
fn order_of(kind: &Kind) -> Result<Order, String> {
    Ok(match kind {
        Kind::KillProcess(_) => Order::KillProcess,
        Kind::Isolate(isolate) => Order::Isolate { for_s: isolate.for_s },
        Kind::Release(_) => Order::Release,
        Kind::SetPolicy(_) => Order::SetPolicy,
        Kind::Contain(contain) => Order::Contain { rung: rung(&contain.rung)?, for_s: contain.for_s },
        Kind::Lift(lift) => Order::Lift { rung: rung(&lift.rung)? },
        Kind::QuarantineFile(_) => Order::Quarantine,
        Kind::RestoreFile(_) => Order::Restore,
        Kind::NextKey(_) => return Err("this is not an order".to_owned()),
    })
}

fn rung(text: &str) -> Result<Rung, String> {
    text.parse().map_err(|e: wardline_policy::RungError| e.to_string())
}
