//! Files of systemd's journal, and lines of programs that tell who signs in.

use wardline_sense::journal::{Journal, MAX_VALUE};
use wardline_sense::login;

/// Whatever a file says, reading it ends, and what is read is small.
pub fn file(data: &[u8]) {
    let Ok(mut journal) = Journal::open(data) else { return };
    for _ in 0..64 {
        match journal.next(data) {
            Ok(Some(entry)) => {
                // A byte that is no text becomes three.
                assert!(entry.message.len() <= 3 * MAX_VALUE && entry.identifier.len() <= 3 * MAX_VALUE);
                let _ = login::read(&entry.identifier, &entry.message);
            }
            Ok(None) => break,
            Err(_) => {}
        }
    }
    if let Ok(mut journal) = Journal::open(data) {
        let _ = journal.skip_to_end(data);
    }
}
