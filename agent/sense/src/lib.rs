//! What a sensor is, and readers of logs (EVTX, JSON lines, auditd, Sysmon for Linux) and of DNS.

pub mod dns;
pub mod log;
pub mod process_table;
pub mod sensor;

pub use process_table::{Limits, ProcessTable};
pub use sensor::{KernelRules, Sensed, Sensor, SensorError};
