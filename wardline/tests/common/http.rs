//! A browser's part, played by curl: a cookie jar, and the header by which the hub knows its own pages.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::said;

/// Talks to one hub.
pub struct Client {
    base: String,
    jar: PathBuf,
    /// Words before `curl`: how to enter a network namespace.
    enter: Vec<String>,
}

/// A hub's answer.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Where it redirects to; empty if nowhere.
    pub location: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

impl Client {
    /// A client without a session for the hub at `base`, `http://address:port`.
    pub fn new(base: &str, jar: PathBuf, enter: &[String]) -> Self {
        Self { base: base.to_owned(), jar, enter: enter.to_vec() }
    }

    /// Sends a request.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut command = match self.enter.split_first() {
            Some((program, args)) => {
                let mut command = Command::new(program);
                command.args(args).arg("curl");
                command
            }
            None => Command::new("curl"),
        };
        command.args(["-sS", "--noproxy", "*", "--max-time", "60", "-X", method]);
        command.arg("-b").arg(&self.jar).arg("-c").arg(&self.jar);
        command.args(["-H", &format!("Origin: {}", self.base), "-w", "\n%{http_code} %{redirect_url}"]);
        if let Some(body) = body {
            command.args(["-H", "Content-Type: application/json", "-d", &body.to_string()]);
        }
        let said = said(command.arg(format!("{}{path}", self.base)));
        let (body, last) = said.succeeds().rsplit_once('\n').expect("curl writes a last line");
        let (status, location) = last.split_once(' ').expect("status and redirection");
        Answer { status: status.parse().unwrap(), location: location.to_owned(), body: body.to_owned() }
    }

    /// Gets JSON that must be there.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let answer = self.send("GET", path, None);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// Signs in with the path of a one-time link.
    #[track_caller]
    pub fn sign_in(&self, path: &str) {
        let answer = self.send("POST", path, None);
        assert_eq!(answer.status, 303, "{answer:?}");
        assert!(answer.location.ends_with('/'), "{answer:?}");
    }

    /// Orders an action; gives its id.
    #[track_caller]
    pub fn order(&self, order: &Value) -> String {
        let answer = self.send("POST", "/api/v1/actions", Some(order));
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Waits for an action's end; gives the action.
    #[track_caller]
    pub fn ended(&self, id: &str) -> Value {
        super::until("the action ends", || {
            let action = self.get(&format!("/api/v1/actions/{id}"));
            let open = ["Pending", "InProgress"].contains(&action["state"].as_str().unwrap());
            (!open).then_some(action)
        })
    }

    /// The only device.
    #[track_caller]
    pub fn device(&self) -> Value {
        let devices = self.get("/api/v1/devices");
        let [device] = devices["devices"].as_array().unwrap().as_slice() else {
            panic!("one device: {devices}")
        };
        self.get(&format!("/api/v1/devices/{}", device["id"].as_str().unwrap()))
    }

    /// Waits for a finding of `rule` whose command line has the marker of a test's own process in it.
    #[track_caller]
    pub fn finding(&self, rule: &str, marker: &str) -> Value {
        super::until(&format!("a finding of {rule} about {marker}"), || {
            self.findings(marker, Some(rule)).pop()
        })
    }

    /// All findings about processes with this marker.
    #[track_caller]
    pub fn findings(&self, marker: &str, rule: Option<&str>) -> Vec<Value> {
        let mut page = self.get("/api/v1/findings?limit=500");
        let all = page["findings"].as_array_mut().map(std::mem::take).unwrap();
        all.into_iter()
            .filter(|f| f["command_line"].as_str().unwrap().contains(marker))
            .filter(|f| rule.is_none_or(|r| f["rule_id"] == r))
            .collect()
    }
}
