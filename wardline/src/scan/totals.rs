//! What was read, and what could not be.

use std::collections::BTreeMap;

use wardline_event::LogSource;

/// What became of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It was read, but for the places that were told.
    #[default]
    Read,
    /// The scan was ended before the file was.
    Cut,
    /// Nothing of it could be read.
    Unreadable,
    /// It was found in a folder and is no log.
    NotALog,
}

/// The counts of one piece of a log, or of the whole.
#[derive(Default)]
pub struct Stats {
    /// What became of it.
    pub outcome: Outcome,
    /// Records read.
    pub records: u64,
    /// Of these, the records that the filters left out.
    pub left_out: u64,
    /// Of these, the records that were deleted.
    pub recovered: u64,
    /// Errors: records, chunks, lines, or the file.
    pub unreadable: u64,
    /// Records that correlations would count if they said when.
    pub uncorrelated: u64,
    /// It has a match that is reported.
    pub matched: bool,
    /// Records of each log source, where they are asked for.
    pub sources: BTreeMap<LogSource<'static>, u64>,
}

impl Stats {
    /// Adds the counts of the next piece.
    pub fn add(&mut self, piece: Self) {
        if piece.outcome != Outcome::Read {
            self.outcome = piece.outcome;
        }
        self.records += piece.records;
        self.left_out += piece.left_out;
        self.recovered += piece.recovered;
        self.unreadable += piece.unreadable;
        self.uncorrelated += piece.uncorrelated;
        self.matched |= piece.matched;
        for (source, n) in piece.sources {
            *self.sources.entry(source).or_default() += n;
        }
    }
}

/// The counts of a scan.
#[derive(Default)]
pub struct Totals {
    /// Files that were read.
    pub files: u64,
    /// Files and folders of which nothing could be read.
    pub files_unreadable: u64,
    /// Files found in folders that are no logs.
    pub files_not_logs: u64,
    /// Files that the scan did not come to, or not to the end of.
    pub files_not_read: u64,
    /// Files with matches.
    pub files_with_matches: u64,
    /// Records read.
    pub records: u64,
    /// Records that the filters left out.
    pub left_out: u64,
    /// Records that were deleted.
    pub recovered: u64,
    /// Places in files that could not be read.
    pub unreadable: u64,
    /// Records that correlations would count if they said when.
    pub uncorrelated: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Rules that loaded.
    pub rules_loaded: u64,
    /// Rules whose matches are reported.
    pub rules_reported: u64,
    /// Rules for which no known source writes events.
    pub rules_unseen: u64,
    /// Rules that did not load.
    pub rules_not_loaded: u64,
    /// Records of each log source, where they are asked for.
    pub sources: BTreeMap<LogSource<'static>, u64>,
}

impl Totals {
    /// Adds one file's counts.
    pub fn add(&mut self, stats: Stats) {
        match stats.outcome {
            Outcome::Read => self.files += 1,
            Outcome::Cut => self.files_not_read += 1,
            Outcome::Unreadable => {
                self.files_unreadable += 1;
                return;
            }
            Outcome::NotALog => {
                self.files_not_logs += 1;
                return;
            }
        }
        self.unreadable += stats.unreadable;
        self.records += stats.records;
        self.left_out += stats.left_out;
        self.recovered += stats.recovered;
        self.uncorrelated += stats.uncorrelated;
        self.files_with_matches += u64::from(stats.matched);
        for (source, n) in stats.sources {
            *self.sources.entry(source).or_default() += n;
        }
    }

    /// True if every file and record could be read.
    pub fn all_was_read(&self) -> bool {
        self.files_unreadable == 0 && self.unreadable == 0
    }
}
