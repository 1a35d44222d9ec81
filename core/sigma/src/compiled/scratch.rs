//! What one thread remembers between events: log sources, plans by layout, working memory.

use std::borrow::Cow;
use std::sync::Arc;

use wardline_event::{Fields, Layout, LogSource};

use crate::compiled::class::Class;
use crate::compiled::family::Family;
use crate::compiled::matching::{Buffers, match_event};
use crate::compiled::plan::{ABSENT, Plan};
use crate::compiled::ruleset::RuleSet;

/// Log sources that one scratch remembers before it forgets everything: events name them, and may be hostile.
const REMEMBERED_SOURCES: usize = 256;
/// Places for layouts (a power of two); two layouts that fall on one place push each other out.
const LAYOUT_SLOTS: usize = 512;
/// Plans kept before all are forgotten.
const KEPT_PLANS: usize = 2048;
/// Events with more fields than this are asked by name: their layouts would take too much memory to remember.
const LAYOUT_NAMES: usize = 1024;
/// Stands for "no plan yet" and "no family".
const NONE: u32 = u32::MAX;

/// What one thread needs for matching; made by [`RuleSet::scratch`] and used again for every event.
#[derive(Debug)]
pub struct Scratch {
    set: RuleSet,
    sources: Vec<Source>,
    /// Index into `sources` of the last event's: events come in runs of one source.
    last: usize,
    families: Vec<Kin>,
    slots: Vec<Option<Slot>>,
    plans: Vec<Plan>,
    classes: Classes,
    buffers: Buffers,
}

/// A log source seen, with further categories, and the index of its family.
#[derive(Debug)]
struct Source {
    named: LogSource<'static>,
    also: &'static [&'static str],
    family: u32,
}

/// A family, and for each outcome the plan for events without a layout.
#[derive(Debug)]
struct Kin {
    family: Arc<Family>,
    by_name: Box<[u32]>,
}

/// The classes that plans are for, each with the number of its first index.
#[derive(Debug, Default)]
struct Classes {
    known: Vec<(Arc<Class>, u32)>,
    next: u32,
}

impl Classes {
    fn number(&mut self, class: &Arc<Class>) -> u32 {
        if let Some((_, number)) = self.known.iter().find(|(known, _)| Arc::ptr_eq(known, class)) {
            return *number;
        }
        let number = self.next;
        self.next += Plan::indices_of(class);
        self.known.push((Arc::clone(class), number));
        number
    }
}

/// The plans for one layout in one family.
#[derive(Debug)]
struct Slot {
    /// Held, so that no other layout comes to lie at its address.
    layout: Arc<Layout>,
    family: u32,
    /// The position of the discriminating field, or [`ABSENT`].
    discriminator: u32,
    by_outcome: Box<[u32]>,
}

impl Scratch {
    pub(crate) fn new(set: RuleSet) -> Self {
        Self {
            set,
            sources: Vec::new(),
            last: 0,
            families: Vec::new(),
            slots: Vec::new(),
            plans: Vec::new(),
            classes: Classes::default(),
            buffers: Buffers::default(),
        }
    }

    /// Makes this the scratch of `set`.
    pub(crate) fn serve(&mut self, set: &RuleSet) {
        if !self.set.same_as(set) {
            *self = Self::new(set.clone());
        }
    }

    pub(crate) fn run<F: Fields + ?Sized>(&mut self, event: &F, on_match: &mut dyn FnMut(usize)) {
        if self.plans.len() >= KEPT_PLANS {
            *self = Self::new(self.set.clone());
        }
        let family = self.family(&event.log_source(), event.also());
        if family == NONE {
            return self.set.match_plainly(event, on_match);
        }
        let plan = match event.layout() {
            Some(layout) if layout.names().len() <= LAYOUT_NAMES => {
                self.plan_of_layout(family, layout, event)
            }
            _ => self.plan_by_name(family, event),
        };
        match_event(&self.plans[plan as usize], event, &mut self.buffers, on_match);
    }

    /// The index of the family of a log source; [`NONE`] if it has none.
    fn family(&mut self, source: &LogSource<'_>, also: &'static [&'static str]) -> u32 {
        let is =
            |known: &Source| known.named == *source && (std::ptr::eq(known.also, also) || known.also == also);
        if let Some(last) = self.sources.get(self.last)
            && is(last)
        {
            return last.family;
        }
        if let Some(found) = self.sources.iter().position(is) {
            self.last = found;
            return self.sources[found].family;
        }
        if self.sources.len() >= REMEMBERED_SOURCES {
            *self = Self::new(self.set.clone());
        }
        let index = self.set.family(source, also).map_or(NONE, |family| {
            let known = self.families.iter().position(|known| Arc::ptr_eq(&known.family, &family));
            let index = known.unwrap_or_else(|| {
                let by_name = vec![NONE; family.outcomes()].into();
                self.families.push(Kin { family, by_name });
                self.families.len() - 1
            });
            index as u32
        });
        let owned = |term: &str| Cow::Owned(term.to_owned());
        let named = LogSource {
            product: owned(&source.product),
            category: owned(&source.category),
            service: owned(&source.service),
        };
        self.last = self.sources.len();
        self.sources.push(Source { named, also, family: index });
        index
    }

    fn plan_by_name<F: Fields + ?Sized>(&mut self, family: u32, event: &F) -> u32 {
        let Kin { family, by_name } = &mut self.families[family as usize];
        let outcome = match &family.discriminator {
            Some(discriminator) => {
                let value = event.field(&discriminator.field);
                discriminator.outcome(value.as_ref(), self.buffers.word())
            }
            None => Family::UNKNOWN,
        };
        let plan = &mut by_name[outcome as usize];
        if *plan == NONE {
            *plan = self.plans.len() as u32;
            let class = self.set.class(family, outcome);
            let indices = self.classes.number(&class);
            self.plans.push(Plan::by_name(class, indices));
        }
        *plan
    }

    fn plan_of_layout<F: Fields + ?Sized>(&mut self, family: u32, layout: &Arc<Layout>, event: &F) -> u32 {
        let at = slot_index(layout, family);
        let kin = &self.families[family as usize].family;
        if self.slots.is_empty() {
            self.slots.resize_with(LAYOUT_SLOTS, || None);
        }
        let slot = match &mut self.slots[at] {
            Some(slot) if Arc::ptr_eq(&slot.layout, layout) && slot.family == family => slot,
            slot => {
                let wanted = kin.discriminator.as_ref().map(|discriminator| &discriminator.field);
                let position = layout.names().iter().position(|name| Some(name) == wanted);
                slot.insert(Slot {
                    layout: Arc::clone(layout),
                    family,
                    discriminator: position.map_or(ABSENT, |position| position as u32),
                    by_outcome: vec![NONE; kin.outcomes()].into(),
                })
            }
        };
        let outcome = match &kin.discriminator {
            Some(discriminator) if slot.discriminator != ABSENT => {
                let value = event.at(slot.discriminator as usize);
                discriminator.outcome(value.as_ref(), self.buffers.word())
            }
            _ => Family::UNKNOWN,
        };
        let plan = &mut slot.by_outcome[outcome as usize];
        if *plan == NONE {
            *plan = self.plans.len() as u32;
            let class = self.set.class(kin, outcome);
            let indices = self.classes.number(&class);
            self.plans.push(Plan::of_layout(class, indices, layout));
        }
        *plan
    }
}

/// Where the plans for a layout in a family belong.
fn slot_index(layout: &Arc<Layout>, family: u32) -> usize {
    let address = Arc::as_ptr(layout) as usize as u64;
    let hash = (address ^ u64::from(family) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash >> (64 - LAYOUT_SLOTS.ilog2())) as usize
}
