//! The agent's spool on a disk that changed what was written.

use std::fs;
use std::path::Path;

use wardline_agent::spool::{Kind, Spool, SpoolError};

const MAGIC: &[u8] = b"WLSPOOL1";
const BUDGET: u64 = 64 << 20;
const ID: [u8; 16] = [9; 16];
/// First number of the second segment: far above what the first one can hold.
const SECOND: u64 = 1 << 40;

/// Segments: the input up to the second occurrence of the format's magic is an older one, the rest the newest.
///
/// Whatever the files hold, the spool opens, hands out exactly the records whose checksums are right and that no
/// damage precedes, takes new ones, and still has all of them when it is opened again.
pub fn segments(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let cut = find(data, MAGIC).and_then(|at| find(&data[at + 1..], MAGIC).map(|next| at + 1 + next));
    let (first, second) = data.split_at(cut.unwrap_or(data.len()));
    let mut expected = write_segment(dir, 1, first);
    if !second.is_empty() {
        expected.extend(write_segment(dir, SECOND, second));
    }
    let (mut spool, _) = Spool::open(dir, BUDGET, ID).expect("a damaged segment does not keep a spool shut");
    assert_eq!(spool.waiting(), expected.len() as u64);
    assert_eq!(read_all(&mut spool), expected);
    let mut last = expected.last().map_or(0, |(seq, ..)| *seq);
    for body in [&b"new"[..], b""] {
        let seq = spool.append(7, body).expect("a temporary file");
        assert!(seq > last, "number {seq} was given before: {last}");
        last = seq;
        expected.push((seq, 7, body.to_vec()));
    }
    assert_eq!(read_all(&mut spool), expected);
    drop(spool);
    let (mut spool, report) = Spool::open(dir, BUDGET, [1; 16]).expect("our own files");
    assert_eq!((spool.id(), report.torn_bytes), (ID, 0));
    assert_eq!(read_all(&mut spool), expected);
    // Half of it arrives at the hub.
    let arrived = expected[expected.len() / 2].0;
    spool.ack(arrived).expect("a temporary file");
    expected.retain(|(seq, ..)| *seq > arrived);
    drop(spool);
    let (mut spool, _) = Spool::open(dir, BUDGET, ID).expect("our own files");
    assert_eq!(read_all(&mut spool), expected);
    let seq = spool.append(7, b"more").expect("a temporary file");
    assert!(seq > last, "number {seq} was given before: {last}");
}

/// The spool's small notes: its id and the last acknowledged number.
pub fn notes(data: &[u8]) {
    for name in ["acked", "spool.id"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path();
        fs::write(dir.join(name), data).expect("a temporary file");
        let mut spool = match Spool::open(dir, BUDGET, ID) {
            Ok((spool, _)) => spool,
            Err(error) => {
                assert!(matches!(error, SpoolError::Newer(_)), "damage keeps the spool shut: {error:?}");
                continue;
            }
        };
        let seq = spool.append(1, b"a").expect("a temporary file");
        let expected = vec![(seq, 1, b"a".to_vec())];
        assert_eq!(read_all(&mut spool), expected, "{name}");
        drop(spool);
        let (mut spool, _) = Spool::open(dir, BUDGET, ID).expect("our own files");
        assert_eq!(read_all(&mut spool), expected, "{name}");
        assert!(spool.append(1, b"b").expect("a temporary file") > seq);
    }
}

type Numbered = (u64, Kind, Vec<u8>);

fn read_all(spool: &mut Spool) -> Vec<Numbered> {
    let (mut all, mut from) = (Vec::new(), 0);
    while let Some(run) = spool.read(from, 4096).expect("a temporary file") {
        assert!(run.first_seq >= from && !run.records.is_empty());
        for ((kind, body), seq) in run.records.into_iter().zip(run.first_seq..) {
            all.push((seq, kind, body));
            from = seq + 1;
        }
    }
    all
}

/// Writes the file and says which records of it are good, by a reader of its own.
fn write_segment(dir: &Path, first: u64, bytes: &[u8]) -> Vec<Numbered> {
    fs::write(dir.join(format!("{first:016x}.seg")), bytes).expect("a temporary file");
    let mut good = Vec::new();
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else { return good };
    for seq in first.. {
        let Some((head, tail)) = rest.split_first_chunk::<9>() else { break };
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let checksum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let Some(body) = tail.get(..length).filter(|body| body.len() <= 1 << 20) else { break };
        if crc32fast::hash(&[&head[8..], body].concat()) != checksum {
            break;
        }
        good.push((seq, head[8], body.to_vec()));
        rest = &tail[length..];
    }
    good
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
