//! What a sensor is, and readers of logs (EVTX, JSON lines, auditd, Sysmon for Linux), of DNS, of package databases and of
//! systemd's journal.

pub mod dns;
pub mod dpkg;
pub mod journal;
pub mod log;
pub mod login;
pub mod process_table;
pub mod sensor;

pub use process_table::{Limits, ProcessTable};
pub use sensor::{KernelRules, Learned, Sensed, Sensor, SensorError};
