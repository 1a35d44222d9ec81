//! Process, file and network activity.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

use super::OcsfError;
use super::launch::{put_launch, read_launch};
use super::parts::{base, file, int_at, process, read_base, read_process, str_at, uint_at};
use crate::activity::{
    Body, CallActivity, Event, FileActivity, FileOp, NetworkActivity, NetworkOp, Process, ProcessActivity,
    ProcessOp, SensorLoss,
};
use crate::sensor::SensorKind;

const PROCESS: u64 = 1007;
const FILE: u64 = 1001;
const KERNEL: u64 = 1003;
const NETWORK: u64 = 4001;
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
    let start =
        |class, activity| base(class, activity, event.id, event.time, event.simulated, &event.product);
    let out = match &event.body {
        Body::Process(p) => {
            let (activity, launch_type) = process_ids(p.op);
            let mut out = start(PROCESS, activity);
            out.insert("process".into(), process(&p.process));
            out.insert("actor".into(), actor(p.parent.as_ref()));
            if let Some(id) = launch_type {
                out.insert("launch_type_id".into(), json!(id));
            }
            if p.op == ProcessOp::Found {
                out.insert("activity_name".into(), json!("Found"));
            }
            if let Some(launch) = &p.launch {
                put_launch(&mut out, launch);
            }
            if let Some(code) = p.exit_code {
                out.insert("exit_code".into(), json!(code));
            }
            out
        }
        Body::File(f) => {
            let mut out = start(FILE, file_id(f.op));
            out.insert("actor".into(), actor(Some(&f.actor)));
            match &f.old_path {
                // OCSF: `file` is what was acted on, `file_result` what it became.
                Some(old) => {
                    out.insert("file".into(), file(old));
                    out.insert("file_result".into(), file(&f.path));
                }
                None => {
                    out.insert("file".into(), file(&f.path));
                }
            }
            if f.op == FileOp::Link {
                out.insert("activity_name".into(), json!("Link"));
            }
            if !f.detail.is_empty() {
                out.insert("message".into(), json!(f.detail));
            }
            out
        }
        Body::Network(n) => {
            let mut out = start(NETWORK, network_id(n.op));
            out.insert("actor".into(), actor(Some(&n.actor)));
            out.insert("src_endpoint".into(), json!({"ip": n.src_ip, "port": n.src_port}));
            out.insert(
                "dst_endpoint".into(),
                json!({"ip": n.dst_ip, "port": n.dst_port, "hostname": n.dst_host}),
            );
            // direction_id: 1 inbound, 2 outbound.
            out.insert(
                "connection_info".into(),
                json!({"protocol_name": n.protocol, "direction_id": if n.initiated { 2 } else { 1 }}),
            );
            out
        }
        Body::Call(c) => {
            // activity_id 4: Invoke; kernel.type_id 2: System Call.
            let mut out = start(KERNEL, 4);
            out.insert("actor".into(), actor(Some(&c.actor)));
            out.insert("kernel".into(), json!({"name": c.detail, "type_id": 2, "system_call": c.call}));
            out.insert("status_code".into(), json!(c.result.to_string()));
            // Texts, since JSON readers in browsers lose digits beyond 2^53.
            let args: Vec<String> = c.args.iter().map(|a| format!("{a:x}")).collect();
            out.insert("unmapped".into(), json!({"arguments": args}));
            out
        }
        Body::Loss(l) => {
            // activity_id 1: General Error.
            let mut out = start(APPLICATION_ERROR, 1);
            out.insert("severity_id".into(), json!(3));
            out.insert("actor".into(), actor(Some(&l.agent)));
            out.insert("count".into(), json!(l.lost));
            out.insert(
                "message".into(),
                json!(format!("sensor {} lost {} events", l.sensor.title(), l.lost)),
            );
            out.insert("unmapped".into(), json!({"sensor": l.sensor, "total": l.total}));
            out
        }
    };
    Value::Object(out)
}

fn actor(process_of: Option<&Process>) -> Value {
    process_of.map_or_else(|| json!({}), |p| json!({"process": process(p)}))
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
