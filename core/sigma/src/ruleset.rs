//! Many rules, compiled for matching.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use wardline_event::{Fields, LogSource, MatchedField};

use crate::cache::{CacheError, Compiled, CompiledWriter, KeptBytes, digest};
use crate::class::Class;
use crate::error::RuleError;
use crate::eval;
use crate::family::{Family, Keeping};
use crate::limits;
use crate::placeholder;
use crate::rule::Rule;
use crate::scratch::Scratch;

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
    /// The rules (ascending indices) of each log source that a rule names.
    groups: Vec<(LogSource<'static>, Vec<usize>)>,
    /// Families by the groups that they came from, so that log sources with the same rules share them. There are no
    /// more than there are ways to combine the rules' own log sources, whatever events say of themselves.
    families: RwLock<HashMap<Vec<usize>, Arc<Family>>>,
    /// Set if compiled rules are kept: those of an earlier run.
    earlier: OnceLock<Option<Compiled>>,
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
        let mut faults = Vec::new();
        let mut bytes = 0;
        let mut kept: Vec<Rule> = Vec::with_capacity(rules.len());
        let mut ids: HashMap<String, Vec<usize>> = HashMap::new();
        for rule in rules {
            let brief = rule.brief();
            let with_id = ids.get(&brief.id).filter(|_| !brief.id.is_empty()).into_iter().flatten();
            if let Some(first) = with_id.copied().find(|other| !share_id(&kept[*other], &rule)) {
                faults.push(RuleError {
                    code: "S060",
                    origin: rule.origin.clone(),
                    line: rule.line,
                    column: 1,
                    message: format!("the id {} belongs to another rule, in {}", rule.id, kept[first].origin),
                    hint: "give each rule its own UUID, or load the rule once".to_owned(),
                });
                continue;
            }
            if brief.expands
                && let Some(fault) = placeholder::missing(&rule)
            {
                faults.push(fault);
                continue;
            }
            let with_it = brief.weight.saturating_add(bytes);
            if with_it > limits::SET_BYTES {
                faults.push(RuleError {
                    code: "S002",
                    origin: rule.origin.clone(),
                    line: rule.line,
                    column: 1,
                    message: format!(
                        "with this rule the set looks for more than {} bytes of text",
                        limits::SET_BYTES
                    ),
                    hint: "load fewer rules; long lists of indicators belong in an indicator feed".to_owned(),
                });
                continue;
            }
            bytes = with_it;
            ids.entry(brief.into_owned().id).or_default().push(kept.len());
            kept.push(rule);
        }
        (Self::new(kept), faults)
    }

    fn new(rules: Vec<Rule>) -> Self {
        let mut by_source: HashMap<&LogSource<'static>, Vec<usize>> = HashMap::new();
        for (index, rule) in rules.iter().enumerate() {
            by_source.entry(&rule.log_source).or_default().push(index);
        }
        let mut groups: Vec<_> =
            by_source.into_iter().map(|(source, rules)| (source.clone(), rules)).collect();
        groups.sort();
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
        let family = self.family(source, &[]);
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

    /// The rules that can see events of this log source and these further categories.
    pub(crate) fn family(&self, source: &LogSource<'_>, also: &[&str]) -> Arc<Family> {
        let groups: Vec<usize> =
            (0..self.inner.groups.len()).filter(|i| covers(&self.inner.groups[*i].0, source, also)).collect();
        // A family is complete once it is in the map, so a thread that died while holding the lock did no harm.
        if let Some(family) = self.inner.families.read().unwrap_or_else(PoisonError::into_inner).get(&groups)
        {
            return Arc::clone(family);
        }
        let indices = groups.iter().flat_map(|i| self.inner.groups[*i].1.iter().copied()).collect();
        let detection = |index: usize| &*self.inner.rules[index].detection;
        let family = Arc::new(Family::new(groups.clone(), indices, detection, self.keeping().earlier));
        let mut families = self.inner.families.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(families.entry(groups).or_insert(family))
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
        if !damaged && !families.values().any(|family| family.has_compiled()) {
            return None;
        }
        let mut out = CompiledWriter::default();
        families.values().for_each(|family| family.copy_to(&mut out));
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
        Self::new(Vec::new())
    }
}

/// Whether two rules have their id from one place: an `action: global` gives it to every rule of its collection.
fn share_id(a: &Rule, b: &Rule) -> bool {
    a.origin == b.origin && a.id_at == b.id_at && a.line != b.line
}

/// Whether a rule for `rule` is to see events of `event`: each term that the rule gives must be the event's, or one of
/// its further categories.
pub(crate) fn covers(rule: &LogSource<'_>, event: &LogSource<'_>, also: &[&str]) -> bool {
    let fits = |rule: &str, event: &str| rule.is_empty() || rule == event;
    fits(&rule.product, &event.product)
        && (fits(&rule.category, &event.category) || also.contains(&&*rule.category))
        && fits(&rule.service, &event.service)
}
