//! What the quarantine knows of a file that it holds, as written beside the file's sealed content.

use serde::{Deserialize, Serialize};
use wardline_event::{Timestamp, hex, unhex};

/// The format that this build writes and reads.
pub const VERSION: u32 = 1;

/// How far a file has come. Only [`Stage::Held`] and [`Stage::Stored`] have its whole content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Its content is being copied; the file is where it was.
    Taking,
    /// Its content is stored; the file is about to be removed from where it was.
    Stored,
    /// It is here and nowhere else.
    Held,
}

/// Seconds and nanoseconds since 1970, as a file system has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTime {
    /// Seconds.
    pub s: i64,
    /// Nanoseconds.
    pub ns: u32,
}

/// An extended attribute: access lists, capabilities, security labels are such.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// Its name.
    #[serde(with = "bytes")]
    pub name: Vec<u8>,
    /// Its value.
    #[serde(with = "bytes")]
    pub value: Vec<u8>,
}

/// A quarantined file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format; 1.
    pub version: u32,
    /// By which it is named: 16 hexadecimal digits.
    pub id: String,
    /// How far it has come.
    pub stage: Stage,
    /// Its full path, as bytes: a path need not be UTF-8.
    #[serde(with = "bytes")]
    pub path: Vec<u8>,
    /// The file system and the inode it had.
    pub device: u64,
    /// See above.
    pub inode: u64,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permissions, set-user-id and the like included.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// When it was last changed.
    pub modified: FileTime,
    /// When it was last read.
    pub accessed: FileTime,
    /// Its extended attributes.
    pub attributes: Vec<Attribute>,
    /// Other names of the same file, which were left as they are.
    pub other_names: u64,
    /// SHA-256 of its content; empty while it is being taken.
    pub sha256: String,
    /// When it was taken.
    pub taken: Timestamp,
    /// By whose order.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The key under which its content is sealed. It keeps the content from being run or recognised by mistake; it is no
    /// secret from whoever may read this file.
    #[serde(with = "bytes")]
    pub key: Vec<u8>,
}

impl Manifest {
    /// True if the id could be one of ours: nothing else may become part of a path.
    pub fn is_id(id: &str) -> bool {
        id.len() == 16 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }

    /// The path for people; what is not UTF-8 in it is replaced.
    pub fn shown_path(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }
}

/// Bytes as hexadecimal digits.
pub(crate) mod bytes {
    use super::{hex, unhex};
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(d)?;
        unhex(&text).ok_or_else(|| de::Error::custom("not hexadecimal digits"))
    }
}
