//! Tags: one word for a state, in one form everywhere.

use std::fmt::{self, Display};

use wardline_event::{ActionState, Disposition, Severity};

use super::text::{Markup, escaped};

/// What a tag's colour says. The word says it too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Somebody should look.
    Warn,
    /// Something is wrong.
    Bad,
    /// Under way.
    Busy,
    /// Neither good nor bad.
    Plain,
    /// Nobody has looked at it yet.
    Fresh,
    /// Of little weight.
    Outline,
    /// From the exercise range.
    Simulated,
    /// A severity; drawn with its shape.
    Severity(Severity),
}

/// A tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tag {
    /// What its colour says.
    pub tone: Tone,
    /// Its word or words.
    pub text: String,
}

impl Tag {
    /// Any tag.
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { tone, text: text.into() }
    }

    /// The label of everything that an exercise produced.
    pub fn simulated() -> Self {
        Self::new(Tone::Simulated, "Simulated")
    }

    /// How bad it is.
    pub fn severity(severity: Severity) -> Self {
        Self::new(Tone::Severity(severity), severity_word(severity))
    }

    /// What the device did about a finding.
    pub fn disposition(disposition: Disposition, action: &str) -> Self {
        match disposition {
            Disposition::Stopped if action.contains("kill") => Self::new(Tone::Good, "Killed"),
            Disposition::Stopped => Self::new(Tone::Good, "Stopped"),
            Disposition::WouldAct if action.contains("kill") => Self::new(Tone::Warn, "Would have killed"),
            Disposition::WouldAct => Self::new(Tone::Warn, "Would have acted"),
            Disposition::Withheld => Self::new(Tone::Warn, "Withheld"),
            Disposition::Failed => Self::new(Tone::Bad, "Tried and failed"),
            Disposition::Recorded => Self::new(Tone::Plain, "Recorded"),
        }
    }

    /// How far an action got.
    pub fn action_state(state: ActionState) -> Self {
        match state {
            ActionState::Pending => Self::new(Tone::Busy, "Waiting for device"),
            ActionState::InProgress => Self::new(Tone::Busy, "In progress"),
            ActionState::Succeeded => Self::new(Tone::Good, "Confirmed by device"),
            ActionState::Failed => Self::new(Tone::Bad, "Failed"),
            ActionState::TimedOut => Self::new(Tone::Bad, "No answer in time"),
            ActionState::Cancelled => Self::new(Tone::Plain, "Cancelled"),
        }
    }
}

/// The severity as the console writes it.
pub fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "Critical",
        Severity::High => "High",
        Severity::Medium => "Medium",
        Severity::Low => "Low",
        Severity::Informational => "Information",
    }
}

/// A shape for each severity, so that nobody depends on colour: the more corners point up, the worse.
fn shape(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "<path d=\"M6 0l6 6-6 6-6-6z\" stroke=\"none\"/>",
        Severity::High => "<path d=\"M6 1l6 10H0z\" stroke=\"none\"/>",
        Severity::Medium => "<path d=\"M1 1h10v10H1z\" stroke=\"none\"/>",
        Severity::Low => "<path d=\"M0 1h12L6 11z\" stroke=\"none\"/>",
        Severity::Informational => "<circle cx=\"6\" cy=\"6\" r=\"4.5\" fill=\"none\" stroke-width=\"2\"/>",
    }
}

impl Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, mark) = match self.tone {
            Tone::Good => ("good", String::new()),
            Tone::Warn => ("warn", String::new()),
            Tone::Bad => ("bad", String::new()),
            Tone::Busy => ("busy", "<span class=\"wl-ring\" aria-hidden=\"true\"></span>".to_owned()),
            Tone::Plain => ("plain", String::new()),
            Tone::Fresh => ("fresh", String::new()),
            Tone::Outline => ("outline", String::new()),
            Tone::Simulated => ("sim", String::new()),
            Tone::Severity(severity) => (
                severity.as_str(),
                format!("<svg viewBox=\"0 0 12 12\" aria-hidden=\"true\">{}</svg>", shape(severity)),
            ),
        };
        write!(f, "<span class=\"wl-tag wl-tag--{class}\">{mark}{}</span>", escaped(&self.text))
    }
}

impl Markup for Tag {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_differ_in_word_and_shape() {
        let tags: Vec<_> = Severity::ALL.iter().map(|s| (severity_word(*s), shape(*s))).collect();
        for (i, (word, shape)) in tags.iter().enumerate() {
            assert!(tags[i + 1..].iter().all(|(w, s)| w != word && s != shape));
        }
    }

    #[test]
    fn a_tag_is_text_not_markup() {
        let html = Tag::new(Tone::Plain, "<b>\u{202e}").to_string();
        assert_eq!(html, "<span class=\"wl-tag wl-tag--plain\">&lt;b&gt;\\u{202e}</span>");
    }
}
