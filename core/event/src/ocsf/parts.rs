//! The objects that OCSF classes share: metadata, device, process, user.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{OcsfError, VERSION};
use crate::activity::{Process, User};
use crate::ids::EventId;
use crate::time::Timestamp;

/// OCSF `os.type_id`.
const OS_TYPES: [(u64, &str); 3] = [(100, "windows"), (200, "linux"), (300, "macos")];

pub(super) fn base(
    class: u64,
    activity: u64,
    id: EventId,
    time: Timestamp,
    simulated: bool,
    product: &str,
) -> Map<String, Value> {
    let mut metadata = json!({
        "version": VERSION,
        "uid": id,
        "product": {"name": "Wardline", "vendor_name": "Wardline"},
    });
    if simulated {
        metadata["labels"] = json!(["simulated"]);
    }
    let os = OS_TYPES.iter().find(|(_, name)| *name == product).map_or(0, |(id, _)| *id);
    let Value::Object(map) = json!({
        "class_uid": class,
        "category_uid": class / 1000,
        "activity_id": activity,
        "type_uid": class * 100 + activity,
        "severity_id": 1,
        "time": time,
        "metadata": metadata,
        "device": {"type_id": 0, "os": {"type_id": os, "name": product}},
    }) else {
        unreachable!("json! of an object literal is an object")
    };
    map
}

/// What [`base`] wrote: id, time, simulated, product.
pub(super) fn read_base(json: &Value) -> Result<(EventId, Timestamp, bool, Cow<'static, str>), OcsfError> {
    let id = str_at(json, "/metadata/uid", "metadata.uid")?
        .parse()
        .map_err(|_| OcsfError::Attribute("metadata.uid"))?;
    let time = Timestamp(int_at(json, "/time", "time")?);
    let simulated = json
        .pointer("/metadata/labels")
        .and_then(Value::as_array)
        .is_some_and(|labels| labels.iter().any(|l| l == "simulated"));
    let name = str_at(json, "/device/os/name", "device.os.name")?;
    let product = OS_TYPES
        .iter()
        .find(|(_, known)| *known == name)
        .map_or_else(|| Cow::Owned(name.to_owned()), |(_, known)| Cow::Borrowed(*known));
    Ok((id, time, simulated, product))
}

/// The file's name without its folders, whichever slash the system uses.
pub(super) fn base_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

pub(super) fn file(path: &str) -> Value {
    // type_id 1: regular file.
    json!({"path": path, "name": base_name(path), "type_id": 1})
}

pub(super) fn process(p: &Process) -> Value {
    let mut out = json!({
        "uid": p.key,
        "pid": p.key.pid,
        "name": base_name(&p.image),
        "cmd_line": p.command_line,
        "file": file(&p.image),
        "user": {"uid": p.user.uid, "name": p.user.name},
        "created_time": p.started,
    });
    if !p.cwd.is_empty() {
        out["working_directory"] = json!(p.cwd);
    }
    if let Some(container) = &p.container {
        out["container"] = json!({"uid": container});
    }
    if p.cgroup_id != 0 {
        // A text, since JSON readers in browsers lose digits beyond 2^53.
        out["xattributes"] = json!({"cgroup_id": p.cgroup_id.to_string()});
    }
    out
}

pub(super) fn read_process(json: &Value) -> Result<Process, OcsfError> {
    let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned();
    Ok(Process {
        key: str_at(json, "/uid", "process.uid")?.parse().map_err(|_| OcsfError::Attribute("process.uid"))?,
        image: text("/file/path"),
        command_line: text("/cmd_line"),
        cwd: text("/working_directory"),
        user: User { uid: text("/user/uid"), name: text("/user/name") },
        container: json.pointer("/container/uid").and_then(Value::as_str).map(str::to_owned),
        cgroup_id: text("/xattributes/cgroup_id").parse().unwrap_or(0),
        started: Timestamp(int_at(json, "/created_time", "process.created_time")?),
    })
}

pub(super) fn str_at<'a>(json: &'a Value, pointer: &str, name: &'static str) -> Result<&'a str, OcsfError> {
    json.pointer(pointer).and_then(Value::as_str).ok_or(OcsfError::Attribute(name))
}

pub(super) fn int_at(json: &Value, pointer: &str, name: &'static str) -> Result<i64, OcsfError> {
    json.pointer(pointer).and_then(Value::as_i64).ok_or(OcsfError::Attribute(name))
}

pub(super) fn uint_at(json: &Value, pointer: &str, name: &'static str) -> Result<u64, OcsfError> {
    json.pointer(pointer).and_then(Value::as_u64).ok_or(OcsfError::Attribute(name))
}
