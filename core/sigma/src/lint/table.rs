//! All lints in one table.

use super::Level;
use super::Level::{Note, Warning};

/// A lint.
#[derive(Clone, Copy, Debug)]
pub struct Lint {
    /// `S1xx`, stable.
    pub code: &'static str,
    /// How much its findings matter.
    pub level: Level,
    /// What it finds, in one line.
    pub what: &'static str,
}

const fn lint(code: &'static str, level: Level, what: &'static str) -> Lint {
    Lint { code, level, what }
}

/// Every lint, by code.
pub const LINTS: &[Lint] = &[
    // Attributes.
    lint("S100", Warning, "the rule has no id"),
    lint("S101", Warning, "the id is not a UUID"),
    lint("S102", Note, "the rule has no date"),
    lint(
        "S103",
        Warning,
        "a date is not YYYY-MM-DD, is no day of the calendar, or lies before the rule's first",
    ),
    lint("S104", Note, "the title is longer than 110 characters"),
    lint("S105", Warning, "an unknown status"),
    lint("S106", Warning, "the rule has no level"),
    lint("S107", Note, "a reference is not a link"),
    lint(
        "S108",
        Warning,
        "a tag is not `namespace.name` in small letters, or its namespace has another form",
    ),
    lint("S109", Warning, "an ATT&CK tag that names neither a tactic nor the id of anything"),
    lint("S110", Warning, "an attribute that looks like a misspelling of one that Sigma defines"),
    lint("S111", Note, "an entry of a list is given twice"),
    // Conditions and selections.
    lint("S120", Warning, "a selection that the condition never looks at"),
    lint("S121", Warning, "the condition or a selection can never be true"),
    lint("S122", Warning, "the condition is true for every event"),
    lint("S123", Note, "the condition is true for an event that none of the selections matches"),
    lint("S124", Note, "two selections ask for the same"),
    lint("S125", Note, "a deprecated construct"),
    // Values.
    lint("S130", Note, "a pattern that is too short to tell anything"),
    lint("S131", Note, "a regular expression begins or ends with `.*`, which changes nothing"),
    lint("S132", Note, "a slow regular expression"),
    lint("S133", Note, "a regular expression that is plain text"),
    lint("S134", Note, "wildcards that a modifier says better"),
    lint("S135", Note, "wildcards that a modifier says already"),
    lint("S136", Note, "a value that another value covers"),
    lint("S137", Note, "a value that differs from another in case only, or not at all"),
    lint("S138", Warning, "a value that matches everything, or `null` as a text"),
    lint("S139", Warning, "an escaped wildcard after a folder's name"),
    // Modifiers.
    lint("S140", Warning, "`all` with a single value"),
    lint("S141", Warning, "an encoding that cannot be found in this way"),
    lint("S142", Note, "`windash` where no value has a dash"),
    lint("S143", Warning, "a network whose address has bits past its prefix"),
    lint("S144", Warning, "a field that is compared with itself"),
    // Rules together.
    lint("S160", Warning, "two rules with the same log source and the same detection"),
    lint("S161", Note, "a rule without a test"),
];

/// The level of a lint.
pub(super) fn level_of(code: &str) -> Level {
    LINTS.iter().find(|l| l.code == code).map_or(Warning, |l| l.level)
}

#[cfg(test)]
mod tests {
    use super::LINTS;

    #[test]
    fn codes_are_in_order_and_each_stands_once() {
        assert!(LINTS.windows(2).all(|pair| pair[0].code < pair[1].code));
    }
}
