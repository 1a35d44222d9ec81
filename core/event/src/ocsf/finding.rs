//! Detection Finding.

use serde::de::DeserializeOwned;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::parts::{Base, object, process, read_base, read_process, str_at, uint_at};
use super::{EventObject, OcsfError, event_from_json};
use crate::finding::{Disposition, Finding, RuleRef, Severity, Technique};

const DETECTION_FINDING: u64 = 2004;

/// OCSF `disposition_id` (security control profile): 2 Blocked, 15 Detected, 16 No Action, 17 Logged, 99 Other.
fn disposition_id(disposition: Disposition) -> u64 {
    match disposition {
        Disposition::Recorded => 17,
        Disposition::WouldAct => 15,
        Disposition::Withheld => 16,
        Disposition::Stopped => 2,
        Disposition::Failed => 99,
    }
}

/// A finding as OCSF JSON, the whole event with it as evidence.
pub fn finding_to_json(finding: &Finding) -> Value {
    serde_json::to_value(FindingObject(finding))
        .unwrap_or_else(|_| unreachable!("texts, numbers and names of attributes are JSON"))
}

/// A finding that serialises as OCSF: as [`finding_to_json`] gives it, without building a tree of it first.
pub struct FindingObject<'a>(pub &'a Finding);

impl Serialize for FindingObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let f = self.0;
        let mut base = Base::new(DETECTION_FINDING, 1, f.id, f.time, f.simulated, &f.event.product);
        base.metadata.profiles = Some(["host", "security_control"]);
        base.severity_id = f.severity.ocsf_id().into();
        let mut out = serializer.serialize_map(None)?;
        base.put(&mut out)?;
        out.serialize_entry("status_id", &1)?;
        // action_id: 2 Denied, 3 Observed.
        let action_id = if f.action.disposition == Disposition::Stopped { 2 } else { 3 };
        out.serialize_entry("action_id", &action_id)?;
        out.serialize_entry("disposition_id", &disposition_id(f.action.disposition))?;
        let attacks: Vec<_> = f.techniques.iter().map(|t| object! {technique: object! {uid: t}}).collect();
        let info = object! {
            uid: f.id,
            title: &f.rule.title,
            desc: &f.rule.description,
            created_time: f.time,
            // type_id 1: Rule.
            analytic: object! {uid: &f.rule.id, name: &f.rule.title, type_id: 1},
            attacks: attacks,
        };
        out.serialize_entry("finding_info", &info)?;
        let evidence = object! {process: process(f.event.process()), data: EventObject(&f.event)};
        out.serialize_entry("evidences", &[evidence])?;
        let ancestors: Vec<_> = f.ancestors.iter().map(process).collect();
        let unmapped = object! {
            action: &f.action,
            ancestors: ancestors,
            matched: &f.matched,
            rule_source: &f.rule.source,
        };
        out.serialize_entry("unmapped", &unmapped)?;
        out.end()
    }
}

/// Reads what [`finding_to_json`] wrote, of this or an older version.
pub fn finding_from_json(json: &Value) -> Result<Finding, OcsfError> {
    let class = uint_at(json, "/class_uid", "class_uid")?;
    if class != DETECTION_FINDING {
        return Err(OcsfError::Class(class));
    }
    let (id, time, simulated, _) = read_base(json)?;
    let severity = Severity::from_ocsf_id(uint_at(json, "/severity_id", "severity_id")?)
        .ok_or(OcsfError::Attribute("severity_id"))?;
    let techniques = json
        .pointer("/finding_info/attacks")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|a| a.pointer("/technique/uid").and_then(Value::as_str))
        .map(|t| Technique(t.to_owned()))
        .collect();
    let event = json.pointer("/evidences/0/data").ok_or(OcsfError::Attribute("evidences[0].data"))?;
    let ancestors = json.pointer("/unmapped/ancestors").and_then(Value::as_array);
    let text = |pointer, name| str_at(json, pointer, name).map(str::to_owned);
    Ok(Finding {
        id,
        time,
        simulated,
        severity,
        rule: RuleRef {
            id: text("/finding_info/analytic/uid", "finding_info.analytic.uid")?,
            title: text("/finding_info/title", "finding_info.title")?,
            description: text("/finding_info/desc", "finding_info.desc")?,
            source: text("/unmapped/rule_source", "unmapped.rule_source")?,
        },
        techniques,
        matched: typed(json, "/unmapped/matched", "unmapped.matched")?,
        event: event_from_json(event)?,
        ancestors: ancestors.into_iter().flatten().map(read_process).collect::<Result<_, _>>()?,
        action: typed(json, "/unmapped/action", "unmapped.action")?,
    })
}

fn typed<T: DeserializeOwned>(json: &Value, pointer: &str, name: &'static str) -> Result<T, OcsfError> {
    let value = json.pointer(pointer).ok_or(OcsfError::Attribute(name))?;
    T::deserialize(value).map_err(|_| OcsfError::Attribute(name))
}
