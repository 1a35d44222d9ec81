//! Which rules with a response the kernel can follow itself.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wardline_policy::{DevicePolicy, Response};
use wardline_sigma::Rule;
use wardline_sigma::verdict::{Coverage, Decided, Refusal, Terms, Verdicts};

/// What became of a rule that asks for a kill.
pub struct InKernel(Result<Decided, Refusal>);

/// By the rule's place: those that ask for a kill, with the tables that an agent under the default policy would make of
/// these rules together.
pub fn of(rules: &[Rule]) -> BTreeMap<usize, InKernel> {
    let kills = |rule: &Rule| {
        !rule.is_part_of_aggregation() && Response::from_rule(&rule.extra) == Ok(Response::Kill)
    };
    let asking = rules.iter().enumerate().filter(|(_, rule)| kills(rule));
    let spared = DevicePolicy::default().never_kill;
    let (_, told) = Verdicts::of(asking, &Terms::linux_program(&spared));
    told.into_iter().map(|(rule, result)| (rule, InKernel(result))).collect()
}

impl InKernel {
    pub fn is_decided(&self) -> bool {
        self.0.is_ok()
    }

    pub fn json(&self) -> Value {
        match &self.0 {
            Ok(decided) => {
                let (decides, without) = match &decided.coverage {
                    Coverage::Whole => ("whole", &[][..]),
                    Coverage::Part { without } => ("part", without.as_slice()),
                };
                json!({"decides": decides, "without": without, "by_executable_alone": decided.by_first})
            }
            Err(why) => json!({"decides": "nothing", "why": why.to_string()}),
        }
    }

    /// For a person.
    pub fn words(&self) -> String {
        match &self.0 {
            Ok(Decided { coverage, by_first }) => {
                let how = if *by_first {
                    "by the executable alone, so that it can be refused"
                } else {
                    "by executable and command line"
                };
                match coverage {
                    Coverage::Whole => format!("stopped by the kernel before it runs, {how}"),
                    Coverage::Part { without } => format!(
                        "stopped by the kernel before it runs, {how}, where that does not take {}; else by the agent",
                        without.join(", ")
                    ),
                }
            }
            Err(why) => format!("stopped by the agent, not by the kernel: {why}"),
        }
    }
}
