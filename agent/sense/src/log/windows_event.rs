//! Windows events, in whatever shape a tool wrote them, as records with Sigma's field names.
//!
//! Four shapes are known: `Event.System` / `Event.EventData` (EVTX, XML and their JSON dumps), winlogbeat's
//! `winlog.event_data`, EvtxECmd's `Payload`, and flat objects with `EventID` beside the fields.
//!
//! The JSON text is read once, straight into the record.

use std::sync::Arc;

use wardline_event::{Cell, Fill, Layouts, LogRecord};
use wardline_sigma::sources::Sources;

use super::json_scan::{Bad, Scan};
use super::windows_map::{Identity, Mapping};
use super::{Fault, syslog};

/// Length of a GUID without braces.
const GUID_DIGITS: usize = 36;

type Result<T> = std::result::Result<T, Bad>;

/// What a thread needs to read logs, used again for every record.
pub struct Workspace {
    record: LogRecord,
    layouts: Layouts,
    mapping: Mapping,
    path: String,
    payload: String,
}

impl Default for Workspace {
    /// With the built-in log sources.
    fn default() -> Self {
        Self::new(Arc::clone(Sources::builtin()))
    }
}

impl Workspace {
    /// A workspace that tells by these sources what records are.
    pub fn new(sources: Arc<Sources>) -> Self {
        Self {
            record: LogRecord::default(),
            layouts: Layouts::default(),
            mapping: Mapping::new(sources),
            path: String::new(),
            payload: String::new(),
        }
    }

    /// The sources that it tells records by.
    pub(super) fn sources(&self) -> Arc<Sources> {
        self.mapping.sources()
    }

    /// Reads an `Event` element as JSON: `{"Event": {"System": …, "EventData": …, "UserData": …}}`.
    pub(super) fn event(&mut self, json: &str) -> std::result::Result<&mut LogRecord, Fault> {
        let mut fill = begin(&mut self.record, &mut self.layouts);
        let mut identity = None;
        Scan::new(json).object(|scan, key| {
            if key == "Event" && scan.peek() == b'{' {
                identity = Some(event(scan, &mut fill)?);
                Ok(())
            } else {
                scan.skip()
            }
        })?;
        let identity = identity.ok_or_else(|| Fault::Malformed("it holds no event".to_owned()))?;
        self.mapping.map(&mut fill, &identity);
        fill.finish();
        Ok(&mut self.record)
    }

    /// The fields of an `Event` element before they are mapped.
    #[cfg(test)]
    pub(super) fn unmapped(&mut self, json: &str) -> std::result::Result<&LogRecord, Fault> {
        let mut fill = begin(&mut self.record, &mut self.layouts);
        Scan::new(json).object(|scan, _| event(scan, &mut fill).map(drop))?;
        fill.finish();
        Ok(&self.record)
    }

    /// Reads a line of syslog; `None` if it is none.
    pub(super) fn syslog(&mut self, line: &str) -> Option<&mut LogRecord> {
        let entry = syslog::entry(line)?;
        let mut fill = begin(&mut self.record, &mut self.layouts);
        entry.fill(&mut fill);
        fill.finish();
        Some(&mut self.record)
    }

    /// Reads a JSON object: one of the known shapes of a Windows event, or else its fields as they are.
    pub(super) fn object(&mut self, json: &str) -> std::result::Result<&mut LogRecord, Fault> {
        let mut fill = begin(&mut self.record, &mut self.layouts);
        let mut scan = Scan::new(json);
        let mut shape = Shape::default();
        scan.object(|scan, key| {
            let kind = scan.peek();
            match (key, kind) {
                ("Event", b'{') => shape.event = true,
                ("System", b'{') => shape.system = true,
                ("EventData" | "UserData", _) => shape.data = true,
                ("winlog", b'{') => shape.winlog = true,
                ("Payload", b'"') => shape.payload = true,
                _ => {}
            }
            self.path.clear();
            self.path.push_str(key);
            member(scan, &mut fill, &mut self.path, 0, false)
        })?;
        if !scan.ended() {
            return Err(Bad::Expected("nothing more", scan.place()).into());
        }
        let element = shape.event && fill.position("Event.System").is_some();
        if element || (shape.system && shape.data) {
            drop(fill);
            if element {
                return self.event(json);
            }
            let mut fill = begin(&mut self.record, &mut self.layouts);
            let identity = event(&mut Scan::new(json), &mut fill)?;
            self.mapping.map(&mut fill, &identity);
            fill.finish();
            return Ok(&mut self.record);
        }
        if shape.payload && !shape.winlog {
            add_payload(&mut fill, &mut self.payload);
        }
        let identity = self.mapping.identify(&mut fill, shape.winlog);
        self.mapping.map(&mut fill, &identity);
        fill.finish();
        Ok(&mut self.record)
    }
}

/// An empty record of no known source.
fn begin<'a>(record: &'a mut LogRecord, layouts: &'a mut Layouts) -> Fill<'a> {
    record.source = wardline_event::LogSource::default();
    record.also = &[];
    record.time = None;
    record.record_id = 0;
    record.fill(layouts)
}

/// What was seen in an object that tells its shape.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says one key was there")]
struct Shape {
    event: bool,
    system: bool,
    data: bool,
    winlog: bool,
    payload: bool,
}

/// Sets the field at `path` to the value that comes next, and what is in it if it is an object.
fn member(
    scan: &mut Scan<'_>,
    fill: &mut Fill<'_>,
    path: &mut String,
    steps: usize,
    dotted: bool,
) -> Result<()> {
    let cell = if scan.peek() == b'{' {
        let place = scan.place();
        let own = path.len();
        let name = path.rfind('.').filter(|_| steps > 0).map_or(0, |at| at + 1);
        let dotted = dotted || path[name..].contains('.');
        scan.object(|scan, key| {
            path.push('.');
            path.push_str(key);
            member(scan, fill, path, steps + 1, dotted)?;
            path.truncate(own);
            Ok(())
        })?;
        let text = scan.since(place);
        scan.nest(text.len())?;
        fill.object_text(text)
    } else {
        scan.value(fill)?
    };
    if steps > 0 {
        scan.nest(path.len())?;
    }
    fill.set_nested(path, steps, dotted, cell);
    Ok(())
}

/// Reads the parts of an `Event` element.
fn event(scan: &mut Scan<'_>, fill: &mut Fill<'_>) -> Result<Identity> {
    let mut identity = Identity::default();
    scan.object(|scan, key| match key {
        "System" if scan.peek() == b'{' => system(scan, fill, &mut identity),
        "EventData" => event_data(scan, fill),
        "UserData" => user_data(scan, fill, None),
        _ => scan.skip(),
    })?;
    Ok(identity)
}

/// Adds the fields of `System` under Sigma's names.
fn system(scan: &mut Scan<'_>, fill: &mut Fill<'_>, identity: &mut Identity) -> Result<()> {
    scan.object(|scan, name| match name {
        "Provider" => attributes(scan, |scan, attribute| {
            let name = match attribute {
                "Name" => "Provider_Name",
                "Guid" => "Provider_Guid",
                _ => return scan.skip(),
            };
            let cell = scan.value(fill)?;
            fill.set(name, cell);
            if name == "Provider_Name" {
                identity.provider = Some(cell);
            }
            Ok(())
        }),
        "TimeCreated" => attributes(scan, |scan, attribute| match attribute {
            "SystemTime" => {
                let cell = scan.value(fill)?;
                fill.set("TimeCreated", cell);
                identity.time = Some(cell);
                Ok(())
            }
            _ => scan.skip(),
        }),
        "Execution" => attributes(scan, |scan, attribute| match attribute {
            "ProcessID" => set(scan, fill, "Execution_ProcessID"),
            "ThreadID" => set(scan, fill, "Execution_ThreadID"),
            _ => scan.skip(),
        }),
        "Security" => attributes(scan, |scan, attribute| match attribute {
            "UserID" => set(scan, fill, "UserID"),
            _ => scan.skip(),
        }),
        "Correlation" => attributes(scan, |scan, attribute| match attribute {
            "ActivityID" => set(scan, fill, "ActivityID"),
            _ => scan.skip(),
        }),
        _ if name.ends_with("_attributes") || name.starts_with(['#', '@']) => scan.skip(),
        _ => {
            let mut cell = content(scan, fill)?;
            match name {
                "Channel" => identity.channel = Some(cell),
                "EventRecordID" => identity.record_id = Some(cell),
                "EventID" => {
                    cell = Mapping::event_id(fill, cell);
                    identity.event_id = Some(cell);
                }
                _ => {}
            }
            fill.set(name, cell);
            Ok(())
        }
    })
}

fn set(scan: &mut Scan<'_>, fill: &mut Fill<'_>, name: &str) -> Result<()> {
    let cell = scan.value(fill)?;
    fill.set(name, cell);
    Ok(())
}

/// Calls `each` with the attributes of the element that comes next, before their values: those in `#attributes`, those
/// written as `@name`, and plain children.
fn attributes(scan: &mut Scan<'_>, mut each: impl FnMut(&mut Scan<'_>, &str) -> Result<()>) -> Result<()> {
    if scan.peek() != b'{' {
        return scan.skip();
    }
    scan.object(|scan, key| {
        if key == "#attributes" && scan.peek() == b'{' {
            scan.object(|scan, key| each(scan, key))
        } else {
            each(scan, key.strip_prefix('@').unwrap_or(key))
        }
    })
}

/// The content of an element that may carry attributes beside it.
fn content(scan: &mut Scan<'_>, fill: &mut Fill<'_>) -> Result<Cell> {
    if scan.peek() != b'{' {
        return scan.value(fill);
    }
    let mut cell = Cell::Null;
    scan.object(|scan, key| {
        if key == "#text" {
            cell = scan.value(fill)?;
            Ok(())
        } else {
            scan.skip()
        }
    })?;
    Ok(cell)
}

/// Adds the fields of `EventData`: named values; `Data` elements with a `Name`; unnamed ones as the list `Data`.
fn event_data(scan: &mut Scan<'_>, fill: &mut Fill<'_>) -> Result<()> {
    if scan.peek() != b'{' {
        return scan.skip();
    }
    let mut unnamed = Vec::new();
    scan.object(|scan, name| match name {
        "Data" if scan.peek() == b'[' => scan.array(|scan| data_element(scan, fill, &mut unnamed)),
        "Data" => data_element(scan, fill, &mut unnamed),
        _ if name.starts_with(['#', '@']) => scan.skip(),
        _ if scan.peek() == b'"' && is_guid_name(name) => {
            let from = fill.buffer().len();
            fill.buffer().push('{');
            scan.text(fill.buffer())?;
            fill.buffer().push('}');
            let (braced, length) = (fill.text_since(from), fill.buffer().len() - from);
            let bare = length == GUID_DIGITS + 2;
            let cell = if bare { braced } else { fill.part(braced, 1..length - 1) };
            fill.set(name, cell);
            Ok(())
        }
        _ => {
            let cell = content(scan, fill)?;
            insert(fill, name, cell);
            Ok(())
        }
    })?;
    match *unnamed {
        [] => {}
        [one] => fill.set("Data", one),
        ref all => {
            let list = fill.list(all);
            fill.set("Data", list);
        }
    }
    Ok(())
}

fn data_element(scan: &mut Scan<'_>, fill: &mut Fill<'_>, unnamed: &mut Vec<Cell>) -> Result<()> {
    let mut name: Option<String> = None;
    let mut cell = Cell::Null;
    if scan.peek() == b'{' {
        scan.object(|scan, key| match key {
            "#attributes" if scan.peek() == b'{' => scan.object(|scan, key| match key {
                "Name" if scan.peek() == b'"' => scan.text(name.insert(String::new())),
                _ => scan.skip(),
            }),
            "@Name" if scan.peek() == b'"' => scan.text(name.insert(String::new())),
            "#text" => {
                cell = scan.value(fill)?;
                Ok(())
            }
            _ => scan.skip(),
        })?;
    } else {
        cell = scan.value(fill)?;
    }
    match (name, cell) {
        (Some(name), cell) => insert(fill, &name, cell),
        (None, Cell::List(_)) => unnamed.extend_from_slice(fill.items(cell)),
        (None, Cell::Null) => {}
        (None, cell) => unnamed.push(cell),
    }
    Ok(())
}

/// Windows writes GUIDs in braces; a dump without them gets them back, so that rules compare equal.
fn insert(fill: &mut Fill<'_>, name: &str, cell: Cell) {
    let text = if is_guid_name(name) { fill.as_text(cell).filter(|t| t.len() == GUID_DIGITS) } else { None };
    let cell = match text.map(|text| format!("{{{text}}}")) {
        Some(braced) => fill.text(&braced),
        None => cell,
    };
    fill.set(name, cell);
}

fn is_guid_name(name: &str) -> bool {
    name.len() >= 4
        && name.is_char_boundary(name.len() - 4)
        && name[name.len() - 4..].eq_ignore_ascii_case("guid")
}

/// Adds the leaves of `UserData` under their own names, whatever element wraps them; `own` is the name of the element
/// that comes next.
fn user_data(scan: &mut Scan<'_>, fill: &mut Fill<'_>, own: Option<&str>) -> Result<()> {
    if scan.peek() != b'{' {
        return match own {
            Some(name) => {
                let cell = scan.value(fill)?;
                insert(fill, name, cell);
                Ok(())
            }
            None => scan.skip(),
        };
    }
    scan.object(|scan, name| match (name, own) {
        ("#text", Some(own)) => {
            let cell = scan.value(fill)?;
            insert(fill, own, cell);
            Ok(())
        }
        _ if name.starts_with(['#', '@']) => scan.skip(),
        _ => user_data(scan, fill, Some(name)),
    })
}

/// Adds the fields of EvtxECmd's `Payload`: an event's data as JSON within JSON. Other tools have a field of that name,
/// too, which holds something else.
fn add_payload(fill: &mut Fill<'_>, payload: &mut String) {
    payload.clear();
    let Some(cell) = fill.position("Payload").and_then(|position| fill.cell(position)) else { return };
    payload.push_str(fill.as_text(cell).unwrap_or_default());
    let mut check = Scan::new(payload);
    if check.peek() != b'{' || check.skip().is_err() || !check.ended() {
        return;
    }
    // It was read to its end before, so that nothing can be wrong with it.
    let _ = Scan::new(payload).object(|scan, key| match key {
        "EventData" => event_data(scan, fill),
        "UserData" => user_data(scan, fill, None),
        _ => scan.skip(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};
    use wardline_event::{Fields, LogSource, Timestamp, Value};

    #[expect(clippy::needless_pass_by_value, reason = "it is written at the call")]
    fn read(json: Json) -> LogRecord {
        Workspace::default().object(&json.to_string()).unwrap().clone()
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
