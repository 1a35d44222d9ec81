//! What the kernel half writes into the ring buffer, decoded. The layout is that of `bpf/record.h`.

mod call;
mod dns;
mod file;
mod network;
mod path;
mod process;
#[cfg(test)]
pub(crate) mod written;

pub(crate) use call::Call;
pub use call::system_calls;
pub(crate) use dns::Dns;
pub(crate) use file::{File, OPS};
pub(crate) use network::{Network, NetworkWhat};
pub(crate) use path::WalkedPath;
pub(crate) use process::{Exec, FileState, command_line};

use wardline_sense::dns::DnsError;

/// Bytes of `struct header`.
const HEADER: usize = 48;

/// Kinds of records, in the kernel half's numbers; also the index of a kind's counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Fork,
    Exec,
    Exit,
    Network,
    File,
    Call,
    Dns,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::Fork, Self::Exec, Self::Exit, Self::Network, Self::File, Self::Call, Self::Dns];
}

/// A process as the kernel names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ProcessId {
    /// Start of the thread group leader, in nanoseconds since boot.
    pub start_ns: u64,
    /// In the root pid namespace.
    pub tgid: u32,
    /// The effective user at that moment.
    pub euid: u32,
}

/// One record.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Record {
    /// Nanoseconds since boot.
    pub time_ns: u64,
    pub process: ProcessId,
    /// The parent at that moment.
    pub parent: ProcessId,
    pub what: What,
}

#[derive(PartialEq, Eq, Debug)]
pub(crate) enum What {
    Fork { creator: ProcessId },
    Exec(Box<Exec>),
    Exit { status: i32 },
    Network(Network),
    File(Box<File>),
    Call(Box<Call>),
    Dns(Box<Dns>),
}

/// A record that the kernel half cannot have written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("a record of {0} bytes is shorter than its kind needs")]
    Short(usize),
    #[error("a record says that it has {said} bytes and has {has}")]
    Size { said: u32, has: usize },
    #[error("unknown kind of record {0}")]
    Kind(u32),
    #[error("a message of DNS could not be read")]
    Dns(#[from] DnsError),
    #[error("a record has the value {value} where none such can be: {what}")]
    Value { what: &'static str, value: u64 },
}

/// Reads numbers at offsets.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(self, at: usize) -> Result<[u8; N], RecordError> {
        let bytes = self.0.get(at..at + N).and_then(|b| b.try_into().ok());
        bytes.ok_or(RecordError::Short(self.0.len()))
    }

    fn u16(self, at: usize) -> Result<u16, RecordError> {
        self.array(at).map(u16::from_ne_bytes)
    }

    fn u32(self, at: usize) -> Result<u32, RecordError> {
        self.array(at).map(u32::from_ne_bytes)
    }

    fn u64(self, at: usize) -> Result<u64, RecordError> {
        self.array(at).map(u64::from_ne_bytes)
    }

    fn process(self, at: usize) -> Result<ProcessId, RecordError> {
        Ok(ProcessId { start_ns: self.u64(at)?, tgid: self.u32(at + 8)?, euid: self.u32(at + 12)? })
    }

    /// The data from `at` on, cut into pieces of lengths that stand in the record.
    fn pieces<const N: usize>(self, at: usize, lengths: [u32; N]) -> Result<[&'a [u8]; N], RecordError> {
        let mut rest = self.0.get(at..).ok_or(RecordError::Short(self.0.len()))?;
        let mut pieces = [rest; N];
        for (piece, len) in pieces.iter_mut().zip(lengths) {
            (*piece, rest) = rest.split_at_checked(len as usize).ok_or(RecordError::Short(self.0.len()))?;
        }
        Ok(pieces)
    }
}

/// The kind of a record, if its beginning can be read.
pub(crate) fn kind(bytes: &[u8]) -> Option<Kind> {
    Kind::ALL.get(Bytes(bytes).u32(0).ok()? as usize).copied()
}

/// Decodes one record.
pub(crate) fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
    let at = Bytes(bytes);
    let (number, size) = (at.u32(0)?, at.u32(4)?);
    if size as usize != bytes.len() {
        return Err(RecordError::Size { said: size, has: bytes.len() });
    }
    let what = match kind(bytes).ok_or(RecordError::Kind(number))? {
        Kind::Fork => What::Fork { creator: at.process(HEADER)? },
        Kind::Exec => What::Exec(Box::new(process::decode_exec(at)?)),
        Kind::Exit => What::Exit { status: at.u32(HEADER)?.cast_signed() },
        Kind::Network => What::Network(network::decode(at)?),
        Kind::File => What::File(Box::new(file::decode(at)?)),
        Kind::Call => What::Call(Box::new(call::decode(at)?)),
        Kind::Dns => What::Dns(Box::new(dns::decode(at)?)),
    };
    Ok(Record { time_ns: at.u64(8)?, process: at.process(16)?, parent: at.process(32)?, what })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), kind in 0u32..8) {
            prop_assert!(decode(&bytes).is_err() || bytes.len() >= HEADER);
            // With a header that is believed.
            if bytes.len() >= 8 {
                let len = bytes.len() as u32;
                bytes[..4].copy_from_slice(&kind.to_ne_bytes());
                bytes[4..8].copy_from_slice(&len.to_ne_bytes());
                let _ = decode(&bytes);
            }
        }
    }
}
