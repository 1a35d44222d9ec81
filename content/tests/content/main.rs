//! The rules against their own cases, against each other and against ordinary work.

mod benign;
mod kernel;
mod rules;
mod support;
mod words;
