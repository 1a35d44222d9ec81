//! What a sensor is, and readers of logs (EVTX, JSON lines, auditd, Sysmon for Linux), of DNS and of package databases.

pub mod dns;
pub mod dpkg;
pub mod log;
pub mod process_table;
pub mod sensor;

pub use process_table::{Limits, ProcessTable};
pub use sensor::{KernelRules, Learned, Sensed, Sensor, SensorError};
