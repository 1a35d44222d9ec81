//! Rules with a response that the kernel follows itself, and what it did by them.

use tracing::{info, warn};
use wardline_event::{Body, Disposition, Event, Stopped};
use wardline_respond::KillError;
use wardline_sense::KernelRules;
use wardline_sigma::verdict::{Terms, Verdicts};

use super::finding::describe;
use super::{Guard, Ruleset};

/// The kernel's half of the rules.
pub(super) struct Kernel {
    /// Nothing where the kernel follows no rules.
    rules: Option<Box<dyn KernelRules>>,
    /// The tables last made, and who is spared in them.
    made: Option<(Vec<String>, Vec<u8>)>,
}

impl Kernel {
    pub fn new(rules: Option<Box<dyn KernelRules>>) -> Self {
        Self { rules, made: None }
    }

    /// From now on the kernel acts on rules by itself, but for these executables, or on none.
    fn follow(&mut self, rules: &Ruleset, spared: Option<&[String]>) {
        let Some(kernel) = &mut self.rules else { return };
        let Some(spared) = spared else {
            if let Err(why) = kernel.follow(None) {
                warn!("rules in the kernel: {why}");
            }
            return;
        };
        let made = match self.made.take().filter(|(of, _)| of == spared) {
            Some(made) => made,
            None => {
                let (verdicts, told) = rules.verdicts(spared);
                let decided = told.iter().filter(|(_, result)| result.is_ok()).count();
                info!("rules in the kernel: {decided} of {} with a response", told.len());
                for (rule, result) in &told {
                    if let Err(why) = result {
                        let title = &rules.set.rules()[*rule].title;
                        info!("rule {title} acts from user space only: {why}");
                    }
                }
                (spared.to_vec(), verdicts.to_bytes())
            }
        };
        match kernel.follow(Some(&made.1)) {
            Ok(()) => self.made = Some(made),
            Err(why) => warn!("rules in the kernel: {why}; they act from user space"),
        }
    }
}

impl Ruleset {
    /// The tables of the rules that ask for a kill, and for each of these rules what became of it.
    pub fn verdicts(
        &self,
        spared: &[String],
    ) -> (Verdicts, Vec<(usize, Result<wardline_sigma::verdict::Decided, wardline_sigma::verdict::Refusal>)>)
    {
        let asking = self.set.rules().iter().enumerate().filter(|(rule, _)| self.kills(*rule));
        Verdicts::of(asking, &Terms::linux_program(spared))
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
