//! The other files of the rule engine: collections with correlations and filters, pipelines, log sources, and the
//! hits that are kept in a temporary file.

use wardline_event::{LogRecord, Timestamp};
use wardline_sigma::lint::Linter;
use wardline_sigma::sources::Sources;
use wardline_sigma::{
    Collection, CorrelationSettings, CorrelationState, Hit, Hits, LinkOptions, Pipeline, RuleError,
};

/// A rule for what a pipeline does to it.
const RULE: &str = r"
title: Fuzz
logsource: {product: windows, category: process_creation}
detection:
  selection: {Image|endswith: '\a.exe', CommandLine|contains: [b, c], ParentImage: null}
  keywords: [d]
  condition: selection or keywords
";

/// Events of each rule that are fed to the correlations, one a second.
const EVENTS: u64 = 4;

fn check(error: &RuleError) {
    assert!(error.line >= 1 && error.column >= 1 && !error.to_string().is_empty(), "{error:?}");
}

/// A file of rules, correlations and filters: read, linted, linked, and its correlations fed.
pub fn collection(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let linted = Linter::new(Sources::builtin()).file(text, "fuzz");
    for found in &linted.diagnostics {
        assert!(
            found.line >= 1 && found.column >= 1 && found.width >= 1,
            "a finding without a place: {found:?}"
        );
    }
    let collection = match Collection::parse(text, "fuzz") {
        Ok(collection) => collection,
        Err(error) => {
            check(&error);
            assert!(
                linted.diagnostics.iter().any(|d| d.code == error.code),
                "{error} is not among the findings"
            );
            return;
        }
    };
    feed(collection).iter().for_each(check);
}

/// Links the rules and uses them: matched, explained, correlated. The faults of linking.
pub(crate) fn feed(collection: Collection) -> Vec<RuleError> {
    let linked = collection.link(&LinkOptions::default());
    let mut scratch = linked.rules.scratch();
    for (index, rule) in linked.rules.rules().iter().enumerate() {
        let mut event = LogRecord::new(rule.log_source.clone());
        event.set("Image", r"C:\a.exe");
        linked.rules.matches_in(&event, &mut scratch, &mut |_| {});
        linked.rules.explain(index, &event);
    }
    let mut hits = Hits::with_limit(1 << 20);
    let event = LogRecord::default();
    for reference in 0..EVENTS {
        let rules: Vec<usize> = (0..linked.rules.rules().len()).collect();
        let time = Timestamp(reference as i64 * 1000);
        if let Some(hit) = linked.correlations.capture(&rules, &event, time, reference) {
            let _ = hits.push(hit);
        }
    }
    let mut state = CorrelationState::new(linked.correlations, CorrelationSettings::default());
    let mut check = |found: wardline_sigma::Match| {
        assert!(
            found.events.iter().all(|event| *event < EVENTS),
            "an event that was not: {:?}",
            found.events
        );
    };
    hits.feed_to(&mut state, &mut check);
    state.finish(&mut check);
    linked.faults
}

/// A pipeline, of our format or pySigma's, applied to a rule.
pub fn pipeline(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Pipeline::parse(text, "fuzz") {
        Ok(pipeline) => {
            assert!(!pipeline.name.is_empty());
            let mut options = LinkOptions::default();
            options.pipelines.add(pipeline);
            let rule = Collection::parse(RULE, "fuzz").unwrap_or_default();
            let linked = rule.link(&options);
            assert!(
                linked.rules.rules().len() == 1 || !linked.faults.is_empty(),
                "the rule is gone without a word"
            );
            linked.faults.iter().for_each(check);
            let mut scratch = linked.rules.scratch();
            for rule in linked.rules.rules() {
                let event = LogRecord::new(rule.log_source.clone());
                linked.rules.matches_in(&event, &mut scratch, &mut |_| {});
            }
        }
        Err(error) => check(&error),
    }
}

/// A file of log sources, and a rule linted against it.
pub fn sources(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Sources::parse(text, "fuzz") {
        Ok(sources) => drop(Linter::new(&sources).file(RULE, "fuzz")),
        Err(error) => check(&error),
    }
}

/// Hits as they stand in a temporary file: what is read is written back equal.
pub fn hits(data: &[u8]) {
    let mut rest = data;
    while let Some(hit) = Hit::read(&mut rest) {
        let mut written = Vec::new();
        hit.write(&mut written);
        let mut again = written.as_slice();
        let mut twice = Vec::new();
        match Hit::read(&mut again) {
            Some(hit) => hit.write(&mut twice),
            None => panic!("a hit that was written cannot be read"),
        }
        assert!(again.is_empty() && written == twice, "written again it is another one");
        if rest.is_empty() {
            break;
        }
    }
}
