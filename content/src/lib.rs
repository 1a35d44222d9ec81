//! Wardline's own rules, embedded as data.
