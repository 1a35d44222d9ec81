//! Correlations: rules over the matches of rules.

use crate::attributes::Attributes;
use crate::error::Fault;
use crate::yaml::{Document, Node};

/// One Sigma correlation. There is none yet: [`parse`] refuses them all.
#[derive(Clone, Debug)]
pub struct Correlation {
    /// What it says of itself.
    pub attributes: Attributes,
}

/// Reads one document; `body` is the value of its `correlation`.
pub(crate) fn parse(_document: &Document<'_>, body: &Node, _origin: &str) -> Result<Correlation, Fault> {
    let hint = "keep it in a file of its own, so that the plain rules beside it load";
    Err(Fault::new("S020", body.pos, "correlation rules are not supported yet", hint))
}
