//! The built-in sources as bytes, so that their files need not be read again.
//!
//! A container of two parts: the digest of the files, and what they say. It is used for the very same files only.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use super::derive::{Change, Derivation, Input, Piece};
use super::kind::{Case, Condition, EventKind, FieldNames};
use super::read::Group;
use super::recognise::Marks;
use super::{BUILTIN, Source, Sources, intern};
use crate::cache::codec::{Reader, Stored, Writer, fields, read_section, variants, write_section};
use crate::cache::{CacheError, Container, ContainerWriter, KeptBytes, digest};

/// The first line. The number is raised whenever what is stored, or how the files are read, changes.
const HEADER: &[u8] = concat!("wardline-sigma ", env!("CARGO_PKG_VERSION"), " sources 1\n").as_bytes();

/// Ten times what the built-in sources take.
const MOST_BYTES: u64 = 4 << 20;

static BUILTIN_SOURCES: OnceLock<Arc<Sources>> = OnceLock::new();

impl Sources {
    /// The sources that are part of this crate.
    ///
    /// # Panics
    /// Never: a test reads the files.
    pub fn builtin() -> &'static Arc<Self> {
        BUILTIN_SOURCES.get_or_init(|| Arc::new(Self::read_builtin()))
    }

    /// The same, taken from the bytes that an earlier call gave, if `kept` has such of this version. The other result are
    /// the bytes for the next time, if these were not used. Neither matters if the sources were asked for before.
    ///
    /// # Panics
    /// Never, as above.
    pub fn builtin_kept(
        kept: impl FnOnce() -> Option<Arc<dyn KeptBytes>>,
    ) -> (&'static Arc<Self>, Option<Vec<u8>>) {
        let new = Cell::new(None);
        let all = BUILTIN_SOURCES.get_or_init(|| {
            Arc::new(kept().and_then(|bytes| Self::from_bytes(bytes).ok()).unwrap_or_else(|| {
                let all = Self::read_builtin();
                new.set(Some(all.to_bytes()));
                all
            }))
        });
        (all, new.into_inner())
    }

    fn read_builtin() -> Self {
        let mut all = Self::default();
        for (origin, text) in BUILTIN {
            if let Err(error) = all.add(text, origin) {
                panic!("{error}");
            }
        }
        all.index();
        all
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = ContainerWriter::new(HEADER);
        out.part(|out| out.extend_from_slice(&print()));
        out.part(|out| {
            write_section(out, |out| {
                self.list.store(out);
                let groups: BTreeMap<&String, &Arc<Group>> = self.groups.iter().collect();
                groups.len().store(out);
                for (name, group) in groups {
                    name.store(out);
                    group.store(out);
                }
            });
        });
        out.finish()
    }

    pub(super) fn from_bytes(bytes: Arc<dyn KeptBytes>) -> Result<Self, CacheError> {
        let parts = Container::open(HEADER, MOST_BYTES, bytes)?;
        if *parts.part(0)? != print() {
            return Err(CacheError::Version);
        }
        let (list, groups): (_, Vec<_>) = read_section(&parts.part(1)?)?;
        let groups: HashMap<String, Arc<Group>> = groups.into_iter().collect();
        let mut all = Self { list, groups, ..Self::default() };
        all.index();
        Ok(all)
    }
}

/// What tells the files from others.
fn print() -> [u8; 16] {
    let mut all = Vec::new();
    for (name, text) in BUILTIN {
        for text in [name, text] {
            all.extend_from_slice(&(text.len() as u64).to_le_bytes());
            all.extend_from_slice(text.as_bytes());
        }
    }
    (u128::from(digest(1, &all)) << 64 | u128::from(digest(2, &all))).to_be_bytes()
}

fields!(Group { fields, derive });
fields!(FieldNames { names, open });
fields!(Derivation { to, from, change });
variants!(Input { 0 Field(name), 1 Template(pieces) });
variants!(Piece { 0 Text(text), 1 Field(name), 2 Optional(pieces) });
fields!(Change { key, values, keep_others, prefixes, number });
fields!(Condition { field, values, all });
fields!(Case { when, kind });
fields!(Marks { channels, providers, has, when, reader });

/// Without what is worked out from the rest.
impl Stored for Source {
    fn store(&self, out: &mut Writer) {
        let Self { name, title, found_by: _, marks, events, by_id: _, other } = self;
        name.store(out);
        title.store(out);
        marks.store(out);
        events.store(out);
        other.store(out);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        let (name, title, marks) = (Stored::load(from)?, Stored::load(from)?, Marks::load(from)?);
        let (events, other): (Vec<Arc<EventKind>>, _) = (Stored::load(from)?, Stored::load(from)?);
        let mut by_id: HashMap<i64, Vec<usize>> = HashMap::new();
        for (at, event) in events.iter().enumerate() {
            event.ids.iter().for_each(|id| by_id.entry(*id).or_default().push(at));
        }
        Ok(Self { name, title, found_by: marks.found_by(), marks, events, by_id, other })
    }
}

impl Stored for EventKind {
    fn store(&self, out: &mut Writer) {
        let Self { source, ids, title, log_source, also, derive, fields, providers, cases } = self;
        source.store(out);
        ids.store(out);
        title.store(out);
        log_source.store(out);
        also.len().store(out);
        also.iter().for_each(|category| out.text(category));
        derive.store(out);
        fields.store(out);
        providers.store(out);
        cases.store(out);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        let (source, ids, title) = (Stored::load(from)?, Stored::load(from)?, Stored::load(from)?);
        let mut term = || Ok(Cow::Borrowed(intern::term(from.text()?)));
        let log_source = wardline_event::LogSource { product: term()?, category: term()?, service: term()? };
        let also: Vec<String> = Stored::load(from)?;
        Ok(Self {
            source,
            ids,
            title,
            log_source,
            also: intern::list(&also),
            derive: Stored::load(from)?,
            fields: Stored::load(from)?,
            providers: Stored::load(from)?,
            cases: from.deeper(Stored::load)?,
        })
    }
}
