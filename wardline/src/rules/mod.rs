//! `wardline rules`: what a person does with rules before they run.

mod cache;
mod classes;
pub mod context;
mod correlated;
mod events;
mod explain;
pub mod files;
mod fmt;
mod kept;
mod kernel;
mod lint;
mod list;
pub mod load;
mod parallel;
mod render;
mod sarif;
mod test;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Subcommand)]
pub enum RulesCommand {
    /// List rules
    List(list::ListArgs),
    /// Print a rule, by id or part of its title
    Show(list::ShowArgs),
    /// Find what is wrong or doubtful in rules
    Lint(lint::LintArgs),
    /// Format rules: order of attributes, indentation, quotes, dates
    Fmt(fmt::FmtArgs),
    /// Tell why a rule matches events or not; or without an event, what the rule can see
    Explain(explain::ExplainArgs),
    /// Run the regression tests of rules
    Test(test::TestArgs),
}

/// Tells that the paths hold no rule file, which is rather a mistake in the command than a good end.
fn nothing(command: &str) -> ExitCode {
    eprintln!("wardline rules {command}: there is no .yml or .yaml file at the paths");
    ExitCode::from(2)
}

/// Columns of the terminal that standard output is, but no fewer than tables need; what goes to a file or program is not
/// cut.
fn columns() -> Option<usize> {
    const NARROWEST: usize = 60;
    let term = console::Term::stdout();
    if term.is_term() {
        term.size_checked().map(|(_, columns)| usize::from(columns).max(NARROWEST))
    } else {
        None
    }
}

pub fn run(command: &RulesCommand) -> ExitCode {
    crate::logging::start_if_asked();
    match command {
        RulesCommand::List(args) => list::list(args),
        RulesCommand::Show(args) => list::show(args),
        RulesCommand::Lint(args) => lint::run(args),
        RulesCommand::Fmt(args) => fmt::run(args),
        RulesCommand::Explain(args) => explain::run(args),
        RulesCommand::Test(args) => test::run(args),
    }
}
