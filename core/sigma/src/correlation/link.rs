//! Correlations joined to the rules and correlations that they refer to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use wardline_event::{Fields, Timestamp};

use crate::correlation::capture::{Captured, FARTHEST, Hit};
use crate::correlation::plan::Plan;
use crate::correlation::resolve::{Target, depths, names, resolve};
use crate::correlation::rule::{Correlation, CorrelationCondition, CorrelationType};
use crate::error::RuleError;
use crate::language::rule::Rule;
use crate::limits;

/// Correlations that are ready to be evaluated. Cheap to clone; clones share everything.
#[derive(Clone, Debug, Default)]
pub struct Correlations {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    correlations: Vec<Correlation>,
    plans: Vec<Plan>,
    /// By index of the rule.
    rules: Vec<Source>,
    /// By index of the correlation: those over it.
    outer: Vec<Source>,
    /// By index of the correlation: milliseconds until those over it have decided what a match of it led to.
    recalled: Vec<i64>,
    /// Names of fields by number.
    fields: Vec<String>,
    silent_rules: Vec<bool>,
    /// By index of the correlation: what each of its references stands for.
    references: Vec<Vec<Reference>>,
}

/// What a correlation's reference to a rule stands for: several rules if they share an id or name, or correlations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// Indices of rules.
    pub rules: Vec<usize>,
    /// Indices of correlations.
    pub correlations: Vec<usize>,
}

impl Reference {
    fn of(targets: &[Target]) -> Self {
        let mut out = Self::default();
        for target in targets {
            match target {
                Target::Rule(rule) => out.rules.push(*rule),
                Target::Correlation(inner) => out.correlations.push(*inner),
            }
        }
        out
    }
}

/// A rule or correlation, as those over it see it.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub feeds: Vec<Feed>,
    /// The fields that are needed of its matches, ascending.
    needs: Vec<u32>,
}

/// What a match of a rule or correlation means to one correlation over it.
#[derive(Debug)]
pub(crate) struct Feed {
    pub correlation: usize,
    /// Which of its rules this is; 0 where that does not matter.
    pub rules: u64,
    /// The fields to group by.
    pub group: Vec<u32>,
    /// The fields whose values count.
    pub values: Vec<u32>,
}

impl Correlations {
    /// Joins correlations to `rules`, whose places in the slice are the rule indices from then on; they are those of
    /// a [`RuleSet`](crate::RuleSet) made of the same rules.
    ///
    /// A reference is an id (without regard to case) or a name. It stands for every rule that has it, or, if none
    /// has, for the correlation that does. What cannot be joined is left out and reported, and so is every
    /// correlation over it; the rules that only such a correlation refers to are reported by themselves.
    pub fn link(rules: &[Rule], correlations: Vec<Correlation>) -> (Self, Vec<RuleError>) {
        // Most rules stand alone, and need not be asked for their names then.
        if correlations.is_empty() {
            return Default::default();
        }
        let mut faults = Vec::new();
        let mut correlations = correlations;
        if correlations.len() > limits::CORRELATIONS {
            for over in correlations.drain(limits::CORRELATIONS..) {
                let message = format!("more than {} correlations", limits::CORRELATIONS);
                faults.push(fault("S002", &over, message, "load fewer"));
            }
        }
        let mut ids: HashMap<String, String> = HashMap::new();
        correlations.retain(|c| {
            if c.attributes.id.is_empty() {
                return true;
            }
            match ids.insert(c.attributes.id.to_ascii_lowercase(), c.attributes.origin.clone()) {
                None => true,
                Some(first) => {
                    let message =
                        format!("the id {} belongs to another correlation, in {first}", c.attributes.id);
                    faults.push(fault("S060", c, message, "give each its own UUID, or load it once"));
                    false
                }
            }
        });
        let rule_names = names(rules.iter().map(|rule| [rule.id.as_str(), rule.name.as_str()]));
        loop {
            let own =
                names(correlations.iter().map(|c| [c.attributes.id.as_str(), c.attributes.name.as_str()]));
            let resolved: Vec<_> = correlations.iter().map(|c| resolve(c, &rule_names, &own)).collect();
            let depths = depths(&resolved);
            let mut bad: Vec<Option<RuleError>> = correlations
                .iter()
                .zip(resolved.iter().zip(&depths))
                .map(|(c, (targets, depth))| match (targets, depth) {
                    (Err(missing), _) => Some(fault(
                        "S042",
                        c,
                        format!("no rule or correlation that could be loaded has the id or name `{missing}`"),
                        "load it together with this correlation; it may have been left out for a fault of its own",
                    )),
                    (_, None) => Some(fault(
                        "S043",
                        c,
                        format!("{} stands in a circle of correlations, or over one", label(c)),
                        "let one of them refer to rules only",
                    )),
                    (_, Some(depth)) if *depth > limits::CORRELATION_CHAIN => Some(fault(
                        "S043",
                        c,
                        format!("a chain of {depth} correlations, the limit is {}", limits::CORRELATION_CHAIN),
                        "let it refer to rules, or to correlations nearer to them",
                    )),
                    _ => None,
                })
                .collect();
            if bad.iter().all(Option::is_none) {
                let resolved: Vec<_> = resolved.into_iter().map(Result::unwrap_or_default).collect();
                let depths: Vec<_> = depths.into_iter().map(Option::unwrap_or_default).collect();
                let inner = build(rules, correlations, &resolved, &depths);
                return (Self { inner: Arc::new(inner) }, faults);
            }
            let mut index = 0;
            correlations.retain(|_| {
                let fault = bad[index].take();
                index += 1;
                let keep = fault.is_none();
                faults.extend(fault);
                keep
            });
        }
    }

    /// The correlations, in the order of the indices that matches have. A `level` that was not written is here the
    /// highest of the rules and correlations that it refers to.
    pub fn correlations(&self) -> &[Correlation] {
        &self.inner.correlations
    }

    /// What each entry of a correlation's `rules` stands for.
    ///
    /// # Panics
    /// If there is no correlation with this index.
    pub fn references(&self, correlation: usize) -> &[Reference] {
        &self.inner.references[correlation]
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.inner.correlations.is_empty()
    }

    /// Whether a rule's matches are of interest to a correlation.
    pub fn wants(&self, rule: usize) -> bool {
        self.inner.rules.get(rule).is_some_and(|source| !source.feeds.is_empty())
    }

    /// Whether a rule is not reported by itself, because a correlation refers to it and none says `generate`.
    pub fn is_silent(&self, rule: usize) -> bool {
        self.inner.silent_rules.get(rule).copied().unwrap_or(false)
    }

    /// How long after an event a correlation may still come back to it, of an event that matched these rules: a match
    /// whose last event it is may be decided so much later, but for the lateness that the state allows. Zero if every
    /// match is decided with its last event.
    pub fn recalled_for(&self, rules: &[usize]) -> Duration {
        let sources = rules.iter().filter_map(|rule| self.inner.rules.get(*rule));
        let millis = sources.map(|source| self.inner.recalled(source)).max().unwrap_or(0);
        Duration::from_millis(millis.unsigned_abs())
    }

    /// Takes out of an event what correlations need to know of it. `rules` are the indices of the rules that it
    /// matched; `None` if no correlation refers to any of them. `reference` names the event in matches; of two
    /// events of one time the one with the smaller reference counts as the earlier one.
    pub fn capture(
        &self,
        rules: &[usize],
        event: &(impl Fields + ?Sized),
        time: Timestamp,
        reference: u64,
    ) -> Option<Hit> {
        let mut wanted = rules.iter().filter(|rule| self.wants(**rule)).peekable();
        wanted.peek()?;
        let mut rules: Vec<u32> = wanted.map(|rule| *rule as u32).collect();
        rules.sort_unstable();
        rules.dedup();
        let mut fields: Vec<u32> = Vec::new();
        for rule in &rules {
            fields.extend(&self.inner.rules[*rule as usize].needs);
        }
        fields.sort_unstable();
        fields.dedup();
        let values = fields
            .into_iter()
            .filter_map(|id| {
                let value = event.field(&self.inner.fields[id as usize])?;
                Some((id, Captured::take(&value)?))
            })
            .collect();
        let time = time.0.clamp(-FARTHEST, FARTHEST);
        Some(Hit { time, reference, rules: rules.into(), values })
    }

    pub(crate) fn plans(&self) -> &[Plan] {
        &self.inner.plans
    }

    pub(crate) fn feeds_of_rule(&self, rule: u32) -> &[Feed] {
        self.inner.rules.get(rule as usize).map_or(&[], |source| &source.feeds)
    }

    pub(crate) fn feeds_of_correlation(&self, correlation: usize) -> &[Feed] {
        &self.inner.outer[correlation].feeds
    }
}

impl Inner {
    /// Milliseconds until the last of the correlations over this has decided what a match of it led to.
    fn recalled(&self, source: &Source) -> i64 {
        let over = source.feeds.iter().map(|feed| {
            let plan = &self.plans[feed.correlation];
            // Of these each match has the newest event; others look at the values or the run of older ones too.
            let at_once =
                !plan.closing && matches!(plan.kind, CorrelationType::EventCount | CorrelationType::Temporal);
            self.recalled[feed.correlation].saturating_add(if at_once { 0 } else { plan.span })
        });
        over.max().unwrap_or(0)
    }
}

fn fault(code: &'static str, correlation: &Correlation, message: String, hint: &str) -> RuleError {
    RuleError {
        code,
        origin: correlation.attributes.origin.clone(),
        line: correlation.at.line.max(1),
        column: correlation.at.column.max(1),
        message,
        hint: hint.to_owned(),
    }
}

fn label(correlation: &Correlation) -> String {
    let attributes = &correlation.attributes;
    let named =
        [&attributes.name, &attributes.id, &attributes.title].into_iter().find(|text| !text.is_empty());
    format!("`{}`", named.map_or("", String::as_str))
}

fn build(
    rules: &[Rule],
    mut correlations: Vec<Correlation>,
    resolved: &[Vec<Vec<Target>>],
    depths: &[usize],
) -> Inner {
    let mut inner_first: Vec<usize> = (0..correlations.len()).collect();
    inner_first.sort_by_key(|index| depths[*index]);
    for index in &inner_first {
        if !correlations[*index].has_level {
            let levels = resolved[*index].iter().flatten().map(|target| match target {
                Target::Rule(rule) => rules[*rule].level,
                Target::Correlation(inner) => correlations[*inner].attributes.level,
            });
            if let Some(level) = levels.max() {
                correlations[*index].attributes.level = level;
            }
        }
    }
    let mut plans: Vec<Plan> = correlations.iter().map(Plan::new).collect();
    for (rank, index) in inner_first.iter().enumerate() {
        plans[*index].rank = rank as u32;
    }
    let mut out = Inner {
        rules: std::iter::repeat_with(Source::default).take(rules.len()).collect(),
        outer: std::iter::repeat_with(Source::default).take(correlations.len()).collect(),
        recalled: vec![0; correlations.len()],
        silent_rules: vec![false; rules.len()],
        ..Inner::default()
    };
    let mut loud: Vec<Target> = Vec::new();
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut number = |name: &str, fields: &mut Vec<String>| {
        *numbers.entry(name.to_owned()).or_insert_with(|| {
            fields.push(name.to_owned());
            fields.len() as u32 - 1
        })
    };
    // Outer ones first, so that what they ask for is known when the inner ones' turn comes.
    for index in inner_first.into_iter().rev() {
        let correlation = &correlations[index];
        let mut carries = std::mem::take(&mut out.outer[index].needs);
        carries.sort_unstable();
        carries.dedup();
        let grouped: Vec<u32> =
            correlation.group_by.iter().map(|name| number(name, &mut out.fields)).collect();
        let exposes = grouped.iter().copied().enumerate().filter(|(_, id)| carries.contains(id)).collect();
        carries.retain(|id| !grouped.contains(id));
        for (bit, (reference, targets)) in correlation.rules.iter().zip(&resolved[index]).enumerate() {
            for target in targets {
                let known_as = match target {
                    Target::Rule(rule) => [rules[*rule].name.as_str(), rules[*rule].id.as_str()],
                    Target::Correlation(inner) => {
                        let attributes = &correlations[*inner].attributes;
                        [attributes.name.as_str(), attributes.id.as_str()]
                    }
                };
                let mut ids = |names: &[String], fields: &mut Vec<String>| -> Vec<u32> {
                    let names = names.iter().map(|name| field_of(correlation, name, reference, known_as));
                    names.map(|name| number(name, fields)).collect()
                };
                let group = ids(&correlation.group_by, &mut out.fields);
                let values = match &correlation.condition {
                    CorrelationCondition::Thresholds { fields, .. } => ids(fields, &mut out.fields),
                    CorrelationCondition::Rules(_) => Vec::new(),
                };
                let source = match target {
                    Target::Rule(rule) => {
                        out.silent_rules[*rule] = true;
                        &mut out.rules[*rule]
                    }
                    Target::Correlation(inner) => {
                        plans[*inner].silent = true;
                        plans[*inner].every_moment |= correlation.kind.is_temporal();
                        &mut out.outer[*inner]
                    }
                };
                if correlation.generate {
                    loud.push(*target);
                }
                source.needs.extend(group.iter().chain(&values).chain(&carries));
                let rules = if correlation.kind.is_temporal() { 1 << bit } else { 0 };
                match source.feeds.iter_mut().find(|feed| feed.correlation == index) {
                    Some(feed) => feed.rules |= rules,
                    None => source.feeds.push(Feed { correlation: index, rules, group, values }),
                }
            }
        }
        (plans[index].exposes, plans[index].carries) = (exposes, carries.into());
    }
    for target in loud {
        match target {
            Target::Rule(rule) => out.silent_rules[rule] = false,
            Target::Correlation(inner) => plans[inner].silent = false,
        }
    }
    for source in out.rules.iter_mut().chain(&mut out.outer) {
        source.needs.sort_unstable();
        source.needs.dedup();
        source.feeds.sort_by_key(|feed| plans[feed.correlation].rank);
    }
    out.references = resolved.iter().map(|all| all.iter().map(|t| Reference::of(t)).collect()).collect();
    let mut out = Inner { correlations, plans, ..out };
    let mut outer_first: Vec<usize> = (0..out.plans.len()).collect();
    outer_first.sort_by_key(|index| std::cmp::Reverse(out.plans[*index].rank));
    for index in outer_first {
        out.recalled[index] = out.recalled(&out.outer[index]);
    }
    out
}

/// The field that a name of the correlation means in the events of one of its rules.
fn field_of<'a>(
    correlation: &'a Correlation,
    name: &'a str,
    reference: &str,
    known_as: [&str; 2],
) -> &'a str {
    let alias = correlation.aliases.iter().find(|alias| alias.name == name);
    let field = alias.and_then(|alias| {
        let names_it = |rule: &str| {
            rule == reference
                || known_as.iter().any(|known| !known.is_empty() && known.eq_ignore_ascii_case(rule))
        };
        alias.fields.iter().find(|(rule, _)| names_it(rule)).map(|(_, field)| field.as_str())
    });
    field.unwrap_or(name)
}
