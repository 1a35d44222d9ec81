//! Lines of logs, and who signed in by what they say.

use serde::ser::SerializeMap;
use serde_json::Value;

use super::OcsfError;
use super::parts::{object, process, read_process, str_at};
use crate::log::{LogActivity, Login};

/// OCSF's Authentication.
pub(super) const AUTHENTICATION: u64 = 3002;
/// OCSF's Base Event: it has no class for a line of which nothing more is known.
pub(super) const LINE: u64 = 0;

/// OCSF `class_uid` and `activity_id`: 1 Logon, 2 Logoff, 99 Other.
pub(super) fn ids(log: &LogActivity) -> (u64, u64) {
    match &log.login {
        Some(login) => (AUTHENTICATION, if login.is_logoff { 2 } else { 1 }),
        None => (LINE, 99),
    }
}

pub(super) fn put_log<M: SerializeMap>(out: &mut M, log: &LogActivity) -> Result<(), M::Error> {
    out.serialize_entry("message", &log.message)?;
    if let Some(login) = &log.login {
        let actor = object! {process: process(&log.actor), user: object! {name: &login.by}};
        out.serialize_entry("actor", &actor)?;
        out.serialize_entry("user", &object! {name: &login.user})?;
        // 1 Success, 2 Failure.
        out.serialize_entry("status_id", if login.success { &1 } else { &2 })?;
        out.serialize_entry("src_endpoint", &object! {ip: &login.source_ip, port: login.source_port})?;
        out.serialize_entry("is_remote", &!login.source_ip.is_empty())?;
        out.serialize_entry("auth_protocol", &login.method)?;
        out.serialize_entry("service", &object! {name: &log.program})?;
    } else {
        out.serialize_entry("actor", &object! {process: process(&log.actor)})?;
    }
    let (terminal, command) =
        log.login.as_ref().map_or(("", ""), |login| (login.terminal.as_str(), login.command.as_str()));
    let unmapped = object! {
        program: &log.program, unit: &log.unit, facility: log.facility, vouched: log.is_vouched,
        terminal: terminal, command: command,
    };
    out.serialize_entry("unmapped", &unmapped)
}

pub(super) fn read_log(json: &Value, class: u64, activity: u64) -> Result<LogActivity, OcsfError> {
    let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |pointer: &str| json.pointer(pointer).and_then(Value::as_u64);
    let login = if class == AUTHENTICATION {
        Some(Login {
            is_logoff: activity == 2,
            success: number("/status_id").ok_or(OcsfError::Attribute("status_id"))? == 1,
            user: str_at(json, "/user/name", "user.name")?.to_owned(),
            by: text("/actor/user/name"),
            source_ip: text("/src_endpoint/ip"),
            source_port: number("/src_endpoint/port").and_then(|n| u16::try_from(n).ok()).unwrap_or(0),
            terminal: text("/unmapped/terminal"),
            method: text("/auth_protocol"),
            command: text("/unmapped/command"),
        })
    } else {
        None
    };
    Ok(LogActivity {
        program: text("/unmapped/program"),
        message: str_at(json, "/message", "message")?.to_owned(),
        unit: text("/unmapped/unit"),
        facility: number("/unmapped/facility").and_then(|n| u8::try_from(n).ok()),
        is_vouched: json.pointer("/unmapped/vouched").and_then(Value::as_bool) == Some(true),
        login,
        actor: read_process(json.pointer("/actor/process").ok_or(OcsfError::Attribute("actor.process"))?)?,
    })
}
