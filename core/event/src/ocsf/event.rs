//! Process, file and network activity.

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::OcsfError;
use super::launch::{LaunchObject, read_launch};
use super::log::{self, AUTHENTICATION, put_log, read_log};
use super::parts::{
    Base, File, ProcessObject, int_at, object, process, read_base, read_process, str_at, uint_at,
};
use crate::activity::{
    Body, CallActivity, DnsActivity, Event, FileActivity, FileOp, NetworkActivity, NetworkOp, Process,
    ProcessActivity, ProcessOp, SensorLoss,
};
use crate::sensor::SensorKind;

const PROCESS: u64 = 1007;
const FILE: u64 = 1001;
const KERNEL: u64 = 1003;
const NETWORK: u64 = 4001;
const DNS: u64 = 4003;
const APPLICATION_ERROR: u64 = 6008;

/// OCSF `activity_id` and, for Launch, `launch_type_id` (2 Fork, 3 Exec).
fn process_ids(op: ProcessOp) -> (u64, Option<u64>) {
    match op {
        ProcessOp::Fork => (1, Some(2)),
        ProcessOp::Exec => (1, Some(3)),
        ProcessOp::Exit => (2, None),
        ProcessOp::Found => (99, None),
    }
}

fn file_id(op: FileOp) -> u64 {
    match op {
        FileOp::Create => 1,
        FileOp::Update => 3,
        FileOp::Delete => 4,
        FileOp::Rename => 5,
        FileOp::Change => 6,
        FileOp::Read => 14,
        FileOp::Link => 99,
    }
}

fn network_id(op: NetworkOp) -> u64 {
    match op {
        NetworkOp::Open => 1,
        NetworkOp::Refuse => 5,
        NetworkOp::Listen => 7,
    }
}

/// An event as OCSF JSON.
pub fn event_to_json(event: &Event) -> Value {
    serde_json::to_value(EventObject(event))
        .unwrap_or_else(|_| unreachable!("texts, numbers and names of attributes are JSON"))
}

/// An event that serialises as OCSF: as [`event_to_json`] gives it, without building a tree of it first.
pub struct EventObject<'a>(pub &'a Event);

impl Serialize for EventObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.0;
        let (class, activity) = match &event.body {
            Body::Process(p) => (PROCESS, process_ids(p.op).0),
            Body::File(f) => (FILE, file_id(f.op)),
            Body::Network(n) => (NETWORK, network_id(n.op)),
            // 1: Query, 2: Response.
            Body::Dns(d) => (DNS, if d.response { 2 } else { 1 }),
            // 4: Invoke.
            Body::Call(_) => (KERNEL, 4),
            Body::Log(l) => log::ids(l),
            // 1: General Error.
            Body::Loss(_) => (APPLICATION_ERROR, 1),
        };
        let mut base = Base::new(class, activity, event.id, event.time, event.simulated, &event.product);
        if matches!(event.body, Body::Loss(_)) {
            base.severity_id = 3;
        }
        let mut out = serializer.serialize_map(None)?;
        base.put(&mut out)?;
        match &event.body {
            Body::Process(p) => put_process(&mut out, p)?,
            Body::File(f) => put_file(&mut out, f)?,
            Body::Network(n) => {
                put_actor(&mut out, Some(&n.actor))?;
                out.serialize_entry("src_endpoint", &object! {ip: &n.src_ip, port: n.src_port})?;
                let destination = object! {ip: &n.dst_ip, port: n.dst_port, hostname: &n.dst_host};
                out.serialize_entry("dst_endpoint", &destination)?;
                // direction_id: 1 inbound, 2 outbound.
                let direction_id = if n.initiated { 2 } else { 1 };
                let info = object! {protocol_name: &n.protocol, direction_id: direction_id};
                out.serialize_entry("connection_info", &info)?;
            }
            Body::Dns(d) => {
                put_actor(&mut out, Some(&d.actor))?;
                out.serialize_entry("query", &object! {hostname: &d.name, r#type: &d.kind})?;
                let answers: Vec<_> = d.answers.iter().map(|a| object! {rdata: a}).collect();
                out.serialize_entry("answers", &answers)?;
                out.serialize_entry("rcode_id", &d.status)?;
                out.serialize_entry("dst_endpoint", &object! {ip: &d.server_ip, port: d.server_port})?;
            }
            Body::Call(c) => {
                put_actor(&mut out, Some(&c.actor))?;
                // type_id 2: System Call.
                let kernel = object! {name: &c.detail, type_id: 2, system_call: &c.call};
                out.serialize_entry("kernel", &kernel)?;
                out.serialize_entry("status_code", &c.result.to_string())?;
                // Texts, since JSON readers in browsers lose digits beyond 2^53.
                let arguments: Vec<String> = c.args.iter().map(|a| format!("{a:x}")).collect();
                out.serialize_entry("unmapped", &object! {arguments: arguments})?;
            }
            Body::Log(l) => put_log(&mut out, l)?,
            Body::Loss(l) => {
                put_actor(&mut out, Some(&l.agent))?;
                out.serialize_entry("count", &l.lost)?;
                let message = format!("sensor {} lost {} events", l.sensor.title(), l.lost);
                out.serialize_entry("message", &message)?;
                out.serialize_entry("unmapped", &object! {sensor: l.sensor, total: l.total})?;
            }
        }
        out.end()
    }
}

fn put_process<M: SerializeMap>(out: &mut M, p: &ProcessActivity) -> Result<(), M::Error> {
    let mut told = process(&p.process);
    if let Some(launch) = p.launch.as_deref() {
        told.auid = launch.login_uid.as_deref();
        told.file = told.file.with(launch.identity.size, launch.identity.digests.get());
    }
    out.serialize_entry("process", &told)?;
    put_actor(out, p.parent.as_ref())?;
    if let (_, Some(id)) = process_ids(p.op) {
        out.serialize_entry("launch_type_id", &id)?;
    }
    if p.op == ProcessOp::Found {
        out.serialize_entry("activity_name", "Found")?;
    }
    if let Some(launch) = &p.launch {
        out.serialize_entry("unmapped", &object! {launch: LaunchObject::new(launch)})?;
    }
    if let Some(code) = p.exit_code {
        out.serialize_entry("exit_code", &code)?;
    }
    Ok(())
}

fn put_file<M: SerializeMap>(out: &mut M, f: &FileActivity) -> Result<(), M::Error> {
    put_actor(out, Some(&f.actor))?;
    match &f.old_path {
        // OCSF: `file` is what was acted on, `file_result` what it became.
        Some(old) => {
            out.serialize_entry("file", &File::new(old))?;
            out.serialize_entry("file_result", &File::new(&f.path))?;
        }
        None => out.serialize_entry("file", &File::new(&f.path))?,
    }
    if f.op == FileOp::Link {
        out.serialize_entry("activity_name", "Link")?;
    }
    if !f.detail.is_empty() {
        out.serialize_entry("message", &f.detail)?;
    }
    Ok(())
}

fn put_actor<M: SerializeMap>(out: &mut M, of: Option<&Process>) -> Result<(), M::Error> {
    #[derive(Serialize)]
    struct Actor<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        process: Option<ProcessObject<'a>>,
    }
    out.serialize_entry("actor", &Actor { process: of.map(process) })
}

fn read_actor(json: &Value) -> Result<Process, OcsfError> {
    read_process(json.pointer("/actor/process").ok_or(OcsfError::Attribute("actor.process"))?)
}

/// Reads what [`event_to_json`] wrote, of this or an older version.
pub fn event_from_json(json: &Value) -> Result<Event, OcsfError> {
    let class = uint_at(json, "/class_uid", "class_uid")?;
    let activity = uint_at(json, "/activity_id", "activity_id")?;
    let unknown = || OcsfError::Activity { class, activity };
    let (id, time, simulated, product) = read_base(json)?;
    let body = match class {
        PROCESS => {
            let launch_type = json.get("launch_type_id").and_then(Value::as_u64);
            let op = match (activity, launch_type) {
                (1, Some(2)) => ProcessOp::Fork,
                (1, _) => ProcessOp::Exec,
                (2, _) => ProcessOp::Exit,
                (99, _) => ProcessOp::Found,
                _ => return Err(unknown()),
            };
            Body::Process(ProcessActivity {
                op,
                process: read_process(json.get("process").ok_or(OcsfError::Attribute("process"))?)?,
                parent: json.pointer("/actor/process").map(read_process).transpose()?,
                exit_code: json.get("exit_code").and_then(Value::as_i64).and_then(|c| i32::try_from(c).ok()),
                launch: read_launch(json),
            })
        }
        FILE => {
            let op = FileOp::ALL.into_iter().find(|op| file_id(*op) == activity).ok_or_else(unknown)?;
            let path = str_at(json, "/file/path", "file.path")?.to_owned();
            let result = json.pointer("/file_result/path").and_then(Value::as_str).map(str::to_owned);
            let (path, old_path) = match result {
                Some(new) => (new, Some(path)),
                None => (path, None),
            };
            let detail = json.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
            Body::File(FileActivity { op, path, old_path, detail, actor: read_actor(json)? })
        }
        KERNEL => {
            let args = json.pointer("/unmapped/arguments").and_then(Value::as_array);
            let number = |a: &Value| u64::from_str_radix(a.as_str()?, 16).ok();
            let result = str_at(json, "/status_code", "status_code")?;
            Body::Call(CallActivity {
                call: str_at(json, "/kernel/system_call", "kernel.system_call")?.to_owned().into(),
                args: args
                    .and_then(|args| args.iter().map(number).collect())
                    .ok_or(OcsfError::Attribute("unmapped.arguments"))?,
                result: result.parse().map_err(|_| OcsfError::Attribute("status_code"))?,
                detail: str_at(json, "/kernel/name", "kernel.name")?.to_owned(),
                actor: read_actor(json)?,
            })
        }
        NETWORK => {
            let op = [NetworkOp::Open, NetworkOp::Refuse, NetworkOp::Listen]
                .into_iter()
                .find(|op| network_id(*op) == activity)
                .ok_or_else(unknown)?;
            let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned();
            let port = |pointer: &str, name| {
                u16::try_from(int_at(json, pointer, name)?).map_err(|_| OcsfError::Attribute(name))
            };
            let protocol = match text("/connection_info/protocol_name") {
                p if p == "tcp" => Cow::Borrowed("tcp"),
                p if p == "udp" => Cow::Borrowed("udp"),
                p => Cow::Owned(p),
            };
            Body::Network(NetworkActivity {
                op,
                actor: read_actor(json)?,
                protocol,
                initiated: json.pointer("/connection_info/direction_id").and_then(Value::as_u64) == Some(2),
                src_ip: text("/src_endpoint/ip"),
                src_port: port("/src_endpoint/port", "src_endpoint.port")?,
                dst_ip: text("/dst_endpoint/ip"),
                dst_port: port("/dst_endpoint/port", "dst_endpoint.port")?,
                dst_host: text("/dst_endpoint/hostname"),
            })
        }
        DNS => Body::Dns(read_dns(json, activity == 2)?),
        AUTHENTICATION | log::LINE => Body::Log(read_log(json, class, activity)?),
        APPLICATION_ERROR => {
            let sensor = json.pointer("/unmapped/sensor").ok_or(OcsfError::Attribute("unmapped.sensor"))?;
            Body::Loss(SensorLoss {
                sensor: SensorKind::deserialize(sensor)
                    .map_err(|_| OcsfError::Attribute("unmapped.sensor"))?,
                lost: uint_at(json, "/count", "count")?,
                total: uint_at(json, "/unmapped/total", "unmapped.total")?,
                agent: read_actor(json)?,
            })
        }
        other => return Err(OcsfError::Class(other)),
    };
    Ok(Event { id, time, product, simulated, body })
}

fn read_dns(json: &Value, response: bool) -> Result<DnsActivity, OcsfError> {
    let text = |pointer, name| str_at(json, pointer, name).map(str::to_owned);
    let answers = json.get("answers").and_then(Value::as_array).ok_or(OcsfError::Attribute("answers"))?;
    let answer = |answer: &Value| str_at(answer, "/rdata", "answers[].rdata").map(str::to_owned);
    Ok(DnsActivity {
        response,
        actor: read_actor(json)?,
        name: text("/query/hostname", "query.hostname")?,
        kind: text("/query/type", "query.type")?.into(),
        status: u8::try_from(uint_at(json, "/rcode_id", "rcode_id")?)
            .map_err(|_| OcsfError::Attribute("rcode_id"))?,
        answers: answers.iter().map(answer).collect::<Result<_, _>>()?,
        server_ip: text("/dst_endpoint/ip", "dst_endpoint.ip")?,
        server_port: u16::try_from(int_at(json, "/dst_endpoint/port", "dst_endpoint.port")?)
            .map_err(|_| OcsfError::Attribute("dst_endpoint.port"))?,
    })
}
