//! Windows events, in whatever shape a tool wrote them, as records with Sigma's field names.
//!
//! Four shapes are known: `Event.System` / `Event.EventData` (EVTX, XML and their JSON dumps), winlogbeat's
//! `winlog.event_data`, EvtxECmd's `Payload`, and flat objects with `EventID` beside the fields.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};
use wardline_event::{LogRecord, LogSource, Timestamp};

use super::json;
use super::windows_log::{self, Change};

type Object = Map<String, Json>;

/// Reads an `Event` element: `System`, `EventData`, `UserData`.
pub fn from_event(mut event: Object) -> LogRecord {
    let mut fields = Object::new();
    let system = event.swap_remove("System");
    if let Some(Json::Object(system)) = system {
        add_system(&mut fields, system);
    }
    if let Some(data) = event.swap_remove("EventData") {
        add_event_data(&mut fields, data);
    }
    if let Some(data) = event.swap_remove("UserData") {
        add_user_data(&mut fields, data, 0);
    }
    finish(fields)
}

/// Reads a JSON object: one of the known shapes of a Windows event, or else its fields as they are.
pub fn from_json(mut object: Object) -> LogRecord {
    if object.get("Event").is_some_and(|e| e.get("System").is_some())
        && let Some(Json::Object(event)) = object.swap_remove("Event")
    {
        return from_event(event);
    }
    if object.get("System").is_some_and(Json::is_object) && has_any(&object, &["EventData", "UserData"]) {
        return from_event(object);
    }
    if object.get("winlog").is_some_and(Json::is_object) {
        add_winlogbeat(&mut object);
        return finish(object);
    }
    if let Some(Json::String(payload)) = object.get("Payload")
        && let Ok(Json::Object(mut payload)) = json::parse(payload.as_bytes())
    {
        if let Some(data) = payload.swap_remove("EventData") {
            add_event_data(&mut object, data);
        }
        if let Some(data) = payload.swap_remove("UserData") {
            add_user_data(&mut object, data, 0);
        }
    }
    for (theirs, ours) in FLAT_NAMES {
        if let Some(value) = object.get(*theirs)
            && !object.contains_key(*ours)
        {
            let value = value.clone();
            object.insert((*ours).to_owned(), value);
        }
    }
    finish(object)
}

/// Other tools' names of the system fields.
const FLAT_NAMES: &[(&str, &str)] = &[
    ("EventId", "EventID"),
    ("event_id", "EventID"),
    ("Provider", "Provider_Name"),
    ("ProviderName", "Provider_Name"),
    ("SourceName", "Provider_Name"),
    ("Hostname", "Computer"),
    ("host", "Computer"),
    ("EventRecordId", "EventRecordID"),
    ("RecordNumber", "EventRecordID"),
];

fn has_any(object: &Object, names: &[&str]) -> bool {
    names.iter().any(|n| object.contains_key(*n))
}

/// Adds the fields of `System` under Sigma's names.
fn add_system(fields: &mut Object, system: Object) {
    for (name, value) in system {
        match name.as_str() {
            "Provider" => {
                copy_attribute(fields, &value, "Name", "Provider_Name");
                copy_attribute(fields, &value, "Guid", "Provider_Guid");
            }
            "TimeCreated" => copy_attribute(fields, &value, "SystemTime", "TimeCreated"),
            "Execution" => {
                copy_attribute(fields, &value, "ProcessID", "Execution_ProcessID");
                copy_attribute(fields, &value, "ThreadID", "Execution_ThreadID");
            }
            "Security" => copy_attribute(fields, &value, "UserID", "UserID"),
            "Correlation" => copy_attribute(fields, &value, "ActivityID", "ActivityID"),
            _ if name.ends_with("_attributes") || name.starts_with(['#', '@']) => {}
            _ => {
                fields.insert(name, text_of(value));
            }
        }
    }
}

fn copy_attribute(fields: &mut Object, element: &Json, attribute: &str, name: &str) {
    let value = element
        .get("#attributes")
        .and_then(|a| a.get(attribute))
        .or_else(|| element.get(format!("@{attribute}")))
        .or_else(|| element.get(attribute));
    if let Some(value) = value {
        fields.insert(name.to_owned(), value.clone());
    }
}

/// The content of an element that may carry attributes beside it.
fn text_of(value: Json) -> Json {
    match value {
        Json::Object(mut object) => object.swap_remove("#text").unwrap_or(Json::Null),
        other => other,
    }
}

/// Adds the fields of `EventData`: named values; `Data` elements with a `Name`; unnamed ones as the list `Data`.
fn add_event_data(fields: &mut Object, data: Json) {
    let Json::Object(data) = data else { return };
    let mut unnamed = Vec::new();
    for (name, value) in data {
        match (name.as_str(), value) {
            ("Data", Json::Array(items)) => {
                for item in items {
                    add_data_element(fields, item, &mut unnamed);
                }
            }
            ("Data", item) => add_data_element(fields, item, &mut unnamed),
            (_, _) if name.starts_with(['#', '@']) => {}
            (_, value) => insert(fields, name, text_of(value)),
        }
    }
    match unnamed.len() {
        0 => {}
        1 => fields.extend([("Data".to_owned(), unnamed.swap_remove(0))]),
        _ => fields.extend([("Data".to_owned(), Json::Array(unnamed))]),
    }
}

fn add_data_element(fields: &mut Object, element: Json, unnamed: &mut Vec<Json>) {
    let name = element
        .get("#attributes")
        .and_then(|a| a.get("Name"))
        .or_else(|| element.get("@Name"))
        .and_then(Json::as_str)
        .map(str::to_owned);
    let value = text_of(element);
    match (name, value) {
        (Some(name), value) => insert(fields, name, value),
        (None, Json::Array(items)) => unnamed.extend(items),
        (None, Json::Null) => {}
        (None, value) => unnamed.push(value),
    }
}

/// Windows writes GUIDs in braces; a dump without them gets them back, so that rules compare equal.
fn insert(fields: &mut Object, name: String, value: Json) {
    let value = match value {
        Json::String(text) if text.len() == 36 && is_guid_name(&name) => Json::String(format!("{{{text}}}")),
        other => other,
    };
    fields.insert(name, value);
}

fn is_guid_name(name: &str) -> bool {
    name.len() >= 4
        && name.is_char_boundary(name.len() - 4)
        && name[name.len() - 4..].eq_ignore_ascii_case("guid")
}

/// Adds the leaves of `UserData` under their own names, whatever element wraps them.
fn add_user_data(fields: &mut Object, data: Json, depth: usize) {
    let Json::Object(data) = data else { return };
    for (name, value) in data {
        if name.starts_with(['#', '@']) {
            continue;
        }
        match value {
            Json::Object(inner) if !inner.contains_key("#text") && depth < super::MAX_NESTING => {
                add_user_data(fields, Json::Object(inner), depth + 1);
            }
            other => insert(fields, name, text_of(other)),
        }
    }
}

fn add_winlogbeat(object: &mut Object) {
    let Some(Json::Object(winlog)) = object.get("winlog") else { return };
    let mut add = Vec::new();
    for (theirs, ours) in [
        ("channel", "Channel"),
        ("event_id", "EventID"),
        ("provider_name", "Provider_Name"),
        ("computer_name", "Computer"),
        ("record_id", "EventRecordID"),
        ("task", "Task"),
        ("opcode", "Opcode"),
    ] {
        add.extend(winlog.get(theirs).map(|v| (ours.to_owned(), v.clone())));
    }
    for part in ["event_data", "user_data"] {
        if let Some(Json::Object(data)) = winlog.get(part) {
            add.extend(data.iter().map(|(name, v)| {
                // winlogbeat numbers unnamed values: param1, param2, …
                (name.clone(), v.clone())
            }));
        }
    }
    object.extend(add);
}

/// Names the log source, gives Sysmon's names to the fields, and takes time and record id out.
fn finish(mut fields: Object) -> LogRecord {
    if let Some(Json::String(id)) = fields.get("EventID")
        && let Ok(number) = id.trim().parse::<i64>()
    {
        fields.insert("EventID".to_owned(), number.into());
    }
    let time = TIME_FIELDS.iter().find_map(|name| parse_time(fields.get(*name)?));
    let record_id = fields.get("EventRecordID").and_then(number).unwrap_or(0);
    let mut also: &[&str] = &[];
    let mut source = LogSource::default();

    let text = |name: &str| fields.get(name).and_then(Json::as_str).unwrap_or_default();
    let (channel, provider) = (text("Channel"), text("Provider_Name"));
    let event_id = fields.get("EventID").and_then(Json::as_i64);
    if let Some(id) = event_id
        && (!channel.is_empty() || !provider.is_empty())
    {
        let linux = provider == "Linux-Sysmon" || channel.starts_with("Linux-Sysmon");
        let service = windows_log::service(channel, provider);
        source.product = Cow::Borrowed(if linux { "linux" } else { "windows" });
        source.service = Cow::Borrowed(service);
        if let Some(kind) = windows_log::kind_of(service, id) {
            source.category = Cow::Borrowed(kind.category);
            also = kind.also;
            if service == "sysmon" && id == 12 {
                also = windows_log::registry_kind(text("EventType"));
            }
            if service == "security" && id == 4688 {
                add_subject_as_user(&mut fields);
            }
            for (from, to, change) in kind.renames {
                if let Some(value) = fields.get(*from).and_then(|v| changed(v, *change)) {
                    fields.insert((*to).to_owned(), value);
                }
            }
        }
    }
    let mut record = LogRecord::from_json(source, &fields);
    record.also = also;
    record.time = time;
    record.record_id = record_id;
    record
}

/// Security 4688 names the creator in two fields; Sysmon has `User` in one.
fn add_subject_as_user(fields: &mut Object) {
    let text = |name: &str| fields.get(name).and_then(Json::as_str).filter(|s| !matches!(*s, "" | "-"));
    // The target is the new process' own user where it differs from the creator.
    let pairs = [("TargetDomainName", "TargetUserName"), ("SubjectDomainName", "SubjectUserName")];
    let user = pairs.into_iter().find_map(|(domain, name)| {
        let name = text(name)?;
        Some(text(domain).map_or_else(|| name.to_owned(), |domain| format!("{domain}\\{name}")))
    });
    if let Some(user) = user {
        fields.insert("User".to_owned(), Json::String(user));
    }
}

fn changed(value: &Json, change: Change) -> Option<Json> {
    match change {
        Change::None => Some(value.clone()),
        Change::HexToNumber => number(value).map(Json::from),
        Change::IntegrityLevel => windows_log::integrity_level(value.as_str()?).map(Json::from),
        Change::Initiated => match value.as_str()? {
            "%%14593" => Some("true".into()),
            "%%14592" => Some("false".into()),
            _ => None,
        },
        Change::Protocol => match number(value)? {
            1 => Some("icmp".into()),
            6 => Some("tcp".into()),
            17 => Some("udp".into()),
            _ => None,
        },
    }
}

/// A whole number, as JSON's own, as decimal text or as `0x…`.
fn number(value: &Json) -> Option<u64> {
    match value {
        Json::Number(n) => n.as_u64(),
        Json::String(text) => match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.trim().parse().ok(),
        },
        _ => None,
    }
}

/// Where records say when they were written, the most exact first.
const TIME_FIELDS: &[&str] =
    &["TimeCreated", "@timestamp", "SystemTime", "UtcTime", "EventTime", "timestamp", "Timestamp", "time"];

/// Reads RFC 3339; `2019-03-17 19:09:41.318` as UTC; Unix time in seconds or milliseconds.
fn parse_time(value: &Json) -> Option<Timestamp> {
    /// Milliseconds of the year 2001 are seconds of the year 33658: what is above is milliseconds.
    const SECONDS_BELOW: f64 = 1e12;
    match value {
        Json::Number(n) => {
            let n = n.as_f64()?;
            Some(Timestamp(if n.abs() < SECONDS_BELOW { (n * 1000.0) as i64 } else { n as i64 }))
        }
        Json::String(text) => Timestamp::parse_rfc3339(text).or_else(|| {
            let mut text = text.trim().replacen(' ', "T", 1);
            if text.len() > 30 || !text.is_ascii() {
                return None;
            }
            text.push('Z');
            Timestamp::parse_rfc3339(&text)
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use wardline_event::{Fields, Value};

    fn read(json: Json) -> LogRecord {
        let Json::Object(object) = json else { unreachable!() };
        from_json(object)
    }

    /// One Sysmon event as each tool writes it: all give the same record.
    #[test]
    fn the_shapes_of_different_tools_are_one_event() {
        let shapes = [
            json!({"Event": {"#attributes": {"xmlns": "x"}, "System": {
                "Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}},
                "EventID": {"#attributes": {"Qualifiers": 0}, "#text": 1},
                "TimeCreated": {"#attributes": {"SystemTime": "2024-05-06T07:08:09.5Z"}},
                "EventRecordID": 77, "Channel": "Microsoft-Windows-Sysmon/Operational", "Computer": "WARD-3"},
                "EventData": {"Image": "C:\\a.exe", "ProcessGuid": "365ABB72-9B75-5C8E-0000-0010013F1200"}}}),
            json!({"Event": {"System": {
                "Provider": {"@Name": "Microsoft-Windows-Sysmon"}, "EventID": "1",
                "TimeCreated": {"@SystemTime": "2024-05-06T07:08:09.5Z"},
                "EventRecordID": "77", "Channel": "Microsoft-Windows-Sysmon/Operational", "Computer": "WARD-3"},
                "EventData": {"Data": [{"@Name": "Image", "#text": "C:\\a.exe"},
                    {"@Name": "ProcessGuid", "#text": "{365ABB72-9B75-5C8E-0000-0010013F1200}"}]}}}),
            json!({"@timestamp": "2024-05-06T07:08:09.500Z", "winlog": {
                "channel": "Microsoft-Windows-Sysmon/Operational", "event_id": 1, "record_id": 77,
                "provider_name": "Microsoft-Windows-Sysmon", "computer_name": "WARD-3",
                "event_data": {"Image": "C:\\a.exe", "ProcessGuid": "{365ABB72-9B75-5C8E-0000-0010013F1200}"}}}),
            json!({"EventId": 1, "Provider": "Microsoft-Windows-Sysmon", "EventRecordId": "77",
                "Channel": "Microsoft-Windows-Sysmon/Operational", "Computer": "WARD-3",
                "TimeCreated": "2024-05-06T07:08:09.5000000+00:00",
                "Payload": "{\"EventData\":{\"Data\":[{\"@Name\":\"Image\",\"#text\":\"C:\\\\a.exe\"},\
                    {\"@Name\":\"ProcessGuid\",\"#text\":\"{365ABB72-9B75-5C8E-0000-0010013F1200}\"}]}}"}),
            json!({"EventID": 1, "SourceName": "Microsoft-Windows-Sysmon", "RecordNumber": 77,
                "Channel": "Microsoft-Windows-Sysmon/Operational", "Hostname": "WARD-3",
                "@timestamp": "2024-05-06T07:08:09.500Z", "Image": "C:\\a.exe",
                "ProcessGuid": "{365ABB72-9B75-5C8E-0000-0010013F1200}"}),
        ];
        for shape in shapes {
            let record = read(shape.clone());
            assert_eq!(record.source, LogSource::new("windows", "process_creation", "sysmon"), "{shape}");
            assert_eq!(record.time, Some(Timestamp(1_714_979_289_500)), "{shape}");
            assert_eq!(record.record_id, 77, "{shape}");
            assert_eq!(record.field("EventID"), Some(Value::Int(1)), "{shape}");
            assert_eq!(record.field("Computer"), Some(Value::str("WARD-3")), "{shape}");
            assert_eq!(
                record.field("Provider_Name"),
                Some(Value::str("Microsoft-Windows-Sysmon")),
                "{shape}"
            );
            assert_eq!(record.field("Image"), Some(Value::str("C:\\a.exe")), "{shape}");
            let guid = Value::str("{365ABB72-9B75-5C8E-0000-0010013F1200}");
            assert_eq!(record.field("ProcessGuid"), Some(guid), "{shape}");
            assert!(record.also.is_empty());
        }
    }

    #[test]
    fn a_process_in_the_security_log_reads_like_sysmons() {
        let record = read(json!({"Event": {
            "System": {"Provider": {"#attributes": {"Name": "Microsoft-Windows-Security-Auditing"}},
                "EventID": 4688, "Channel": "Security"},
            "EventData": {"SubjectUserName": "alice", "SubjectDomainName": "TRUST", "TargetUserName": "-",
                "NewProcessId": "0x1f4", "NewProcessName": "C:\\Windows\\System32\\cmd.exe",
                "ParentProcessName": "C:\\Windows\\explorer.exe", "ProcessId": "0x10",
                "MandatoryLabel": "S-1-16-12288", "CommandLine": "cmd /c dir"}}}));
        assert_eq!(record.source, LogSource::new("windows", "process_creation", "security"));
        for (field, want) in [
            ("Image", "C:\\Windows\\System32\\cmd.exe"),
            ("NewProcessName", "C:\\Windows\\System32\\cmd.exe"),
            ("ParentImage", "C:\\Windows\\explorer.exe"),
            ("CommandLine", "cmd /c dir"),
            ("User", "TRUST\\alice"),
            ("IntegrityLevel", "High"),
            ("ProcessId", "500"),
            ("ParentProcessId", "16"),
        ] {
            let value = record.field(field);
            assert_eq!(value.as_ref().and_then(Value::as_text).as_deref(), Some(want), "{field}");
        }
    }

    #[test]
    fn a_registry_event_belongs_to_two_categories() {
        let categories = |id: i64, event_type: &str| {
            let read = read(json!({"EventID": id, "Channel": "Microsoft-Windows-Sysmon/Operational",
                "EventType": event_type}));
            (read.source.category.into_owned(), read.also)
        };
        assert_eq!(categories(13, "SetValue"), ("registry_event".into(), &["registry_set"][..]));
        assert_eq!(categories(12, "CreateKey"), ("registry_event".into(), &["registry_add"][..]));
        assert_eq!(categories(12, "DeleteValue"), ("registry_event".into(), &["registry_delete"][..]));
    }

    #[test]
    fn unnamed_data_is_a_list_and_user_data_is_flat() {
        let classic = read(json!({"Event": {"System": {"EventID": 400, "Channel": "Windows PowerShell"},
            "EventData": {"Data": {"#text": ["Available", "None", "HostApplication=powershell"]}, "Binary": null}}}));
        assert_eq!(classic.source.category, "ps_classic_start");
        let data = ["Available", "None", "HostApplication=powershell"].map(Value::str);
        assert_eq!(classic.field("Data"), Some(Value::List(data.to_vec())));
        let cleared = read(json!({"Event": {"System": {"EventID": 1102, "Channel": "Security"},
            "UserData": {"LogFileCleared": {"#attributes": {"xmlns": "y"}, "SubjectUserName": "mallory"}}}}));
        assert_eq!(cleared.field("SubjectUserName"), Some(Value::str("mallory")));
        assert_eq!(cleared.source, LogSource::new("windows", "", "security"));
    }

    #[test]
    fn other_json_keeps_its_fields_and_claims_no_source() {
        let other = read(json!({"time": 1_700_000_000, "EventID": "x", "a": {"b": 1}}));
        assert_eq!(other.source, LogSource::default());
        assert_eq!(other.time, Some(Timestamp(1_700_000_000_000)));
        assert_eq!(other.field("a.b"), Some(Value::Int(1)));
    }
}
