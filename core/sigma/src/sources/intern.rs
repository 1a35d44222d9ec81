//! Terms and lists of categories that live as long as the program, so that every record can carry them without a copy.
//!
//! Each distinct one is kept once, however often files of sources are read.

use std::collections::HashSet;
use std::sync::{Mutex, OnceLock, PoisonError};

#[derive(Default)]
struct Kept {
    terms: HashSet<&'static str>,
    lists: HashSet<&'static [&'static str]>,
}

fn kept<T>(use_it: impl FnOnce(&mut Kept) -> T) -> T {
    static KEPT: OnceLock<Mutex<Kept>> = OnceLock::new();
    // A set that a panic left behind is still a set.
    use_it(&mut KEPT.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner))
}

pub(super) fn term(text: &str) -> &'static str {
    kept(|kept| {
        kept.terms.get(text).copied().unwrap_or_else(|| {
            let term: &'static str = Box::leak(text.into());
            kept.terms.insert(term);
            term
        })
    })
}

pub(super) fn list(items: &[String]) -> &'static [&'static str] {
    let terms: Vec<&'static str> = items.iter().map(|item| term(item)).collect();
    kept(|kept| {
        kept.lists.get(&*terms).copied().unwrap_or_else(|| {
            let list: &'static [&'static str] = Box::leak(terms.into());
            kept.lists.insert(list);
            list
        })
    })
}
