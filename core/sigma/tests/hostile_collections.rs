//! Collections, filters, placeholders and aggregations made to break the reader: an error in good time, never a panic
//! or a full memory.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fmt::Write as _;

use proptest::prelude::*;
use wardline_sigma::{Collection, LinkOptions, Linked, Placeholders};

const RULE: &str = "title: t\nlogsource: {product: p}\ndetection: {a: {F: x}, condition: a}\n";

fn code(text: &str) -> &'static str {
    Collection::parse(text, "hostile").map_or_else(|e| e.code, |_| "none")
}

fn link(text: &str, options: &LinkOptions) -> Linked {
    Collection::parse(text, "hostile").unwrap().link(options)
}

fn placeholders(text: &str) -> LinkOptions {
    let mut options = LinkOptions::default();
    options.placeholders = Placeholders::parse(text, "hostile").unwrap();
    options
}

#[test]
fn a_large_global_is_not_given_to_many_documents() {
    let head = format!("action: global\ndescription: '{}'\n", "x".repeat(400_000));
    let many = format!("{head}{}", format!("---\n{RULE}").repeat(5000));
    assert_eq!(code(&many), "S002");
    let wide: String = (0..20_000).map(|i| format!("k{i}: v\n")).collect::<Vec<_>>().concat();
    assert_eq!(code(&format!("action: global\n{wide}{}", format!("---\n{RULE}").repeat(100))), "S002");
    let again = format!("---\naction: repeat\ndescription: '{}'\n", "x".repeat(1000)).repeat(900);
    assert_eq!(code(&format!("{RULE}description: '{}'\n{again}", "x".repeat(20_000))), "none");
    let again = "---\naction: repeat\n".repeat(20_000);
    assert_eq!(code(&format!("{RULE}description: '{}'\n{again}", "x".repeat(20_000))), "S002");
}

#[test]
fn wide_and_long_files_take_time_that_grows_with_them() {
    let wide: String = (0..30_000).map(|i| format!("k{i}: v\n")).collect::<Vec<_>>().concat();
    assert_eq!(code(&format!("action: global\n{wide}---\n{RULE}{wide}")), "none");
    // Many documents of which the first is no rule.
    assert_eq!(code(&"---\na: b\n".repeat(60_000)), "S010");
    assert_eq!(code(&"---\naction: reset\n".repeat(50_000)), "S003");
}

#[test]
fn a_filter_is_not_copied_without_end() {
    let rules = format!("---\n{RULE}").repeat(2000);
    let values: String =
        (0..20).map(|i| format!("      - '{}{i}'\n", "y".repeat(10_000))).collect::<Vec<_>>().concat();
    let filter = format!(
        "---\ntitle: '{}'\nlogsource: {{product: p}}\nfilter:\n  rules: any\n  s:\n    F:\n{values}  condition: not s\n",
        "t".repeat(100_000)
    );
    let linked = link(&format!("{rules}{filter}"), &LinkOptions::default());
    assert_eq!(linked.faults.iter().map(|f| f.code).collect::<Vec<_>>(), ["S002"]);
    assert_eq!(linked.rules.rules().len(), 2000);
}

#[test]
fn many_filters_on_one_rule_do_not_nest() {
    let filter =
        "---\ntitle: f\nlogsource: {product: p}\nfilter: {rules: any, s: {F: y}, condition: not s}\n";
    let linked = link(&format!("{RULE}{}", filter.repeat(10_000)), &LinkOptions::default());
    assert!(linked.faults.is_empty());
}

#[test]
fn placeholders_do_not_multiply() {
    let rule = |key: &str, value: &str| {
        format!(
            "title: t\nlogsource: {{product: p}}\ndetection: {{a: {{'{key}': '{value}'}}, condition: a}}\n"
        )
    };
    let values: String = (0..1000).map(|i| format!("v{i}, ")).collect::<Vec<_>>().concat();
    let options = placeholders(&format!("x: [{values}]"));
    let codes = |text: &str| link(text, &options).faults.iter().map(|f| f.code).collect::<Vec<_>>();
    assert_eq!(codes(&rule("F|expand", "%x%")), [""; 0]);
    assert_eq!(codes(&rule("F|expand", "%x%%x%%x%")), ["S002"]);
    assert_eq!(codes(&rule("F|expand", &"%x%".repeat(5000))), ["S002"]);
    assert_eq!(codes(&rule("F|re|expand", "%x%")), ["S002"]);
    // A value that looks like a placeholder stays as it is.
    let options = placeholders("x: '%x%%x%'");
    assert_eq!(link(&rule("F|expand", "%x%"), &options).faults, []);
    // Long values, many times.
    let options = placeholders(&format!("x: '{}'", "y".repeat(30_000)));
    let items: String =
        (0..1500).map(|i| format!("s{i}: {{F|expand: '%x%'}}, ")).collect::<Vec<_>>().concat();
    let text = format!("title: t\nlogsource: {{product: p}}\ndetection: {{{items}condition: 1 of them}}\n");
    assert_eq!(link(&text, &options).faults[0].code, "S002");
    assert_eq!(codes(&rule("F|expand", &format!("%x%{}", "y".repeat(32_760)))), ["S002"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn any_documents_are_read_or_refused(
        parts in prop::collection::vec(
            prop::sample::select(&[
                "title: t\n", "action: global\n", "action: repeat\n", "action: reset\n", "action: [x]\n",
                "logsource: {product: p}\n", "detection: {a: {F: x}, condition: a}\n", "detection: x\n",
                "detection: {b: {F: y}}\n", "filter: {rules: any, s: {F: y}, condition: not s}\n", "filter:\n",
                "correlation: {type: event_count, rules: a, timespan: 1m, condition: {gte: 1}}\n", "name: a\n",
                "id: a\n", "related: [{id: a}]\n", "---\n", "---\n", "---\n", "...\n", "- a\n",
            ][..]),
            0..20,
        ),
    ) {
        let text: String = parts.concat();
        if let Ok(collection) = Collection::parse(&text, "fuzz") {
            let _ = collection.link(&LinkOptions::default());
        }
    }

    #[test]
    fn any_aggregation_is_converted_or_refused(
        aggregation in r"( |count|sum|avg|near|a|b|by|not|and|\(|\)|F|,|>|<|=|!|1|5|\.|\||é){0,12}",
    ) {
        let text = format!(
            "title: t\nlogsource: {{product: p}}\ndetection:\n  a: {{F: x}}\n  b: {{F: y}}\n  timeframe: 1m\n  condition: 'a | {aggregation}'\n"
        );
        if let Ok(collection) = Collection::parse(&text, "fuzz") {
            prop_assert_eq!(collection.link(&LinkOptions::default()).faults, []);
        }
    }

    #[test]
    fn any_placeholder_is_expanded_or_refused(
        value in r"[%\\x*? é.]{0,12}",
        key in prop::sample::select(&["F|expand", "F|re|expand", "F|contains|all|expand", "F|expand|base64offset|contains", "|expand", "F|cidr|expand"][..]),
        given in r"[%\\x*? é\(]{1,4}",
    ) {
        let mut text = String::new();
        let value = serde_json::to_string(&value).unwrap();
        write!(text, "title: t\nlogsource: {{product: p}}\ndetection: {{a: {{'{key}': [{value}]}}, condition: a}}\n").unwrap();
        let mut options = LinkOptions::default();
        options.placeholders.insert("x", [given]);
        if let Ok(collection) = Collection::parse(&text, "fuzz") {
            let linked = collection.link(&options);
            prop_assert!(linked.faults.iter().all(|f| f.code.starts_with('S')));
        }
    }
}
