//! The Sigma rule engine: parse, compile, match, explain.
//!
//! ```
//! use wardline_event::{LogRecord, LogSource};
//! use wardline_sigma::{Rule, RuleSet};
//!
//! let rules = Rule::parse(
//!     r"
//! title: Backups deleted
//! logsource: {product: windows, category: process_creation}
//! level: high
//! tags: [attack.t1490]
//! detection:
//!   selection:
//!     Image|endswith: '\vssadmin.exe'
//!     CommandLine|contains|all: [delete, shadows]
//!   condition: selection
//! ",
//!     "backups.yml",
//! )?;
//! let set = RuleSet::compile(rules).map_err(|mut errors| errors.remove(0))?;
//!
//! let mut event = LogRecord::new(LogSource::new("windows", "process_creation", ""));
//! event.set("Image", r"C:\Windows\System32\vssadmin.exe");
//! event.set("CommandLine", "vssadmin Delete Shadows /all");
//!
//! let mut scratch = set.scratch(); // one per thread, used again for every event
//! let mut found = Vec::new();
//! set.matches(&event, &mut scratch, &mut |rule| found.push(rule));
//! assert_eq!(found, [0]);
//! assert_eq!(set.rules()[0].techniques()[0].0, "T1490");
//!
//! let why = set.explain(0, &event);
//! assert_eq!(why[0].pattern, r"endswith '\vssadmin.exe'");
//! # Ok::<(), wardline_sigma::RuleError>(())
//! ```
//!
//! # What it understands
//!
//! All of Sigma 2.1: every modifier, wildcards and escapes, keywords, lists of maps, conditions, placeholders,
//! filters and [correlations](Correlation); collections with `action` and, where a correlation says the same, the
//! aggregations of Sigma 1. What cannot be understood is refused with a message, never ignored. Where the
//! specification leaves a choice:
//!
//! - Text is compared without regard to case by Unicode's simple case folding; `cased` and `re` look at case.
//! - Regular expressions are searched for, not anchored, and see the text as it is; `$` is the very end of it.
//! - `null` is a missing field or a null; `exists` asks only whether the field is there; `''` is an empty text.
//! - A field with several values matches if one of them does; with `all`, each asked value needs one.
//! - A number in a rule meets a number of the same value, and text that spells it as the rule does or plainly.
//! - `neq` with several values: the field differs from each of them. A missing field differs from everything.
//! - A keyword is looked for in the value of every field, not in field names.
//! - `1 of pattern*` leaves out selections that begin with `_`, unless the pattern does too.
//! - An IPv4 address written as IPv6 (`::ffff:10.0.0.1`) lies in IPv4 networks.
//! - `hour` and its like read RFC 3339, the same without a zone (then UTC), and Unix time; `week` is that of ISO 8601.
//! - A placeholder has letters, digits, `_`, `-` and `.` in its name; its values are joined by `or`, also under `all`,
//!   and are Sigma strings, also within `re`. `\%` is a percent sign, `\\%name%` a backslash before a placeholder.
//! - A filter holds for rules whose log source says at least what the filter's says.
//! - `action: global` wins over what a document says itself, and several globals add up.
//! - `windash` takes any of its five dashes in a rule for all of them, where a word begins after it.
//!
//! # How it is fast
//!
//! Rules are compiled together per log source, when its first event comes. If most of them ask for a literal of one
//! field (`EventID` of a Windows channel), they are compiled once for each value of it that they name, with its tests
//! worked out, so that rules which cannot match such an event are not there at all. Events that share a
//! [`Layout`](wardline_event::Layout) are read by position.
//!
//! One pass over a field's value finds the literals that any rule looks for and that nominate one. A rule's condition is
//! looked at only if one of its rarest literals was seen; other literals, and regular expressions, are looked for only
//! then. A regular expression runs only on a value that is long enough and holds one of a few texts that are in all its
//! matches, if there are such texts. A rule without such a literal is nominated by the part of its condition that looks
//! at one field only.
//!
//! What a pass found is remembered with the text for a while, since computers say the same things over and over: an
//! image or a user that comes again costs a hash and a comparison. Keywords, which any field may hold, are first looked
//! for in the text of the whole event at once.
//!
//! Nothing is allocated for an event that matches nothing and whose values can be borrowed, if the layout and the texts
//! were seen before.
#![warn(missing_docs)]

mod cache;
mod compiled;
mod correlation;
mod error;
mod language;
mod limits;
mod linking;
mod report;
pub mod sources;
mod suggest;
pub mod verdict;

pub use cache::{CacheError, Deferred, KeptBytes};
pub use compiled::ruleset::RuleSet;
pub use compiled::scratch::Scratch;
pub use correlation::{
    Alias, Correlation, CorrelationCondition, CorrelationSettings, CorrelationState, CorrelationStats,
    CorrelationType, Correlations, Hit, Hits, Look, Match, Operator, Reference, RuleExpression, Threshold,
    Timespan,
};
pub use error::RuleError;
pub use language::attributes::{Attributes, Related};
pub use language::collection::Collection;
pub use language::rule::Rule;
pub use linking::filter::{Filter, FilterRules};
pub use linking::link::{LinkOptions, Linked};
pub use linking::pipeline::{Pipeline, Pipelines};
pub use linking::placeholder::Placeholders;
pub use report::could::Known;
pub use report::explanation::{Cost, Explanation, Outcome, Step};
pub use report::format::format;
pub use report::lint;
pub use report::regression::{RegressionTest, RegressionTests, TestedRule};
