//! What is known of the start of a program.

use serde_json::{Map, Value, json};

use crate::activity::Launch;

/// Adds it to a process activity. What OCSF has no attribute for stands under `unmapped.launch`.
pub(super) fn put_launch(out: &mut Map<String, Value>, launch: &Launch) {
    if let Some(login) = &launch.login_uid {
        out["process"]["auid"] = json!(login);
    }
    let mut own = Map::new();
    own.insert("real_uid".into(), json!(launch.real_uid));
    // Hexadecimal as the kernel's own files show it.
    own.insert("capabilities".into(), json!(format!("{:x}", launch.capabilities)));
    if let Some(script) = &launch.script {
        own.insert("script".into(), json!(script));
    }
    if launch.unnamed {
        own.insert("unnamed".into(), json!(true));
    }
    out.insert("unmapped".into(), json!({"launch": own}));
}

/// Reads it; what is missing or of another form is as if nobody had known it.
pub(super) fn read_launch(json: &Value) -> Option<Box<Launch>> {
    let own = json.pointer("/unmapped/launch")?;
    let text = |at: &Value| at.as_str().map(str::to_owned);
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
    }))
}
