//! What a rule asks of events, against the events that there are.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use wardline_event::LogSource;

use super::items::Selection;
use super::report::{Report, Span};
use crate::language::yaml::{Kind, Node};
use crate::sources::{EventKind, FieldNames, Source, Sources};
use crate::suggest::nearest;

/// The sources, and what was asked of them before: many rules are for few log sources.
pub(super) struct Known<'s> {
    sources: &'s Sources,
    asked: Mutex<HashMap<LogSource<'static>, Arc<Seen>>>,
}

/// What rules of one log source can see.
struct Seen {
    any: bool,
    fields: FieldNames,
}

impl<'s> Known<'s> {
    pub fn new(sources: &'s Sources) -> Self {
        Self { sources, asked: Mutex::default() }
    }

    fn seen(&self, by: &LogSource<'static>) -> Arc<Seen> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = asked.entry(by.clone()).or_insert_with(|| {
            let any = !self.sources.events_for(by).is_empty();
            Arc::new(Seen { any, fields: self.sources.fields_of(by) })
        });
        Arc::clone(seen)
    }

    pub fn check(&self, root: &Node, selections: &[Selection<'_>], report: &mut Report<'_>) {
        let Some((key, node)) = root.pairs().iter().find(|(key, _)| key.text == "logsource") else { return };
        let source = log_source(node);
        if source == LogSource::default() {
            return;
        }
        let seen = self.seen(&source);
        if !seen.any {
            let message = "no known source writes events of this log source: the rule can never match";
            return report.add("S151", Span::of_key(key), message, self.meant(&source));
        }
        if seen.fields.open || seen.fields.names.is_empty() {
            return;
        }
        let mut told = HashSet::new();
        for item in selections.iter().flat_map(|s| s.groups.iter().flatten()) {
            let Some(key) = item.key.filter(|_| !item.field.is_empty()) else { continue };
            if seen.fields.has(item.field) || !told.insert(item.field) {
                continue;
            }
            let help = match nearest(item.field, seen.fields.names.iter().map(String::as_str)) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "`wardline rules explain` lists the events that the rule can see, and their fields"
                    .to_owned(),
            };
            let message = format!("no event that this rule can see has a field `{}`", item.field);
            report.add("S150", Span::in_key(key, 0, item.field.chars().count()), message, help);
        }
    }

    /// A log source that was probably meant.
    fn meant(&self, wrong: &LogSource<'_>) -> String {
        let kinds = || self.sources.iter().flat_map(Source::kinds);
        let terms: [(&str, &str, Vec<&str>); 3] = [
            ("product", &wrong.product, kinds().map(|k| &*k.log_source.product).collect()),
            ("category", &wrong.category, kinds().flat_map(EventKind::categories).collect()),
            ("service", &wrong.service, kinds().map(|k| &*k.log_source.service).collect()),
        ];
        for (name, term, known) in terms {
            if term.is_empty() || known.contains(&term) {
                continue;
            }
            return match nearest(term, known) {
                Some(known) => format!("did you mean `{name}: {known}`?"),
                None => {
                    format!("no known source has the {name} `{term}`; describe the source, or correct it")
                }
            };
        }
        "each term is known, but no source has them together; leave one out".to_owned()
    }
}

fn log_source(node: &Node) -> LogSource<'static> {
    let term = |name: &str| match node.get(name).map(|n| &n.kind) {
        Some(Kind::Scalar(scalar)) => Cow::Owned(scalar.text.trim().to_owned()),
        _ => Cow::Borrowed(""),
    };
    LogSource { product: term("product"), category: term("category"), service: term("service") }
}
