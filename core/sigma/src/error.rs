//! What is wrong with a rule, and where.

use std::fmt;

/// A fault in a rule: what, where, and what to do about it.
///
/// Codes are stable, so that tools can filter on them:
///
/// | code | meaning |
/// |---|---|
/// | `S001` | not valid YAML |
/// | `S002` | past a limit: size, nesting, number of values, condition, regular expression |
/// | `S003` | the YAML has another shape than Sigma asks for |
/// | `S004` | an attribute is given twice |
/// | `S005` | the file cannot be formatted without changing what it says |
/// | `S010` | a mandatory attribute is missing |
/// | `S011` | an attribute holds something that it may not hold |
/// | `S020` | a correlation where only detection rules are read |
/// | `S021` | a filter where only detection rules are read |
/// | `S022` | an `action` that is unknown or has nothing to repeat |
/// | `S023` | an aggregation of Sigma 1 that no correlation says, or where only detection rules are read |
/// | `S030` | an unknown modifier |
/// | `S031` | modifiers that contradict each other |
/// | `S032` | a value that its modifier cannot use |
/// | `S033` | a placeholder without a value |
/// | `S040` | the condition cannot be read |
/// | `S041` | the condition names a selection that does not exist |
/// | `S042` | a correlation refers to a rule that is not there |
/// | `S043` | correlations refer to each other in a circle, or in too long a chain |
/// | `S044` | the condition of a correlation can never hold |
/// | `S050` | warning: a filter names a rule that is not loaded, or takes no loaded rule in |
/// | `S051` | warning: a filter names a rule of another log source and is not applied to it |
/// | `S060` | two rules have the same id |
/// | `S070` | a file of log sources has another shape than it should have |
/// | `S071` | a file of log sources names a group or source that is not there, or that is there twice |
/// | `S080` | a pipeline has another shape than it should have, or a step that cannot be applied |
/// | `S081` | a pipeline refuses a rule, or leaves nothing of it |
/// | `S082` | a step of a pipeline cannot be applied to a value of the rule |
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct RuleError {
    /// The code, as in the table above.
    pub code: &'static str,
    /// The file name or whatever else the rule came from.
    pub origin: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it; empty if there is nothing useful to say.
    pub hint: String,
}

impl RuleError {
    /// Whether the rules are used all the same: the codes `S05x` say what else is doubtful.
    pub fn is_warning(&self) -> bool {
        self.code.starts_with("S05")
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {} {}", self.origin, self.line, self.column, self.code, self.message)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

/// A place in a rule's text, both from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Pos {
    pub line: usize,
    pub column: usize,
}

/// A stretch of a rule's text on one line, in characters; line and column from 1. What goes on over several lines is
/// marked on its first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Span {
    pub line: u32,
    pub column: u32,
    pub length: u32,
}

impl Span {
    pub fn pos(self) -> Pos {
        Pos { line: self.line as usize, column: self.column as usize }
    }

    /// The stretch of `length` characters from `pos` on.
    pub fn new(pos: Pos, length: usize) -> Self {
        let short = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { line: short(pos.line), column: short(pos.column), length: short(length) }
    }
}

/// A fault before its origin is known; [`Fault::at`] and the parser add the rest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    pub code: &'static str,
    pub pos: Pos,
    pub message: String,
    pub hint: String,
}

impl Fault {
    pub fn new(code: &'static str, pos: Pos, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, pos, message: message.into(), hint: hint.into() }
    }

    pub fn at(self, origin: &str) -> RuleError {
        RuleError {
            code: self.code,
            origin: origin.to_owned(),
            line: self.pos.line,
            column: self.pos.column,
            message: self.message,
            hint: self.hint,
        }
    }
}
