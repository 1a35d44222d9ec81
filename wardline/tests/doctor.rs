//! What `wardline agent doctor` says, and what a service manager hears. Needs root in part.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

mod common;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use common::up::{Hub, Running};
use common::{alone, folder, is_root, until, wardline};

fn doctor(data: &Path) -> (Option<i32>, Value) {
    let said = wardline(&["agent", "doctor", "--json", "--data", data.to_str().unwrap()]);
    let json = serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {}{}", said.out, said.err));
    (said.code, json)
}

fn check<'a>(json: &'a Value, name: &str) -> &'a Value {
    let all = json["checks"].as_array().unwrap();
    all.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no check {name}: {json}"))
}

#[test]
fn a_machine_without_an_agent_is_told_what_to_do() {
    let dir = folder("doctor");
    let data = dir.path().join("agent");
    for prepare in [false, true] {
        if prepare {
            fs::create_dir(&data).unwrap();
        }
        let (code, json) = doctor(&data);
        assert_eq!((code, &json["state"]), (Some(1), &Value::from("fault")), "{json}");
        let enrolment = check(&json, "enrolment");
        assert_eq!(enrolment["state"], "fault");
        assert!(enrolment["do"].as_str().unwrap().contains("wardline agent enrol"), "{enrolment}");
        assert_eq!(check(&json, "agent")["state"], "fault");
        assert_eq!(
            check(&json, "sensors")["state"],
            "unknown",
            "nothing that was not looked at counts as good"
        );
        assert_eq!(data.exists(), prepare, "looking changes nothing");
    }
    let said = wardline(&["agent", "doctor", "--data", data.to_str().unwrap()]);
    assert_eq!(said.code, Some(1));
    for words in ["✗ enrolment: this machine is not enrolled", "why it matters:", "what to do:"] {
        assert!(said.out.contains(words), "`{words}` is not in {}", said.out);
    }
}

#[test]
fn a_running_agent_is_examined_and_tells_its_service_manager() {
    if !is_root() {
        return;
    }
    let (_lock, dir) = (alone(), folder("doctor-run"));
    let hub = Hub::start(&dir.path().join("hub"), "127.0.0.1:0");
    let agent = dir.path().join("agent");
    let data = agent.to_str().unwrap();
    wardline(&["agent", "enrol", &hub.agents, &hub.token(), "--data", data]).succeeds();

    let notify = dir.path().join("notify");
    let manager = UnixDatagram::bind(&notify).unwrap();
    manager.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let heard = || {
        let mut bytes = [0; 500];
        let n = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..n].to_vec()).unwrap()
    };
    let enter = ["env", &format!("NOTIFY_SOCKET={}", notify.display()), "WATCHDOG_USEC=2000000"];
    let mut running = Running::start(&enter.map(str::to_owned), &["agent", "run", "--data", data]);
    assert_eq!(heard(), "READY=1");
    assert!(heard().starts_with("WATCHDOG=1\nSTATUS=monitor; "));
    running.says(&["connected to the hub"]);
    until("its status line says so", || heard().contains("connected to 127.0.0.1").then_some(()));

    // The ransomware guard comes last: it is loaded beside the rest.
    let (code, json) = until("the doctor finds it connected and guarding", || {
        let (code, json) = doctor(&agent);
        let guards = json["checks"].as_array().unwrap().iter().any(|c| c["name"] == "protection");
        (guards && check(&json, "hub")["state"] == "good").then_some((code, json))
    });
    for name in
        ["enrolment", "agent", "rights", "certificate", "clock", "courier", "spool", "limits", "service"]
    {
        assert_eq!(check(&json, name)["state"], "good", "{}", check(&json, name));
    }
    // Monitoring stops nobody, and a foreign service manager has set no ceilings.
    for name in ["policy", "ceilings"] {
        assert_eq!(check(&json, name)["state"], "degraded", "{}", check(&json, name));
    }
    assert_eq!(code, Some(2), "{json}");
    assert!(
        check(&json, "protection")["what"].as_str().unwrap().starts_with("ransomware_guard is "),
        "{json}"
    );
    drop(running);

    // By itself the agent sets its ceilings, where the host has what that takes.
    let mut running = Running::start(&[], &["agent", "run", "--data", data]);
    running.says(&["connected to the hub"]);
    let ceilings = until("it has said how it is", || {
        let (_, json) = doctor(&agent);
        let ceilings = check(&json, "ceilings").clone();
        (ceilings["state"] != "unknown").then_some(ceilings)
    });
    if running.said().contains("a ceiling could not be set") {
        assert_eq!(ceilings["state"], "degraded", "{ceilings}");
    } else {
        until("they are in force", || {
            let (_, json) = doctor(&agent);
            check(&json, "ceilings")["what"].as_str()?.starts_with("128 MB of memory, 20 %").then_some(())
        });
    }
    // A second one is refused the folder, and a clear word is said.
    wardline(&["agent", "run", "--no-ceilings", "--data", data]).refuses(&["another agent is already using"]);
    assert_eq!(running.interrupt().code(), Some(0));
    assert!(!agent.join("status.json").exists());
}
