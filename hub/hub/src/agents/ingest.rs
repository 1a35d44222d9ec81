//! From a batch to the store: whole or not at all, and once.

use serde_json::Value;
use wardline_devices::link;
use wardline_event::{ActionUpdate, Finding, ocsf};
use wardline_kernel::{Kernel, NewEvent, StoreError, Topic};
use wardline_wire::proto::{Batch, Record, RecordKind};
use wardline_wire::{BatchError, check_batch};

/// Why a batch was not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IngestError {
    /// It did not arrive as it was sent.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The device was moved to another organisation while it was connected.
    #[error("the device was moved to another organisation")]
    Moved,
    /// The hub cannot store now.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What came of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its spool.
    pub spool: [u8; 16],
    /// Everything up to and including this number is on the disk.
    pub up_to: u64,
    /// Records stored now.
    pub new: u64,
    /// Records that had been stored before.
    pub repeated: u64,
    /// Of the new ones, those that could not be read.
    pub unreadable: u64,
}

/// A record, read.
enum Read {
    Event(Box<NewEvent>),
    Finding(Box<Finding>, String),
    Update(ActionUpdate),
    Unreadable(String),
}

fn read(seq: u64, record: &Record, simulated: bool) -> Read {
    let Ok(text) = std::str::from_utf8(&record.body) else {
        return Read::Unreadable("the body is not UTF-8".into());
    };
    let json = || serde_json::from_str::<Value>(text).map_err(|e| format!("the body is not JSON: {e}"));
    let read = match RecordKind::try_from(record.kind) {
        Ok(RecordKind::Event) => json().and_then(|json| {
            let event = ocsf::event_from_json(&json).map_err(|e| e.to_string())?;
            let mut new = NewEvent::of(seq, &event, text.to_owned());
            new.simulated |= simulated;
            Ok(Read::Event(Box::new(new)))
        }),
        Ok(RecordKind::Finding) => json().and_then(|json| {
            let finding = ocsf::finding_from_json(&json).map_err(|e| e.to_string())?;
            Ok(Read::Finding(Box::new(finding), text.to_owned()))
        }),
        Ok(RecordKind::ActionUpdate) => {
            serde_json::from_str(text).map(Read::Update).map_err(|e| format!("not an action update: {e}"))
        }
        Ok(RecordKind::Unspecified) | Err(_) => {
            Err(format!("record kind {} is not known to this hub; is the agent newer?", record.kind))
        }
    };
    read.unwrap_or_else(Read::Unreadable)
}

/// Stores a batch in one transaction. When this returns, it is on the disk.
pub(crate) async fn store_batch(
    kernel: &Kernel,
    device: &link::Known,
    batch: &Batch,
) -> Result<Stored, IngestError> {
    let (spool, last) = check_batch(batch)?;
    let spool_text = wardline_event::hex(&spool);
    let (organisation, id) = (&device.organisation, device.id.to_string());
    // Everything is read before the database is locked.
    let numbered = (batch.first_seq..=last).zip(&batch.records);
    let records: Vec<(u64, Read)> =
        numbered.map(|(seq, record)| (seq, read(seq, record, device.simulated))).collect();

    let mut topics = Vec::new();
    let mut unreadable = 0;
    let mut tx = kernel.store().write(organisation).await?;
    if !link::still_there(&mut tx, device).await? {
        return Err(IngestError::Moved);
    }
    let (placement, up_to) =
        link::take_batch(&mut tx, kernel, device, &spool_text, batch.first_seq, last).await?;
    let skip = placement.skip as usize;
    let mut events = Vec::with_capacity(records.len());
    for (seq, record) in records.into_iter().skip(skip) {
        match record {
            Read::Event(event) => events.push(*event),
            Read::Finding(finding, body) => {
                let new = wardline_incidents::store_finding(
                    &mut tx,
                    organisation,
                    &id,
                    device.simulated,
                    &finding,
                    &body,
                    kernel.now(),
                );
                if new.await? {
                    topics.push(Topic::FindingAdded {
                        id: finding.id.to_string(),
                        device: id.clone(),
                        severity: finding.severity.as_str().to_owned(),
                    });
                }
            }
            Read::Update(update) => {
                if wardline_actions::apply(&mut tx, kernel, organisation, &id, &update).await? {
                    topics.push(Topic::ActionChanged { id: update.action_id, device: id.clone() });
                }
            }
            Read::Unreadable(why) => {
                unreadable += 1;
                let place = (seq - batch.first_seq) as usize;
                link::set_aside(&mut tx, kernel, device, (&spool_text, seq), &batch.records[place], &why)
                    .await?;
            }
        }
    }
    kernel.events().append(&mut tx, organisation, &id, &spool_text, &events).await?;
    tx.commit().await.map_err(StoreError::from)?;
    for topic in topics {
        kernel.bus().tell(organisation, topic);
    }
    let new = u64::from(batch.count) - placement.skip;
    Ok(Stored { spool, up_to, new, repeated: placement.skip, unreadable })
}
