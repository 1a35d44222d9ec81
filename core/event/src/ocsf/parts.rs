//! The objects that OCSF classes share: metadata, device, process, user.

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::Value;

use super::{OcsfError, VERSION};
use crate::activity::{Process, User};
use crate::hex::{hex, unhex};
use crate::identity::Digests;
use crate::ids::{EventId, ProcessKey};
use crate::time::Timestamp;

/// OCSF `os.type_id`.
const OS_TYPES: [(u64, &str); 3] = [(100, "windows"), (200, "linux"), (300, "macos")];

/// An object with these fields, written once and read by nobody.
macro_rules! object {
    ($($name:ident: $value:expr),* $(,)?) => {{
        #[derive(serde::Serialize)]
        struct Object<$($name),*> { $($name: $name),* }
        Object { $($name: $value),* }
    }};
}
pub(super) use object;

/// What every class begins with.
pub(super) struct Base<'a> {
    class_uid: u64,
    category_uid: u64,
    activity_id: u64,
    type_uid: u64,
    pub severity_id: u64,
    time: Timestamp,
    pub metadata: Metadata,
    device: Device<'a>,
}

#[derive(Serialize)]
pub(super) struct Metadata {
    version: &'static str,
    uid: EventId,
    product: Product,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<[&'static str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profiles: Option<[&'static str; 2]>,
}

#[derive(Serialize)]
struct Product {
    name: &'static str,
    vendor_name: &'static str,
}

#[derive(Serialize)]
struct Device<'a> {
    type_id: u64,
    os: Os<'a>,
}

#[derive(Serialize)]
struct Os<'a> {
    type_id: u64,
    name: &'a str,
}

impl<'a> Base<'a> {
    pub(super) fn new(
        class: u64,
        activity: u64,
        id: EventId,
        time: Timestamp,
        simulated: bool,
        product: &'a str,
    ) -> Self {
        let os = OS_TYPES.iter().find(|(_, name)| *name == product).map_or(0, |(id, _)| *id);
        Self {
            class_uid: class,
            category_uid: class / 1000,
            activity_id: activity,
            type_uid: class * 100 + activity,
            severity_id: 1,
            time,
            metadata: Metadata {
                version: VERSION,
                uid: id,
                product: Product { name: "Wardline", vendor_name: "Wardline" },
                labels: simulated.then_some(["simulated"]),
                profiles: None,
            },
            device: Device { type_id: 0, os: Os { type_id: os, name: product } },
        }
    }

    pub(super) fn put<M: SerializeMap>(&self, out: &mut M) -> Result<(), M::Error> {
        out.serialize_entry("class_uid", &self.class_uid)?;
        out.serialize_entry("category_uid", &self.category_uid)?;
        out.serialize_entry("activity_id", &self.activity_id)?;
        out.serialize_entry("type_uid", &self.type_uid)?;
        out.serialize_entry("severity_id", &self.severity_id)?;
        out.serialize_entry("time", &self.time)?;
        out.serialize_entry("metadata", &self.metadata)?;
        out.serialize_entry("device", &self.device)
    }
}

/// What [`Base`] wrote: id, time, simulated, product.
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

#[derive(Serialize)]
pub(super) struct File<'a> {
    path: &'a str,
    name: &'a str,
    type_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hashes: Option<[Fingerprint; 2]>,
}

#[derive(Serialize)]
struct Fingerprint {
    algorithm: &'static str,
    algorithm_id: u64,
    value: String,
}

impl<'a> File<'a> {
    pub(super) fn new(path: &'a str) -> Self {
        // type_id 1: regular file.
        Self { path, name: base_name(path), type_id: 1, size: None, hashes: None }
    }

    /// With its size and digests, as far as they are known.
    pub(super) fn with(mut self, size: Option<u64>, digests: Option<&Digests>) -> Self {
        self.size = size;
        self.hashes = digests.map(|d| {
            [
                Fingerprint { algorithm: "MD5", algorithm_id: 1, value: hex(&d.md5) },
                Fingerprint { algorithm: "SHA-256", algorithm_id: 3, value: hex(&d.sha256) },
            ]
        });
        self
    }
}

/// The digests of a file, if both are there.
pub(super) fn read_digests(file: &Value) -> Option<Digests> {
    let of = |id: u64| {
        let hashes = file.get("hashes").and_then(Value::as_array)?;
        let hash = hashes.iter().find(|h| h["algorithm_id"] == id)?;
        unhex(hash["value"].as_str()?)
    };
    Some(Digests { sha256: of(3)?.try_into().ok()?, md5: of(1)?.try_into().ok()? })
}

#[derive(Serialize)]
pub(super) struct ProcessObject<'a> {
    uid: ProcessKey,
    pid: u32,
    name: &'a str,
    cmd_line: &'a str,
    pub file: File<'a>,
    user: UserObject<'a>,
    created_time: Timestamp,
    #[serde(skip_serializing_if = "str::is_empty")]
    working_directory: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Container<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xattributes: Option<Xattributes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auid: Option<&'a str>,
}

#[derive(Serialize)]
struct UserObject<'a> {
    uid: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct Container<'a> {
    uid: &'a str,
}

#[derive(Serialize)]
struct Xattributes {
    /// A text, since JSON readers in browsers lose digits beyond 2^53.
    cgroup_id: String,
}

pub(super) fn process(p: &Process) -> ProcessObject<'_> {
    ProcessObject {
        uid: p.key,
        pid: p.key.pid,
        name: base_name(&p.image),
        cmd_line: &p.command_line,
        file: File::new(&p.image),
        user: UserObject { uid: &p.user.uid, name: &p.user.name },
        created_time: p.started,
        working_directory: &p.cwd,
        container: p.container.as_deref().map(|uid| Container { uid }),
        xattributes: (p.cgroup_id != 0).then(|| Xattributes { cgroup_id: p.cgroup_id.to_string() }),
        auid: None,
    }
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
