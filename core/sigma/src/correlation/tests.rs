//! Tests of the evaluation.

use crate::correlation::{Correlation, parse};
use crate::language::yaml;

/// A correlation from its own attributes.
pub(crate) fn correlation(body: &str) -> Correlation {
    let text = format!("title: t\ncorrelation:\n  {}\n", body.replace('\n', "\n  "));
    let documents = yaml::parse(&text).unwrap_or_else(|f| panic!("{}: {text}", f.message));
    let body = documents[0].root.get("correlation").unwrap();
    parse(&documents[0], body, "test").unwrap_or_else(|f| panic!("{}: {text}", f.message))
}
