//! What is put together before rules are matched: filters, pipelines, the values of placeholders.

pub(crate) mod filter;
pub(crate) mod link;
pub(crate) mod pipeline;
pub(crate) mod placeholder;
