//! `wardline rules`: what a person does with rules before they run.

mod cache;
mod events;
mod explain;
mod explain_tree;
pub mod files;
mod fmt;
mod lint;
mod list;
pub mod load;
mod parallel;
mod render;
mod sarif;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

#[derive(Subcommand)]
pub enum RulesCommand {
    /// List rules
    List {
        /// Rule files or folders; may be given several times [default: Wardline's own rules]
        #[arg(short, long, value_name = "PATH")]
        rules: Vec<PathBuf>,
        /// One JSON object per rule
        #[arg(long)]
        json: bool,
        /// Parse the rules anew: neither use nor keep what was parsed before
        #[arg(long)]
        no_cache: bool,
    },
    /// Print a rule, by id or part of its title
    Show {
        /// The rule
        rule: String,
        /// Rule files or folders; may be given several times [default: Wardline's own rules]
        #[arg(short, long, value_name = "PATH")]
        rules: Vec<PathBuf>,
        /// Parse the rules anew: neither use nor keep what was parsed before
        #[arg(long)]
        no_cache: bool,
    },
    /// Find what is wrong or doubtful in rules
    Lint(lint::LintArgs),
    /// Format rules: order of attributes, indentation, quotes, dates
    Fmt(fmt::FmtArgs),
    /// Tell why a rule matches an event or not; or without an event, what the rule can see
    Explain(explain::ExplainArgs),
    /// Run the regression tests of rules
    Test(test::TestArgs),
}

/// Tells that the paths hold no rule file, which is rather a mistake in the command than a good end.
fn nothing(command: &str) -> ExitCode {
    eprintln!("wardline rules {command}: there is no .yml or .yaml file at the paths");
    ExitCode::from(2)
}

pub fn run(command: &RulesCommand) -> ExitCode {
    crate::logging::start_if_asked();
    match command {
        RulesCommand::List { rules, json, no_cache } => list::list(rules, *json, *no_cache),
        RulesCommand::Show { rule, rules, no_cache } => list::show(rule, rules, *no_cache),
        RulesCommand::Lint(args) => lint::run(args),
        RulesCommand::Fmt(args) => fmt::run(args),
        RulesCommand::Explain(args) => explain::run(args),
        RulesCommand::Test(args) => test::run(args),
    }
}
