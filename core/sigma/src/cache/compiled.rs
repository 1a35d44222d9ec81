//! Compiled rules as bytes: what [`compile`](crate::compiled::compile) found out, without the tables that are made of it.
//!
//! The first part says for which rules the others are, and of which families and outcomes: of each family one part
//! with its discriminator and one for each class. Whatever the bytes say, a class that is read is as safe to match with
//! as one that was compiled ([`Draft::is_sound`]); that it finds the same rests on who wrote them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cache::CacheError;
use crate::cache::codec::{Reader, Stored, Writer, open_section, read_section, write_section};
use crate::cache::container::{Container, ContainerWriter, KeptBytes};
use crate::compiled::affix::{Affix, AffixTree};
use crate::compiled::class::{Class, Slow};
use crate::compiled::discriminator::Discriminator;
use crate::compiled::draft::{Draft, DraftField};
use crate::compiled::index::Literals;
use crate::compiled::window::Inner;

/// The first line. The number is raised whenever what is stored, or how it is compiled, changes.
const HEADER: &[u8] = concat!("wardline-sigma ", env!("CARGO_PKG_VERSION"), " classes 2\n").as_bytes();

/// The longest file that is read or written.
const MOST_BYTES: u64 = 128 << 20;

/// Which rules were compiled: see [`RuleSet::print`](crate::RuleSet::print).
type Print = [u8; 16];

/// An outcome of a discriminator.
pub(crate) type Outcome = u32;

/// Compiled rules that were kept.
pub(crate) struct Compiled {
    parts: Container,
    families: HashMap<Vec<usize>, Family>,
    /// A part was not what it should be.
    damaged: AtomicBool,
}

/// The numbers of a family's parts.
struct Family {
    discriminator: u32,
    classes: BTreeMap<Outcome, u32>,
}

impl Compiled {
    /// What was kept of the rules with this print.
    pub fn open(bytes: Arc<dyn KeptBytes>, print: Print) -> Result<Self, CacheError> {
        let parts = Container::open(HEADER, MOST_BYTES, bytes)?;
        let index = parts.part(0)?.into_owned();
        let mut from = open_section(&index)?;
        if from.bytes::<16>()? != print {
            return Err(CacheError::OtherRules);
        }
        let mut families = HashMap::new();
        let mut next = 1;
        for _ in 0..from.list()? {
            let groups = Stored::load(&mut from)?;
            let outcomes: Vec<Outcome> = Stored::load(&mut from)?;
            let discriminator = next;
            next += 1;
            let classes = outcomes.into_iter().zip(next..).collect::<BTreeMap<_, _>>();
            next += classes.len() as u32;
            families.insert(groups, Family { discriminator, classes });
        }
        if from.is_at_end() && next == parts.count() {
            Ok(Self { parts, families, damaged: AtomicBool::new(false) })
        } else {
            Err(CacheError::Damaged)
        }
    }

    /// The discriminator of the family of these groups, which may have none; an error if that is not known or damaged.
    pub fn discriminator(&self, groups: &[usize]) -> Result<Option<Discriminator>, CacheError> {
        let family = self.families.get(groups).ok_or(CacheError::OtherRules)?;
        self.load(family.discriminator, read_section)
    }

    /// A class, if it was kept and is sound; `rules` is the number of rules in the set.
    pub fn class(&self, groups: &[usize], outcome: Outcome, rules: usize) -> Option<Class> {
        let part = *self.families.get(groups)?.classes.get(&outcome)?;
        self.load(part, |section| load_class(section, rules)).ok()
    }

    fn load<T>(&self, part: u32, load: impl FnOnce(&[u8]) -> Result<T, CacheError>) -> Result<T, CacheError> {
        let loaded = self.parts.part(part).and_then(|section| load(&section));
        loaded.inspect_err(|_| self.damaged.store(true, Ordering::Relaxed))
    }

    /// Whether a part that was needed was damaged; it was compiled anew.
    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Adds all that was kept, as it is, where there is nothing new.
    pub fn copy_to(&self, out: &mut CompiledWriter) {
        for (groups, family) in &self.families {
            if !out.families.contains_key(groups) {
                let Ok(discriminator) = self.parts.part(family.discriminator) else { continue };
                out.add(groups.clone(), discriminator.into_owned(), BTreeMap::new());
            }
            let Some(known) = out.families.get_mut(groups) else { continue };
            for (outcome, part) in &family.classes {
                if let (false, Ok(bytes)) = (known.classes.contains_key(outcome), self.parts.part(*part)) {
                    known.classes.insert(*outcome, bytes.into_owned());
                }
            }
        }
    }
}

/// Collects compiled rules.
#[derive(Default)]
pub(crate) struct CompiledWriter {
    families: BTreeMap<Vec<usize>, FamilyParts>,
}

struct FamilyParts {
    discriminator: Vec<u8>,
    classes: BTreeMap<Outcome, Vec<u8>>,
}

impl CompiledWriter {
    /// Adds a family with its classes, which are in their bytes.
    pub fn family(
        &mut self,
        groups: Vec<usize>,
        discriminator: Option<&Discriminator>,
        classes: BTreeMap<Outcome, Vec<u8>>,
    ) {
        let mut section = Vec::new();
        write_section(&mut section, |out| {
            discriminator.is_some().store(out);
            if let Some(discriminator) = discriminator {
                discriminator.store(out);
            }
        });
        self.add(groups, section, classes);
    }

    fn add(&mut self, groups: Vec<usize>, discriminator: Vec<u8>, classes: BTreeMap<Outcome, Vec<u8>>) {
        self.families.insert(groups, FamilyParts { discriminator, classes });
    }

    /// The file; `None` if it would be too long.
    pub fn finish(self, print: Print) -> Option<Vec<u8>> {
        let mut out = ContainerWriter::new(HEADER);
        let mut index = Vec::new();
        write_section(&mut index, |out| {
            out.bytes(&print);
            self.families.len().store(out);
            for (groups, family) in &self.families {
                groups.store(out);
                family.classes.keys().copied().collect::<Vec<Outcome>>().store(out);
            }
        });
        out.part(|out| *out = index);
        for family in self.families.into_values() {
            for section in [family.discriminator].into_iter().chain(family.classes.into_values()) {
                out.part(|out| out.extend_from_slice(&section));
            }
        }
        Some(out.finish()).filter(|bytes| bytes.len() as u64 <= MOST_BYTES)
    }
}

/// A class as bytes.
pub(crate) fn store_class(draft: &Draft<'_>) -> Vec<u8> {
    let Draft { rules, fields, keywords, gate, slow, always, witness_starts, witness_rules } = draft;
    let mut section = Vec::new();
    write_section(&mut section, |out| {
        rules.store(out);
        fields.len().store(out);
        for DraftField { name, index, probes, eager, has, null } in fields {
            out.text(name);
            store_literals(index, out);
            probes.store(out);
            eager.store(out);
            has.store(out);
            null.store(out);
        }
        store_literals(keywords, out);
        store_inner(gate, out);
        slow.store(out);
        always.store(out);
        witness_starts.store(out);
        witness_rules.store(out);
    });
    section
}

/// A class from bytes, for a set of so many rules.
pub(super) fn load_class(section: &[u8], rules: usize) -> Result<Class, CacheError> {
    let mut from = open_section(section)?;
    let draft = load_draft(&mut from)?;
    if !from.is_at_end() {
        return Err(CacheError::Damaged);
    }
    if !draft.is_sound(rules) {
        return Err(CacheError::Senseless);
    }
    draft.build().ok_or(CacheError::Senseless)
}

fn load_draft<'a>(from: &mut Reader<'a>) -> Result<Draft<'a>, CacheError> {
    let rules = Stored::load(from)?;
    let mut fields = Vec::new();
    for _ in 0..from.list()? {
        fields.push(DraftField {
            name: from.text()?.into(),
            index: load_literals(from)?,
            probes: Stored::load(from)?,
            eager: Stored::load(from)?,
            has: Stored::load(from)?,
            null: Stored::load(from)?,
        });
    }
    Ok(Draft {
        rules,
        fields,
        keywords: load_literals(from)?,
        gate: load_inner(from)?,
        slow: Vec::<Slow>::load(from)?,
        always: Stored::load(from)?,
        witness_starts: Stored::load(from)?,
        witness_rules: Stored::load(from)?,
    })
}

fn store_literals(literals: &Literals<'_>, out: &mut Writer) {
    let Literals { front, back, inner } = literals;
    store_affixes(front, out);
    store_affixes(back, out);
    store_inner(inner, out);
}

fn load_literals<'a>(from: &mut Reader<'a>) -> Result<Literals<'a>, CacheError> {
    Ok(Literals {
        front: load_affixes::<false>(from)?,
        back: load_affixes::<true>(from)?,
        inner: load_inner(from)?,
    })
}

fn store_affixes(affixes: &[Affix<'_>], out: &mut Writer) {
    affixes.len().store(out);
    for Affix { literal, whole, bit } in affixes {
        out.text(literal);
        whole.store(out);
        bit.store(out);
    }
}

fn load_affixes<'a, const BACK: bool>(from: &mut Reader<'a>) -> Result<Vec<Affix<'a>>, CacheError> {
    let mut affixes = Vec::new();
    for _ in 0..from.list()? {
        affixes.push(Affix { literal: from.text()?, whole: Stored::load(from)?, bit: Stored::load(from)? });
    }
    if AffixTree::<BACK>::is_sorted(&affixes) { Ok(affixes) } else { Err(CacheError::Senseless) }
}

fn store_inner(literals: &[Inner<'_>], out: &mut Writer) {
    literals.len().store(out);
    for Inner { literal, bit, first } in literals {
        out.text(literal);
        bit.store(out);
        first.store(out);
    }
}

fn load_inner<'a>(from: &mut Reader<'a>) -> Result<Vec<Inner<'a>>, CacheError> {
    let mut literals = Vec::new();
    for _ in 0..from.list()? {
        literals.push(Inner { literal: from.text()?, bit: Stored::load(from)?, first: Stored::load(from)? });
    }
    Ok(literals)
}
