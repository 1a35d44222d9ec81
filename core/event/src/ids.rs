//! Identities that survive what they name: reused pids, renamed hosts, restarted agents.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An id could not be read from its text form.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdError {
    /// Not the expected number of hexadecimal digits.
    #[error("`{0}` is not {1} hexadecimal digits")]
    NotHex(String, usize),
    /// Not `BOOT-START-PID`.
    #[error("`{0}` is not a process id of the form BOOT-START-PID")]
    NotProcessKey(String),
}

macro_rules! id_128 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub u128);

        impl $name {
            /// Makes an id from 16 random bytes (or, for a boot id, the kernel's own 16 bytes).
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(u128::from_be_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Reads 32 hexadecimal digits; dashes, as in a UUID, are skipped.
            fn from_str(text: &str) -> Result<Self, IdError> {
                let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
                if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(IdError::NotHex(text.to_owned(), 32));
                }
                u128::from_str_radix(&digits, 16).map(Self).map_err(|_| IdError::NotHex(text.to_owned(), 32))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

id_128! {
    /// A device: random at enrolment, never a host name.
    DeviceId
}
id_128! {
    /// An event or a finding: random, made where it was produced.
    EventId
}
id_128! {
    /// One boot of one kernel: Linux' `/proc/sys/kernel/random/boot_id`, random elsewhere.
    BootId
}

/// A process that no other process ever shares: boot, start time and pid together.
///
/// The start time is the kernel's `start_boottime` in nanoseconds since boot. `/proc/PID/stat` shows the same
/// time in clock ticks only, so a key made from `/proc` is rounded down to ticks, and so is every other:
/// [`ProcessKey::new`] does it, and keys from both sources compare equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct ProcessKey {
    /// The boot in which the process lives.
    pub boot: BootId,
    /// Start in clock ticks (1/100 s, Linux' `USER_HZ`) since boot.
    pub start_ticks: u64,
    /// The process id (thread group id) in the root pid namespace.
    pub pid: u32,
}

/// Nanoseconds in one tick of `USER_HZ`, which is 100 on every architecture that Linux' `/proc` speaks to.
pub const NS_PER_TICK: u64 = 10_000_000;

impl ProcessKey {
    /// Makes a key from the kernel's start time in nanoseconds since boot.
    pub fn new(boot: BootId, start_ns: u64, pid: u32) -> Self {
        Self { boot, start_ticks: start_ns / NS_PER_TICK, pid }
    }
}

impl fmt::Display for ProcessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}-{}", self.boot, self.start_ticks, self.pid)
    }
}

impl FromStr for ProcessKey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = || IdError::NotProcessKey(text.to_owned());
        let mut parts = text.split('-');
        let (Some(boot), Some(start), Some(pid), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad());
        };
        Ok(Self {
            boot: boot.parse()?,
            start_ticks: u64::from_str_radix(start, 16).map_err(|_| bad())?,
            pid: pid.parse().map_err(|_| bad())?,
        })
    }
}

impl Serialize for ProcessKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProcessKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn process_keys_survive_their_text_form(boot: u128, start_ns: u64, pid: u32) {
            let key = ProcessKey::new(BootId(boot), start_ns, pid);
            prop_assert_eq!(key.to_string().parse(), Ok(key));
        }

        #[test]
        fn hostile_text_never_panics(text in ".{0,80}") {
            let _ = text.parse::<ProcessKey>();
            let _ = text.parse::<DeviceId>();
        }
    }

    #[test]
    fn a_boot_id_is_read_as_the_kernel_prints_it() {
        let id: BootId = "3f0c9b52-6f0e-4b7e-9d1f-0a2b3c4d5e6f\n".parse().unwrap();
        assert_eq!(id.to_string(), "3f0c9b526f0e4b7e9d1f0a2b3c4d5e6f");
        assert_eq!("xyz".parse::<BootId>(), Err(IdError::NotHex("xyz".into(), 32)));
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let boot = BootId(7);
        assert_ne!(ProcessKey::new(boot, 10 * NS_PER_TICK, 42), ProcessKey::new(boot, 11 * NS_PER_TICK, 42));
    }
}
