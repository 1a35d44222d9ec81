//! The rules against their own cases, against each other and against ordinary work.

mod benign;
mod rules;
mod support;
mod words;
