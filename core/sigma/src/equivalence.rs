//! The index against the plain evaluator, on random rules and events.

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use wardline_event::{LogRecord, LogSource};

use crate::{Rule, RuleSet, eval};

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
    let product =
        prop_oneof![Just("product: p"), Just("category: c"), Just("service: s"), Just("product: q")];
    (product, selection(), selection(), selection(), 0..CONDITIONS.len()).prop_map(
        |(source, a, b, flt, condition)| {
            format!(
                "title: t\nlogsource:\n  {source}\ndetection:\n  sel_a: {a}\n  sel_b: {b}\n  flt: {flt}\n  condition: {}\n",
                CONDITIONS[condition]
            )
        },
    )
}

fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        6 => TEXT.prop_map(Json::from),
        1 => Just(Json::Null),
        1 => any::<bool>().prop_map(Json::from),
        1 => (0..20i64).prop_map(Json::from),
        1 => Just(json!(1.5)),
        1 => Just(json!("10.1.2.3")),
        1 => Just(json!("::ffff:10.1.2.3")),
        1 => Just(json!("YWJh")),
    ];
    prop_oneof![4 => leaf.clone(), 1 => prop::collection::vec(leaf, 0..3).prop_map(Json::from)]
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
fn sees(rule: &LogSource<'_>, event: &LogSource<'_>) -> bool {
    [(&rule.product, &event.product), (&rule.category, &event.category), (&rule.service, &event.service)]
        .iter()
        .all(|(r, e)| r.is_empty() || r == e)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn the_index_agrees_with_the_plain_evaluator(
        texts in prop::collection::vec(rule(), 1..8),
        events in prop::collection::vec(event(), 1..8),
    ) {
        let rules: Vec<Rule> = texts
            .iter()
            .flat_map(|text| Rule::parse(text, "random").unwrap_or_else(|e| panic!("{e}\n{text}")))
            .collect();
        let set = RuleSet::compile(rules).unwrap();
        let mut scratch = set.scratch();
        for event in &events {
            let wanted: Vec<usize> = (0..set.rules().len())
                .filter(|i| {
                    let rule = &set.rules()[*i];
                    sees(&rule.log_source, &event.source) && eval::matches(&rule.detection, event)
                })
                .collect();
            let mut found = Vec::new();
            set.matches(event, &mut scratch, &mut |i| found.push(i));
            prop_assert_eq!(&found, &wanted, "{:?}\n{:?}", event, texts);
        }
    }
}
