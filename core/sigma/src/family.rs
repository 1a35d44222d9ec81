//! The rules that can see one log source, compiled once for each kind of event that they tell apart.

use std::sync::{Arc, OnceLock};

use crate::ast::Detection;
use crate::class::Class;
use crate::compile::compile;
use crate::discriminator::{Discriminator, UNKNOWN};

/// The rules of a log source.
#[derive(Debug)]
pub(crate) struct Family {
    /// Their indices in the rule set, ascending.
    rules: Vec<usize>,
    pub discriminator: Option<Discriminator>,
    /// By outcome of the discriminator; compiled when the first such event comes.
    classes: Box<[OnceLock<Arc<Class>>]>,
}

impl Family {
    /// A family of rules, none compiled yet; `detection` gives the detection of the rule with an index.
    pub fn new<'a>(mut rules: Vec<usize>, detection: impl Fn(usize) -> &'a Detection) -> Self {
        rules.sort_unstable();
        let discriminator = Discriminator::choose(rules.iter().map(|index| detection(*index)));
        let outcomes = discriminator.as_ref().map_or(1, Discriminator::outcomes);
        Self { rules, discriminator, classes: (0..outcomes).map(|_| OnceLock::new()).collect() }
    }

    /// How many kinds of events there are.
    pub fn outcomes(&self) -> usize {
        self.classes.len()
    }

    /// The rules compiled for events with this outcome.
    pub fn class<'a>(&self, outcome: u32, detection: impl Fn(usize) -> &'a Detection) -> Arc<Class> {
        let class = self.classes[outcome as usize].get_or_init(|| {
            let known = self.discriminator.as_ref().and_then(|discriminator| discriminator.known(outcome));
            Arc::new(compile(self.rules.iter().map(|index| (*index, detection(*index))), known))
        });
        Arc::clone(class)
    }

    /// The outcome for events of which nothing is known.
    pub const UNKNOWN: u32 = UNKNOWN;
}
