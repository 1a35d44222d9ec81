//! What is known of the start of a program.

use serde::Serialize;
use serde_json::Value;

use crate::activity::{Launch, Stopped};

/// What OCSF has no attribute for, under `unmapped.launch`. Who signed in is the process's `auid`.
#[derive(Serialize)]
pub(super) struct LaunchObject<'a> {
    real_uid: &'a str,
    /// Hexadecimal as the kernel's own files show it.
    capabilities: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unnamed: bool,
    /// `killed` or `refused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_after_ns: Option<u64>,
}

impl<'a> LaunchObject<'a> {
    pub(super) fn new(launch: &'a Launch) -> Self {
        Self {
            real_uid: &launch.real_uid,
            capabilities: format!("{:x}", launch.capabilities),
            script: launch.script.as_deref(),
            unnamed: launch.unnamed,
            stopped: launch.stopped.map(|s| if s.refused { REFUSED } else { KILLED }),
            stopped_after_ns: launch.stopped.map(|s| s.after_ns),
        }
    }
}

const KILLED: &str = "killed";
const REFUSED: &str = "refused";

/// Reads it; what is missing or of another form is as if nobody had known it.
pub(super) fn read_launch(json: &Value) -> Option<Box<Launch>> {
    let own = json.pointer("/unmapped/launch")?;
    let text = |at: &Value| at.as_str().map(str::to_owned);
    let stopped = own["stopped"].as_str().filter(|how| [KILLED, REFUSED].contains(how)).map(|how| Stopped {
        refused: how == REFUSED,
        rule: 0,
        after_ns: own["stopped_after_ns"].as_u64().unwrap_or_default(),
    });
    Some(Box::new(Launch {
        args: Vec::new(),
        script: text(&own["script"]),
        unnamed: own["unnamed"] == true,
        real_uid: text(&own["real_uid"]).unwrap_or_default(),
        login_uid: text(&json["process"]["auid"]),
        capabilities: own["capabilities"]
            .as_str()
            .and_then(|bits| u64::from_str_radix(bits, 16).ok())
            .unwrap_or_default(),
        stopped,
    }))
}
