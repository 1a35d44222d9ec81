//! The compiled rules against the plain evaluator, on random rules and events.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use wardline_event::{ByName, Fields, Layout, LogRecord, LogSource, Value};

use crate::language::eval;
use crate::{Rule, RuleSet};

/// Few letters, so that patterns and values meet often; with the ones that fold across ASCII's border.
const TEXT: &str = r"[aAbBkK\u{212a}éÉß \-/\\*?.1]{0,6}";
const FIELDS: [&str; 3] = ["F", "G", "H"];
/// Keys of detection items; `%` stands for the field's name.
const KEYS: [&str; 24] = [
    "%",
    "%",
    "%|contains",
    "%|contains",
    "%|startswith",
    "%|endswith",
    "%|contains|all",
    "%|cased",
    "%|contains|cased",
    "%|endswith|cased",
    "%|windash",
    "%|contains|windash",
    "%|neq",
    "%|contains|neq",
    "%|startswith|all|windash",
    "%|re",
    "%|re|i",
    "%|re|i|m|s",
    "%|fieldref",
    "%|fieldref|contains",
    "%|base64offset|contains",
    "%|wide|base64",
    "|all",
    "|re",
];
const REGEXES: [&str; 8] = ["a+b", "^a", "b$", "a.?k", "[ab]{2}", "(a|b)k", "é", "\\\\"];

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `key: [values]`.
fn item() -> impl Strategy<Value = String> {
    let text = (0..FIELDS.len(), 0..KEYS.len(), prop::collection::vec(TEXT, 1..4), 0..REGEXES.len())
        .prop_map(|(field, key, values, regex)| {
            let key = KEYS[key].replace('%', FIELDS[field]);
            let values: Vec<String> = if key.contains("re") && !key.contains("fieldref") {
                vec![quoted(REGEXES[regex])]
            } else if key.contains("fieldref") {
                vec![FIELDS[values.len() % FIELDS.len()].to_owned()]
            } else if key.contains("base64") {
                values.iter().map(|v| quoted(&format!("ab{}", v.replace(['*', '?'], "")))).collect()
            } else {
                values.iter().map(|v| quoted(v)).collect()
            };
            format!("{}: [{}]", quoted(&key), values.join(", "))
        });
    let other = (0..FIELDS.len(), 0..9usize).prop_map(|(field, kind)| {
        let field = FIELDS[field];
        match kind {
            0 => format!("'{field}': null"),
            1 => format!("'{field}|exists': true"),
            2 => format!("'{field}|exists': false"),
            3 => format!("'{field}|gt': 1"),
            4 => format!("'{field}|lte': 11"),
            5 => format!("'{field}|cidr': 10.0.0.0/8"),
            6 => format!("'{field}': 11"),
            7 => format!("'{field}|neq': null"),
            _ => format!("'{field}': [null, '', true]"),
        }
    });
    prop_oneof![3 => text, 2 => other]
}

/// A selection: a map, a list of maps, or keywords.
fn selection() -> impl Strategy<Value = String> {
    let map = prop::collection::vec(item(), 1..3).prop_map(|mut items| {
        items.sort();
        items.dedup_by(|a, b| a.split(": ").next() == b.split(": ").next());
        format!("{{{}}}", items.join(", "))
    });
    let list = prop::collection::vec(item(), 1..3).prop_map(|items| {
        format!("[{}]", items.iter().map(|i| format!("{{{i}}}")).collect::<Vec<_>>().join(", "))
    });
    let keywords = prop::collection::vec(TEXT, 1..3)
        .prop_map(|words| format!("[{}]", words.iter().map(|w| quoted(w)).collect::<Vec<_>>().join(", ")));
    prop_oneof![4 => map, 1 => list, 1 => keywords]
}

const CONDITIONS: [&str; 11] = [
    "sel_a",
    "not sel_a",
    "sel_a and sel_b",
    "sel_a or sel_b",
    "sel_a and not sel_b",
    "not (sel_a and sel_b) or flt",
    "1 of sel_*",
    "all of sel_* and not flt",
    "1 of them",
    "not 1 of sel_* or flt",
    "sel_a or sel_b and not not flt",
];

fn rule() -> impl Strategy<Value = String> {
    let product = prop_oneof![
        Just("product: p"),
        Just("category: c"),
        Just("category: d"),
        Just("service: s"),
        Just("product: q")
    ];
    (product, selection(), selection(), selection(), 0..CONDITIONS.len()).prop_map(
        |(source, a, b, flt, condition)| {
            format!(
                "title: t\nlogsource:\n  {source}\ndetection:\n  sel_a: {a}\n  sel_b: {b}\n  flt: {flt}\n  condition: {}\n",
                CONDITIONS[condition]
            )
        },
    )
}

/// A rule that demands a value of `F`, one or several, in one of the ways that rules do.
fn demanding_rule() -> impl Strategy<Value = String> {
    let values =
        prop::collection::vec(prop::sample::select(&["1", "2", "11", "a", "'2'", "-1", "1.5"][..]), 1..3);
    let condition = prop::sample::select(
        &[
            "sel_f and sel_a",
            "sel_f and not sel_b",
            "sel_f",
            "sel_f and (sel_a or sel_g)",
            "sel_a or sel_b",
            "not sel_f and sel_a",
        ][..],
    );
    (values.clone(), values, selection(), selection(), condition).prop_map(|(f, g, a, b, condition)| {
        format!(
            "title: t\nlogsource:\n  product: p\ndetection:\n  sel_f:\n    F: [{}]\n  sel_g:\n    F: [{}]\n  sel_a: {a}\n  sel_b: {b}\n  condition: {condition}\n",
            f.join(", "),
            g.join(", "),
        )
    })
}

fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        6 => TEXT.prop_map(Json::from),
        1 => Just(Json::Null),
        1 => any::<bool>().prop_map(Json::from),
        2 => (-1..13i64).prop_map(Json::from),
        1 => Just(json!(1.5)),
        1 => Just(json!("10.1.2.3")),
        1 => Just(json!("::ffff:10.1.2.3")),
        1 => Just(json!("YWJh")),
    ];
    // What is in the object has a field of its own, `F.a`, which no rule names but keywords see.
    prop_oneof![
        12 => leaf.clone(),
        3 => prop::collection::vec(leaf.clone(), 0..3).prop_map(Json::from),
        1 => leaf.prop_map(|inner| json!({ "a": inner })),
    ]
}

/// The same record under a layout with other names or another order, with further categories.
struct Flat<'a> {
    record: &'a LogRecord,
    layout: Arc<Layout>,
    also: &'static [&'static str],
}

impl Fields for Flat<'_> {
    fn log_source(&self) -> LogSource<'_> {
        self.record.log_source()
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        self.record.field(name)
    }

    fn each_field(&self, visit: &mut dyn FnMut(&str, Value<'_>)) {
        self.record.each_field(visit);
    }

    fn also(&self) -> &'static [&'static str] {
        self.also
    }

    fn layout(&self) -> Option<&Arc<Layout>> {
        Some(&self.layout)
    }

    fn at(&self, position: usize) -> Option<Value<'_>> {
        self.record.field(self.layout.names().get(position)?)
    }

    fn all_text(&self) -> Option<&str> {
        self.record.all_text()
    }
}

/// Layouts of the fields in several orders; one names a field that no rule does, and some lack fields.
fn layouts() -> Vec<Arc<Layout>> {
    [&["F", "F.a", "G", "G.a", "H", "H.a"][..], &["H", "H.a", "X", "F", "F.a", "G"], &["G", "F"], &["H"], &[]]
        .map(|names| Arc::new(Layout::new(names.iter().copied())))
        .into()
}

fn event() -> impl Strategy<Value = LogRecord> {
    let fields = prop::collection::btree_map(prop::sample::select(&FIELDS[..]), value(), 0..4);
    let term = |name: &'static str| prop_oneof![3 => Just(name), 1 => Just("")];
    (fields, term("p"), term("c"), term("s")).prop_map(|(fields, product, category, service)| {
        let fields = fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        LogRecord::from_json(LogSource::new(product, category, service), &fields)
    })
}

/// The log source rule, said another way than [`RuleSet`] does.
fn sees(rule: &LogSource<'_>, event: &LogSource<'_>, also: &[&str]) -> bool {
    let categories = [&[&*event.category], also].concat();
    [(&rule.product, &event.product), (&rule.service, &event.service)]
        .iter()
        .all(|(r, e)| r.is_empty() || r == e)
        && (rule.category.is_empty() || categories.contains(&&*rule.category))
}

/// The rules that match, by the plain evaluator.
fn plain(set: &RuleSet, event: &dyn Fields) -> Vec<usize> {
    let rules = set.rules().iter().enumerate();
    rules
        .filter(|(_, rule)| sees(&rule.log_source, &event.log_source(), event.also()))
        .filter(|(_, rule)| eval::matches(&rule.detection, event))
        .map(|(index, _)| index)
        .collect()
}

fn check(texts: &[String], events: &[LogRecord]) -> Result<(), TestCaseError> {
    let rules: Vec<Rule> = texts
        .iter()
        .flat_map(|text| Rule::parse(text, "random").unwrap_or_else(|e| panic!("{e}\n{text}")))
        .collect();
    let set = RuleSet::compile(rules.clone()).unwrap();
    set.keep_compiled(None).unwrap();
    compare_all(&set, texts, events)?;
    // And once more with what was compiled, from its bytes.
    let again = RuleSet::compile(rules).unwrap();
    let compiled = set.compiled().unwrap_or_default();
    if !compiled.is_empty() {
        again.keep_compiled(Some(Arc::new(compiled))).unwrap();
        compare_all(&again, texts, events)?;
        prop_assert!(again.compiled().is_none(), "compiled again: {:?}", texts);
    }
    Ok(())
}

fn compare_all(set: &RuleSet, texts: &[String], events: &[LogRecord]) -> Result<(), TestCaseError> {
    let mut scratch = set.scratch();
    let layouts = layouts();
    let mut compare = |event: &dyn Fields, shown: &LogRecord| {
        let mut found = Vec::new();
        set.matches(event, &mut scratch, &mut |i| found.push(i));
        prop_assert_eq!(found, plain(set, event), "{:?}\n{:?}\n{:?}", event.layout(), shown, texts);
        Ok(())
    };
    for record in events {
        compare(record, record)?;
        compare(&ByName(record), record)?;
        // A layout fits a record whose fields it all names.
        let fits = |layout: &Layout| record.names().iter().all(|name| layout.position(name).is_some());
        for (i, layout) in layouts.iter().enumerate().filter(|(_, layout)| fits(layout)) {
            let also: &'static [&'static str] = [&[][..], &["d"], &["c", "d"]][i % 3];
            compare(&Flat { record, layout: Arc::clone(layout), also }, record)?;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn the_index_agrees_with_the_plain_evaluator(
        texts in prop::collection::vec(rule(), 1..8),
        events in prop::collection::vec(event(), 1..8),
    ) {
        check(&texts, &events)?;
    }

    /// Rules that nearly all demand a literal of one field, so that they are compiled by its values.
    #[test]
    fn rules_compiled_by_a_fields_value_agree_with_the_plain_evaluator(
        texts in prop::collection::vec(demanding_rule(), 1..8),
        events in prop::collection::vec(event(), 1..12),
    ) {
        check(&texts, &events)?;
    }
}
