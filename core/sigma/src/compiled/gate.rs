//! Whether a text may hold one of a few literals: a quick no for nearly every event.

use aho_corasick::packed::Searcher;

use crate::compiled::index::Folded;
use crate::compiled::window::{Inner, WindowIndex};

/// Looks for literals anywhere in a text, and says only whether there may be one.
#[derive(Debug)]
pub(crate) enum Gate {
    /// Compares many bytes at once (the algorithm "Teddy"), of each literal those from its rarest window on: what the
    /// search costs is the places where the first bytes of one are.
    Packed(Box<Searcher>),
    /// For more literals than that takes, and for processors that cannot.
    Windows(WindowIndex),
}

impl Gate {
    /// The gate of these literals; `None` without any, or if one does not have the windows that are said to be in it.
    pub fn build(literals: &[Inner<'_>]) -> Option<Self> {
        let windows = WindowIndex::build(literals)?;
        let rarest = literals.iter().filter_map(|inner| inner.literal.as_bytes().get(inner.first as usize..));
        Some(match Searcher::new(rarest) {
            Some(searcher) => Self::Packed(Box::new(searcher)),
            None => Self::Windows(windows),
        })
    }

    /// Whether the text may hold one of the literals.
    pub fn lets_pass(&self, text: Folded<'_>) -> bool {
        match self {
            Self::Packed(searcher) => searcher.find(&text.padded[..text.len]).is_some(),
            Self::Windows(windows) => {
                let mut found = false;
                windows.scan(text.padded, text.len, text.ascii, &mut |_| found = true);
                found
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compiled::commonness::Commonness;
    use crate::compiled::window::{PADDING, choose};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        /// What holds a literal always passes, whichever kind of gate the number of literals makes.
        #[test]
        fn nothing_that_holds_a_literal_is_kept_out(
            literals in prop::collection::btree_set("[abcé]{1,9}", 1..300),
            text in "[abcé]{0,60}",
        ) {
            let literals: Vec<(&str, u32)> = literals.iter().map(|literal| (literal.as_str(), 0)).collect();
            let commonness = Commonness::learn(literals.iter().map(|(literal, _)| *literal));
            let gate = Gate::build(&choose(&literals, &commonness)).unwrap();
            let padded = format!("{text}{}", "a".repeat(PADDING));
            let folded = Folded {
                padded: padded.as_bytes(),
                len: text.len(),
                ascii: text.is_ascii(),
                number: false,
            };
            let held = literals.iter().any(|(literal, _)| text.contains(literal));
            prop_assert!(gate.lets_pass(folded) || !held);
        }
    }

    #[test]
    fn texts_of_everyday_do_not_pass() {
        let literals = ["sekurlsa::", "kerberos::golden", "gentilkiwi.com"].map(|literal| (literal, 0));
        let commonness = Commonness::learn(literals.iter().map(|(literal, _)| *literal));
        let gate = Gate::build(&choose(&literals, &commonness)).unwrap();
        assert!(matches!(gate, Gate::Packed(_)) || !cfg!(target_arch = "x86_64"));
        for (text, passes) in
            [(r"c:\windows\system32\lsass.exe kerberos", false), ("x sekurlsa::logonpasswords", true)]
        {
            let padded = format!("{text}{}", " ".repeat(PADDING));
            let folded = Folded { padded: padded.as_bytes(), len: text.len(), ascii: true, number: false };
            assert_eq!(gate.lets_pass(folded), passes, "{text}");
        }
    }
}
