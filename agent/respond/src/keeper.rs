//! Keeps the kernel what the records say.
//!
//! A containment is recorded when it is put in force; [`Keeper::check`], called at every start and every few seconds,
//! puts it in force again where the kernel has forgotten it (a reboot) or somebody has undone it, until its record is due.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wardline_event::Timestamp;
use wardline_policy::Rung;

use crate::Responder;
use crate::measure::{ContainError, Contained, Holds};
use crate::record::{self, Due, Record, RecordError, SINGLE, due};

/// How much served time a record may lack. Writing it waits for the disk.
pub const SAVE_EVERY: Duration = Duration::from_mins(1);

/// What is to be done about the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    Contain,
    Release,
}

/// Compares what is recorded with what is. Pure. A containment without a record would never expire: it is released.
///
/// `holds` is false for one that somebody has weakened, the rest of which still cuts. So when a containment
/// ends, and at every start, what may be left is released too.
fn step(record: Option<&Record>, holds: bool, starting: bool, now: Timestamp) -> Step {
    let due = record.map_or(Due::Release, |r| due(r, now));
    let ending = record.is_some_and(|r| r.released.is_none());
    match due {
        Due::Keep if holds => Step::Nothing,
        Due::Keep => Step::Contain,
        Due::Release if holds || ending || starting => Step::Release,
        Due::Release => Step::Nothing,
    }
}

/// What was done about one containment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reconciled {
    /// Nothing had to be done; whether it is in force.
    Unchanged {
        /// True if it is.
        in_force: bool,
    },
    /// The record asked for it and the kernel had none, or not a whole one.
    Contained(Contained),
    /// It had expired or was released, or there is nothing left to contain.
    Released,
}

/// A record and the kernel could not be brought to agree.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The kernel.
    #[error(transparent)]
    Contain(#[from] ContainError),
}

/// An order to contain was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The kernel refused.
    #[error(transparent)]
    Contain(#[from] ContainError),
    /// It was done and could not be recorded, so it was undone: it would have had no end.
    #[error("the containment could not be recorded; it was undone")]
    Unrecorded(#[source] RecordError),
    /// The same, and undoing it failed.
    #[error(
        "the containment could not be recorded, and undoing it failed: run `wardline agent release --local` at the machine"
    )]
    Stuck(#[source] RecordError),
}

/// Makes the kernel what the record of one containment in `state_dir` says. Idempotent.
///
/// `elapsed` is how long it has lasted beyond what the record says, by a clock that only goes forward; zero
/// at the first call after a start. From [`SAVE_EVERY`] on it is written to the record: the caller then counts anew.
pub fn reconcile(
    responder: &mut dyn Responder,
    state_dir: &Path,
    rung: &Rung,
    now: Timestamp,
    elapsed: Duration,
) -> Result<Reconciled, ReconcileError> {
    let mut record = record::load(state_dir, rung)?;
    let holds = match &record {
        Some(record) => responder.holds(&record.measure)?,
        None => Holds::No,
    };
    let in_force = holds == Holds::Yes;
    if let Some(record) = record.as_mut().filter(|r| !elapsed.is_zero() && r.released.is_none()) {
        record.served_ms =
            record.served_ms.saturating_add(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        if elapsed >= SAVE_EVERY {
            // On a full disk the time served is lost; the calendar still ends the containment.
            let _ = record::save(state_dir, record);
        }
    }
    let over = match (&holds, &record) {
        (Holds::Over(why), Some(record)) if record.released.is_none() => Some(why.as_str()),
        _ => None,
    };
    let todo = match over {
        Some(_) => Step::Release,
        None => step(record.as_ref(), in_force, elapsed.is_zero(), now),
    };
    let done = match (todo, &record) {
        (Step::Contain, Some(record)) => Reconciled::Contained(responder.contain(&record.measure)?),
        (Step::Release, _) if responder.release(rung)? || over.is_some() => Reconciled::Released,
        (Step::Release, _) => Reconciled::Unchanged { in_force: false },
        _ => Reconciled::Unchanged { in_force },
    };
    // Said once more in the record: a clock that is set back later must not begin the containment anew.
    if record.as_ref().is_some_and(|r| r.released.is_none() && due(r, now) == Due::Release) || over.is_some()
    {
        record::mark_released(state_dir, rung, now, over.unwrap_or("expiry"))?;
    }
    Ok(done)
}

/// The containments of one machine.
#[derive(Debug)]
pub struct Keeper {
    state_dir: PathBuf,
    /// Since when the time that a containment has lasted is not in its record; nanoseconds since boot.
    unserved: BTreeMap<Rung, u64>,
    started: bool,
}

impl Keeper {
    /// Keeps what is recorded in this folder.
    pub fn new(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned(), unserved: BTreeMap::new(), started: false }
    }

    /// Puts a containment in force and records it, in the place of one of the same rung.
    pub fn contain(
        &mut self,
        responder: &mut dyn Responder,
        record: &Record,
        boot_ns: u64,
    ) -> Result<Contained, OrderError> {
        let contained = responder.contain(&record.measure)?;
        // Recorded after the fact: should this fail, the machine must not stay contained without an end.
        if let Err(error) = record::save(&self.state_dir, record) {
            return Err(match responder.release(&record.rung()) {
                Ok(_) => OrderError::Unrecorded(error),
                Err(_) => OrderError::Stuck(error),
            });
        }
        self.unserved.insert(record.rung(), boot_ns);
        Ok(contained)
    }

    /// Undoes a containment; true if there was one.
    pub fn lift(
        &mut self,
        responder: &mut dyn Responder,
        rung: &Rung,
        now: Timestamp,
        by: &str,
    ) -> Result<bool, ReconcileError> {
        let was = responder.release(rung)?;
        record::mark_released(&self.state_dir, rung, now, by)?;
        self.unserved.remove(rung);
        Ok(was)
    }

    /// Makes the kernel what the records say, and tells what had to be done. `boot_ns` comes from a clock that only
    /// goes forward.
    pub fn check(
        &mut self,
        responder: &mut dyn Responder,
        now: Timestamp,
        boot_ns: u64,
    ) -> Vec<(Rung, Result<Reconciled, ReconcileError>)> {
        let mut rungs = record::recorded(&self.state_dir);
        if !std::mem::replace(&mut self.started, true) {
            rungs.extend(SINGLE);
            rungs.extend(responder.cut_processes().into_iter().map(Rung::Process));
            rungs.sort_unstable();
            rungs.dedup();
        }
        let mut done = Vec::new();
        for rung in rungs {
            let since = self.unserved.get(&rung).copied();
            let elapsed =
                since.map_or(Duration::ZERO, |then| Duration::from_nanos(boot_ns.saturating_sub(then)));
            let result = reconcile(responder, &self.state_dir, &rung, now, elapsed);
            // What the record does not hold yet adds up.
            if since.is_none() || elapsed >= SAVE_EVERY {
                self.unserved.insert(rung, boot_ns);
            }
            done.push((rung, result));
        }
        done
    }
}

#[cfg(test)]
mod tests;
