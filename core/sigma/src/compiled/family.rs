//! The rules that can see one log source, compiled once for each kind of event that they tell apart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::cache::{Compiled, CompiledWriter, Outcome, store_class};
use crate::compiled::class::Class;
use crate::compiled::compile::compile;
use crate::compiled::discriminator::{Discriminator, UNKNOWN};
use crate::language::ast::Detection;

/// The rules of a log source.
#[derive(Debug)]
pub(crate) struct Family {
    /// The groups that they came from.
    groups: Vec<usize>,
    /// Their indices in the rule set, ascending.
    rules: Vec<usize>,
    pub discriminator: Option<Discriminator>,
    /// By outcome of the discriminator; compiled when the first such event comes.
    classes: Box<[OnceLock<Arc<Class>>]>,
    /// Those that were compiled and are to be kept.
    compiled: Mutex<BTreeMap<Outcome, Vec<u8>>>,
}

/// What is done with compiled rules beside matching.
#[derive(Clone, Copy)]
pub(crate) struct Keeping<'a> {
    /// Those that an earlier run kept.
    pub earlier: Option<&'a Compiled>,
    /// What is compiled now is kept.
    pub keep: bool,
}

impl Family {
    /// A family of rules, none compiled yet; `detection` gives the detection of the rule with an index.
    pub fn new<'a>(
        groups: Vec<usize>,
        mut rules: Vec<usize>,
        detection: impl Fn(usize) -> &'a Detection,
        earlier: Option<&Compiled>,
    ) -> Self {
        rules.sort_unstable();
        let discriminator = match earlier.map(|earlier| earlier.discriminator(&groups)) {
            Some(Ok(kept)) => kept,
            _ => Discriminator::choose(rules.iter().map(|index| detection(*index))),
        };
        let outcomes = discriminator.as_ref().map_or(1, Discriminator::outcomes);
        let classes = (0..outcomes).map(|_| OnceLock::new()).collect();
        Self { groups, rules, discriminator, classes, compiled: Mutex::default() }
    }

    /// How many kinds of events there are.
    pub fn outcomes(&self) -> usize {
        self.classes.len()
    }

    /// The rules compiled for events with this outcome; `rules` is the number of all rules of the set.
    pub fn class<'a>(
        &self,
        outcome: Outcome,
        rules: usize,
        detection: impl Fn(usize) -> &'a Detection,
        keeping: Keeping<'_>,
    ) -> Arc<Class> {
        let class = self.classes[outcome as usize].get_or_init(|| {
            let kept = keeping.earlier.and_then(|earlier| earlier.class(&self.groups, outcome, rules));
            Arc::new(kept.unwrap_or_else(|| {
                let known =
                    self.discriminator.as_ref().and_then(|discriminator| discriminator.known(outcome));
                compile(self.rules.iter().map(|index| (*index, detection(*index))), known, |draft| {
                    if keeping.keep {
                        self.compiled().insert(outcome, store_class(draft));
                    }
                })
            }))
        });
        Arc::clone(class)
    }

    /// Whether something was compiled that is to be kept.
    pub fn has_compiled(&self) -> bool {
        !self.compiled().is_empty()
    }

    /// Adds what was compiled.
    pub fn copy_to(&self, out: &mut CompiledWriter) {
        out.family(self.groups.clone(), self.discriminator.as_ref(), self.compiled().clone());
    }

    fn compiled(&self) -> std::sync::MutexGuard<'_, BTreeMap<Outcome, Vec<u8>>> {
        // A class is stored before it is in the map.
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outcome for events of which nothing is known.
    pub const UNKNOWN: u32 = UNKNOWN;
}

#[cfg(test)]
#[path = "../../tests/public_rules/mod.rs"]
mod public_rules;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use wardline_event::{LogRecord, LogSource, Value};

    use super::*;
    use crate::language::eval;
    use crate::{Collection, Rule, RuleSet, limits};

    fn rule(values: impl Iterator<Item = usize>, more: &str) -> Rule {
        let values: Vec<String> = values.map(|value| value.to_string()).collect();
        let text = format!(
            "title: t\nlogsource: {{product: p}}\ndetection:\n  a:\n    EventID: [{}]\n{more}  condition: a\n",
            values.join(", ")
        );
        Rule::parse(&text, "x").unwrap().remove(0)
    }

    fn found(set: &RuleSet, id: usize, word: &str) -> Vec<usize> {
        let mut event = LogRecord::new(LogSource::new("p", "", ""));
        event.set("EventID", Value::Int(id as i64));
        event.set("Word", word.to_owned());
        let mut found = Vec::new();
        set.matches(&event, &mut set.scratch(), &mut |rule| found.push(rule));
        let plainly = set.rules().iter().enumerate().filter(|(_, r)| eval::matches(&r.detection, &event));
        assert_eq!(found, plainly.map(|(index, _)| index).collect::<Vec<_>>(), "EventID {id}, {word}");
        found
    }

    fn family(set: &RuleSet) -> Arc<Family> {
        set.family(&LogSource::new("p", "", ""), &[]).unwrap()
    }

    /// Compiles everything; how many rules that is.
    fn compiled(set: &RuleSet) -> usize {
        set.prepare(&LogSource::new("p", "", ""));
        let family = family(set);
        (0..family.outcomes() as u32).map(|outcome| set.class(&family, outcome).rules.len()).sum()
    }

    /// Every rule names every value: each outcome is as much work as all rules.
    #[test]
    fn rules_that_all_name_many_values_are_compiled_a_few_times() {
        const RULES: usize = 150;
        const VALUES: usize = 1500;
        let set =
            RuleSet::compile((0..RULES).map(|n| rule(0..VALUES, &format!("    Word: '{n}'\n"))).collect())
                .unwrap();
        let weight: usize = set.rules().iter().map(|rule| rule.detection.weight()).sum();
        let most = limits::OUTCOME_BYTES / weight;
        assert!(most < VALUES / 10);
        // Those of which nothing is known, and of which it is known that no rule names them.
        assert!(family(&set).outcomes() <= most + 2);
        assert!(compiled(&set) <= (most + 2) * RULES);
        for id in [0, 1, 9, 10, 99, 700, VALUES - 1] {
            assert_eq!(found(&set, id, "7"), [7], "{id}");
        }
        assert!(found(&set, VALUES, "7").is_empty());
    }

    /// Every rule names values of its own.
    #[test]
    fn there_is_a_limit_to_outcomes() {
        const RULES: usize = 3000;
        let set =
            RuleSet::compile((0..RULES).map(|n| rule([n, 10_000 + n].into_iter(), "")).collect()).unwrap();
        assert_eq!(family(&set).outcomes(), limits::OUTCOMES as usize + 2);
        assert!(compiled(&set) <= RULES + 2 * RULES);
        for id in [0, 1, 17, 1023, 1024, 2999, 10_000, 12_999] {
            assert_eq!(found(&set, id, ""), [id % 10_000]);
        }
        assert!(found(&set, 3000, "").is_empty());
    }

    /// No honest rules come near the limits.
    #[test]
    fn public_rules_are_compiled_for_every_value_that_they_name() {
        let Some(files) = public_rules::public_rules() else { return };
        let parsed = files.iter().filter_map(|(origin, text)| Collection::parse(text, origin).ok());
        let set = RuleSet::compile_lossy(parsed.flat_map(|collection| collection.rules).collect()).0;
        let sources: BTreeSet<_> = set.rules().iter().map(|rule| &rule.log_source).collect();
        let mut most = 0;
        for source in sources {
            let family = set.family(source, &[]).unwrap();
            let Some(discriminator) = &family.discriminator else { continue };
            assert!(!discriminator.leaves_values_out(), "{source:?}");
            most = most.max(discriminator.outcomes());
        }
        println!("at most {most} outcomes");
        assert!((50..limits::OUTCOMES as usize / 2).contains(&most), "{most}");
    }

    /// 5,000 rules of 5,000 values: what a set may hold is far less, but a family does not rely on that.
    #[test]
    fn past_all_limits_rules_are_compiled_once() {
        let rule = rule(0..5000, "");
        let family = Family::new(vec![0], (0..5000).collect(), |_| &rule.detection, None);
        assert_eq!(family.outcomes(), 1);
        let rule = self::rule(0..50_000, "");
        let other = self::rule(50_000..90_000, "");
        let family = Family::new(
            vec![0],
            vec![0, 1],
            |index| if index == 0 { &rule.detection } else { &other.detection },
            None,
        );
        assert_eq!(family.outcomes(), 1, "{} values", limits::NAMED_VALUES);
    }
}
