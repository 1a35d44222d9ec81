//! Packed logs: gzip (RFC 1952), Zstandard (RFC 8878), and zip archives (PKWARE's APPNOTE).
//!
//! All are read as streams, without files of their own. What unpacks to very much more than was there is refused.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use flate2::Crc;
use flate2::read::{DeflateDecoder, MultiGzDecoder};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use zip::{CompressionMethod, ZipArchive};

use super::Fault;
use super::detect::is_log_name;
use super::pieces::Input;

/// How often a log may be packed one over another (a `.gz` in a `.zip` is twice).
pub const MAX_LAYERS: usize = 3;
/// Up to this much, anything may unpack to.
const FREE_BYTES: u64 = 256 << 20;
/// Above that, no more than so many times what was packed. Text logs come to 20 or 30.
const MAX_RATIO: u64 = 200;
/// The most that one packed file may hold.
const MAX_BYTES: u64 = 1 << 40;
/// The most members of an archive that are looked at.
const MAX_MEMBERS: usize = 100_000;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Gzip,
    Zstd,
    Zip,
}

/// Tells a packed file by its first bytes.
pub fn packing(head: &[u8]) -> Option<Packing> {
    match head {
        [0x1F, 0x8B, 8, ..] => Some(Packing::Gzip),
        [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Some(Packing::Zstd),
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Packing::Zip),
        _ => None,
    }
}

/// What was packed in a stream.
pub fn unpacked<'a>(packing: Packing, input: Input<'a>) -> Result<Input<'a>, Fault> {
    let packed = Arc::new(AtomicU64::new(0));
    let input = Counted { inner: input, bytes: Arc::clone(&packed) };
    let unpacked: Input<'a> = match packing {
        Packing::Gzip => Box::new(MultiGzDecoder::new(input)),
        Packing::Zstd => Box::new(Zstd::new(input)),
        Packing::Zip => {
            return Err(Fault::Packed(
                "a zip archive can be read from a file only, not from a stream or another archive; unpack it first",
            ));
        }
    };
    Ok(Box::new(Bounded { inner: unpacked, packed, bytes: 0 }))
}

/// The logs in a zip archive.
pub struct Archive {
    path: PathBuf,
    members: std::vec::IntoIter<Member>,
}

struct Member {
    name: String,
    encrypted: bool,
    method: CompressionMethod,
    from: Option<u64>,
    packed: u64,
    checksum: u32,
    bytes: u64,
}

/// A part of an archive: what errors call it, its bytes, and whether they were the right ones.
pub type Part = (PathBuf, Result<(Input<'static>, Arc<Checksum>), Fault>);

impl Archive {
    /// Reads the archive's directory.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let broken = |e: &dyn std::fmt::Display| Fault::Nothing(format!("the archive cannot be read: {e}"));
        let file = File::open(path).map_err(|source| Fault::Io { doing: "opening it", source })?;
        let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|e| broken(&e))?;
        if archive.len() > MAX_MEMBERS {
            return Err(broken(&format_args!("it has more than {MAX_MEMBERS} members; unpack it first")));
        }
        let mut members = Vec::new();
        for index in 0..archive.len() {
            let member = archive.by_index_raw(index).map_err(|e| broken(&e))?;
            let name = member.name().map_err(|e| broken(&e))?.into_owned();
            if member.is_dir() || !is_log_name(Path::new(&name)) {
                continue;
            }
            members.push(Member {
                name,
                encrypted: member.encrypted(),
                method: member.compression(),
                from: member.data_start(),
                packed: member.compressed_size(),
                checksum: member.crc32(),
                bytes: member.size(),
            });
        }
        if members.is_empty() {
            return Err(Fault::UnknownFormat);
        }
        Ok(Self { path: path.to_owned(), members: members.into_iter() })
    }

    /// The next log.
    pub fn next(&mut self) -> Option<Part> {
        let member = self.members.next()?;
        Some((self.path.join(&member.name), self.member(&member)))
    }

    fn member(&self, member: &Member) -> Result<(Input<'static>, Arc<Checksum>), Fault> {
        if member.encrypted {
            return Err(Fault::Packed("it is encrypted; unpack the archive with its password first"));
        }
        let io = |source| Fault::Io { doing: "reading the archive", source };
        let from =
            member.from.ok_or_else(|| Fault::Malformed("the archive does not say where it is".to_owned()))?;
        let mut file = File::open(&self.path).map_err(io)?;
        file.seek(SeekFrom::Start(from)).map_err(io)?;
        let packed = Arc::new(AtomicU64::new(0));
        let input = Counted { inner: file.take(member.packed), bytes: Arc::clone(&packed) };
        let inner: Input<'static> = match member.method {
            CompressionMethod::STORE => Box::new(input),
            CompressionMethod::DEFLATE => {
                let inner: Input<'static> = Box::new(DeflateDecoder::new(input));
                Box::new(Bounded { inner, packed, bytes: 0 })
            }
            _ => {
                return Err(Fault::Packed(
                    "it is packed in a way that is not read (only deflate is); unpack it first",
                ));
            }
        };
        let checksum = Arc::new(Checksum::default());
        let (sum, wanted) = (Crc::new(), (member.checksum, member.bytes));
        Ok((Box::new(Checked { inner, sum, bytes: 0, wanted, outcome: Arc::clone(&checksum) }), checksum))
    }
}

/// Whether what was unpacked is what was packed, as far as that is known: only who has read to the end knows it. Logs are
/// read as they come, so that a wrong sum is told after what could be read.
#[derive(Default)]
pub struct Checksum(AtomicBool);

impl Checksum {
    /// True if the bytes were read to their end and are not those that were packed.
    pub fn is_wrong(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Compares what is read with its checksum.
struct Checked<R> {
    inner: R,
    sum: Crc,
    bytes: u64,
    wanted: (u32, u64),
    outcome: Arc<Checksum>,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.sum.update(&buf[..n]);
        self.bytes += n as u64;
        if n == 0 && !buf.is_empty() {
            self.outcome.0.store((self.sum.sum(), self.bytes) != self.wanted, Ordering::Release);
        }
        Ok(n)
    }
}

/// Counts what is read.
pub struct Counted<R> {
    pub inner: R,
    pub bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Ends what unpacks to too much.
struct Bounded<R> {
    inner: R,
    packed: Arc<AtomicU64>,
    bytes: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.bytes += n as u64;
        let most = self.packed.load(Ordering::Relaxed).saturating_mul(MAX_RATIO).clamp(FREE_BYTES, MAX_BYTES);
        if self.bytes > most {
            return Err(io::Error::other(format!(
                "it unpacks to more than {MAX_RATIO} times its size, as no log does; unpack it yourself if you trust it"
            )));
        }
        Ok(n)
    }
}

/// The frames of a Zstandard file, one after another.
struct Zstd<R> {
    source: BufReader<R>,
    decoder: FrameDecoder,
    begun: bool,
}

impl<R: Read> Zstd<R> {
    fn new(source: R) -> Self {
        Self { source: BufReader::new(source), decoder: FrameDecoder::new(), begun: false }
    }

    /// Begins the next frame; false if there is none.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            let head = self.source.fill_buf()?;
            if head.is_empty() {
                return Ok(false);
            }
            // A frame that decoders pass over (RFC 8878, 3.1.2): magic, size, anything.
            let passed_over = matches!(head, [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..]);
            if !passed_over {
                self.decoder.init(&mut self.source).map_err(io::Error::other)?;
                self.begun = true;
                return Ok(true);
            }
            let mut size = [0; 8];
            self.source.read_exact(&mut size)?;
            let size = u32::from_le_bytes([size[4], size[5], size[6], size[7]]);
            io::copy(&mut self.source.by_ref().take(size.into()), &mut io::sink())?;
        }
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.begun && self.decoder.can_collect() > 0 {
                return self.decoder.read(buf);
            }
            if !self.begun || self.decoder.is_finished() {
                if !self.begin()? {
                    return Ok(0);
                }
            } else {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_unpacks_without_end_is_refused() {
        let packed = Arc::new(AtomicU64::new(4 << 20));
        let mut endless = Bounded { inner: io::repeat(b'\n'), packed, bytes: 0 };
        let mut buffer = vec![0; 8 << 20];
        let mut read = 0_u64;
        let error = loop {
            match endless.read(&mut buffer) {
                Ok(n) => read += n as u64,
                Err(e) => break e,
            }
        };
        assert_eq!(read, MAX_RATIO * (4 << 20));
        assert!(error.to_string().contains("200 times its size"), "{error}");
    }
}
