//! Compiled rules kept between runs, in the [folder of caches](super::kept).
//!
//! They belong to the rules themselves, wherever these came from and whatever was done to them, and to one build of the
//! program.

use std::sync::Arc;

use ring::digest::{Context, SHA256};
use tracing::debug;
use wardline_sigma::RuleSet;

use super::kept::{Place, hash_of_program};

const ENDING: &str = ".classes";

/// Where the compiled rules of a set are kept.
pub struct Classes {
    place: Place,
}

impl Classes {
    /// Gives the set what was compiled of it earlier, and keeps what is compiled from now on; `None` if there is no place
    /// for it.
    pub fn of(rules: &RuleSet) -> Option<Self> {
        let mut hash = Context::new(&SHA256);
        hash_of_program(&mut hash)?;
        hash.update(&rules.print());
        let (start, _) =
            hash.finish().as_ref().split_first_chunk::<16>().map(|(start, rest)| (*start, rest.len()))?;
        let place = Place::of(start, ENDING)?;
        let earlier = place.open().map_err(|why| debug!("no compiled rules from {place}: {why}"));
        if let Err(why) = rules.keep_compiled(earlier.ok().map(|file| Arc::new(file) as _)) {
            debug!("no compiled rules from {place}: {why}");
        }
        Some(Self { place })
    }

    /// Writes what was compiled, if anything was.
    pub fn write(&self, rules: &RuleSet) {
        if let Some(compiled) = rules.compiled() {
            self.place.keep(&[compiled]);
        }
    }
}
