//! The agent's own files, which a failing disk may have changed.

use std::fs;
use std::path::Path;

use wardline_agent::guard::Orders;
use wardline_agent::state::{StateDir, StateError};
use wardline_event::Timestamp;
use wardline_respond::Rung;
use wardline_respond::measure::checked_hubs;
use wardline_respond::record::{self, Due};

/// The record of a containment: what is read is written back as the same, and ends once it is released.
pub fn isolation_record(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    for rung in record::SINGLE {
        containment_record(dir, &rung, data);
    }
}

fn containment_record(dir: &Path, rung: &Rung, data: &[u8]) {
    fs::write(dir.join(record::file_name(rung)), data).expect("a temporary file");
    let Ok(read) = record::load(dir, rung) else {
        // A damaged record is set aside, so that it does not stand in the way of the next.
        assert!(record::mark_released(dir, rung, Timestamp(5), "somebody").is_err());
        assert!(record::load(dir, rung).is_ok_and(|r| r.is_none()));
        return;
    };
    let read = read.expect("the file is there");
    let _ = checked_hubs(read.measure.hubs());
    assert_eq!(record::due(&read, read.expires), Due::Release, "it never lasts beyond its end");
    let _ = record::due(&read, Timestamp(i64::MIN));
    record::save(dir, &read).expect("a temporary file");
    assert_eq!(record::load(dir, rung).expect("our own file"), Some(read));
    record::mark_released(dir, rung, Timestamp(5), "somebody").expect("our own file");
    let released = record::load(dir, rung).expect("our own file").expect("it stays for people to read");
    assert_eq!(record::due(&released, Timestamp(i64::MIN)), Due::Release);
}

/// Identity and remembered orders.
pub fn files(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = StateDir::open(folder.path()).expect("a temporary folder");
    for name in ["identity.json", "orders.json"] {
        fs::write(folder.path().join(name), data).expect("a temporary file");
    }
    match state.identity() {
        Ok(identity) => {
            state.set_identity(&identity).expect("a temporary file");
            let again = state.identity().expect("our own file");
            assert_eq!(again.device, identity.device);
            assert_eq!(again.key_der, identity.key_der);
            assert_eq!(again.command_key, identity.command_key);
        }
        Err(error) => assert!(matches!(error, StateError::Damaged { .. } | StateError::Newer { .. })),
    }
    if let Err(error) = Orders::load(&state) {
        assert!(matches!(error, StateError::Damaged { .. }));
    }
}
