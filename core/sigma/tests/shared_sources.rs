//! The built-in log sources against the public rules: which rules see no event, and which fields nobody has.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod public_rules;

use std::collections::BTreeMap;

use public_rules::public_rules;
use wardline_sigma::Rule;
use wardline_sigma::sources::Sources;

/// Fields that public rules name and that no event has which they can see: log source and field.
///
/// Most are of one kind: Sysmon's event of that category names a process by path and id only, and the rules ask for more of
/// it, or for its parent. Some endpoint products add that to their records, no log of Windows does. The two of the
/// Security log are names that no event of it has: its records say `Computer` and `SubjectUserName`.
const UNKNOWN: &[(&str, &str)] = &[
    ("windows/create_remote_thread/", "SourceCommandLine"),
    ("windows/create_remote_thread/", "SourceParentImage"),
    ("windows/create_remote_thread/", "TargetParentProcessId"),
    ("windows/file_access/", "ParentImage"),
    ("windows/file_event/", "CommandLine"),
    ("windows/file_event/", "IntegrityLevel"),
    ("windows/file_event/", "ParentCommandLine"),
    ("windows/file_event/", "ParentImage"),
    ("windows/image_load/", "CommandLine"),
    ("windows/network_connection/", "CommandLine"),
    ("windows/network_connection/", "ParentImage"),
    ("windows/process_access/", "SourceCommandLine"),
    ("windows/process_creation/", "GrandParentImage"),
    ("windows//security", "ComputerName"),
    ("windows//security", "SubjectAccountName"),
];

#[test]
fn every_public_rule_sees_an_event_and_knows_its_fields() {
    let Some(files) = public_rules() else { return };
    // That every rule loads is another test's affair.
    let parsed = files.iter().map(|(origin, text)| Rule::parse(text, origin).unwrap_or_default());
    let rules: Vec<Rule> = parsed.flatten().collect();
    assert!(rules.len() > 3000, "only {} rules", rules.len());
    let sources = Sources::builtin();
    let mut blind = Vec::new();
    let mut unknown: BTreeMap<(String, String), usize> = BTreeMap::new();
    for rule in &rules {
        let source = &rule.log_source;
        if sources.events_for(source).is_empty() {
            blind.push(format!("{}: {source:?}", rule.origin));
        }
        for field in sources.unknown_fields(source, rule.field_names()) {
            let name =
                [&source.product, &source.category, &source.service].map(ToString::to_string).join("/");
            *unknown.entry((name, field.name)).or_default() += 1;
        }
    }
    assert!(blind.is_empty(), "{} rules see no event:\n{}", blind.len(), blind.join("\n"));
    let new: Vec<_> = unknown
        .iter()
        .filter(|((source, field), _)| !UNKNOWN.iter().any(|(s, f)| s == source && f == field))
        .collect();
    assert!(new.is_empty(), "fields that no source has: {new:#?}");
    for (source, field) in UNKNOWN {
        let key = ((*source).to_owned(), (*field).to_owned());
        assert!(unknown.contains_key(&key), "{source} {field} is known now: take it off the list");
    }
    let rules_with = unknown.values().sum::<usize>();
    println!("{} rules, {rules_with} uses of {} fields that no source has", rules.len(), unknown.len());
}
