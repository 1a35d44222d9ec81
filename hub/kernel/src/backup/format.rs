//! The file: a line that says what it is, then pieces, each compressed and under a digest that covers all before it.
//!
//! ```text
//! WARDLINE BACKUP 1\n
//! piece*   length u32 (of what is compressed) · plain length u32 · compressed (zlib) · SHA-256
//! ```
//!
//! A piece is text: a line of JSON that says what follows, then a line for each row. The last piece is `end`; a file
//! without it was cut off. Digests are chained: the SHA-256 of a piece covers the digest of the piece before.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The first line: what it is, and the version of its form.
pub const MAGIC: &[u8] = b"WARDLINE BACKUP 1\n";
/// A piece is closed when it is larger than this.
const FULL: usize = 1 << 20;
/// Bytes of one piece at most, compressed or plain; a row is far below.
const LARGEST: u32 = 64 << 20;

/// What the pieces are.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "piece", rename_all = "snake_case")]
pub enum Piece {
    /// The first one.
    Header(Header),
    /// Rows of a table follow: arrays of texts, numbers and nulls, in the order of the columns.
    Rows {
        /// Its name.
        table: String,
        /// Their names.
        columns: Vec<String>,
    },
    /// The hub's keys, sealed.
    Keys(super::keys::Sealed),
    /// The last one.
    End {
        /// Rows in all.
        rows: u64,
    },
}

/// What a backup says of itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// When it was made.
    pub made_ms: i64,
    /// By which version.
    pub version: String,
    /// Of which organisation's hub.
    pub organisation: String,
    /// Its id.
    pub organisation_id: String,
    /// Capability, version and digest of each schema step that it has.
    pub migrations: Vec<(String, i64, String)>,
    /// Whether the hub's keys are in it, sealed with a passphrase.
    pub keys: bool,
}

/// A backup cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It is something else.
    #[error("it is no backup of a hub: it does not begin with `WARDLINE BACKUP`")]
    NoBackup,
    /// Another form.
    #[error("it was made by a newer version of Wardline; restore it with that version")]
    Newer,
    /// It ends too early.
    #[error("it is not whole: it ends after piece {0}; the copy was cut off")]
    CutOff(u64),
    /// Its bytes are not as they were written.
    #[error("it is damaged in piece {0}; take another copy")]
    Damaged(u64),
    /// Its bytes are as they were written, and make no sense.
    #[error("piece {0} cannot be understood: {1}")]
    Nonsense(u64, String),
    /// The file cannot be read.
    #[error("it cannot be read")]
    Io(#[source] io::Error),
}

/// Writes the pieces.
pub struct Writer<W: Write> {
    out: W,
    digest: [u8; 32],
    open: Vec<u8>,
    rows: u64,
}

fn chained(before: &[u8; 32], lengths: [u8; 8], compressed: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in [before.as_slice(), &lengths, compressed] {
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        Ok(Self { out, digest: [0; 32], open: Vec::new(), rows: 0 })
    }

    /// Begins a piece.
    pub fn begin(&mut self, piece: &Piece) -> io::Result<()> {
        self.close()?;
        serde_json::to_writer(&mut self.open, piece)?;
        self.open.push(b'\n');
        Ok(())
    }

    /// Adds a row to the open piece; true if the piece is large enough to be closed.
    pub fn row(&mut self, row: &[Value]) -> io::Result<bool> {
        serde_json::to_writer(&mut self.open, row)?;
        self.open.push(b'\n');
        self.rows += 1;
        Ok(self.open.len() >= FULL)
    }

    fn close(&mut self) -> io::Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&self.open)?;
        let compressed = encoder.finish()?;
        let size = |bytes: &[u8]| {
            u32::try_from(bytes.len())
                .ok()
                .filter(|size| *size <= LARGEST)
                .ok_or_else(|| io::Error::other("a row is too large for a backup"))
        };
        let mut lengths = [0; 8];
        lengths[..4].copy_from_slice(&size(&compressed)?.to_le_bytes());
        lengths[4..].copy_from_slice(&size(&self.open)?.to_le_bytes());
        self.digest = chained(&self.digest, lengths, &compressed);
        self.out.write_all(&lengths)?;
        self.out.write_all(&compressed)?;
        self.out.write_all(&self.digest)?;
        self.open.clear();
        Ok(())
    }

    /// Writes the last piece; gives what was written to, and how many rows there are.
    pub fn end(mut self) -> io::Result<(W, u64)> {
        let rows = self.rows;
        self.begin(&Piece::End { rows })?;
        self.close()?;
        self.out.flush()?;
        Ok((self.out, rows))
    }
}

/// A file of these pieces, whatever is in them: for tests of what a restore makes of it.
pub fn of_pieces(pieces: &[&[u8]]) -> io::Result<Vec<u8>> {
    let mut writer = Writer::new(Vec::new())?;
    for piece in pieces {
        writer.open = piece.to_vec();
        writer.close()?;
    }
    Ok(writer.out)
}

/// Reads the pieces.
pub struct Reader<R: Read> {
    input: R,
    digest: [u8; 32],
    number: u64,
    rows: u64,
    ended: bool,
}

/// A row as it was written.
pub type RowValues = Vec<Value>;

impl<R: Read> Reader<R> {
    /// Begins a file.
    pub fn new(mut input: R) -> Result<Self, FormatError> {
        let mut magic = vec![0; MAGIC.len()];
        input.read_exact(&mut magic).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => FormatError::NoBackup,
            _ => FormatError::Io(error),
        })?;
        if magic != MAGIC {
            let kin = magic.starts_with(b"WARDLINE BACKUP ");
            return Err(if kin { FormatError::Newer } else { FormatError::NoBackup });
        }
        Ok(Self { input, digest: [0; 32], number: 0, rows: 0, ended: false })
    }

    /// The next piece with its rows; `None` after the last.
    pub fn piece(&mut self) -> Result<Option<(Piece, Vec<RowValues>)>, FormatError> {
        if self.ended {
            return Ok(None);
        }
        let cut_off = FormatError::CutOff(self.number);
        self.number += 1;
        let number = self.number;
        let mut lengths = [0; 8];
        self.read(&mut lengths, cut_off)?;
        let length =
            |at: usize| u32::from_le_bytes([lengths[at], lengths[at + 1], lengths[at + 2], lengths[at + 3]]);
        let (compressed_size, plain_size) = (length(0), length(4));
        if compressed_size > LARGEST || plain_size > LARGEST {
            return Err(FormatError::Damaged(number));
        }
        // What is not there is not allocated.
        let mut compressed = Vec::new();
        let taken = (&mut self.input).take(u64::from(compressed_size)).read_to_end(&mut compressed);
        if taken.map_err(FormatError::Io)? < compressed_size as usize {
            return Err(FormatError::CutOff(number - 1));
        }
        let mut digest = [0; 32];
        self.read(&mut digest, FormatError::CutOff(number - 1))?;
        if digest != chained(&self.digest, lengths, &compressed) {
            return Err(FormatError::Damaged(number));
        }
        self.digest = digest;
        let mut plain = Vec::new();
        let unpacked = ZlibDecoder::new(compressed.as_slice())
            .take(u64::from(plain_size) + 1)
            .read_to_end(&mut plain)
            .map_err(|_| FormatError::Damaged(number))?;
        if unpacked != plain_size as usize {
            return Err(FormatError::Damaged(number));
        }
        let nonsense = |error: serde_json::Error| FormatError::Nonsense(number, error.to_string());
        let mut lines = plain.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let piece = serde_json::from_slice(lines.next().unwrap_or_default()).map_err(nonsense)?;
        let rows: Vec<RowValues> =
            lines.map(serde_json::from_slice).collect::<Result<_, _>>().map_err(nonsense)?;
        self.rows += rows.len() as u64;
        let wrong = |why: &str| FormatError::Nonsense(number, why.to_owned());
        match &piece {
            Piece::Header(_) if number != 1 => return Err(wrong("a second header")),
            Piece::Header(_) | Piece::Keys(_) | Piece::End { .. } if !rows.is_empty() => {
                return Err(wrong("rows without a table"));
            }
            Piece::Rows { columns, .. } if rows.iter().any(|row| row.len() != columns.len()) => {
                return Err(wrong("a row has more or fewer values than there are columns"));
            }
            Piece::End { rows } if *rows != self.rows => {
                return Err(wrong("it counts other rows than it has"));
            }
            _ if number == 1 && !matches!(piece, Piece::Header(_)) => {
                return Err(wrong("there is no header"));
            }
            _ => {}
        }
        self.ended = matches!(piece, Piece::End { .. });
        Ok(Some((piece, rows)))
    }

    fn read(&mut self, bytes: &mut [u8], cut_off: FormatError) -> Result<(), FormatError> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => cut_off,
            _ => FormatError::Io(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn header() -> Piece {
        Piece::Header(Header {
            made_ms: 1,
            version: "0.1.0".into(),
            organisation: "Trust".into(),
            organisation_id: "a".into(),
            migrations: vec![("kernel".into(), 1, "00".into())],
            keys: false,
        })
    }

    fn table() -> Piece {
        Piece::Rows { table: "t".into(), columns: vec!["a".into(), "b".into()] }
    }

    fn written(rows: &[RowValues]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new()).unwrap();
        writer.begin(&header()).unwrap();
        writer.begin(&table()).unwrap();
        for row in rows {
            if writer.row(row).unwrap() {
                writer.begin(&table()).unwrap();
            }
        }
        writer.end().unwrap().0
    }

    fn read(bytes: &[u8]) -> Result<Vec<RowValues>, FormatError> {
        let mut reader = Reader::new(bytes)?;
        let mut all = Vec::new();
        while let Some((_, rows)) = reader.piece()? {
            all.extend(rows);
        }
        Ok(all)
    }

    fn sample() -> Vec<u8> {
        written(&[vec![json!("line\nbreak \u{0} ü"), json!(i64::MIN)], vec![Value::Null, json!(i64::MAX)]])
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(rows in prop::collection::vec((".*", any::<Option<i64>>()), 0..40)) {
            let rows: Vec<RowValues> = rows.into_iter().map(|(a, b)| vec![json!(a), json!(b)]).collect();
            prop_assert_eq!(read(&written(&rows)).unwrap(), rows);
        }

        #[test]
        fn every_changed_byte_is_noticed(at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
            let mut bytes = sample();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(read(&bytes).is_err());
        }

        #[test]
        fn every_cut_is_noticed(at in any::<prop::sample::Index>()) {
            let bytes = sample();
            prop_assert!(read(&bytes[..at.index(bytes.len())]).is_err());
        }

        #[test]
        fn nonsense_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut file = MAGIC.to_vec();
            file.extend(bytes);
            prop_assert!(read(&file).is_err());
        }
    }

    #[test]
    fn a_long_table_is_many_pieces() {
        let rows: Vec<RowValues> = (0..3000).map(|n| vec![json!(n), json!("x".repeat(1000))]).collect();
        let bytes = written(&rows);
        assert_eq!(read(&bytes).unwrap().len(), 3000);
        let mut reader = Reader::new(bytes.as_slice()).unwrap();
        let mut pieces = 0;
        while reader.piece().unwrap().is_some() {
            pieces += 1;
        }
        assert!(pieces > 4, "{pieces}");
    }

    #[test]
    fn it_says_what_is_wrong() {
        let newer = [b"WARDLINE BACKUP 2\n".as_slice(), &sample()[MAGIC.len()..]].concat();
        let mut bomb = MAGIC.to_vec();
        bomb.extend([0xff; 8]);
        let none: [u8; 0] = [];
        for (bytes, said) in [
            (none.as_slice(), "no backup of a hub"),
            (b"PK\x03\x04 something else", "no backup of a hub"),
            (&newer, "newer version"),
            (&bomb, "damaged in piece 1"),
            (&sample()[..sample().len() - 40], "ends after piece 2"),
        ] {
            let text = read(bytes).unwrap_err().to_string();
            assert!(text.contains(said), "{text}");
        }
    }
}
