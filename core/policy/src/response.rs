//! What follows from a finding, without a person.

use serde_json::{Map, Value};

use crate::device::{DeviceClass, DevicePolicy, Mode};

/// What a rule asks for when it fires.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Response {
    /// Only record.
    #[default]
    Record,
    /// Kill the process and its tree.
    Kill,
}

impl Response {
    /// Reads a rule's own attribute `wardline: { response: kill }` from the attributes that Sigma does not
    /// define. A rule without it only records; an unknown word is an error for whoever loads the rule.
    pub fn from_rule(extra: &Map<String, Value>) -> Result<Self, String> {
        match extra.get("wardline").and_then(|w| w.get("response")) {
            None => Ok(Self::Record),
            Some(Value::String(s)) if s == "kill" => Ok(Self::Kill),
            Some(other) => Err(format!("wardline.response is {other}; the only response known is `kill`")),
        }
    }
}

/// The answer to a rule's wish. Each says why in words that are shown with the finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// The rule asks for nothing.
    Record,
    /// Kill the process tree now.
    Kill,
    /// Policy is `monitor`.
    WouldKill,
    /// A safety rule forbids it.
    Withhold {
        /// The safety rule, in words.
        because: &'static str,
    },
}

/// Decides what follows from a finding on a device, without a person.
///
/// What must never be killed at all (pid 1, kernel threads, the agent, `never_kill`) is checked where the facts
/// are: by the responder, against the process as it is at that moment.
pub fn decide(response: Response, policy: &DevicePolicy) -> Decision {
    match (response, policy.mode, policy.class) {
        (Response::Record, _, _) => Decision::Record,
        (Response::Kill, _, DeviceClass::Clinical) => Decision::Withhold {
            because: "patients may depend on this device: no rule kills here, a person must decide",
        },
        (Response::Kill, Mode::Monitor, _) => Decision::WouldKill,
        (Response::Kill, Mode::Protect, _) => Decision::Kill,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_protect_kills_and_never_on_clinical_devices() {
        for mode in [Mode::Monitor, Mode::Protect] {
            for class in [DeviceClass::Workstation, DeviceClass::Server, DeviceClass::Clinical] {
                let policy = DevicePolicy { mode, class, ..DevicePolicy::default() };
                assert_eq!(decide(Response::Record, &policy), Decision::Record);
                let kills = decide(Response::Kill, &policy) == Decision::Kill;
                assert_eq!(kills, mode == Mode::Protect && class != DeviceClass::Clinical);
            }
        }
    }

    #[test]
    fn a_rule_says_its_response_or_is_refused() {
        let read = |json: Value| Response::from_rule(json.as_object().unwrap());
        assert_eq!(read(json!({})), Ok(Response::Record));
        assert_eq!(read(json!({"wardline": {"response": "kill"}})), Ok(Response::Kill));
        assert!(read(json!({"wardline": {"response": "explode"}})).unwrap_err().contains("explode"));
    }
}
