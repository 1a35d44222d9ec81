use std::collections::{BTreeMap, HashMap};

use wardline_event::{LogSource, Value};

use super::{EventKind, FoundBy, Sources};

type Record = BTreeMap<&'static str, &'static str>;

/// Channel, id, record, the field that is made, its value.
type Made<'a> = (&'a str, i64, &'a [(&'static str, &'static str)], &'a str, Option<&'a str>);

fn get<'r>(record: &'r Record) -> impl Fn(&str) -> Option<Value<'r>> {
    |name| record.get(name).map(|text| Value::str(text))
}

fn categories(kind: &EventKind) -> Vec<&str> {
    kind.categories().collect()
}

/// Channel, provider, id; what it is.
#[test]
fn windows_events_are_told_by_channel_provider_and_id() {
    let sources = Sources::builtin();
    for (channel, provider, id, service, category) in [
        ("Microsoft-Windows-Sysmon/Operational", "Microsoft-Windows-Sysmon", 1, "sysmon", "process_creation"),
        ("microsoft-windows-sysmon/operational", "", 3, "sysmon", "network_connection"),
        ("", "Microsoft-Windows-Sysmon", 11, "sysmon", "file_event"),
        ("Linux-Sysmon/Operational", "Linux-Sysmon", 11, "sysmon", "file_event"),
        ("Security", "Microsoft-Windows-Security-Auditing", 4688, "security", "process_creation"),
        ("Security", "Microsoft-Windows-Eventlog", 1102, "security", ""),
        ("Security", "", 4624, "security", ""),
        ("Security", "Somebody else", 99, "security", ""),
        ("Windows PowerShell", "PowerShell", 400, "powershell-classic", "ps_classic_start"),
        ("Microsoft-Windows-PowerShell/Operational", "", 4104, "powershell", "ps_script"),
        ("Microsoft-Windows-Windows Defender/Operational", "", 1116, "windefend", "antivirus"),
        ("System", "Service Control Manager", 7045, "system", ""),
        ("A channel of nobody", "Nobody", 1, "", ""),
    ] {
        let kind = sources.lookup(channel, provider, id).expect("a kind");
        let product = if provider == "Linux-Sysmon" { "linux" } else { "windows" };
        assert_eq!(kind.log_source, LogSource::new(product, category, service), "{channel} {provider} {id}");
    }
    let install = sources.lookup("System", "Service Control Manager", 7045).expect("a kind");
    assert!(install.fields.names.contains("ImagePath") && !install.fields.open);
    let other = sources.lookup("System", "Some driver", 7045).expect("a kind");
    assert!(other.fields.open, "another program's 7045 is another event");
}

#[test]
fn an_events_own_fields_decide_where_the_id_does_not() {
    let sources = Sources::builtin();
    let sysmon = sources.lookup("Microsoft-Windows-Sysmon/Operational", "", 12).expect("a kind");
    let audit = sources.lookup("Security", "", 4657).expect("a kind");
    for (kind, field, value, want) in [
        (sysmon, "EventType", "CreateKey", vec!["registry_event", "registry_add"]),
        (sysmon, "EventType", "DeleteKey", vec!["registry_event", "registry_delete"]),
        (sysmon, "EventType", "DeleteValue", vec!["registry_event", "registry_delete"]),
        (sysmon, "EventType", "?", vec!["registry_event"]),
        (audit, "OperationType", "%%1904", vec!["registry_event", "registry_set"]),
        (audit, "OperationType", "%%1906", vec!["registry_event", "registry_delete"]),
    ] {
        assert!(kind.has_cases());
        let record = Record::from([(field, value)]);
        assert_eq!(categories(kind.of(&get(&record))), want, "{value}");
    }
    let auditd = sources.named("linux-auditd").expect("it is built in");
    for (types, want) in [
        (vec!["CREATE", "DELETE"], vec!["file_event", "file_delete"]),
        (vec!["PARENT", "DELETE"], vec!["file_delete"]),
        (vec!["NORMAL"], vec![]),
    ] {
        let list = Value::List(types.iter().map(|t| Value::str(t)).collect());
        let kind = auditd.kind_of(&|name| (name == "nametype").then(|| list.clone()));
        assert_eq!(categories(kind), want, "{types:?}");
    }
}

/// Channel and id; the record; the field that is made, and its value.
#[test]
fn fields_are_made_of_the_record_as_it_was_written() {
    let security = [
        ("ProcessId", "0x10"),
        ("NewProcessId", "0x1f4"),
        ("NewProcessName", r"C:\a.exe"),
        ("MandatoryLabel", "S-1-16-12288"),
        ("TargetUserName", "-"),
        ("TargetDomainName", "-"),
        ("SubjectUserName", "alice"),
        ("SubjectDomainName", "TRUST"),
    ];
    let registry = [
        ("ObjectName", r"\REGISTRY\MACHINE\SOFTWARE\Run"),
        ("ObjectValueName", "evil"),
        ("NewValue", "calc.exe"),
        ("OperationType", "%%1905"),
        ("SubjectUserName", "bob"),
    ];
    let connection = [("Direction", "%%14593"), ("Protocol", "6"), ("DestPort", "443")];
    let hashes = [("Hashes", "SHA1=AA,MD5=BB,SHA256=CC,IMPHASH=DD")];
    let sysmon = "Microsoft-Windows-Sysmon/Operational";
    let cases: &[Made<'_>] = &[
        ("Security", 4688, &security, "Image", Some(r"C:\a.exe")),
        ("Security", 4688, &security, "ProcessId", Some("500")),
        ("Security", 4688, &security, "ParentProcessId", Some("16")),
        ("Security", 4688, &security, "IntegrityLevel", Some("High")),
        ("Security", 4688, &security, "User", Some(r"TRUST\alice")),
        ("Security", 4688, &security, "ParentImage", None),
        ("Security", 4688, &[("MandatoryLabel", "S-1-16-5")], "IntegrityLevel", None),
        ("Security", 4688, &[("NewProcessId", "0xzz")], "ProcessId", None),
        ("Security", 4657, &registry, "TargetObject", Some(r"HKLM\SOFTWARE\Run\evil")),
        (
            "Security",
            4657,
            &[("ObjectName", r"\REGISTRY\USER\S-1-5-18")],
            "TargetObject",
            Some(r"HKU\S-1-5-18"),
        ),
        ("Security", 4657, &registry, "Details", Some("calc.exe")),
        ("Security", 4657, &registry, "EventType", Some("SetValue")),
        ("Security", 4657, &registry, "User", Some("bob")),
        ("Security", 5156, &connection, "Initiated", Some("true")),
        ("Security", 5156, &connection, "Protocol", Some("tcp")),
        ("Security", 5156, &connection, "DestinationPort", Some("443")),
        (sysmon, 1, &hashes, "sha1", Some("AA")),
        (sysmon, 1, &hashes, "md5", Some("BB")),
        (sysmon, 1, &hashes, "sha256", Some("CC")),
        (sysmon, 1, &hashes, "Imphash", Some("DD")),
        (sysmon, 1, &[("Hashes", "MD5=B")], "sha256", None),
        (sysmon, 15, &[("Hash", "Unknown")], "md5", None),
    ];
    for (channel, id, record, to, want) in cases {
        let kind = Sources::builtin().lookup(channel, "", *id).expect("a kind");
        let record: Record = record.iter().copied().collect();
        let derivation = kind.derive.iter().find(|d| d.to == *to).expect("it is made");
        let value = derivation.value(&get(&record));
        assert_eq!(value.as_ref().and_then(Value::as_text).as_deref(), *want, "{id} {to}");
    }
}

/// A part of a text is that part, and not a copy: readers keep it as a place in the record.
#[test]
fn a_hash_is_borrowed_from_the_text_that_holds_them_all() {
    let kind = Sources::builtin().lookup("Microsoft-Windows-Sysmon/Operational", "", 1).expect("a kind");
    let md5 = kind.derive.iter().find(|d| d.to == "md5").expect("it is made");
    let record = Record::from([("Hashes", "SHA1=AA,MD5=BB")]);
    let Some(Value::Str(std::borrow::Cow::Borrowed("BB"))) = md5.value(&get(&record)) else {
        panic!("copied");
    };
    assert_eq!(md5.inputs(), ["Hashes"]);
    assert_eq!(md5.copy_of(), None);
}

#[test]
fn json_records_are_told_by_their_marks() {
    let sources = Sources::builtin();
    for (record, want) in [
        (
            Record::from([
                ("eventVersion", "1.08"),
                ("eventSource", "s3.amazonaws.com"),
                ("eventName", "x"),
                ("awsRegion", "y"),
            ]),
            Some("aws-cloudtrail"),
        ),
        (Record::from([("kind", "Event"), ("apiVersion", "audit.k8s.io/v1")]), Some("kubernetes-audit")),
        (Record::from([("kind", "Event"), ("apiVersion", "v1")]), None),
        (Record::from([("_path", "dce_rpc")]), Some("zeek-dce-rpc")),
        (Record::new(), None),
    ] {
        let kind = sources.recognise(&get(&record));
        assert_eq!(kind.map(|k| &*k.source), want, "{record:?}");
    }
}

#[test]
fn rules_reach_the_events_of_their_log_source() {
    let reached = |product, category, service| {
        let found = Sources::builtin().events_for(&LogSource::new(product, category, service));
        let mut names: Vec<String> =
            found.iter().map(|r| format!("{} {:?} {:?}", r.kind.source, r.kind.ids, r.found_by)).collect();
        names.sort();
        names
    };
    assert_eq!(
        reached("windows", "process_creation", ""),
        ["windows-security [4688] Channel", "windows-sysmon [1] Channel"]
    );
    assert_eq!(reached("windows", "process_creation", "security"), ["windows-security [4688] Channel"]);
    assert_eq!(reached("windows", "registry_add", ""), ["windows-sysmon [12] Channel"]);
    assert_eq!(
        reached("linux", "process_creation", ""),
        ["linux-auditd [] Reader", "linux-sysmon [1] Channel", "wardline-linux-process [] Reader"]
    );
    assert_eq!(reached("azure", "", "signinlogs"), ["azure-signinlogs [] Nothing"]);
    assert!(reached("windows", "no_such_category", "").is_empty());
    assert!(reached("linux", "", "security").is_empty());
    // A product alone means all of its events.
    assert!(reached("windows", "", "").len() > 100);
    let found = Sources::builtin().named("aws-cloudtrail").expect("it is built in").found_by;
    assert_eq!(found, FoundBy::Fields);
}

#[test]
fn a_field_that_no_event_has_is_told_with_the_one_that_was_meant() {
    let sources = Sources::builtin();
    let check = |source: LogSource<'_>, names: &[&str]| -> Vec<String> {
        let unknown = sources.unknown_fields(&source, names.iter().copied());
        unknown.iter().map(|f| format!("{}: {:?}", f.name, f.suggestion.as_deref())).collect()
    };
    let process = LogSource::new("windows", "process_creation", "");
    assert_eq!(
        check(process, &["Image", "ComandLine", "OriginalFilename", "GrandParentImage", "NewProcessName"]),
        [
            "ComandLine: Some(\"CommandLine\")",
            "OriginalFilename: Some(\"OriginalFileName\")",
            "GrandParentImage: None"
        ]
    );
    // Who has no events has no fields either, and who does not say which may have any.
    assert!(check(LogSource::new("windows", "nothing", ""), &["x"]).is_empty());
    assert!(check(LogSource::new("windows", "", "system"), &["x"]).is_empty());
}

#[test]
fn a_file_of_ones_own_adds_and_replaces() {
    let mut sources = Sources::builtin().as_ref().clone();
    let own = "\
source: our-badge-reader
product: badge
when: {device_vendor: [Acme, ACME Ltd]}
fields: [door]
derive: {User: '[{domain}/]{holder}'}
---
source: windows-ldap
product: windows
service: ldap
channels: [Our-Forwarded/LDAP]
groups: [windows-event]
";
    sources.extend(own, "own.yml").expect("it is right");
    let record = Record::from([("device_vendor", "acme ltd"), ("holder", "carol")]);
    let kind = sources.recognise(&get(&record)).expect("a kind");
    assert_eq!(kind.log_source, LogSource::new("badge", "", ""));
    assert_eq!(kind.derive[0].value(&get(&record)), Some(Value::str("carol")));
    let ldap = |channel| sources.lookup(channel, "", 30).expect("a kind").log_source.service.to_string();
    assert_eq!(ldap("Our-Forwarded/LDAP"), "ldap");
    assert_eq!(ldap("Microsoft-Windows-LDAP-Client/Debug"), "", "the source was replaced");
}

/// A file; the place and the message.
#[test]
fn faults_are_told_with_their_place() {
    for (text, want) in [
        ("", "x.yml:1:1: S070 the file holds no source; begin with `source: name`"),
        ("product: a", "x.yml:1:1: S070 this is neither a source nor a group; begin with `source: name`"),
        (
            "source: a",
            "x.yml:1:1: S070 the source `a` names no product, service or category; no rule could ever see it; give at \
             least one of the three",
        ),
        (
            "source: a\nproduct: b\nchanels: [c]",
            "x.yml:3:1: S070 a source has no attribute `chanels`; did you mean `channels`?",
        ),
        (
            "source: a\nproduct: b\ngroups: [c]",
            "x.yml:3:10: S071 there is no group `c`; a group stands before what uses it",
        ),
        (
            "source: a\nproduct: b\n---\nsource: a\nproduct: b",
            "x.yml:4:1: S071 the source `a` is there twice; give it another name",
        ),
        (
            "source: a\nproduct: b\nevents: [{title: x}]",
            "x.yml:3:10: S070 an event without `id`; add `id: 4688`, or a list of ids",
        ),
        (
            "source: a\nproduct: b\nevents: [{id: x}]",
            "x.yml:3:15: S070 an event's id is a whole number; describe other events by `cases`",
        ),
        (
            "source: a\nproduct: b\nevents: [{id: 1}, {id: [2, 1]}]",
            "x.yml:3:19: S071 the event `1` is there twice; give it another name",
        ),
        (
            "source: a\nproduct: b\nderive: {c: {as: number}}",
            "x.yml:3:13: S070 `c` is made of nothing; add `from: Field`",
        ),
        (
            "source: a\nproduct: b\nderive: {c: {from: d, as: date}}",
            "x.yml:3:27: S070 `as` cannot be `date`; it can be: number",
        ),
        (
            "source: a\nproduct: b\nderive: {c: '{d}[x'}",
            "x.yml:3:13: S070 `{d}[x` has a `[` without its `]`; close it",
        ),
        (
            "source: a\nproduct: b\nderive: {c: '{d'}",
            "x.yml:3:13: S070 `{d` has a `{` without a field's name and `}`; write `{Field}`",
        ),
        (
            "source: a\nproduct: b\ncases: [{when: {'x|contains': y}}]",
            "x.yml:3:17: S070 a condition of a source has no modifier `contains`; only `all`; the values are compared \
             without regard to case",
        ),
        ("source: a\nproduct: [b", "x.yml:3:1: S001 this is not valid YAML"),
    ] {
        let error = Sources::parse(text, "x.yml").expect_err(text).to_string();
        assert!(error.starts_with(want), "{text}\n got {error}\nwant {want}");
    }
}

#[test]
fn the_example_of_the_documentation_does_what_it_says() {
    let text = include_str!("../../../../docs/sources.md");
    let (_, rest) = text.split_once("```yaml\n").expect("an example");
    let example = rest.split("```").next().expect("its end");
    let sources = Sources::parse(example, "docs/sources.md").expect("it is right");
    let record = Record::from([
        ("device_vendor", "Acme"),
        ("door", "7"),
        ("holder", "alice"),
        ("domain", "WARD"),
        ("result", "1"),
    ]);
    let kind = sources.recognise(&get(&record)).expect("a kind");
    assert_eq!(kind.log_source, LogSource::new("badge", "access_refused", "doors"));
    let made = |to: &str| kind.derive.iter().find(|d| d.to == to).and_then(|d| d.value(&get(&record)));
    assert_eq!(made("User"), Some(Value::str(r"WARD\alice")));
    assert_eq!(made("Result"), Some(Value::str("refused")));
    let unknown = sources.unknown_fields(&LogSource::new("badge", "", ""), ["Rsult"]);
    assert_eq!(unknown[0].suggestion.as_deref(), Some("Result"));
}

#[test]
fn kept_sources_are_those_that_were_read() {
    use crate::CacheError;
    let builtin = Sources::builtin();
    let bytes = builtin.to_bytes();
    let from = |bytes: &[u8]| Sources::from_bytes(std::sync::Arc::new(bytes.to_vec()));
    let back = from(&bytes).expect("it was written");
    assert!(back.to_bytes() == bytes);
    assert_eq!(back.list.len(), builtin.list.len());
    for (back, builtin) in back.iter().zip(builtin.iter()) {
        let told = |s: &super::Source| {
            let by_id: BTreeMap<_, _> = s.by_id.iter().collect();
            format!("{:?}", (&s.name, &s.title, s.found_by, &s.marks, &s.events, by_id, &s.other))
        };
        assert_eq!(told(back), told(builtin));
    }
    let sorted =
        |map: &HashMap<String, usize>| -> BTreeMap<String, usize> { map.clone().into_iter().collect() };
    assert_eq!(sorted(&back.channels), sorted(&builtin.channels));
    assert_eq!(sorted(&back.providers), sorted(&builtin.providers));
    assert_eq!(back.any_channel, builtin.any_channel);
    // A log source that is borrowed costs a reader nothing to hand on.
    let kind = back.lookup("Security", "", 4688).expect("it is described");
    assert!(matches!(kind.log_source.category, std::borrow::Cow::Borrowed("process_creation")));

    for at in (0..bytes.len()).step_by(97) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let error = from(&changed).expect_err("it was changed");
        assert!(matches!(error, CacheError::Version | CacheError::Damaged), "byte {at}");
        assert!(from(&bytes[..at]).is_err(), "cut to {at}");
    }
}
