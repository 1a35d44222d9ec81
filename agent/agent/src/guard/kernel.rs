//! Rules with a response that the kernel follows itself, and what it did by them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tracing::{info, warn};
use wardline_event::{Body, Disposition, Event, Stopped};
use wardline_respond::KillError;
use wardline_sense::KernelRules;
use wardline_sigma::verdict::{Decided, Refusal, Terms, Verdicts};

use super::finding::describe;
use super::{Guard, Ruleset};

/// The kernel's half of the rules.
///
/// Tables take a moment to make, and events do not wait for that: until the kernel follows them the engine acts, as it
/// does where it follows none. That it is to follow none any more is in force at once.
#[derive(Clone)]
pub(super) struct Kernel(Arc<Mutex<State>>);

struct State {
    /// Nothing where the kernel follows no rules.
    rules: Option<Box<dyn KernelRules>>,
    /// How often it was said what is to be followed: what was made for an earlier word is not put into force.
    said: u64,
    /// The tables last made, and who is spared in them.
    made: Option<(Vec<String>, Vec<u8>)>,
}

impl State {
    fn follow(&mut self, tables: Option<&[u8]>) {
        let Some(rules) = &mut self.rules else { return };
        if let Err(why) = rules.follow(tables) {
            warn!("rules in the kernel: {why}; they act from user space");
        }
    }
}

impl Kernel {
    pub fn new(rules: Option<Box<dyn KernelRules>>) -> Self {
        Self(Arc::new(Mutex::new(State { rules, said: 0, made: None })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Its parts are right between calls, whoever panicked elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the kernel acts on rules by itself, but for these executables, or on none.
    fn follow(&self, rules: &Ruleset, spared: Option<&[String]>) {
        let mut state = self.lock();
        state.said += 1;
        if state.rules.is_none() {
            return;
        }
        let made = state.made.take();
        match (spared, made) {
            (None, made) => {
                state.follow(None);
                state.made = made;
            }
            (Some(spared), Some((of, tables))) if of == spared => {
                state.follow(Some(&tables));
                state.made = Some((of, tables));
            }
            (Some(spared), _) => {
                // Others are spared from now on.
                state.follow(None);
                let (kernel, said) = (self.clone(), state.said);
                let (rules, spared) = (rules.asking(), spared.to_vec());
                drop(state);
                let make = move || kernel.make(&rules, spared, said);
                if let Err(error) = thread::Builder::new().name("verdicts".to_owned()).spawn(make) {
                    warn!(
                        "rules in the kernel: no thread to make their tables ({error}); they act from user space"
                    );
                }
            }
        }
    }

    fn make(&self, rules: &[(usize, wardline_sigma::Rule)], spared: Vec<String>, said: u64) {
        let asking = rules.iter().map(|(number, rule)| (*number, rule));
        let (verdicts, told) = Verdicts::of(asking, &Terms::linux_program(&spared));
        let tables = verdicts.to_bytes();
        let mut state = self.lock();
        if state.said != said {
            return;
        }
        state.follow(Some(&tables));
        state.made = Some((spared, tables));
        drop(state);
        tell(rules, &told);
    }
}

fn tell(rules: &[(usize, wardline_sigma::Rule)], told: &[(usize, Result<Decided, Refusal>)]) {
    // Rules for other systems and events are no business of a program's start.
    let about = rules.iter().zip(told).filter(|(_, (_, result))| *result != Err(Refusal::OtherEvents));
    let (decided, others): (Vec<_>, Vec<_>) = about.partition(|(_, (_, result))| result.is_ok());
    info!("rules in the kernel: {} of {} with a response", decided.len(), decided.len() + others.len());
    for ((_, rule), (_, result)) in others {
        if let Err(why) = result {
            info!("rule {} acts from user space only: {why}", rule.title);
        }
    }
}

impl Ruleset {
    /// The rules that ask for a kill, with their numbers.
    fn asking(&self) -> Vec<(usize, wardline_sigma::Rule)> {
        let rules = self.set.rules().iter().enumerate();
        rules.filter(|(number, _)| self.kills(*number)).map(|(n, rule)| (n, rule.clone())).collect()
    }
}

impl Guard {
    /// Tells the kernel what policy lets it do; at once, with each policy.
    pub(super) fn tell_kernel(&mut self) {
        let spared = self.may_kill().then_some(self.policy.never_kill.as_slice());
        self.kernel.follow(&self.parts.rules, spared);
    }

    /// What came of a program that the kernel stopped by itself.
    pub(super) fn stopped(
        &mut self,
        event: &Event,
        stopped: Stopped,
        boot_ns: u64,
    ) -> (Disposition, String, Option<u64>) {
        let within = format!("decided in {} µs", stopped.after_ns.div_ceil(1000));
        if stopped.refused {
            let detail = format!("refused by the kernel: it did not run; {within}");
            return (Disposition::Stopped, detail, Some(stopped.after_ns / 1000));
        }
        let detail = format!("stopped by the kernel before it ran; {within}");
        let target = event.process().key;
        let below = self.processes().live_descendants(&target);
        // What it had started before dies with it, and that it is dead is seen and not believed.
        let result = self.parts.responder.kill_tree(&target, &below);
        let done = Some(self.since_us(boot_ns));
        match &result {
            Err(KillError::Gone(_)) => (Disposition::Stopped, detail, done),
            Ok(report) if report.succeeded() => {
                let only = report.killed.iter().all(|victim| victim.pid == target.pid);
                let more = if only { String::new() } else { format!("; {}", describe(&result)) };
                (Disposition::Stopped, detail + &more, done)
            }
            Ok(_) | Err(_) => (Disposition::Failed, format!("{detail}; {}", describe(&result)), done),
        }
    }
}

/// What the kernel did to the program of this event.
pub(super) fn stopped_of(event: &Event) -> Option<Stopped> {
    match &event.body {
        Body::Process(activity) => activity.launch.as_deref()?.stopped,
        _ => None,
    }
}
