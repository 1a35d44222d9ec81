//! All codes in one table.

use super::Level;
use super::Level::{Error, Note, Warning};

/// What a code means.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// `S0xx` for what the parser finds, `S1xx` for lints. Stable.
    pub code: &'static str,
    /// How much its findings matter.
    pub level: Level,
    /// What it finds, in one line.
    pub what: &'static str,
}

const fn code(code: &'static str, level: Level, what: &'static str) -> Code {
    Code { code, level, what }
}

/// Every code, in order.
pub const CODES: &[Code] = &[
    // What the parser finds.
    code("S001", Error, "not valid YAML"),
    code("S002", Error, "past a limit: size, nesting, number of values, condition, regular expression"),
    code("S003", Error, "the YAML has another shape than Sigma asks for"),
    code("S004", Error, "an attribute is given twice"),
    code("S005", Error, "a file that cannot be formatted without changing what it says"),
    code("S010", Error, "a mandatory attribute is missing"),
    code("S011", Error, "an attribute holds something that it may not hold"),
    code("S020", Error, "a correlation where only detection rules are read"),
    code("S021", Error, "a filter where only detection rules are read"),
    code("S022", Error, "an `action` that is unknown or has nothing to repeat"),
    code(
        "S023",
        Error,
        "an aggregation of Sigma 1 that no correlation says, or where only detection rules are read",
    ),
    code("S030", Error, "an unknown modifier"),
    code("S031", Error, "modifiers that contradict each other"),
    code("S032", Error, "a value that its modifier cannot use"),
    code("S033", Error, "a placeholder without a value"),
    code("S040", Error, "the condition cannot be read"),
    code("S041", Error, "the condition names a selection that does not exist"),
    code("S042", Error, "a correlation refers to a rule that is not there"),
    code("S043", Error, "correlations refer to each other in a circle, or in too long a chain"),
    code("S044", Error, "the condition of a correlation can never hold"),
    code("S050", Warning, "a filter that names a rule which is not loaded, or takes no loaded rule in"),
    code("S051", Warning, "a filter that names a rule of another log source, to which it is not applied"),
    code("S060", Error, "two rules have the same id"),
    // What rules are used with.
    code("S070", Error, "a file of log sources has another shape than it should have"),
    code(
        "S071",
        Error,
        "a file of log sources names a group or source that is not there, or that is there twice",
    ),
    code("S080", Error, "a pipeline has another shape than it should have, or a step that cannot be applied"),
    code("S081", Error, "a pipeline refuses a rule, or leaves nothing of it"),
    code("S082", Error, "a step of a pipeline cannot be applied to a value of the rule"),
    // Attributes.
    code("S100", Warning, "the rule has no id"),
    code("S101", Warning, "the id is not a UUID"),
    code("S102", Note, "the rule has no date"),
    code(
        "S103",
        Warning,
        "a date is not YYYY-MM-DD, is no day of the calendar, or lies before the rule's first",
    ),
    code("S104", Note, "the title is longer than 110 characters"),
    code("S105", Warning, "an unknown status"),
    code("S106", Warning, "the rule has no level"),
    code("S107", Note, "a reference is not a link"),
    code(
        "S108",
        Warning,
        "a tag is not `namespace.name` in small letters, or its namespace has another form",
    ),
    code("S109", Warning, "an ATT&CK tag that names neither a tactic nor the id of anything"),
    code("S110", Warning, "an attribute that looks like a misspelling of one that Sigma defines"),
    code("S111", Note, "an entry of a list is given twice"),
    // Conditions and selections.
    code("S120", Warning, "a selection that the condition never looks at"),
    code("S121", Warning, "the condition or a selection can never be true"),
    code("S122", Warning, "the condition is true for every event"),
    code("S123", Note, "the condition is true for an event that none of the selections matches"),
    code("S124", Note, "two selections ask for the same"),
    code("S125", Note, "a deprecated construct"),
    // Values.
    code("S130", Note, "a pattern that is too short to tell anything"),
    code("S131", Note, "a regular expression begins or ends with `.*`, which changes nothing"),
    code("S132", Note, "a slow regular expression"),
    code("S133", Note, "a regular expression that is plain text"),
    code("S134", Note, "wildcards that a modifier says better"),
    code("S135", Note, "wildcards that a modifier says already"),
    code("S136", Note, "a value that another value covers"),
    code("S137", Note, "a value that differs from another in case only, or not at all"),
    code("S138", Warning, "a value that matches everything, or `null` as a text"),
    code("S139", Warning, "an escaped wildcard after a folder's name"),
    // Modifiers.
    code("S140", Warning, "`all` with a single value"),
    code("S141", Warning, "an encoding that cannot be found in this way"),
    code("S142", Note, "`windash` where no value has a dash"),
    code("S143", Warning, "a network whose address has bits past its prefix"),
    code("S144", Warning, "a field that is compared with itself"),
    // Log sources.
    code("S150", Warning, "a field that no event has which the rule can see"),
    code("S151", Warning, "a log source of which no known source writes events: the rule can never match"),
    // Rules together.
    code("S160", Warning, "two rules with the same log source and the same detection"),
    code("S161", Note, "a rule without a test"),
];

/// The level of a code.
pub(super) fn level_of(code: &str) -> Level {
    CODES.iter().find(|l| l.code == code).map_or(Warning, |l| l.level)
}

#[cfg(test)]
mod tests {
    use super::CODES;

    #[test]
    fn codes_are_in_order_and_each_stands_once() {
        assert!(CODES.windows(2).all(|pair| pair[0].code < pair[1].code));
    }
}
