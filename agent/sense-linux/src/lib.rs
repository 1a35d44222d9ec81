//! The Linux sensor: eBPF programs, the process connector, and the roots read from /proc.
