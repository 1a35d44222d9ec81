//! Scripted attacks: one JSON object per line, readable as a story.

use serde::Deserialize;

/// One step of a script.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Tells the audience what is going on.
    Say {
        /// What to tell.
        text: String,
    },
    /// A process starts. Does not happen if the process it starts under is dead, or if it comes over the network
    /// (`via`) and the network is cut at either end.
    Start {
        /// The device.
        on: String,
        /// The name that later steps call it by.
        name: String,
        /// The parent's name.
        under: String,
        /// `DEVICE/PROCESS` that starts it from afar.
        #[serde(default)]
        via: Option<String>,
        /// Executable.
        image: String,
        /// Command line.
        cmd: String,
        /// Who.
        user: String,
        /// True if a finding must follow.
        #[serde(default)]
        expect: bool,
    },
    /// A process opens a connection.
    Connect {
        /// The device.
        on: String,
        /// The process.
        by: String,
        /// Address.
        to: String,
        /// Name.
        host: String,
        /// Port.
        port: u16,
        /// True if a finding must follow.
        #[serde(default)]
        expect: bool,
    },
    /// A process writes a file.
    Write {
        /// The device.
        on: String,
        /// The process.
        by: String,
        /// Path.
        path: String,
    },
    /// A person gives an order at the hub.
    Order {
        /// The device.
        on: String,
        /// Who orders.
        by: String,
        /// Who else agrees, if the policies want that.
        #[serde(default)]
        approved_by: Option<String>,
        /// Why.
        reason: String,
        /// Kill this process …
        #[serde(default)]
        kill: Option<String>,
        /// … or isolate the device for so many seconds.
        #[serde(default)]
        isolate_s: Option<u64>,
    },
}

impl Step {
    /// The device it happens on.
    pub fn device(&self) -> Option<&str> {
        match self {
            Self::Say { .. } => None,
            Self::Start { on, .. }
            | Self::Connect { on, .. }
            | Self::Write { on, .. }
            | Self::Order { on, .. } => Some(on),
        }
    }
}

/// A line of a script makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the script: {what}")]
pub struct ScriptError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// Reads a script.
pub fn parse(text: &str) -> Result<Vec<Step>, ScriptError> {
    let lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
    lines
        .map(|(n, line)| {
            let error = |what: String| ScriptError { line: n + 1, what };
            let step: Step = serde_json::from_str(line).map_err(|e| error(e.to_string()))?;
            match step.device() {
                Some(host) if crate::estate::find(host).is_none() => {
                    Err(error(format!("no device `{host}`")))
                }
                _ => Ok(step),
            }
        })
        .collect()
}

/// The attack of the demonstration.
pub const RANSOMWARE: &str = include_str!("../scenarios/ransomware-at-st-aldhelms.jsonl");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demonstration_parses_and_mistakes_are_placed() {
        assert!(parse(RANSOMWARE).unwrap().len() > 20);
        let error =
            parse("\n{\"do\":\"write\",\"on\":\"nowhere\",\"by\":\"x\",\"path\":\"y\"}\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2 of the script: no device `nowhere`");
    }
}
