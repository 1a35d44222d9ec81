//! Tables against the plain evaluator.

use proptest::prelude::*;
use wardline_event::{LogRecord, LogSource};

use super::*;
use crate::language::eval;

const SOURCE: LogSource<'static> = LogSource {
    product: std::borrow::Cow::Borrowed("linux"),
    category: std::borrow::Cow::Borrowed("process_creation"),
    service: std::borrow::Cow::Borrowed(""),
};

fn terms(spared: &[String]) -> Terms<'_> {
    Terms::linux_program(spared)
}

fn rule(detection: &str) -> Rule {
    let source = "{product: linux, category: process_creation}";
    let text = format!("title: t\nlogsource: {source}\ndetection:\n{detection}");
    Rule::parse(&text, "t").unwrap_or_else(|e| panic!("{e}\n{text}")).remove(0)
}

fn event(image: &str, line: &str, parent: Option<&str>) -> LogRecord {
    let mut event = LogRecord::new(SOURCE);
    event.set("Image", image);
    event.set("CommandLine", line);
    if let Some(parent) = parent {
        event.set("ParentImage", parent);
    }
    event
}

fn one(rule: &Rule, spared: &[String]) -> (Verdicts, Result<Decided, Refusal>) {
    let (verdicts, mut results) = Verdicts::of([(7, rule)], &terms(spared));
    (verdicts, results.remove(0).1)
}

/// Letters that meet, and those that fold or stand across the border of ASCII.
const TEXT: &str = r"[aAbBkKsS\u{212a}\u{17f}é \-/*?.1_]{0,6}";
const KEYS: [&str; 16] = [
    "%",
    "%|contains",
    "%|startswith",
    "%|endswith",
    "%|contains|all",
    "%|cased",
    "%|contains|cased",
    "%|windash|contains",
    "%|neq",
    "%|contains|neq",
    "%|re",
    "%|re|i",
    "%|re|i|m|s",
    "%|re",
    "%|exists",
    "%",
];
const REGEXES: [&str; 22] = [
    "a+b",
    "^a",
    "b$",
    "a.?k",
    "[ab]{2}",
    "(a|b)k",
    r"\bk",
    r"\w\b.",
    r"\Ba",
    r"\s",
    r"^\S+\s+(-\S+\s+)*b",
    "[^a]b",
    r"(?i)k\d",
    r"\p{Ll}\P{L}",
    "é|b",
    r"[^\x00-\x7f]|s",
    r"(?m)^b$",
    r"a{2,3}b*?$",
    r"^(\S*/)?a\s.*b",
    "",
    r"(?-u:\b)a",
    r"[[:alpha:]&&[^a]]+$",
];
const CONDITIONS: [&str; 10] = [
    "a",
    "not a",
    "a and b",
    "a or b",
    "a and not b",
    "not (a and b)",
    "1 of them",
    "not 1 of a*",
    "(a or c) and not b",
    "a and (b or not c)",
];

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn item() -> impl Strategy<Value = String> {
    let fields = prop::sample::select(vec!["Image", "CommandLine", "CommandLine", "ParentImage", "Absent"]);
    (
        fields,
        prop::sample::select(KEYS.to_vec()),
        prop::collection::vec(TEXT, 1..3),
        prop::sample::select(REGEXES.to_vec()),
        any::<bool>(),
    )
        .prop_map(|(field, key, values, regex, null)| {
            let values = match key {
                "%|exists" => null.to_string(),
                "%" if null => "[null, '']".to_owned(),
                key if key.contains("re") => quoted(regex),
                _ => format!("[{}]", values.iter().map(|v| quoted(v)).collect::<Vec<_>>().join(", ")),
            };
            format!("{}: {values}", quoted(&key.replace('%', field)))
        })
}

fn detection() -> impl Strategy<Value = String> {
    let selection = prop::collection::vec(item(), 1..3).prop_map(|mut items| {
        items.sort();
        items.dedup_by(|a, b| a.split(": ").next() == b.split(": ").next());
        format!("{{{}}}", items.join(", "))
    });
    (prop::collection::vec(selection, 3), prop::sample::select(CONDITIONS.to_vec())).prop_map(
        |(s, condition)| format!("  a: {}\n  b: {}\n  c: {}\n  condition: {condition}\n", s[0], s[1], s[2]),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// What is decided is what the engine says, whatever the fields hold that are not known.
    #[test]
    fn tables_say_what_the_evaluator_says(
        detection in detection(),
        events in prop::collection::vec((TEXT, TEXT, prop::option::of(TEXT)), 1..12),
    ) {
        let rule = rule(&detection);
        let (verdicts, result) = one(&rule, &[]);
        for (image, line, parent) in &events {
            let matches = eval::matches(&rule.detection, &event(image, line, parent.as_deref()));
            let verdict = verdicts.decide(&[image.as_bytes(), line.as_bytes()]);
            match &result {
                Err(_) => prop_assert!(!matches!(verdict, Verdict::Matches(_))),
                Ok(_) if verdict == Verdict::Matches(7) => prop_assert!(matches, "{detection} {image:?} {line:?}"),
                Ok(decided) => {
                    let ascii = [image, line].iter().all(|text| !text.is_empty() && text.is_ascii());
                    let whole = decided.coverage == Coverage::Whole && ascii;
                    prop_assert!(!(whole && matches), "{detection} {image:?} {line:?} {verdict:?}");
                    prop_assert!(ascii || decided.by_first || verdict == Verdict::Silent);
                }
            }
            if matches!(&result, Ok(decided) if decided.by_first) {
                prop_assert_eq!(verdicts.decide(&[image.as_bytes()]), verdict);
            }
        }
        if matches!(result, Err(Refusal::Never)) {
            for (image, line, parent) in &events {
                let matches = eval::matches(&rule.detection, &event(image, line, parent.as_deref()));
                prop_assert!(!matches || image.is_empty() || line.is_empty(), "{detection}");
            }
        }
    }

    /// Hostile expressions are refused, and nothing of them stays.
    #[test]
    fn any_expression_is_decided_or_refused(source in r"[a-c.*+?(){}|\[\]^$\\bdws0-9,]{0,24}") {
        let text = format!("  a: {{'CommandLine|re': {}}}\n  condition: a\n", quoted(&source));
        let text = format!("title: t\nlogsource: {{product: linux, category: process_creation}}\ndetection:\n{text}");
        if let Ok(rules) = Rule::parse(&text, "t") {
            let (verdicts, result) = one(&rules[0], &[]);
            if result.is_err() {
                prop_assert!(verdicts.is_empty() && verdicts.used() == [0, 0, 0]);
            }
            prop_assert_eq!(verdicts.to_bytes().len(), TABLE_BYTES);
        }
    }
}

#[test]
fn each_refusal_says_why() {
    let said = |detection: &str| one(&rule(detection), &[]).1.map_err(|why| why.to_string());
    let all = |detection: &str| said(detection).unwrap();
    for (detection, expected) in [
        ("  a: [nc]\n  condition: a\n", "it looks for words in every field"),
        (
            "  a: {CommandLine|gt: 3}\n  condition: a\n",
            "it asks `CommandLine|gt: 3`, which is more than a search in one text",
        ),
        ("  a: {Image: /x, User: root}\n  condition: a\n", "it cannot match without User"),
        ("  a: {Image: /x, Hashes: 0}\n  condition: a\n", "it never matches on these fields"),
        (
            "  a: {CommandLine|re: '(a|b)*a(a|b){30}'}\n  condition: a\n",
            "`re '(a|b)*a(a|b){30}'` needs too large an automaton",
        ),
    ] {
        assert_eq!(said(detection).unwrap_err(), expected);
    }
    let source = "title: t\nlogsource: {product: linux}\ndetection: {a: {Image: /x}, condition: a}\n";
    let (_, results) = Verdicts::of([(0, &Rule::parse(source, "t").unwrap()[0])], &terms(&[]));
    assert_eq!(results[0].1, Err(Refusal::OtherEvents));

    let whole = |by_first| Decided { coverage: Coverage::Whole, by_first };
    assert_eq!(all("  a: {Image|endswith: /x}\n  condition: a\n"), whole(true));
    assert_eq!(all("  a: {Image|endswith: /x, CommandLine|contains: y}\n  condition: a\n"), whole(false));
    let part =
        all("  a: {Image: /x}\n  b: {User: root}\n  c: {CommandLine: y}\n  condition: a and (b or c)\n");
    assert_eq!(
        part,
        Decided { coverage: Coverage::Part { without: vec!["User".to_owned()] }, by_first: false }
    );
}

#[test]
fn who_is_spared_is_not_decided_about() {
    let rule = rule("  a: {CommandLine|contains: evil}\n  condition: a\n");
    let spared = ["/usr/sbin/sshd".to_owned(), "/usr/lib/systemd/*".to_owned()];
    let (verdicts, _) = one(&rule, &spared);
    let decide = |image: &str, line: &str| verdicts.decide(&[image.as_bytes(), line.as_bytes()]);
    assert_eq!(decide("/usr/sbin/sshd", "evil"), Verdict::Silent);
    assert_eq!(decide("/usr/lib/systemd/systemd", "EVIL"), Verdict::Silent);
    // Case is looked at in paths.
    assert_eq!(decide("/usr/sbin/SSHD", "evil"), Verdict::Matches(7));
    assert_eq!(decide("/usr/lib/systemd/user/x", "a\0evil"), Verdict::Matches(7));
    assert_eq!(decide("/usr/bin/x", "good"), Verdict::Nothing);
    assert_eq!(decide("/usr/bin/x", &format!("evil{}", "x".repeat(TEXT_BYTES[1]))), Verdict::Silent);
}

/// Rules that find no room are refused, those before them stay, and what the kernel follows has a limit.
#[test]
fn tables_have_limits() {
    let rules: Vec<Rule> = (0..600)
        .map(|n| {
            rule(&format!("  a: {{'CommandLine|contains': word{n}, Image|endswith: /x}}\n  condition: a\n"))
        })
        .collect();
    let (verdicts, results) = Verdicts::of(rules.iter().enumerate(), &terms(&[]));
    let taken: Vec<usize> = results.iter().filter(|(_, r)| r.is_ok()).map(|(n, _)| *n).collect();
    assert!(taken.len() > 200 && taken.len() < 600, "{}", taken.len());
    assert!(results[599].1.as_ref().unwrap_err().to_string().starts_with("the tables have no room left"));
    let [branches, machines, cells] = verdicts.used();
    assert!(branches <= MAX_BRANCHES && machines <= MAX_MACHINES && cells <= MAX_CELLS);
    for n in taken {
        // `word1` is in `word10`, and comes first.
        let first = (0..=n).find(|m| format!("word{n}").contains(&format!("word{m}"))).unwrap();
        let line = format!("word{n}");
        assert_eq!(verdicts.decide(&[b"/bin/x", line.as_bytes()]), Verdict::Matches(first));
    }
}
