//! Wardline's own rules, embedded as data.
//!
//! Every file under `rules/` is in the binary, so that a device detects from its first second, without a network.
//! How to write one is told in this crate's `README.md`.

/// One rule file with its test cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleFile {
    /// Path below `rules/`, parts divided by `/`: `linux/shell-over-dev-tcp.yml`.
    pub path: &'static str,
    /// The rule, in Sigma's YAML.
    pub text: &'static str,
    /// Its test cases: one JSON object a line with `expect` (`match` or `no match`), `why` and `event`.
    pub tests: &'static str,
}

static RULES: &[RuleFile] = include!(concat!(env!("OUT_DIR"), "/rules.rs"));

/// Every rule file, sorted by path.
pub fn rules() -> &'static [RuleFile] {
    RULES
}
