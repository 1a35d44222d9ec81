//! Filters: exclusions that are written once and hold for many rules.

use wardline_event::LogSource;

use crate::compiled::ruleset::covers;
use crate::error::Fault;
use crate::language::ast::{Condition, Detection, Selection};
use crate::language::attributes::{Attributes, log_source, scalar};
use crate::language::detection;
use crate::language::rule::Rule;
use crate::language::yaml::{Document, Kind, Node};

/// One Sigma filter. A rule that it applies to matches only where the filter's condition holds too; that condition
/// usually begins with `not`.
#[derive(Clone, Debug)]
pub struct Filter {
    /// What it says of itself. Filters have no level.
    pub attributes: Attributes,
    /// Which rules it may apply to: those whose own log source says at least this much.
    pub log_source: LogSource<'static>,
    /// Which rules it applies to.
    pub rules: FilterRules,
    pub(crate) detection: Detection,
}

/// The rules that a filter names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterRules {
    /// Every rule of the filter's log source.
    Any,
    /// These, by id or name.
    These(Vec<String>),
}

/// Characters of a filter's title that explanations show.
const TITLE_CHARS: usize = 60;

impl Filter {
    pub(crate) fn read(document: &Document<'_>, body: &Node, origin: &str) -> Result<Self, Fault> {
        let attributes = Attributes::read(document, origin)?;
        let log_source = log_source(&document.root)?;
        let detection = detection::read_filter(body)?;
        let Some(rules) = body.get("rules") else {
            return Err(Fault::new(
                "S010",
                body.pos,
                "`filter` has no `rules`",
                "add `rules: any`, or a list of ids or names",
            ));
        };
        let rules = read_rules(rules)?;
        Ok(Self { attributes, log_source, rules, detection })
    }

    /// Whether the filter's log source takes the rule in: each term that the filter gives must be the rule's.
    pub(crate) fn covers(&self, rule: &Rule) -> bool {
        covers(&self.log_source, &rule.log_source, &[])
    }

    /// Makes the rule match only where the filter's condition holds too.
    pub(crate) fn apply(&self, rule: &mut Rule) {
        let detection = &mut rule.detection;
        let first = detection.selections.len();
        // Enough of the title to tell filters apart; it is copied into every rule.
        let title: String = self.attributes.title.chars().take(TITLE_CHARS).collect();
        detection.selections.extend(self.detection.selections.iter().map(|selection| Selection {
            // The rule may have a selection of the same name; an explanation is to tell them apart.
            name: format!("{title}: {}", selection.name),
            span: selection.span,
            body: selection.body.clone(),
        }));
        let mut added = self.detection.condition.clone();
        added.shift(first);
        // Many filters make one long `and`, not a deep one.
        let condition = &mut detection.condition;
        if let Condition::And(parts) = condition {
            parts.push(added);
        } else {
            let own = std::mem::replace(condition, Condition::And(Vec::new()));
            *condition = Condition::And(vec![own, added]);
        }
    }
}

fn read_rules(node: &Node) -> Result<FilterRules, Fault> {
    let any = |word: &str| word.eq_ignore_ascii_case("any") || word.eq_ignore_ascii_case("all");
    match &node.kind {
        Kind::Sequence(items) if items.is_empty() => Ok(FilterRules::Any),
        Kind::Sequence(items) => {
            Ok(FilterRules::These(items.iter().map(|i| scalar(i, "rules")).collect::<Result<_, _>>()?))
        }
        _ => {
            let name = scalar(node, "rules")?;
            if any(&name) {
                Ok(FilterRules::Any)
            } else if name.is_empty() {
                Err(Fault::new(
                    "S011",
                    node.pos,
                    "`rules` names no rule",
                    "write `any`, or a list of ids or names",
                ))
            } else {
                Ok(FilterRules::These(vec![name]))
            }
        }
    }
}
