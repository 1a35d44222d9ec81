//! Golden cases of correlations: `correlation/NAME.rules.yml` and what comes of `correlation/NAME.events.jsonl`.
//!
//! An event's `_time` is in seconds; its number is its line. `NAME.expected` has, in the order in which they come,
//! `event N: TITLE` for each rule that is reported by itself and, for each match of a correlation,
//! `at SECONDS: TITLE (GROUP) VALUE of N N …`; `-` is a missing value of a group. The last line says what was given
//! up, if anything was. A first comment `# lateness 5s` or `# wait 5s` in the rules sets the lateness.
//! `correlation/errors/NAME.rules.yml` is refused with the messages in `NAME.expected`.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod cases;

use cases::cases;
use cases::correlations::{beside, link, run};

#[test]
fn every_golden_case_comes_out_as_written() {
    let cases = cases("correlation", ".rules.yml");
    assert!(cases.len() >= 20, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for path in cases {
        let (got, expected) = (run(&path), beside(&path, ".expected"));
        if got != expected {
            wrong.push(format!("{}:\n{got}  expected:\n{expected}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_broken_correlation_says_what_is_wrong() {
    let cases = cases("correlation/errors", ".rules.yml");
    assert!(cases.len() >= 20, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for path in cases {
        let got = match link(&path).0 {
            Err(error) => error + "\n",
            Ok(linked) => linked.faults.iter().fold(String::new(), |all, fault| all + &format!("{fault}\n")),
        };
        let expected = beside(&path, ".expected");
        if got != expected {
            wrong.push(format!("{}:\n{got}  expected:\n{expected}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
