//! Messages between agent and hub: schema, signatures, sequence numbers.
