//! What `agent doctor` and `hub doctor` share: checks, and how they are told.

use std::process::ExitCode;

use serde::Serialize;

use crate::printable::printable;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Good,
    /// It cannot be said.
    Unknown,
    /// Something is missing, and the rest works all the same.
    Degraded,
    /// It does not do its work, or will not for long.
    Fault,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub state: State,
    /// What was found.
    pub what: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do; empty if nothing.
    #[serde(rename = "do")]
    pub mend: String,
}

/// Tells the checks of `whose` and ends as they say: 0, 2 if something is degraded, 1 if something is at fault.
pub fn tell(whose: &str, place: &str, checks: &[Check], json: bool) -> ExitCode {
    let worst = checks.iter().map(|check| check.state).max().unwrap_or(State::Unknown);
    if json {
        println!("{}", serde_json::json!({"folder": place, "state": worst, "checks": checks}));
    } else {
        println!("The {whose} of {}:\n", printable(place));
        for check in checks {
            let mark = match check.state {
                State::Good => "✓",
                State::Unknown => "?",
                State::Degraded => "!",
                State::Fault => "✗",
            };
            println!("{mark} {}: {}", check.name, printable(&check.what));
            if check.state > State::Good {
                println!("    why it matters: {}", check.why);
                if !check.mend.is_empty() {
                    println!("    what to do: {}", printable(&check.mend));
                }
            }
        }
        let count = |state| checks.iter().filter(|check| check.state == state).count();
        println!(
            "\n{} checks: {} faults, {} degraded, {} unknown.",
            checks.len(),
            count(State::Fault),
            count(State::Degraded),
            count(State::Unknown)
        );
    }
    match worst {
        State::Good | State::Unknown => ExitCode::SUCCESS,
        State::Degraded => ExitCode::from(2),
        State::Fault => ExitCode::FAILURE,
    }
}
