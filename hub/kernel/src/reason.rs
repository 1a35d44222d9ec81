//! The reason that a person gives for an order or a change: kept for ever, in the audit log.

/// Characters of a reason at most.
pub const LONGEST_REASON: usize = 1000;

/// A reason that is too long to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reason has {chars} characters and at most {LONGEST_REASON} are kept; shorten it")]
pub struct ReasonTooLong {
    /// How many it has.
    pub chars: usize,
}

/// A reason fit to be kept and shown: one line without control characters, trimmed. Refused rather than cut, for
/// what is cut off may be what matters.
pub fn fit_reason(text: &str) -> Result<String, ReasonTooLong> {
    let line = text.replace("\r\n", " ").replace(['\n', '\t'], " ");
    let fit = line.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned();
    match fit.chars().count() {
        0..=LONGEST_REASON => Ok(fit),
        chars => Err(ReasonTooLong { chars }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_one_line_of_bounded_length() {
        for (given, kept) in [
            (" it spreads \n", "it spreads"),
            ("first\r\nsecond\nthird\tword", "first second third word"),
            ("\u{1b}[31mred\u{0}", "[31mred"),
            ("\u{7}", ""),
        ] {
            assert_eq!(fit_reason(given).as_deref(), Ok(kept));
        }
        assert_eq!(fit_reason(&"ä".repeat(1000)).unwrap().chars().count(), 1000);
        assert_eq!(fit_reason(&"ä".repeat(1001)), Err(ReasonTooLong { chars: 1001 }));
    }
}
