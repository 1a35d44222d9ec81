//! Looks at the files that a stopped family has destroyed, and says whether that was an encryptor.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::files::{self, Texture};
use crate::record::{Evidence, How};

/// What was found when one file was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is there and looks random.
    Random,
    /// It is there and does not: nothing was lost.
    Plain,
    /// It is not there any more, or too short to tell: what the kernel saw stands.
    Unseen,
}

/// What a stopped family is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An encryptor: what speaks for it, in words.
    Encryptor {
        /// One sentence each.
        signs: Vec<String>,
    },
    /// Something else: to be let go.
    Harmless {
        /// Why, in words.
        because: String,
    },
}

/// A note is younger than this.
const RECENT: Duration = Duration::from_mins(10);
/// So many files of a folder are looked at for notes.
const MOST_NAMES: usize = 2000;
/// A note is not longer.
const NOTE_BYTES: u64 = 64 * 1024;

/// Judges by the evidence and by the files as they are now. The family stands still meanwhile.
pub fn judge(evidence: &[Evidence]) -> Verdict {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let places: Vec<Option<PathBuf>> = evidence.iter().map(|e| files::find(e, &mounts)).collect();
    let looks: Vec<Look> = evidence.iter().zip(&places).map(|(e, place)| look(e, place.as_deref())).collect();
    let found: Vec<&Path> = places.iter().flatten().map(PathBuf::as_path).collect();
    let mut verdict = decide(evidence, &looks);
    if let Verdict::Encryptor { signs } = &mut verdict {
        signs.extend(new_extension(&found));
        signs.extend(note(&found));
    }
    verdict
}

fn look(evidence: &Evidence, place: Option<&Path>) -> Look {
    // A canary need not look like anything: it was touched.
    if matches!(evidence.how, How::Replaced | How::Removed | How::Canary) {
        return Look::Unseen;
    }
    match place.map(files::look) {
        // It may have been stopped while it wrote the file: then no more than the beginning is changed.
        Some(Ok(Texture { blocks, random, head })) if blocks > 0 => {
            if head || random * 4 >= blocks {
                Look::Random
            } else if evidence.how == How::Patched {
                Look::Unseen // Somewhere in between, where nobody looked.
            } else {
                Look::Plain
            }
        }
        _ => Look::Unseen,
    }
}

/// The verdict, from what was seen. Pure.
fn decide(evidence: &[Evidence], looks: &[Look]) -> Verdict {
    let plain = looks.iter().filter(|l| **l == Look::Plain).count();
    if plain * 2 > looks.len() {
        let because =
            format!("{plain} of the {} files that were written to can still be read as before", looks.len());
        return Verdict::Harmless { because };
    }
    let mut ways: BTreeMap<&str, usize> = BTreeMap::new();
    for piece in evidence {
        *ways.entry(words(piece.how)).or_default() += 1;
    }
    let signs = ways.into_iter().map(|(way, n)| format!("{n} file{} {way}", if n == 1 { "" } else { "s" }));
    Verdict::Encryptor { signs: signs.collect() }
}

fn words(how: How) -> &'static str {
    match how {
        How::Overwritten => "overwritten from the beginning with what looks random",
        How::Patched => "overwritten in parts with what looks random",
        How::Replaced => "replaced by a random-looking file",
        How::Removed => "removed after a random-looking file was made beside it",
        How::Mapped => "overwritten through shared memory with what looks random",
        How::Canary => "that nobody has reason to touch overwritten",
    }
}

/// An extension that all have got, behind one that they had: `report.docx.locked`.
fn new_extension(places: &[&Path]) -> Option<String> {
    let second = |path: &&Path| {
        let name = path.file_name()?.to_str()?;
        let (rest, last) = name.rsplit_once('.')?;
        rest.contains('.').then(|| last.to_owned())
    };
    let all: BTreeSet<String> = places.iter().map(second).collect::<Option<_>>()?;
    let only = all.first().filter(|_| all.len() == 1 && places.len() > 1)?;
    Some(format!("all have got the extension .{only}"))
}

/// A short new text of one name in more than one of the folders.
fn note(places: &[&Path]) -> Option<String> {
    let folders: BTreeSet<&Path> = places.iter().filter_map(|p| p.parent()).collect();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for folder in &folders {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten().take(MOST_NAMES) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_text = [".txt", ".html", ".hta", ".md"].iter().any(|e| name.to_lowercase().ends_with(e));
            let young = |modified: SystemTime| modified.elapsed().is_ok_and(|age| age < RECENT);
            let fits =
                |m: fs::Metadata| m.is_file() && m.len() <= NOTE_BYTES && m.modified().is_ok_and(young);
            if is_text && entry.metadata().is_ok_and(fits) {
                *names.entry(name).or_default() += 1;
            }
        }
    }
    let (name, count) = names.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > 1)?;
    Some(format!("a new text called {name} lies in {count} of the folders"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ProcessId;

    fn piece(how: How) -> Evidence {
        let process = ProcessId { start_ns: 1, tgid: 2 };
        Evidence { how, time_ns: 0, process, ino: 1, dev: 1, path: "/x".into() }
    }

    #[test]
    fn files_that_can_be_read_speak_for_the_accused() {
        let evidence: Vec<Evidence> = (0..4).map(|_| piece(How::Overwritten)).collect();
        for (looks, guilty) in [
            ([Look::Random, Look::Random, Look::Random, Look::Random], true),
            ([Look::Unseen, Look::Unseen, Look::Unseen, Look::Unseen], true),
            ([Look::Plain, Look::Plain, Look::Random, Look::Unseen], true),
            ([Look::Plain, Look::Plain, Look::Plain, Look::Random], false),
        ] {
            let verdict = decide(&evidence, &looks);
            assert_eq!(matches!(verdict, Verdict::Encryptor { .. }), guilty, "{looks:?} {verdict:?}");
        }
    }

    #[test]
    fn signs_are_counted_in_words() {
        let evidence = [piece(How::Overwritten), piece(How::Replaced), piece(How::Overwritten)];
        let Verdict::Encryptor { signs } = decide(&evidence, &[Look::Unseen, Look::Unseen, Look::Unseen])
        else {
            panic!("not an encryptor")
        };
        assert_eq!(
            signs,
            [
                "2 files overwritten from the beginning with what looks random",
                "1 file replaced by a random-looking file"
            ]
        );
    }

    #[test]
    fn an_extension_that_all_have_got() {
        fn paths<'a>(names: &[&'a str]) -> Vec<&'a Path> {
            names.iter().map(|name| Path::new(*name)).collect()
        }
        assert!(new_extension(&paths(&["/a/b.txt.locked", "/a/c.pdf.locked"])).unwrap().ends_with(".locked"));
        assert_eq!(new_extension(&paths(&["/a/b.txt.locked", "/a/c.pdf"])), None);
        assert_eq!(new_extension(&paths(&["/a/b.tar.gz"])), None);
    }

    #[test]
    fn a_note_in_more_than_one_folder() {
        let root = tempfile::tempdir().unwrap();
        let mut places = Vec::new();
        for folder in ["a", "b"] {
            fs::create_dir(root.path().join(folder)).unwrap();
            fs::write(root.path().join(folder).join("RESTORE.txt"), "pay").unwrap();
            places.push(root.path().join(folder).join("x.docx"));
        }
        let places: Vec<&Path> = places.iter().map(PathBuf::as_path).collect();
        assert!(note(&places).unwrap().contains("RESTORE.txt"));
        assert_eq!(note(&places[..1]), None);
    }
}
