//! From a Windows event's own fields to Sigma's: its log source, and the names that rules use.
//!
//! What depends on the names of the fields alone is found out once for a layout, and what depends on channel and event
//! id once for these; a record then costs a few comparisons.

use std::sync::Arc;

use wardline_event::{Cell, Fill, Timestamp, Value};
use wardline_sigma::sources::Sources;

use super::kind_plan::{KindPlan, Scratch};

/// Channels that are remembered before all are forgotten.
const MAX_CHANNELS: usize = 256;
/// Kinds of event of one layout that are remembered before all are forgotten.
const MAX_KINDS: usize = 32;

/// What an event says of itself. In EVTX it stands in `System`, where the event's data cannot hide it: that a log was
/// cleared is told in a field `Channel`, too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity {
    /// The channel that the event was written to.
    pub channel: Option<Cell>,
    /// Who wrote it.
    pub provider: Option<Cell>,
    /// Its number there.
    pub event_id: Option<Cell>,
    /// Its number in the log.
    pub record_id: Option<Cell>,
    /// When.
    pub time: Option<Cell>,
}

/// Maps events, and remembers how.
pub struct Mapping {
    sources: Arc<Sources>,
    generation: u64,
    /// By [`wardline_event::LayoutId::index`] one more than an index of `plans`, or 0.
    known: Vec<u32>,
    plans: Vec<Plan>,
    channels: Vec<Channel>,
    last_channel: usize,
    /// How many channels were met.
    channels_met: usize,
    scratch: Scratch,
}

/// What follows from a layout.
#[derive(Default)]
struct Plan {
    /// Fields that get a second name.
    copies: Option<Vec<(usize, Box<str>)>>,
    /// Where the event says what it is.
    places: Option<Places>,
    kinds: Vec<(Key, KindPlan)>,
    /// Sources whose records have fields as these, by their places.
    marked: Option<Vec<usize>>,
}

/// What tells the kind of event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    /// A channel's number and an event id.
    Windows(usize, i64),
    /// The place of a source whose records are known by their fields.
    Marked(usize),
}

/// Where an object says what [`Identity`] holds.
#[derive(Default)]
struct Places {
    channel: Option<usize>,
    provider: Option<usize>,
    event_id: Option<usize>,
    record_id: Option<usize>,
    times: Vec<usize>,
}

struct Channel {
    name: String,
    provider: String,
    /// Another one for each that is met.
    number: usize,
}

impl Mapping {
    /// What it is a mapping by.
    pub fn sources(&self) -> Arc<Sources> {
        Arc::clone(&self.sources)
    }

    pub fn new(sources: Arc<Sources>) -> Self {
        Self {
            sources,
            generation: 0,
            known: Vec::new(),
            plans: Vec::new(),
            channels: Vec::new(),
            last_channel: 0,
            channels_met: 0,
            scratch: Scratch::default(),
        }
    }

    /// An event id as a number, if it was written as text.
    pub fn event_id(fill: &Fill<'_>, cell: Cell) -> Cell {
        fill.as_text(cell).and_then(|text| text.trim().parse().ok()).map_or(cell, Cell::Int)
    }

    /// Gives the fields of an object other tools wrote the names they have in Windows, and finds what says what it is.
    pub fn identify(&mut self, fill: &mut Fill<'_>, winlogbeat: bool) -> Identity {
        let plan = self.plan(fill);
        for (position, name) in plan.copies.get_or_insert_with(|| copies(fill, winlogbeat)) {
            if let Some(cell) = fill.cell(*position) {
                fill.set(name, cell);
            }
        }
        let plan = self.plan(fill);
        let Places { channel, provider, event_id, record_id, times } =
            plan.places.get_or_insert_with(|| Places::of(fill));
        if let Some((position, cell)) = event_id.and_then(|at| Some((at, fill.cell(at)?))) {
            fill.replace(position, Self::event_id(fill, cell));
        }
        let cell = |position: &Option<usize>| fill.cell((*position)?);
        Identity {
            channel: cell(channel),
            provider: cell(provider),
            event_id: cell(event_id),
            record_id: cell(record_id),
            time: times.iter().filter_map(|at| fill.cell(*at)).find(|cell| time(fill, *cell).is_some()),
        }
    }

    /// Names the log source, gives Sigma's names to the fields, and sets time and record id.
    pub fn map(&mut self, fill: &mut Fill<'_>, identity: &Identity) {
        let record_id = identity.record_id.and_then(|cell| number(fill, cell)).unwrap_or(0);
        let written = identity.time.and_then(|cell| time(fill, cell));
        let record = fill.record();
        record.record_id = record_id;
        record.time = written;

        let text = |cell: Option<Cell>| cell.and_then(|cell| fill.as_text(cell)).unwrap_or_default();
        let (channel, provider) = (text(identity.channel), text(identity.provider));
        let windows = !(channel.is_empty() && provider.is_empty());
        if let (Some(Cell::Int(id)), true) = (identity.event_id, windows) {
            let key = Key::Windows(self.channel(channel, provider), id);
            if !self.is_planned(key, fill) {
                // Rare, so that the names are looked up again.
                let text = |cell: Option<Cell>| cell.and_then(|cell| fill.as_text(cell)).unwrap_or_default();
                let (channel, provider) = (text(identity.channel), text(identity.provider));
                let Some(kind) = self.sources.lookup(channel, provider, id) else { return };
                let plan = KindPlan::new(kind, fill);
                self.plan(fill).kinds.push((key, plan));
            }
            self.apply(key, fill);
        } else if let Some(place) = self.marked(fill) {
            let key = Key::Marked(place);
            if !self.is_planned(key, fill) {
                let Some(source) = self.sources.iter().nth(place) else { return };
                let plan = KindPlan::new(source.kind(), fill);
                self.plan(fill).kinds.push((key, plan));
            }
            self.apply(key, fill);
        }
    }

    /// Whether it is known what to do with records of this layout and kind.
    fn is_planned(&mut self, key: Key, fill: &Fill<'_>) -> bool {
        let kinds = &mut self.plan(fill).kinds;
        if kinds.iter().any(|(known, _)| *known == key) {
            return true;
        }
        if kinds.len() >= MAX_KINDS {
            kinds.clear();
        }
        false
    }

    fn apply(&mut self, key: Key, fill: &mut Fill<'_>) {
        let mut scratch = std::mem::take(&mut self.scratch);
        if let Some((_, plan)) = self.plan(fill).kinds.iter().find(|(known, _)| *known == key) {
            plan.apply(fill, &mut scratch);
        }
        self.scratch = scratch;
    }

    /// The source that a record is of by its fields.
    fn marked(&mut self, fill: &Fill<'_>) -> Option<usize> {
        let sources = Arc::clone(&self.sources);
        let candidates = self
            .plan(fill)
            .marked
            .get_or_insert_with(|| sources.candidates(&|name| fill.position(name).is_some()));
        let get = |name: &str| Some(fill.value(fill.cell(fill.position(name)?)?));
        candidates.iter().copied().find(|place| sources.is_of(*place, &get))
    }

    /// The plan of the layout so far.
    fn plan(&mut self, fill: &Fill<'_>) -> &mut Plan {
        if self.generation != fill.generation() {
            self.generation = fill.generation();
            self.known.clear();
            self.plans.clear();
        }
        let index = fill.place().index();
        if self.known.len() <= index {
            self.known.resize(index + 1, 0);
        }
        if self.known[index] == 0 {
            self.plans.push(Plan::default());
            self.known[index] = self.plans.len() as u32;
        }
        &mut self.plans[self.known[index] as usize - 1]
    }

    /// The number of a channel and provider.
    fn channel(&mut self, channel: &str, provider: &str) -> usize {
        let is = |c: &Channel| c.name == channel && c.provider == provider;
        if !self.channels.get(self.last_channel).is_some_and(is) {
            self.last_channel = self.channels.iter().position(is).unwrap_or_else(|| {
                if self.channels.len() >= MAX_CHANNELS {
                    self.channels.clear();
                }
                self.channels_met += 1;
                self.channels.push(Channel {
                    name: channel.to_owned(),
                    provider: provider.to_owned(),
                    number: self.channels_met,
                });
                self.channels.len() - 1
            });
        }
        self.channels[self.last_channel].number
    }
}

impl Places {
    fn of(fill: &Fill<'_>) -> Self {
        Self {
            channel: fill.position("Channel"),
            provider: fill.position("Provider_Name"),
            event_id: fill.position("EventID"),
            record_id: fill.position("EventRecordID"),
            times: TIME_FIELDS.iter().filter_map(|name| fill.position(name)).collect(),
        }
    }
}

/// Other tools' names of the system fields.
const FLAT_NAMES: &[(&str, &str)] = &[
    ("EventId", "EventID"),
    ("event_id", "EventID"),
    ("Provider", "Provider_Name"),
    ("ProviderName", "Provider_Name"),
    ("SourceName", "Provider_Name"),
    ("Hostname", "Computer"),
    ("host", "Computer"),
    ("EventRecordId", "EventRecordID"),
    ("RecordNumber", "EventRecordID"),
];

/// The same of winlogbeat, under `winlog`.
const WINLOGBEAT_NAMES: &[(&str, &str)] = &[
    ("winlog.channel", "Channel"),
    ("winlog.event_id", "EventID"),
    ("winlog.provider_name", "Provider_Name"),
    ("winlog.computer_name", "Computer"),
    ("winlog.record_id", "EventRecordID"),
    ("winlog.task", "Task"),
    ("winlog.opcode", "Opcode"),
];

/// Which fields get a second name, and which.
fn copies(fill: &Fill<'_>, winlogbeat: bool) -> Vec<(usize, Box<str>)> {
    let mut copies: Vec<(usize, Box<str>)> = Vec::new();
    if winlogbeat {
        for (theirs, ours) in WINLOGBEAT_NAMES {
            copies.extend(fill.position(theirs).map(|position| (position, (*ours).into())));
        }
        let system = copies.len();
        for (position, name) in fill.names() {
            let inner = name.strip_prefix("winlog.event_data.").or(name.strip_prefix("winlog.user_data."));
            copies.extend(inner.map(|name| (position, name.into())));
        }
        // The last name came first.
        copies[system..].reverse();
        return copies;
    }
    for (theirs, ours) in FLAT_NAMES {
        if let Some(position) = fill.position(theirs)
            && fill.position(ours).is_none()
            && !copies.iter().any(|(_, name)| **name == **ours)
        {
            copies.push((position, (*ours).into()));
        }
    }
    copies
}

/// A whole number, as JSON's own, as decimal text or as `0x…`.
fn number(fill: &Fill<'_>, cell: Cell) -> Option<u64> {
    match cell {
        Cell::Int(n) => n.try_into().ok(),
        Cell::Unsigned(n) => Some(n),
        _ => {
            let text = fill.as_text(cell)?;
            match text.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16).ok(),
                None => text.trim().parse().ok(),
            }
        }
    }
}

/// Where records say when they were written, the most exact first.
const TIME_FIELDS: &[&str] =
    &["TimeCreated", "@timestamp", "SystemTime", "UtcTime", "EventTime", "timestamp", "Timestamp", "time"];

fn time(fill: &Fill<'_>, cell: Cell) -> Option<Timestamp> {
    match fill.value(cell) {
        Value::Int(n) => Timestamp::from_unix(n as f64),
        Value::Float(n) => Timestamp::from_unix(n),
        Value::Str(text) => Timestamp::parse_log(&text),
        _ => None,
    }
}
