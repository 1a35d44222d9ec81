//! Findings: what was detected, why, and what was done about it.
