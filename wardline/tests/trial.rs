//! New rules under which the agent fails again and again: it returns to what was good, and says so. Needs root.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

mod common;

use std::fs;

use common::up::{Hub, Running};
use common::{alone, folder, is_root, until, wardline};

#[test]
fn an_agent_that_fails_with_new_rules_returns_to_those_before() {
    if !is_root() {
        return;
    }
    let (_lock, dir) = (alone(), folder("trial"));
    let mut hub = Hub::start(&dir.path().join("hub"), "127.0.0.1:0");
    let agent = dir.path().join("agent");
    let data = agent.to_str().unwrap();
    wardline(&["agent", "enrol", &hub.agents, &hub.token(), "--data", data]).succeeds();
    let client = hub.client();
    let rule = |name: &str| {
        let path = dir.path().join(format!("{name}.yml"));
        let id = format!("5c3a2f0e-9a53-4a39-9d0b-6d3c7f2f5a{:02}", name.len());
        let text = format!(
            "title: {name}\nid: {id}\nstatus: test\nlevel: low\nlogsource: {{category: process_creation, product: linux}}\n\
             detection: {{selection: {{CommandLine|contains: nobody-says-{name}}}, condition: selection}}\n"
        );
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let start = |rules: &[&str], proven: &str| {
        let more = rules.iter().flat_map(|rule| ["--rules", rule]);
        let args = ["agent", "run", "--no-ceilings", "--data", data, "--proven-after", proven]
            .into_iter()
            .chain(more);
        Running::start(&[], &args.collect::<Vec<_>>())
    };
    let count = |running: &mut Running| {
        let line = running.says(&["rules in force"]);
        line.split(" rules in force").next().unwrap().rsplit(' ').next().unwrap().parse::<u32>().unwrap()
    };

    let (one, two) = (rule("one"), rule("second"));
    let mut running = start(&[&one], "0");
    let good = count(&mut running);
    running.says(&["it counts as good from now on"]);
    assert_eq!(running.interrupt().code(), Some(0));

    // The new rule, and an agent that is killed before anything has lasted.
    for _ in 0..2 {
        let mut running = start(&[&one, &two], "600");
        assert_eq!(count(&mut running), good + 1);
        running.says(&["connected to the hub"]);
        running.child.kill().unwrap();
        running.child.wait().unwrap();
    }
    let mut running = start(&[&one, &two], "600");
    running.says(&["failed 2 times within minutes; back to the rules before"]);
    assert_eq!(count(&mut running), good);
    let id = "9e6b1c57-4d2f-4f0a-8b63-7c5d0a1e2f48";
    until("the hub hears of it", || client.findings("", Some(id)).pop());
    assert_eq!(running.interrupt().code(), Some(0));

    // It stays so until something else is tried.
    let mut running = start(&[&one, &two], "600");
    assert_eq!(count(&mut running), good);
    assert_eq!(running.interrupt().code(), Some(0));
    let mut running = start(&[&two], "600");
    assert_eq!(count(&mut running), good);
    assert!(!running.said().contains("back to"), "{}", running.said());
    assert_eq!(running.interrupt().code(), Some(0));
}
