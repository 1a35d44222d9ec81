//! One finding in its surroundings: tree, timeline, and what people made of it.

use std::collections::BTreeSet;

use serde_json::json;
use wardline_event::{Event, ocsf};
use wardline_kernel::audit::{self, Act};
use wardline_kernel::{EventQuery, Kernel, ReasonTooLong, Scope, StoreError, StoredEvent, Topic, fit_reason};

use crate::domain::{FindingState, NodeRole, ProcessNode, grow_tree};
use crate::store::{self, FindingRecord};

/// A tree is cut at this many processes and generations: a fork bomb's tree is not read to its end.
const MOST_PROCESSES: usize = 500;
const MOST_GENERATIONS: usize = 24;
/// OCSF 1.8, Process Activity.
const PROCESS_ACTIVITY: u32 = 1007;
/// Events read for the processes of one generation.
const MOST_EVENTS: u32 = 5000;

fn read(stored: &StoredEvent) -> Result<Event, StoreError> {
    ocsf::event_from_json(&stored.body).map_err(|_| StoreError::Corrupt { what: "event" })
}

/// The process tree around a finding: ancestors from the finding, descendants from the events.
pub async fn tree(
    kernel: &Kernel,
    scope: &Scope,
    record: &FindingRecord,
) -> Result<Vec<ProcessNode>, StoreError> {
    let mut generation = vec![record.finding.event.process().key.to_string()];
    let mut seen: BTreeSet<String> = generation.iter().cloned().collect();
    let mut events = Vec::new();
    for _ in 0..MOST_GENERATIONS {
        // By its own key, and not by its parent's: whoever outlives its parent ends as a child of init.
        let query = EventQuery {
            device: record.device.clone(),
            process_keys: generation.clone(),
            class_uid: Some(PROCESS_ACTIVITY),
            limit: MOST_EVENTS,
            ..EventQuery::default()
        };
        for stored in kernel.events().query(scope, &query).await? {
            events.push(read(&stored)?);
        }
        let born =
            kernel.events().children(scope, &record.device, &generation, MOST_PROCESSES as u32).await?;
        generation.clear();
        for stored in born {
            if seen.len() < MOST_PROCESSES && seen.insert(stored.process_key.clone()) {
                generation.push(stored.process_key);
            }
        }
        if generation.is_empty() {
            break;
        }
    }
    Ok(grow_tree(&record.finding, &events))
}

/// What the finding's process and its descendants did, oldest first.
pub async fn timeline(
    kernel: &Kernel,
    scope: &Scope,
    record: &FindingRecord,
    tree: &[ProcessNode],
) -> Result<Vec<StoredEvent>, StoreError> {
    let keys = tree.iter().filter(|n| n.role != NodeRole::Ancestor).map(|n| n.key.clone());
    let query = EventQuery {
        device: record.device.clone(),
        process_keys: keys.collect(),
        limit: 1000,
        ..EventQuery::default()
    };
    kernel.events().query(scope, &query).await
}

/// Why a finding's state was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such finding.
    #[error("there is no finding `{0}` in this organisation")]
    NoFinding(String),
    /// Not from there to there.
    #[error("a finding that is {from} cannot become {to}")]
    Forbidden {
        /// What it is.
        from: &'static str,
        /// What was asked.
        to: &'static str,
    },
    /// Closing without a reason.
    #[error("closing a finding needs a reason that others can read later")]
    NoReason,
    /// The reason is too long.
    #[error(transparent)]
    Reason(#[from] ReasonTooLong),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Acknowledges, closes or reopens a finding.
pub async fn set_state(
    kernel: &Kernel,
    scope: &Scope,
    by: &str,
    id: &str,
    next: FindingState,
    reason: &str,
) -> Result<(), ChangeError> {
    let reason = fit_reason(reason)?;
    let reason = reason.as_str();
    if next == FindingState::Closed && reason.is_empty() {
        return Err(ChangeError::NoReason);
    }
    let now = kernel.now();
    let mut tx = kernel.store().write(scope).await?;
    let (organisation, state) =
        store::state(&mut tx, scope, id).await?.ok_or_else(|| ChangeError::NoFinding(id.to_owned()))?;
    if !state.may_become(next) {
        return Err(ChangeError::Forbidden { from: state.as_str(), to: next.as_str() });
    }
    store::put_state(&mut tx, &organisation, id, next, (by, reason), now).await?;
    let act = Act {
        actor: by.to_owned(),
        act: "finding.state_changed",
        target: id.to_owned(),
        detail: json!({"from": state.as_str(), "to": next.as_str(), "reason": reason}),
    };
    audit::append(&mut tx, &organisation, now, act).await?;
    tx.commit().await.map_err(StoreError::from)?;
    kernel.bus().tell(&organisation, Topic::FindingChanged { id: id.to_owned() });
    Ok(())
}
