//! Log sources as data: which records are which product, service and category, what their fields are called in
//! rules, and which fields there are.
//!
//! The format is described in `docs/sources.md`; the built-in files lie in `core/sigma/sources`.
//!
//! ```
//! use wardline_sigma::sources::Sources;
//!
//! let sources = Sources::builtin();
//! let kind = sources.lookup("Security", "Microsoft-Windows-Security-Auditing", 4688).expect("it is described");
//! assert_eq!(kind.log_source.category, "process_creation");
//! assert!(kind.has_field("Image"), "made of NewProcessName");
//! ```

mod derive;
mod intern;
mod kept;
mod kind;
mod reach;
mod read;
mod recognise;
mod template;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

pub use derive::{Derivation, Derived};
pub use kind::{EventKind, FieldNames};
pub use reach::{Reached, UnknownField};

use crate::error::RuleError;

/// The built-in files and their contents.
const BUILTIN: &[(&str, &str)] = &[
    ("sources/common.yml", include_str!("../../sources/common.yml")),
    ("sources/windows-sysmon.yml", include_str!("../../sources/windows-sysmon.yml")),
    ("sources/windows-security.yml", include_str!("../../sources/windows-security.yml")),
    ("sources/windows-powershell.yml", include_str!("../../sources/windows-powershell.yml")),
    ("sources/windows-defender.yml", include_str!("../../sources/windows-defender.yml")),
    ("sources/windows-system.yml", include_str!("../../sources/windows-system.yml")),
    ("sources/windows-other.yml", include_str!("../../sources/windows-other.yml")),
    ("sources/linux-auditd.yml", include_str!("../../sources/linux-auditd.yml")),
    ("sources/linux-sysmon.yml", include_str!("../../sources/linux-sysmon.yml")),
    ("sources/wardline-linux.yml", include_str!("../../sources/wardline-linux.yml")),
    ("sources/cloud.yml", include_str!("../../sources/cloud.yml")),
    ("sources/generic.yml", include_str!("../../sources/generic.yml")),
];

/// A set of log sources, in the order in which they are asked.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    list: Vec<Source>,
    groups: HashMap<String, Arc<read::Group>>,
    /// Channel in lower case → place in `list`.
    channels: HashMap<String, usize>,
    providers: HashMap<String, usize>,
    /// The source of every channel that no other source names.
    any_channel: Option<usize>,
}

/// One log: a Windows channel, the audit log, a service's JSON.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name, once in a set: `windows-security`.
    pub name: String,
    /// What a person calls it.
    pub title: String,
    /// How its records get their log source.
    pub found_by: FoundBy,
    pub(crate) marks: recognise::Marks,
    /// Events that are described by id.
    events: Vec<Arc<EventKind>>,
    by_id: HashMap<i64, Vec<usize>>,
    /// Every other event of the source.
    other: Arc<EventKind>,
}

/// How a record is known to be of a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FoundBy {
    /// By its channel or provider.
    Channel,
    /// By fields that it has.
    Fields,
    /// The reader of the format, or the sensor, says so itself.
    Reader,
    /// Not at all: whoever has such records describes in a file of sources how they are known.
    Nothing,
}

impl Sources {
    /// Reads one file of sources, which may use no groups but its own.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn parse(text: &str, origin: &str) -> Result<Self, RuleError> {
        let mut all = Self::default();
        all.extend(text, origin)?;
        Ok(all)
    }

    /// Adds the sources of one file. It may use the groups that are there; a source or group of a name that is
    /// there replaces that one, and a channel or provider belongs to the source that named it last.
    ///
    /// # Errors
    /// The first fault, with its place; nothing is added then.
    pub fn extend(&mut self, text: &str, origin: &str) -> Result<(), RuleError> {
        self.add(text, origin)?;
        self.index();
        Ok(())
    }

    /// The same, but for the index.
    fn add(&mut self, text: &str, origin: &str) -> Result<(), RuleError> {
        let file = read::file(text, &self.groups).map_err(|fault| fault.at(origin))?;
        self.groups = file.groups;
        for source in file.sources {
            match self.list.iter_mut().find(|s| s.name == source.name) {
                Some(old) => *old = source,
                None => self.list.push(source),
            }
        }
        Ok(())
    }

    fn index(&mut self) {
        self.channels.clear();
        self.providers.clear();
        self.any_channel = None;
        for (at, source) in self.list.iter().enumerate() {
            for channel in &source.marks.channels {
                if channel == "*" {
                    self.any_channel = Some(at);
                } else {
                    self.channels.insert(channel.to_lowercase(), at);
                }
            }
            for provider in &source.marks.providers {
                self.providers.insert(provider.to_lowercase(), at);
            }
        }
    }

    /// All sources.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.list.iter()
    }

    /// What a Windows event is, by its channel (by its provider where no source names the channel), provider and id.
    /// `None` if no source has it.
    ///
    /// A reader keeps the answer for each channel, provider and id, and in it what it finds out about the kind. Where [`EventKind::has_cases`], the record's
    /// own fields say more: [`EventKind::of`].
    pub fn lookup(&self, channel: &str, provider: &str, event_id: i64) -> Option<&Arc<EventKind>> {
        let find = |places: &HashMap<String, usize>, name: &str| {
            if name.is_empty() { None } else { places.get(&name.to_lowercase()).copied() }
        };
        let at = find(&self.channels, channel)
            .or_else(|| if channel.is_empty() { find(&self.providers, provider) } else { None })
            .or(self.any_channel)?;
        let source = &self.list[at];
        let described = source.by_id.get(&event_id).into_iter().flatten().map(|e| &source.events[*e]);
        Some(described.into_iter().find(|e| e.is_from(provider)).unwrap_or(&source.other))
    }
}

impl Source {
    /// Its kinds of events: those that are described, then all others as one.
    pub fn kinds(&self) -> impl Iterator<Item = &EventKind> {
        self.events.iter().chain([&self.other]).map(|kind| &**kind)
    }
}
