//! Gives files back.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use wardline_event::Timestamp;

use super::super::quarantine::place::{Place, attributes, dress, path_of};
use super::super::quarantine::{self, Refusal, Store};
use super::{CHUNK, Copies, CopiesError, digest};
use crate::copies::{Copied, CopySet, GivenBack, Now, Step, plan};

/// What came of one file.
#[derive(Debug)]
pub struct Done {
    /// Its number in the set.
    pub number: u32,
    /// Its path for people.
    pub path: String,
    /// What was planned.
    pub step: Step,
    /// What lay there, in quarantine now.
    pub replaced: Option<String>,
    /// Why it failed.
    pub trouble: Option<String>,
}

/// What lies at a file's path.
pub fn now(path: &[u8]) -> Now {
    let look = || -> Result<Now, Refusal> {
        let place = Place::of(&path_of(path))?;
        if matches!(place.stat(&place.name), Err(Errno::NOENT)) {
            return Ok(Now::Nothing);
        }
        let (file, _) = place.open()?;
        let (size, sha256) = digest(&file).map_err(Refusal::io("reading the file"))?;
        Ok(Now::File { size, sha256 })
    };
    look().unwrap_or_else(|refusal| Now::Other(in_words(&refusal)))
}

fn in_words(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

impl Copies {
    /// What giving a set back would do.
    pub fn plan(&self, set: &CopySet) -> Vec<Done> {
        set.files.iter().map(|file| done(file, plan(file, &now(&file.path)))).collect()
    }

    /// Gives a set back: each file on its own, so that one that fails keeps none of the others. What an encryptor left in
    /// its place goes to quarantine.
    pub fn undo(&self, set: &mut CopySet, by: &str, at: Timestamp) -> Result<Vec<Done>, CopiesError> {
        let mut all = self.plan(set);
        for (file, done) in set.files.iter_mut().zip(&mut all) {
            if matches!(done.step, Step::Leave(_)) {
                continue;
            }
            match self.give_back(&set.id, file, done.step == Step::Replace, by, at) {
                Ok(replaced) => {
                    done.replaced.clone_from(&replaced);
                    file.given_back = Some(GivenBack { at, replaced });
                }
                Err(refusal) => done.trouble = Some(in_words(&refusal)),
            }
        }
        self.write(set)?;
        Ok(all)
    }

    fn give_back(
        &self,
        id: &str,
        copied: &Copied,
        replace: bool,
        by: &str,
        at: Timestamp,
    ) -> Result<Option<String>, Refusal> {
        let place = Place::of(&path_of(&copied.path))?;
        let temporary = OsString::from(format!(".wardline-undo-{}", &id[..id.len().min(16)]));
        let (file, named) = place.make(&temporary).map_err(Refusal::errno("making a file in the folder"))?;
        let given = (|| {
            let mut had = Vec::new();
            if replace {
                let (left, _) = place.open()?;
                if copied.left.as_ref().is_some_and(|left| left.same_file) {
                    copy(&left, &file, copied.size).map_err(Refusal::io("reading what was not destroyed"))?;
                }
                had = attributes(&left).map_err(Refusal::errno("reading the extended attributes"))?;
            }
            self.fill(id, copied, &file).map_err(Refusal::io("writing the file"))?;
            let whose = (copied.uid, copied.gid, copied.mode & 0o7777);
            dress(&file, whose, &had, [copied.modified, copied.modified]).map_err(|(what, source)| {
                let source = io::Error::other(format!("{what}: {}", io::Error::from(source)));
                Refusal::Os { doing: "giving the file back what it had", source }
            })?;
            file.sync_all().map_err(Refusal::io("writing the file"))?;
            let mut replaced = None;
            if replace {
                // Which was compared with what the encryptor left a moment ago, and is kept in any case.
                let reason = format!("what an encryptor left; replaced by the copy of {id}");
                let store = Store::open(&self.state_dir, quarantine::LIMIT)?;
                replaced = Some(store.take(&place.path, by, &reason, at)?.manifest.id);
            }
            place.name(&file, named.then_some(&temporary)).map_err(|e| match e {
                Errno::EXIST => Refusal::Occupied(place.path.clone()),
                e => Refusal::errno("giving the file its name")(e),
            })?;
            Ok(replaced)
        })();
        if given.is_err() && named {
            let _ = place.unlink(&temporary);
        }
        let replaced = given?;
        place.sync().map_err(Refusal::io("making the file durable"))?;
        Ok(replaced)
    }

    /// Writes what was copied over what is there, and cuts to length.
    fn fill(&self, id: &str, copied: &Copied, to: &File) -> io::Result<()> {
        let content = File::open(self.content(id, copied.number))?;
        let mut chunk = vec![0; CHUNK];
        for (from, end) in &copied.kept {
            let mut at = *from;
            while at < *end {
                let n = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
                content.read_exact_at(&mut chunk[..n], at)?;
                to.write_all_at(&chunk[..n], at)?;
                at += n as u64;
            }
        }
        to.set_len(copied.size)
    }

    /// Writes what there is of each file into a folder, beside each other, and touches nothing else. Gives the paths; a
    /// file of which a part is missing has `.incomplete` behind its name, and zeros in it.
    pub fn write_to(&self, set: &CopySet, folder: &Path) -> Result<Vec<PathBuf>, CopiesError> {
        let mut written = Vec::new();
        for copied in &set.files {
            let path = path_of(&copied.path);
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // What was not copied is in what the encryptor left, if that is still there.
            let left = copied.left.as_ref().filter(|left| left.same_file);
            let rest = left.filter(|left| {
                now(&copied.path) == Now::File { size: left.size, sha256: left.sha256.clone() }
            });
            let whole = copied.missing == 0 && (copied.kept_bytes() == copied.size || rest.is_some());
            let to =
                folder.join(format!("{:03}-{name}{}", copied.number, if whole { "" } else { ".incomplete" }));
            let write = || -> io::Result<()> {
                let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&to)?;
                if rest.is_some()
                    && let Ok(left) = Place::of(&path).and_then(|place| place.open())
                {
                    copy(&left.0, &file, copied.size)?;
                }
                self.fill(&set.id, copied, &file)?;
                file.sync_all()
            };
            fs::create_dir_all(folder).and_then(|()| write()).map_err(super::os("writing a copy"))?;
            written.push(to);
        }
        Ok(written)
    }
}

fn copy(from: &File, to: &File, size: u64) -> io::Result<()> {
    let (mut at, mut chunk) = (0, vec![0; CHUNK]);
    while at < size {
        match from.read_at(&mut chunk, at)? {
            0 => break,
            n => {
                to.write_all_at(&chunk[..n], at)?;
                at += n as u64;
            }
        }
    }
    Ok(())
}

fn done(file: &Copied, step: Step) -> Done {
    Done { number: file.number, path: file.shown_path(), step, replaced: None, trouble: None }
}
