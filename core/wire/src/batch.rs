//! Batches: built from the spool, checked before anything is stored.

use crate::proto::{Batch, Record};

/// The most bytes of record bodies in one batch. Well under gRPC's default limit of 4 MiB for a message.
pub const MAX_BATCH_BYTES: usize = 1 << 20;

/// The most bytes in one record: one event or finding. A command line is at most 128 KiB per argument on Linux.
pub const MAX_RECORD_BYTES: usize = 512 << 10;

/// A batch was refused. Nothing of it was stored; the sender must send it again, whole.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BatchError {
    /// The spool id is not 16 bytes.
    #[error("batch refused: its spool id has {0} bytes instead of 16")]
    SpoolId(usize),
    /// Cut short or padded on the way.
    #[error("batch refused: it says {said} records and carries {found}; it was cut short, send it again")]
    Count {
        /// What the sender put in.
        said: u32,
        /// What arrived.
        found: usize,
    },
    /// Damaged on the way.
    #[error("batch refused: checksum {found:08x} instead of {said:08x}; it was damaged, send it again")]
    Checksum {
        /// What the sender computed.
        said: u32,
        /// What the bodies give.
        found: u32,
    },
    /// Nothing in it.
    #[error("batch refused: it is empty")]
    Empty,
    /// A record is larger than [`MAX_RECORD_BYTES`].
    #[error("batch refused: record {seq} has {bytes} bytes, more than {MAX_RECORD_BYTES}")]
    RecordTooLarge {
        /// Its sequence number.
        seq: u64,
        /// Its size.
        bytes: usize,
    },
    /// Sequence numbers run past the end of u64.
    #[error("batch refused: sequence number {0} is out of range")]
    Sequence(u64),
}

fn crc(records: &[Record]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for record in records {
        hasher.update(&record.body);
    }
    hasher.finalize()
}

/// Puts records into a batch.
pub fn make_batch(spool_id: [u8; 16], first_seq: u64, records: Vec<Record>) -> Batch {
    let (crc32, count) = (crc(&records), records.len() as u32);
    Batch { spool_id: spool_id.to_vec(), first_seq, records, crc32, count }
}

/// Checks a batch that arrived; gives its spool id and the last sequence number.
pub fn check_batch(batch: &Batch) -> Result<([u8; 16], u64), BatchError> {
    let spool_id: [u8; 16] =
        batch.spool_id.as_slice().try_into().map_err(|_| BatchError::SpoolId(batch.spool_id.len()))?;
    if batch.records.len() != batch.count as usize {
        return Err(BatchError::Count { said: batch.count, found: batch.records.len() });
    }
    if batch.records.is_empty() {
        return Err(BatchError::Empty);
    }
    let last = batch
        .first_seq
        .checked_add(u64::from(batch.count) - 1)
        .ok_or(BatchError::Sequence(batch.first_seq))?;
    // SQL stores sequence numbers as signed 64-bit integers.
    if i64::try_from(last).is_err() {
        return Err(BatchError::Sequence(last));
    }
    for (i, record) in batch.records.iter().enumerate() {
        if record.body.len() > MAX_RECORD_BYTES {
            return Err(BatchError::RecordTooLarge {
                seq: batch.first_seq + i as u64,
                bytes: record.body.len(),
            });
        }
    }
    let found = crc(&batch.records);
    if found != batch.crc32 {
        return Err(BatchError::Checksum { said: batch.crc32, found });
    }
    Ok((spool_id, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message;

    fn records(bodies: Vec<Vec<u8>>) -> Vec<Record> {
        bodies.into_iter().map(|body| Record { kind: 1, body }).collect()
    }

    proptest! {
        #[test]
        fn a_whole_batch_is_accepted(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20),
                                     first in 0u64..1 << 40) {
            let n = bodies.len() as u64;
            let batch = make_batch([9; 16], first, records(bodies));
            let decoded = Batch::decode(batch.encode_to_vec().as_slice()).unwrap();
            prop_assert_eq!(check_batch(&decoded), Ok(([9; 16], first + n - 1)));
        }

        #[test]
        fn a_batch_cut_anywhere_is_refused(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..10),
                                           cut in any::<prop::sample::Index>()) {
            let bytes = make_batch([9; 16], 1, records(bodies)).encode_to_vec();
            let cut = cut.index(bytes.len());
            // Either the encoding itself is broken, or the checks see it.
            if let Ok(batch) = Batch::decode(&bytes[..cut]) {
                prop_assert!(check_batch(&batch).is_err());
            }
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(batch) = Batch::decode(bytes.as_slice()) {
                let _ = check_batch(&batch);
            }
        }
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        let mut batch = make_batch([0; 16], 5, records(vec![b"a".to_vec(), b"b".to_vec()]));
        batch.records.pop();
        assert_eq!(
            check_batch(&batch).unwrap_err().to_string(),
            "batch refused: it says 2 records and carries 1; it was cut short, send it again"
        );
        let over = make_batch([0; 16], u64::MAX, records(vec![b"a".to_vec(), b"b".to_vec()]));
        assert_eq!(check_batch(&over), Err(BatchError::Sequence(u64::MAX)));
        let big = make_batch([0; 16], 1, records(vec![vec![0; MAX_RECORD_BYTES + 1]]));
        assert!(matches!(check_batch(&big), Err(BatchError::RecordTooLarge { seq: 1, .. })));
    }
}
