//! The records of a log file, one after the other.

use std::collections::BTreeSet;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

use wardline_event::LogRecord;
use wardline_sense::log::{Options, Pieces, ReadError, Workspace};
use wardline_sigma::{RuleSet, Scratch};

/// Hands over every record of a file.
pub fn of_file(
    path: &Path,
    workspace: &mut Workspace,
    each: &mut dyn FnMut(Result<&mut LogRecord, ReadError>),
) {
    hand_over(Pieces::open(path, &Options::default()), workspace, each);
}

/// Hands over every record of any input; `name` is what errors call it.
pub fn of_input(
    name: &Path,
    input: impl Read + Send,
    workspace: &mut Workspace,
    each: &mut dyn FnMut(Result<&mut LogRecord, ReadError>),
) {
    hand_over(Pieces::new(name, input, &Options::default()), workspace, each);
}

fn hand_over(
    pieces: Pieces<'_>,
    workspace: &mut Workspace,
    each: &mut dyn FnMut(Result<&mut LogRecord, ReadError>),
) {
    for piece in pieces {
        // The sink never breaks off.
        let _ = piece.read(workspace, &mut |item| {
            each(item);
            ControlFlow::Continue(())
        });
    }
}

/// The rules that match a record, whichever of its categories they are for.
pub fn matched(rules: &RuleSet, record: &LogRecord, scratch: &mut Scratch) -> BTreeSet<usize> {
    let mut matched = BTreeSet::new();
    rules.matches_in(record, scratch, &mut |rule| _ = matched.insert(rule));
    matched
}
