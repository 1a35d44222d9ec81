//! The Sigma rule engine: parse, compile, match.
