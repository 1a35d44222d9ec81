//! Devices: enrolment, certificates, heartbeats, sensors and losses.
