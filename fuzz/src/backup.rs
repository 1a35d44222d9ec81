//! A backup of a hub, as somebody hands it to a restore.

use wardline_kernel::backup::check;
use wardline_kernel::backup::format::{MAGIC, of_pieces};

/// A whole file; and pieces, divided by NUL, whose digests are right. A backup that is taken counts its rows.
pub fn whole(data: &[u8]) {
    let _ = check(data);
    let _ = check([MAGIC, data].concat().as_slice());
    let pieces: Vec<&[u8]> = data.split(|byte| *byte == 0).collect();
    let file = of_pieces(&pieces).expect("in memory, and small");
    let Ok((header, summary)) = check(file.as_slice()) else { return };
    assert_eq!((header.made_ms, header.keys), (summary.made.0, summary.keys));
    let lines = data.split(|byte| *byte == b'\n' || *byte == 0).count() as u64;
    assert!(summary.tables.values().sum::<u64>() <= lines, "more rows than lines");
}
