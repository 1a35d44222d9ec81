//! What devices send: OCSF events and findings, and the state of actions.

use serde_json::Value;
use wardline_event::ActionUpdate;
use wardline_event::ocsf::{event_from_json, event_to_json, finding_from_json, finding_to_json};

/// An event or a finding: what is read is written back as the same thing.
pub fn objects(data: &[u8]) {
    let Ok(json) = serde_json::from_slice::<Value>(data) else { return };
    if let Ok(event) = event_from_json(&json) {
        assert_eq!(event_from_json(&as_text(&event_to_json(&event))).as_ref(), Ok(&event));
    }
    if let Ok(finding) = finding_from_json(&json) {
        assert_eq!(finding_from_json(&as_text(&finding_to_json(&finding))).as_ref(), Ok(&finding));
    }
}

/// The state of an action, as an agent reports it.
pub fn action_update(data: &[u8]) {
    let Ok(update) = serde_json::from_slice::<ActionUpdate>(data) else { return };
    let text = serde_json::to_string(&update).expect("an update holds only texts and numbers");
    assert_eq!(serde_json::from_str::<ActionUpdate>(&text).expect("our own JSON"), update);
}

/// The way between device and hub: as text.
fn as_text(json: &Value) -> Value {
    serde_json::from_str(&json.to_string()).expect("our own JSON")
}
