//! An agent that only watches, its hub, and what it found.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::http::Client;
use super::up::{Hub, Running};
use super::wardline;

/// A hub and an agent in monitor mode that is enrolled with it.
pub struct Watching {
    agent: Running,
    hub: Hub,
    client: Client,
    seen: BTreeSet<String>,
}

/// A finding, as the hub has it.
#[derive(Clone, Debug)]
pub struct Found {
    pub rule: String,
    pub title: String,
    pub severity: String,
    pub techniques: Vec<String>,
    /// The command lines of the process and its ancestors, the process first.
    pub lines: Vec<String>,
    /// What the event was about beside the process.
    pub event: Value,
    /// From the kernel's event to the decision.
    pub decided_ms: f64,
    /// From the kernel's event until the hub had stored the finding.
    pub at_hub_ms: i64,
    /// What was stopped; empty if nothing.
    pub stopped: String,
}

impl Found {
    /// True if the process is one with these words on its command line, or descends from one.
    pub fn came_from(&self, words: &str) -> bool {
        self.lines.iter().any(|line| line.contains(words))
    }

    fn read(detail: &Value) -> Self {
        let ocsf = &detail["ocsf"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let evidence = &ocsf["evidences"][0];
        let ancestors = ocsf["unmapped"]["ancestors"].as_array().into_iter().flatten();
        let lines = std::iter::once(&evidence["process"]).chain(ancestors).map(|p| text(&p["cmd_line"]));
        let attacks = ocsf["finding_info"]["attacks"].as_array().into_iter().flatten();
        let action = &ocsf["unmapped"]["action"];
        let severity = match ocsf["severity_id"].as_u64() {
            Some(1) => "info",
            Some(2) => "low",
            Some(3) => "medium",
            Some(4) => "high",
            Some(5) => "critical",
            other => panic!("severity {other:?}: {ocsf}"),
        };
        let stopped =
            if action["disposition"] == "stopped" { text(&action["detail"]) } else { String::new() };
        Self {
            rule: text(&ocsf["finding_info"]["analytic"]["uid"]),
            title: text(&ocsf["finding_info"]["title"]),
            severity: severity.to_owned(),
            techniques: attacks.map(|a| text(&a["technique"]["uid"])).collect(),
            lines: lines.collect(),
            event: evidence["data"].clone(),
            decided_ms: action["decided_after_us"].as_f64().unwrap_or_default() / 1000.0,
            at_hub_ms: detail["received_ms"].as_i64().unwrap() - ocsf["time"].as_i64().unwrap(),
            stopped,
        }
    }
}

impl Watching {
    /// Starts both; the agent sees when this returns.
    pub fn start(folder: &Path) -> Self {
        let mut hub = Hub::start(&folder.join("hub"), "127.0.0.1:0");
        let data = folder.join("agent");
        let data = data.to_str().unwrap();
        wardline(&["agent", "enrol", &hub.agents, &hub.token(), "--data", data]).succeeds();
        let mut agent = Running::start(&[], &["agent", "run", "--data", data]);
        agent.says(&["connected to the hub"]);
        let client = hub.client();
        Self { agent, hub, client, seen: BTreeSet::new() }
    }

    /// The agent's account of itself.
    pub fn device(&self) -> Value {
        self.client.device()
    }

    /// The process of the agent.
    pub fn agent(&mut self) -> &mut Running {
        &mut self.agent
    }

    /// The hub.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Findings that the hub has got since this was last asked.
    pub fn fresh(&mut self) -> Vec<Found> {
        let (mut fresh, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.client.get(&format!("/api/v1/findings?limit=500{after}"));
            for finding in page["findings"].as_array().unwrap() {
                let id = finding["id"].as_str().unwrap();
                if self.seen.insert(id.to_owned()) {
                    fresh.push(Found::read(&self.client.get(&format!("/api/v1/findings/{id}"))));
                }
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return fresh,
            }
        }
    }
}
