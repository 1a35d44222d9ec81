//! Many rules, compiled for matching.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use wardline_event::{Fields, LogSource, MatchedField};

use crate::cache::{CacheError, Compiled, CompiledWriter, KeptBytes, digest};
use crate::compiled::admission::Admission;
use crate::compiled::class::Class;
use crate::compiled::family::{Family, Keeping};
use crate::compiled::scratch::Scratch;
use crate::error::RuleError;
use crate::language::eval::{self, Plain};
use crate::language::rule::Rule;
use crate::limits;

/// Rules that are matched together.
///
/// Cheap to clone; clones share everything. The rules that can see a log source are compiled together when the
/// first event of that source comes, or by [`RuleSet::prepare`].
#[derive(Clone)]
pub struct RuleSet {
    inner: Arc<Inner>,
}

struct Inner {
    rules: Vec<Rule>,
    groups: Vec<Group>,
    families: RwLock<Families>,
    /// Set if compiled rules are kept: those of an earlier run.
    earlier: OnceLock<Option<Compiled>>,
}

/// The rules of one log source that a rule names.
struct Group {
    source: LogSource<'static>,
    /// Their indices, ascending.
    rules: Vec<usize>,
    /// See [`Detection::weight`](crate::language::ast::Detection::weight); of all of them.
    weight: usize,
}

/// Families by the groups that they came from, so that log sources with the same rules share them.
#[derive(Default)]
struct Families {
    known: HashMap<Vec<usize>, Arc<Family>>,
    /// The weight of their rules, which what is compiled of them is bounded by.
    weight: usize,
}

impl RuleSet {
    /// Compiles rules.
    ///
    /// # Errors
    /// Every fault that one rule alone does not show: two rules with one id, or more text to look for than a set
    /// may hold.
    pub fn compile(rules: Vec<Rule>) -> Result<Self, Vec<RuleError>> {
        let (set, faults) = Self::compile_lossy(rules);
        if faults.is_empty() { Ok(set) } else { Err(faults) }
    }

    /// Compiles the rules that can be, and reports the others, which are left out.
    pub fn compile_lossy(rules: Vec<Rule>) -> (Self, Vec<RuleError>) {
        let mut admission = Admission::default();
        let faults = rules.into_iter().filter_map(|rule| admission.admit(rule)).collect();
        (Self::new(admission.rules, &admission.weights), faults)
    }

    /// A set of rules with their weights.
    fn new(rules: Vec<Rule>, weights: &[usize]) -> Self {
        let mut by_source: HashMap<&LogSource<'static>, Vec<usize>> = HashMap::new();
        for (index, rule) in rules.iter().enumerate() {
            by_source.entry(&rule.log_source).or_default().push(index);
        }
        let group = |(source, rules): (&LogSource<'static>, Vec<usize>)| Group {
            source: source.clone(),
            weight: rules.iter().map(|rule| weights[*rule]).sum(),
            rules,
        };
        let mut groups: Vec<_> = by_source.into_iter().map(group).collect();
        groups.sort_unstable_by(|a, b| a.source.cmp(&b.source));
        Self {
            inner: Arc::new(Inner { rules, groups, families: RwLock::default(), earlier: OnceLock::new() }),
        }
    }

    /// The rules, in the order of the indices that [`RuleSet::matches`] gives.
    pub fn rules(&self) -> &[Rule] {
        &self.inner.rules
    }

    /// Whether rules came from a cache ([`Collection::open`](crate::Collection::open)) of which a part that was needed
    /// turned out to be damaged. Matches may be missing then.
    pub fn is_damaged(&self) -> bool {
        self.rules().iter().any(Rule::is_damaged)
    }

    /// Working memory for one thread.
    pub fn scratch(&self) -> Scratch {
        Scratch::new(self.clone())
    }

    /// Compiles the rules for one log source now, so that its first event need not wait for it.
    pub fn prepare(&self, source: &LogSource<'_>) {
        let Some(family) = self.family(source, &[]) else { return };
        for outcome in 0..family.outcomes() {
            self.class(&family, outcome as u32);
        }
    }

    /// Calls `on_match` with the index of each rule that the event matches, in ascending order.
    ///
    /// A `scratch` of another rule set works too, only slower the first time.
    pub fn matches(&self, event: &dyn Fields, scratch: &mut Scratch, on_match: &mut dyn FnMut(usize)) {
        self.matches_in(event, scratch, on_match);
    }

    /// The same as [`RuleSet::matches`], for callers that know the type of their events.
    pub fn matches_in<F: Fields + ?Sized>(
        &self,
        event: &F,
        scratch: &mut Scratch,
        on_match: &mut dyn FnMut(usize),
    ) {
        scratch.serve(self);
        scratch.run(event, on_match);
    }

    pub(crate) fn same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// The rules that can see events of this log source and these further categories; `None` past the limits for what is
    /// compiled, whatever events say of themselves: then [`RuleSet::match_plainly`] tells what matches.
    pub(crate) fn family(&self, source: &LogSource<'_>, also: &[&str]) -> Option<Arc<Family>> {
        let all = &self.inner.groups;
        let groups: Vec<usize> = (0..all.len()).filter(|i| covers(&all[*i].source, source, also)).collect();
        // A family is complete once it is in the map, so a thread that died while holding the lock did no harm.
        let families = self.inner.families.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(family) = families.known.get(&groups) {
            return Some(Arc::clone(family));
        }
        let weight: usize = groups.iter().map(|i| all[*i].weight).sum();
        let fits = |families: &Families| {
            families.known.len() < limits::FAMILIES && families.weight + weight <= limits::FAMILY_BYTES
        };
        if !fits(&families) {
            return None;
        }
        drop(families);
        let indices = groups.iter().flat_map(|i| all[*i].rules.iter().copied()).collect();
        let detection = |index: usize| &*self.inner.rules[index].detection;
        let family = Family::new(groups.clone(), indices, detection, self.keeping().earlier);
        let mut families = self.inner.families.write().unwrap_or_else(PoisonError::into_inner);
        if !families.known.contains_key(&groups) {
            if !fits(&families) {
                return None;
            }
            families.weight += weight;
        }
        Some(Arc::clone(families.known.entry(groups).or_insert_with(|| Arc::new(family))))
    }

    /// Calls `on_match` with the index of each rule that the event matches, in ascending order, without an index.
    pub(crate) fn match_plainly<F: Fields + ?Sized>(&self, event: &F, on_match: &mut dyn FnMut(usize)) {
        let (source, also) = (event.log_source(), event.also());
        for (index, rule) in self.rules().iter().enumerate() {
            if covers(&rule.log_source, &source, also) && eval::matches(&rule.detection, &Plain(event)) {
                on_match(index);
            }
        }
    }

    /// How many families there are, and the weight of their rules.
    #[cfg(test)]
    pub(crate) fn compiled_families(&self) -> (usize, usize) {
        let families = self.inner.families.read().unwrap();
        (families.known.len(), families.weight)
    }

    /// The rules of a family compiled for an outcome of its discriminator.
    pub(crate) fn class(&self, family: &Family, outcome: u32) -> Arc<Class> {
        let rules = &self.inner.rules;
        family.class(outcome, rules.len(), |index| &rules[index].detection, self.keeping())
    }

    fn keeping(&self) -> Keeping<'_> {
        let earlier = self.inner.earlier.get();
        Keeping { earlier: earlier.and_then(Option::as_ref), keep: earlier.is_some() }
    }

    /// A name for the rules as far as they are compiled: other rules, or the same in another order, have another.
    pub fn print(&self) -> [u8; 16] {
        let mut bytes = Vec::with_capacity(self.rules().len() * 64);
        for rule in self.rules() {
            let LogSource { product, category, service } = &rule.log_source;
            for term in [product, category, service] {
                bytes.extend_from_slice(&(term.len() as u64).to_le_bytes());
                bytes.extend_from_slice(term.as_bytes());
            }
            bytes.extend_from_slice(&rule.print().to_le_bytes());
        }
        let (one, other) = (digest(1, &bytes), digest(2, &bytes));
        (u128::from(one) << 64 | u128::from(other)).to_be_bytes()
    }

    /// Keeps what is compiled from now on for [`RuleSet::compiled`], and takes what such bytes of an earlier run hold
    /// instead of compiling it again. To be called before the first event; a second call changes nothing.
    ///
    /// # Errors
    /// The bytes are damaged, of another version, or of other rules; they are not used then. Where a part of them turns
    /// out to be damaged later on, the rules are compiled.
    pub fn keep_compiled(&self, earlier: Option<Arc<dyn KeptBytes>>) -> Result<(), CacheError> {
        let opened = earlier.map(|bytes| Compiled::open(bytes, self.print())).transpose();
        let (earlier, result) = match opened {
            Ok(earlier) => (earlier, Ok(())),
            Err(error) => (None, Err(error)),
        };
        let _ = self.inner.earlier.set(earlier);
        result
    }

    /// What was compiled, and what an earlier run kept, for [`RuleSet::keep_compiled`] in the next one; `None` if there
    /// is nothing new, or more than is worth to be kept.
    pub fn compiled(&self) -> Option<Vec<u8>> {
        let earlier = self.inner.earlier.get()?;
        let families = self.inner.families.read().unwrap_or_else(PoisonError::into_inner);
        let damaged = earlier.as_ref().is_some_and(Compiled::is_damaged);
        if !damaged && !families.known.values().any(|family| family.has_compiled()) {
            return None;
        }
        let mut out = CompiledWriter::default();
        families.known.values().for_each(|family| family.copy_to(&mut out));
        if let Some(earlier) = earlier {
            earlier.copy_to(&mut out);
        }
        out.finish(self.print())
    }

    /// Why a rule matches an event; empty if it does not.
    ///
    /// Every test that holds in a branch that made the condition true: of an `or` all true branches, since each
    /// would have been enough; under `not` nothing, since what is absent cannot be shown. The log source is not
    /// looked at.
    ///
    /// # Panics
    /// If there is no rule with this index.
    pub fn explain(&self, rule: usize, event: &dyn Fields) -> Vec<MatchedField> {
        eval::explain(&self.inner.rules[rule].detection, event)
    }
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleSet").field("rules", &self.inner.rules).finish_non_exhaustive()
    }
}

impl Default for RuleSet {
    fn default() -> Self {
        Self::new(Vec::new(), &[])
    }
}

/// Whether a rule for `rule` is to see events of `event`: each term that the rule gives must be the event's, or one of
/// its further categories.
pub(crate) fn covers(rule: &LogSource<'_>, event: &LogSource<'_>, also: &[&str]) -> bool {
    let fits = |rule: &str, event: &str| rule.is_empty() || rule == event;
    fits(&rule.product, &event.product)
        && (fits(&rule.category, &event.category) || also.contains(&&*rule.category))
        && fits(&rule.service, &event.service)
}

#[cfg(test)]
mod tests {
    use wardline_event::{LogRecord, LogSource};

    use super::*;

    fn rule(source: &str, detection: &str) -> Rule {
        let text =
            format!("title: t\nlogsource: {{{source}}}\ndetection: {{a: {{{detection}}}, condition: a}}\n");
        Rule::parse(&text, "hostile").unwrap().remove(0)
    }

    /// Rules of many products and of many categories can be combined in very many ways by events that invent both. Of
    /// so many something is compiled, and of no more; what they match does not depend on it.
    #[test]
    fn what_is_compiled_has_an_end_whatever_events_say_of_themselves() {
        const TERMS: usize = 60;
        let rules = (0..TERMS).flat_map(|n| {
            [rule(&format!("product: p{n}"), "F: x"), rule(&format!("category: c{n}"), "F|contains: x")]
        });
        let set = RuleSet::compile(rules.collect()).unwrap();
        let mut scratch = set.scratch();
        for n in 0..TERMS * TERMS {
            let (product, category) = (n % TERMS, n / TERMS);
            let source = LogSource::new("", "", "");
            let mut event = LogRecord::new(LogSource {
                product: format!("p{product}").into(),
                category: format!("c{category}").into(),
                ..source
            });
            event.set("F", "x");
            let mut found = Vec::new();
            set.matches(&event, &mut scratch, &mut |rule| found.push(rule));
            let mut wanted = [2 * product, 2 * category + 1];
            wanted.sort_unstable();
            assert_eq!(found, wanted);
        }
        assert_eq!(set.compiled_families().0, limits::FAMILIES);
    }

    /// The same where the rules are heavy: their weight is what counts.
    #[test]
    fn heavy_rules_are_compiled_a_few_times() {
        let values: Vec<String> = (0..30_000).map(|n| format!("v{n:0100}")).collect();
        let heavy = rule("product: p", &format!("F: [{}]", values[..8_000].join(", ")));
        let weight = heavy.brief().weight;
        let others = (0..100).map(|n| rule(&format!("category: c{n}"), "G: x"));
        let set = RuleSet::compile([heavy].into_iter().chain(others).collect()).unwrap();
        let mut scratch = set.scratch();
        for (n, value) in values.iter().take(100).enumerate() {
            let category = format!("c{n}");
            let mut event =
                LogRecord::new(LogSource { category: category.into(), ..LogSource::new("p", "", "") });
            event.set("F", value.as_str());
            event.set("G", "X");
            let mut found = Vec::new();
            set.matches(&event, &mut scratch, &mut |rule| found.push(rule));
            assert_eq!(found, [0, n + 1]);
        }
        let (families, of_them) = set.compiled_families();
        assert!(families <= limits::FAMILY_BYTES / weight && of_them <= limits::FAMILY_BYTES, "{families}");
        assert!(families > 10);
    }

    #[test]
    fn a_set_names_only_so_many_fields() {
        let wide = |from: usize| {
            let fields: Vec<String> = (from..from + 3000).map(|n| format!("f{n}: x")).collect();
            rule("product: p", &fields.join(", "))
        };
        // The same fields again and again are no more of them.
        let rules = vec![wide(0), wide(0), wide(1000), wide(3000), wide(6000), wide(2000)];
        let (set, faults) = RuleSet::compile_lossy(rules);
        assert_eq!(set.rules().len(), 5);
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            ["hostile:1:1: S002 with this rule the set names more than 8192 fields; load fewer rules"]
        );
    }
}
