//! Every construct of the Sigma specification with its golden cases, and whether they come out as written.
//!
//!     cargo run -p wardline-sigma --example constructs
//!
//! Ends with `N of N constructs right`; exit code 1 if one is wrong.

#![allow(clippy::unwrap_used, reason = "it runs tests")]

#[path = "../tests/cases/mod.rs"]
mod cases;

use std::process::ExitCode;

use cases::constructs::constructs;

fn main() -> ExitCode {
    let constructs = constructs();
    let (mut section, mut right, mut cases) = ("", 0, 0);
    for construct in &constructs {
        if construct.section != section {
            section = &construct.section;
            println!("\n{section}");
        }
        let wrong = construct.wrong();
        let (mark, n) = (if wrong.is_empty() { "✓" } else { "✗" }, construct.cases.len());
        println!("  {mark} {} ({n} {})", construct.name, if n == 1 { "case" } else { "cases" });
        for line in &wrong {
            println!("      {}", line.replace('\n', "\n      "));
        }
        right += usize::from(wrong.is_empty());
        cases += n;
    }
    println!("\n{right} of {} constructs right, in {cases} cases", constructs.len());
    if right == constructs.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
