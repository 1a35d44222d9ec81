//! Messages from agents, as the hub meets them, and the token that a person types.

use prost::Message;
use wardline_wire::proto::{AgentMessage, Batch, RecordKind, agent_message};
use wardline_wire::{EnrolmentToken, MAX_RECORD_BYTES, check_batch, make_batch};

use crate::ocsf;

/// A message from an agent; the records of a batch that passes the checks are read as the hub reads them.
pub fn batch(data: &[u8]) {
    if let Ok(AgentMessage { body: Some(agent_message::Body::Batch(batch)) }) = AgentMessage::decode(data) {
        check(&batch);
    }
    if let Ok(batch) = Batch::decode(data) {
        check(&batch);
        // Checksums are not for the fuzzer to guess.
        if let Ok(spool) = batch.spool_id.as_slice().try_into() {
            check(&make_batch(spool, batch.first_seq, batch.records));
        }
    }
}

fn check(batch: &Batch) {
    let Ok((spool, last)) = check_batch(batch) else { return };
    assert_eq!(spool, *batch.spool_id);
    assert_eq!((last - batch.first_seq + 1) as usize, batch.records.len());
    assert!(i64::try_from(last).is_ok(), "the store holds signed numbers");
    let decoded = Batch::decode(batch.encode_to_vec().as_slice()).expect("our own bytes");
    assert_eq!(check_batch(&decoded), Ok((spool, last)));
    for record in &batch.records {
        assert!(record.body.len() <= MAX_RECORD_BYTES);
        match RecordKind::try_from(record.kind) {
            Ok(RecordKind::Event | RecordKind::Finding) => ocsf::objects(&record.body),
            Ok(RecordKind::ActionUpdate) => ocsf::action_update(&record.body),
            Ok(RecordKind::Unspecified) | Err(_) => {}
        }
    }
}

/// An enrolment token: one text for one token.
pub fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(token) = text.parse::<EnrolmentToken>() else { return };
    assert_eq!(token.to_string().parse(), Ok(token.clone()));
    assert_eq!(token.to_string(), text.trim().to_ascii_lowercase());
    let secret = token.secret_text();
    assert!(secret.len() == 32 && secret.chars().all(|c| c.is_ascii_hexdigit()));
    // The fingerprint is public, and a fuzzer may well make it of the secret.
    let fingerprint = text.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    assert!(
        fingerprint.contains(&secret) || !format!("{token:?}").contains(&secret),
        "the secret stays out of logs"
    );
}
