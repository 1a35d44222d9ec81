//! What a sensor is, and readers of logs: EVTX, JSON lines, auditd, Sysmon for Linux.

pub mod sensor;

pub use sensor::{Sensed, Sensor, SensorError};
