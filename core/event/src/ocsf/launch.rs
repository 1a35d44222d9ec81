//! What is known of the start of a program.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use super::parts::read_digests;
use crate::activity::{Launch, Stopped};
use crate::identity::{Identity, Known, Owner};

/// What OCSF has no attribute for, under `unmapped.launch`. Who signed in is the process's `auid`, the digests are the
/// `hashes` of its file.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    not_hashed: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<PackageObject<'a>>,
}

/// The package; without a name, there is none or it is not known, and `state` says why.
#[derive(Serialize)]
struct PackageObject<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intact: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<&'a str>,
}

/// What is said of something that is still being found out when the event is written.
const AWAITED: &str = "it was not found out yet";

impl<'a> LaunchObject<'a> {
    pub(super) fn new(launch: &'a Launch) -> Self {
        Self {
            real_uid: &launch.real_uid,
            capabilities: format!("{:x}", launch.capabilities),
            script: launch.script.as_deref(),
            unnamed: launch.unnamed,
            stopped: launch.stopped.map(|s| if s.refused { REFUSED } else { KILLED }),
            stopped_after_ns: launch.stopped.map(|s| s.after_ns),
            not_hashed: why_not(&launch.identity.digests),
            package: package(&launch.identity.owner),
        }
    }
}

const KILLED: &str = "killed";
const REFUSED: &str = "refused";

fn why_not<T>(known: &Known<T>) -> Option<&str> {
    if known.is_awaited() { Some(AWAITED) } else { known.why_not() }
}

fn package(owner: &Known<Owner>) -> Option<PackageObject<'_>> {
    let none = PackageObject { name: None, version: None, intact: None, unknown: None };
    match owner {
        Known::Unasked => None,
        Known::Is(Owner::Nobody) => Some(none),
        Known::Is(Owner::Package { name, version, intact }) => {
            Some(PackageObject { name: Some(name), version: Some(version), intact: *intact, ..none })
        }
        Known::Not(_) | Known::Awaited => Some(PackageObject { unknown: why_not(owner), ..none }),
    }
}

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
        identity: read_identity(&json["process"]["file"], own),
    }))
}

fn read_identity(file: &Value, own: &Value) -> Identity {
    let text = |at: &Value| at.as_str().map(str::to_owned);
    let digests = match (read_digests(file), text(&own["not_hashed"])) {
        (Some(digests), _) => Known::Is(digests),
        (None, Some(why)) => Known::Not(Cow::Owned(why)),
        (None, None) => Known::Unasked,
    };
    let package = &own["package"];
    let owner = match (text(&package["name"]), text(&package["unknown"])) {
        _ if !package.is_object() => Known::Unasked,
        (Some(name), _) => Known::Is(Owner::Package {
            name,
            version: text(&package["version"]).unwrap_or_default(),
            intact: package["intact"].as_bool(),
        }),
        (None, Some(why)) => Known::Not(Cow::Owned(why)),
        (None, None) => Known::Is(Owner::Nobody),
    };
    Identity { digests, size: file["size"].as_u64(), owner }
}
