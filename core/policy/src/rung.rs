//! The rungs of containment, from the narrowest to the widest.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use wardline_event::ProcessKey;

/// What is contained. A device has at most one containment of each rung, and of [`Rung::Process`] one for each process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Rung {
    /// The network of one process and of what it starts.
    Process(ProcessKey),
    /// What attackers move along inside a network: SMB, RDP, SSH, WinRM.
    EastWest,
    /// Everything but the hub and the kept flows.
    Isolation,
    /// New logons of people.
    Logons,
}

/// What precedes the key of a process.
const PROCESS: &str = "process/";

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(key) => write!(f, "{PROCESS}{key}"),
            Self::EastWest => f.write_str("east-west"),
            Self::Isolation => f.write_str("isolation"),
            Self::Logons => f.write_str("logons"),
        }
    }
}

/// Text that names no rung.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no containment; use isolation, east-west, logons or process/KEY")]
pub struct RungError(String);

impl FromStr for Rung {
    type Err = RungError;

    fn from_str(text: &str) -> Result<Self, RungError> {
        match text {
            "east-west" => Ok(Self::EastWest),
            "isolation" => Ok(Self::Isolation),
            "logons" => Ok(Self::Logons),
            other => other
                .strip_prefix(PROCESS)
                .and_then(|key| key.parse().ok())
                .map(Self::Process)
                .ok_or_else(|| RungError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Rung {
    type Error = RungError;

    fn try_from(text: String) -> Result<Self, RungError> {
        text.parse()
    }
}

impl From<Rung> for String {
    fn from(rung: Rung) -> Self {
        rung.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wardline_event::BootId;

    proptest! {
        #[test]
        fn a_rung_reads_back(boot: u128, start_ticks: u64, pid: u32) {
            for rung in [
                Rung::Process(ProcessKey { boot: BootId(boot), start_ticks, pid }),
                Rung::EastWest,
                Rung::Isolation,
                Rung::Logons,
            ] {
                prop_assert_eq!(rung.to_string().parse::<Rung>(), Ok(rung));
            }
        }
    }

    #[test]
    fn nonsense_is_no_rung() {
        for text in ["", "process/", "process/1", "Isolation", "all"] {
            assert!(text.parse::<Rung>().unwrap_err().to_string().contains("no containment"), "{text}");
        }
    }
}
