//! A copy of the audit log that proves itself: lines of JSON, written by a hub, checked anywhere without it.
//!
//! ```text
//! {"head":{"wardline_audit":1,"hub":"…","organisation":"…","key":"…"}}
//! {"entry":{…}}            every entry of one chain in order, then where it ends, then the next chain
//! {"checkpoint":{…}}
//! {"closing":{"chains":1,"entries":5,"sha256":"…","time_ms":…,"signature":"…"}}
//! ```
//!
//! The closing line signs all lines before it. A checkpoint that the hub wrote earlier must fit too, so a log that
//! was written anew from some entry on is found out even if its chain fits. What nobody can see in one copy alone is
//! that the newest entries are missing from the hub itself: for that the checker compares with an earlier copy.

use std::collections::BTreeMap;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use wardline_event::{Timestamp, hex};

use super::seal::{Checkpoint, Closing, Signer};
use super::{Broken, Entry, GENESIS, follow};

/// The version of the form that this build writes and reads.
const VERSION: u32 = 1;
/// Bytes of one line at most; an entry's detail is far below.
pub const LONGEST_LINE: usize = 1 << 20;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Version of the form.
    pub wardline_audit: u32,
    /// SHA-256 of the hub's authority: the fingerprint that its enrolment tokens name.
    pub hub: String,
    /// Name of the organisation from which down the copy was made.
    pub organisation: String,
    /// The key that signs, 64 hexadecimal digits.
    pub key: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Head(Head),
    Entry(Entry),
    Checkpoint(Checkpoint),
    Closing(Closing),
}

/// Writes a copy line by line.
pub struct Writer<'a> {
    signer: &'a Signer,
    digest: Context,
    chains: u64,
    entries: u64,
    last: Option<(String, i64, String)>,
}

impl<'a> Writer<'a> {
    /// Begins; gives the first line.
    pub fn begin(signer: &'a Signer, hub: String, organisation: String) -> (Self, String) {
        let mut writer = Self { signer, digest: Context::new(&SHA256), chains: 0, entries: 0, last: None };
        let head = Head { wardline_audit: VERSION, hub, organisation, key: signer.key() };
        let line = writer.line(&Line::Head(head));
        (writer, line)
    }

    fn line(&mut self, line: &Line) -> String {
        let mut text = serde_json::to_string(line).expect("plain structures are always JSON");
        text.push('\n');
        self.digest.update(text.as_bytes());
        text
    }

    /// The next entry of the chain; those of one chain come one after another.
    pub fn entry(&mut self, entry: Entry) -> String {
        self.entries += 1;
        self.last = Some((entry.organisation.clone(), entry.number, entry.hash.clone()));
        self.line(&Line::Entry(entry))
    }

    /// A checkpoint that the hub made when the chain ended with the entry that was just written.
    pub fn checkpoint(&mut self, checkpoint: Checkpoint) -> String {
        self.line(&Line::Checkpoint(checkpoint))
    }

    /// The chain is at its end; gives a fresh checkpoint.
    pub fn end_chain(&mut self, now: Timestamp) -> String {
        let Some((organisation, number, hash)) = self.last.take() else { return String::new() };
        self.chains += 1;
        let checkpoint = self.signer.checkpoint(&organisation, number, &hash, now);
        self.line(&Line::Checkpoint(checkpoint))
    }

    /// The last line.
    pub fn close(self, now: Timestamp) -> String {
        let sha256 = hex(self.digest.finish().as_ref());
        let closing = self.signer.close(self.chains, self.entries, sha256, now);
        let mut text =
            serde_json::to_string(&Line::Closing(closing)).expect("plain structures are always JSON");
        text.push('\n');
        text
    }
}

/// Where each chain ended in a copy: organisation → number and hash of the last entry.
pub type Ends = BTreeMap<String, (i64, String)>;

/// A copy that was checked from its first line to its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The first line.
    pub head: Head,
    /// How many entries.
    pub entries: u64,
    /// How many checkpoints, those made for the copy included.
    pub checkpoints: u64,
    /// When the copy was made, in milliseconds since 1970 (UTC).
    pub made_ms: i64,
    /// Where each chain ends: what a later copy is compared with.
    pub ends: Ends,
}

/// Why a copy does not prove itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not a copy at all.
    #[error(
        "line {0}: this is no line of a copy of an audit log; was it made by `wardline hub audit export`?"
    )]
    Unreadable(u64),
    /// A newer form.
    #[error("the copy has version {0}; this build reads version {VERSION}. Check it with a newer Wardline")]
    Newer(u32),
    /// Another key signed.
    #[error("the copy is signed by the key {found}, not by {expected}: it is another hub's, or not genuine")]
    OtherKey {
        /// Named in the copy.
        found: String,
        /// Asked for.
        expected: String,
    },
    /// An entry does not fit.
    #[error("line {line}: {broken}")]
    Chain {
        /// Where.
        line: u64,
        /// What.
        broken: Broken,
    },
    /// A signed statement does not fit.
    #[error(
        "line {line}: the checkpoint of organisation {organisation} at entry {number} {what}: the entries up to it are not those that the hub signed"
    )]
    Checkpoint {
        /// Where.
        line: u64,
        /// Whose chain.
        organisation: String,
        /// At which entry.
        number: i64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A chain without its last checkpoint.
    #[error(
        "line {line}: the chain of organisation {organisation} ends without a checkpoint: entries after {number} were removed from the copy"
    )]
    Open {
        /// Where.
        line: u64,
        /// Whose chain.
        organisation: String,
        /// The last entry there is.
        number: i64,
    },
    /// The closing line does not sign these lines.
    #[error(
        "line {0}: the closing line does not fit what stands before it: lines were changed, added or removed"
    )]
    Closing(u64),
    /// No closing line.
    #[error("the copy breaks off after line {0}: its closing line is missing")]
    Truncated(u64),
    /// Something after the closing line.
    #[error("line {0}: the copy goes on after its closing line")]
    After(u64),
    /// What an earlier copy had is not there any more, or is different.
    #[error(
        "organisation {organisation}: entry {number} of the earlier copy is not in this one: the log was shortened or written anew since"
    )]
    NotTheSameLog {
        /// Whose chain.
        organisation: String,
        /// The last entry of the earlier copy.
        number: i64,
    },
}

/// Checks a copy, line by line. Pure; memory grows with the number of chains only.
pub struct Checker {
    key: Option<String>,
    earlier: Ends,
    digest: Context,
    line: u64,
    head: Option<Head>,
    /// The chain that is being followed: organisation, number, hash, and whether a checkpoint stands at its end.
    chain: Option<(String, i64, String, bool)>,
    entries: u64,
    checkpoints: u64,
    ends: Ends,
    made_ms: Option<i64>,
}

impl Checker {
    /// `key`: the only key to trust; without it the copy's own, which shows that it fits in itself. `earlier`: where the
    /// chains ended in a copy that was checked before.
    pub fn new(key: Option<String>, earlier: Ends) -> Self {
        Self {
            key,
            earlier,
            digest: Context::new(&SHA256),
            line: 0,
            head: None,
            chain: None,
            entries: 0,
            checkpoints: 0,
            ends: Ends::new(),
            made_ms: None,
        }
    }

    /// The next line, with its line feed if it has one.
    pub fn push(&mut self, text: &[u8]) -> Result<(), Fault> {
        self.line += 1;
        if self.made_ms.is_some() {
            return Err(Fault::After(self.line));
        }
        let unreadable = Fault::Unreadable(self.line);
        if text.len() > LONGEST_LINE {
            return Err(unreadable);
        }
        let line: Line = serde_json::from_slice(text).map_err(|_| unreadable.clone())?;
        let before = self.digest.clone();
        self.digest.update(text);
        let key = self.head.as_ref().map(|head| head.key.clone());
        match (line, key) {
            (Line::Head(head), None) => self.begin(head),
            (Line::Head(_), Some(_)) | (_, None) => Err(unreadable),
            (Line::Entry(entry), Some(_)) => self.entry(&entry),
            (Line::Checkpoint(checkpoint), Some(key)) => self.checkpoint(&checkpoint, &key),
            (Line::Closing(closing), Some(key)) => {
                let fits = closing.sha256 == hex(before.finish().as_ref())
                    && closing.entries == self.entries
                    && closing.holds(&key);
                self.end_chain()?;
                if !fits || closing.chains != self.ends.len() as u64 {
                    return Err(Fault::Closing(self.line));
                }
                self.made_ms = Some(closing.time_ms);
                Ok(())
            }
        }
    }

    fn begin(&mut self, head: Head) -> Result<(), Fault> {
        if head.wardline_audit != VERSION {
            return Err(Fault::Newer(head.wardline_audit));
        }
        if let Some(key) = &self.key
            && !key.eq_ignore_ascii_case(&head.key)
        {
            return Err(Fault::OtherKey { found: head.key, expected: key.clone() });
        }
        self.head = Some(head);
        Ok(())
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), Fault> {
        if self.chain.as_ref().is_none_or(|(organisation, ..)| *organisation != entry.organisation) {
            self.end_chain()?;
            if self.ends.contains_key(&entry.organisation) {
                return Err(Fault::Unreadable(self.line));
            }
            self.chain = Some((entry.organisation.clone(), 0, GENESIS.to_owned(), false));
        }
        let Some((_, number, hash, sealed)) = &mut self.chain else { return Ok(()) };
        *hash =
            follow(*number + 1, hash, entry).map_err(|broken| Fault::Chain { line: self.line, broken })?;
        *number += 1;
        *sealed = false;
        self.entries += 1;
        match self.earlier.get(&entry.organisation) {
            Some((at, known)) if at == number && known != hash => {
                Err(Fault::NotTheSameLog { organisation: entry.organisation.clone(), number: *at })
            }
            _ => Ok(()),
        }
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint, key: &str) -> Result<(), Fault> {
        let here = self.chain.as_ref().is_some_and(|(organisation, number, hash, _)| {
            *organisation == checkpoint.organisation
                && *number == checkpoint.number
                && *hash == checkpoint.hash
        });
        let what = match () {
            () if !checkpoint.holds() => Some("does not bear the signature of its key"),
            () if checkpoint.key != key => Some("is signed by another key than the copy"),
            () if !here => Some("does not fit the entry before it"),
            () => None,
        };
        if let Some(what) = what {
            let organisation = checkpoint.organisation.clone();
            return Err(Fault::Checkpoint { line: self.line, organisation, number: checkpoint.number, what });
        }
        self.checkpoints += 1;
        if let Some((.., sealed)) = &mut self.chain {
            *sealed = true;
        }
        Ok(())
    }

    fn end_chain(&mut self) -> Result<(), Fault> {
        match self.chain.take() {
            Some((organisation, number, _, false)) => {
                Err(Fault::Open { line: self.line, organisation, number })
            }
            Some((organisation, number, hash, true)) => {
                self.ends.insert(organisation, (number, hash));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// After the last line.
    pub fn finish(self) -> Result<Report, Fault> {
        let (Some(head), Some(made_ms)) = (self.head, self.made_ms) else {
            return Err(Fault::Truncated(self.line));
        };
        for (organisation, (number, _)) in &self.earlier {
            if self.ends.get(organisation).is_none_or(|(now, _)| now < number) {
                let organisation = organisation.clone();
                return Err(Fault::NotTheSameLog { organisation, number: *number });
            }
        }
        let Self { entries, checkpoints, ends, .. } = self;
        Ok(Report { head, entries, checkpoints, made_ms, ends })
    }
}

#[cfg(test)]
mod tests;
