//! What a sensor is, and readers of logs: EVTX, JSON lines, auditd, Sysmon for Linux.

pub mod log;
pub mod process_table;
pub mod sensor;

pub use process_table::{Limits, ProcessTable};
pub use sensor::{Sensed, Sensor, SensorError};
