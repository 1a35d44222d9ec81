//! Copies of files that an encryptor destroyed: what is known of each, and what giving it back would do. Pure.

use serde::{Deserialize, Serialize};
use wardline_event::Timestamp;

use crate::quarantine::{FileTime, bytes};

/// The format that this build writes and reads.
pub const VERSION: u32 = 1;

/// What one family destroyed, as it was before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopySet {
    /// Format; 1.
    pub version: u32,
    /// That of the finding.
    pub id: String,
    /// When the family was stopped.
    pub taken: Timestamp,
    /// What destroyed them: the program's path, or what is known of it.
    pub program: String,
    /// The files.
    pub files: Vec<Copied>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Its number in the set, by which its content is found.
    pub number: u32,
    /// Its full path, as bytes: a path need not be UTF-8.
    #[serde(with = "bytes")]
    pub path: Vec<u8>,
    /// Bytes that it had.
    pub size: u64,
    /// Its permissions, owner and group.
    pub mode: u32,
    /// See above.
    pub uid: u32,
    /// See above.
    pub gid: u32,
    /// When it was last changed by somebody else.
    pub modified: FileTime,
    /// Other names of the same file, which are not given back.
    pub other_names: u32,
    /// The parts that were copied: pairs of beginning and end, in order.
    pub kept: Vec<(u64, u64)>,
    /// Bytes that were destroyed and not copied. Such a file cannot be given back to its place.
    pub missing: u64,
    /// What lay at its path once the encryptor was dead; none if nothing did.
    pub left: Option<Left>,
    /// Once it was given back.
    pub given_back: Option<GivenBack>,
}

/// A file as an encryptor left it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its content.
    pub sha256: String,
    /// It is the same file still, written over in parts or all: what was not copied is as it was.
    pub same_file: bool,
}

/// A file is back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenBack {
    /// When.
    pub at: Timestamp,
    /// What lay in its place, by its id in quarantine.
    pub replaced: Option<String>,
}

impl Copied {
    /// The path for people; what is not UTF-8 in it is replaced.
    pub fn shown_path(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }

    /// Bytes that were copied.
    pub fn kept_bytes(&self) -> u64 {
        self.kept.iter().map(|(from, to)| to.saturating_sub(*from)).sum()
    }
}

/// What lies at a file's path now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Now {
    /// Nothing.
    Nothing,
    /// A file with this content.
    File {
        /// Bytes.
        size: u64,
        /// SHA-256.
        sha256: String,
    },
    /// Something that is no regular file, or cannot be read; why, in words.
    Other(String),
}

/// What is to be done about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is there: it is made anew.
    Create,
    /// What the encryptor left goes to quarantine, and the file to its place.
    Replace,
    /// It is left alone; why, in words.
    Leave(String),
}

/// Decides. What is not exactly what the encryptor left is somebody's work, and stays.
pub fn plan(file: &Copied, now: &Now) -> Step {
    if let Some(back) = &file.given_back {
        return Step::Leave(format!("it was given back on {}", back.at));
    }
    if file.missing > 0 {
        return Step::Leave(format!(
            "{} of its {} bytes could not be copied in time; --to writes what there is into another folder",
            file.missing, file.size
        ));
    }
    match (now, &file.left) {
        (Now::Nothing, Some(left)) if left.same_file && file.kept_bytes() < file.size => Step::Leave(
            "it is gone since, and only the parts that the encryptor changed were copied".to_owned(),
        ),
        (Now::Nothing, _) => Step::Create,
        (Now::File { size, sha256 }, Some(left)) if (*size, sha256) == (left.size, &left.sha256) => {
            Step::Replace
        }
        (Now::File { .. }, Some(_)) => {
            Step::Leave("it has been changed since; nothing newer is overwritten".to_owned())
        }
        (Now::File { .. }, None) => {
            Step::Leave("another file has come to its place; nothing newer is overwritten".to_owned())
        }
        (Now::Other(why), _) => Step::Leave(why.clone()),
    }
}

/// The parts of a file that are in `pages` (in order, each once), and no longer than the file.
pub fn ranges(pages: &[u64], page_bytes: u64, size: u64) -> Vec<(u64, u64)> {
    let mut parts: Vec<(u64, u64)> = Vec::new();
    for page in pages {
        let (from, to) = (page * page_bytes, ((page + 1) * page_bytes).min(size));
        match parts.last_mut() {
            _ if from >= to => {}
            Some(last) if last.1 == from => last.1 = to,
            _ => parts.push((from, to)),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(missing: u64, left: Option<Left>) -> Copied {
        Copied {
            number: 0,
            path: b"/home/a/b.txt".to_vec(),
            size: 10_000,
            mode: 0o644,
            uid: 0,
            gid: 0,
            modified: FileTime::default(),
            other_names: 0,
            kept: vec![(0, 10_000)],
            missing,
            left,
            given_back: None,
        }
    }

    #[test]
    fn only_what_the_encryptor_left_is_replaced() {
        let left = Left { size: 5, sha256: "aa".into(), same_file: true };
        let file = |size, sha256: &str| Now::File { size, sha256: sha256.to_owned() };
        let whole = copied(0, Some(left.clone()));
        assert_eq!(plan(&whole, &file(5, "aa")), Step::Replace);
        assert_eq!(plan(&whole, &Now::Nothing), Step::Create);
        for now in [file(5, "bb"), file(6, "aa"), Now::Other("a folder".into())] {
            assert!(matches!(plan(&whole, &now), Step::Leave(_)), "{now:?}");
        }
        assert!(matches!(plan(&copied(0, None), &file(5, "aa")), Step::Leave(_)));
        assert!(matches!(plan(&copied(1, Some(left.clone())), &file(5, "aa")), Step::Leave(_)));
        let part = Copied { kept: vec![(0, 4096)], ..whole.clone() };
        assert_eq!(plan(&part, &file(5, "aa")), Step::Replace);
        assert!(matches!(plan(&part, &Now::Nothing), Step::Leave(_)), "the rest of it is gone");
        let back = GivenBack { at: Timestamp(0), replaced: None };
        assert!(matches!(plan(&Copied { given_back: Some(back), ..whole }, &file(5, "aa")), Step::Leave(_)));
    }

    #[test]
    fn pages_become_parts() {
        assert_eq!(ranges(&[0, 1, 3, 4], 4096, 17_000), [(0, 8192), (12_288, 17_000)]);
        assert_eq!(ranges(&[9], 4096, 17_000), []);
        assert_eq!(ranges(&[], 4096, 1), []);
    }
}
