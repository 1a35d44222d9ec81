//! A record read from somebody else's log, with its fields as they were written.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::cell::Cell;
use crate::fields::{Fields, Layout, LogSource, Value};
use crate::fill::Fill;
use crate::layouts::Layouts;
use crate::time::Timestamp;

/// One record of a log: Windows event, audit line, JSON object.
///
/// Field names are Sigma's where the log's own differ (a reader renames them). What stands in a nested JSON object is
/// a field of its own under its dotted name (`winlog.event_data.Image`); the object is one, too, and its value is its
/// compact JSON text. Where a dotted name and a path spell alike, the name with fewer steps is meant.
///
/// All values lie in one text and one list, so that a record which is filled again ([`LogRecord::fill`]) allocates
/// nothing. Records of one kind share their [`Layout`] if they are filled with the same [`Layouts`].
#[derive(Clone, Default)]
pub struct LogRecord {
    /// Where it came from.
    pub source: LogSource<'static>,
    /// Categories it belongs to besides the one in `source`: a `registry_set` is also a `registry_event`.
    pub also: &'static [&'static str],
    /// When it was written, if the record says so.
    pub time: Option<Timestamp>,
    /// The record's number within its file.
    pub record_id: u64,
    pub(crate) layout: Arc<Layout>,
    /// A value for each name of the layout.
    pub(crate) cells: Vec<Cell>,
    /// How good each value's claim to its name is; the smallest is best, and 0 is a name that stands in the record.
    pub(crate) ranks: Vec<u16>,
    pub(crate) text: String,
    /// The items of lists.
    pub(crate) items: Vec<Cell>,
}

impl LogRecord {
    /// A record without fields.
    pub fn new(source: LogSource<'static>) -> Self {
        Self { source, ..Self::default() }
    }

    /// A record of these fields.
    pub fn from_json(source: LogSource<'static>, fields: &Map<String, Json>) -> Self {
        let mut record = Self::new(source);
        let mut layouts = Layouts::default();
        let mut fill = record.fill(&mut layouts);
        fill.object(fields);
        fill.finish();
        record
    }

    /// Empties the record (but for its source, `also`, time and number) and begins to fill it again.
    pub fn fill<'a>(&'a mut self, layouts: &'a mut Layouts) -> Fill<'a> {
        Fill::new(self, layouts)
    }

    /// Sets one field to a value without objects in it, in the place of what it had.
    ///
    /// For a few fields of a single record; readers [`LogRecord::fill`].
    pub fn set<'v>(&mut self, name: &str, value: impl Into<Value<'v>>) {
        let cell = self.keep(&value.into());
        if let Some(position) = self.layout.position(name) {
            self.cells[position] = cell;
            self.ranks[position] = 0;
            return;
        }
        let names = self.layout.names().iter().map(|n| &**n).chain([name]);
        self.layout = Arc::new(Layout::new(names));
        self.cells.push(cell);
        self.ranks.push(0);
    }

    fn keep(&mut self, value: &Value<'_>) -> Cell {
        match value {
            Value::Null => Cell::Null,
            Value::Bool(b) => Cell::Bool(*b),
            Value::Int(n) => Cell::Int(*n),
            Value::Float(n) => Cell::Float(*n),
            Value::Str(text) => self.keep_text(text),
            Value::List(values) => {
                let cells: Vec<Cell> = values.iter().map(|v| self.keep(v)).collect();
                self.keep_list(&cells)
            }
        }
    }

    pub(crate) fn keep_text(&mut self, text: &str) -> Cell {
        let from = self.text.len();
        self.text.push_str(text);
        self.text_since(from)
    }

    pub(crate) fn text_since(&self, from: usize) -> Cell {
        Cell::text(from, self.text.len())
    }

    pub(crate) fn keep_list(&mut self, cells: &[Cell]) -> Cell {
        let from = self.items.len();
        self.items.extend_from_slice(cells);
        Cell::list(from, self.items.len())
    }

    /// The names of the fields.
    pub fn names(&self) -> &[Box<str>] {
        self.layout.names()
    }

    /// The fields as they stood in the record, nested objects as objects.
    pub fn to_json(&self) -> Map<String, Json> {
        let own = self.layout.names().iter().zip(&self.cells).zip(&self.ranks);
        own.filter(|(_, rank)| **rank == 0)
            .map(|((name, cell), _)| (name.to_string(), cell.to_json(&self.text, &self.items)))
            .collect()
    }

    /// The text of a field, if it has one and it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.cells.get(self.layout.position(name)?)?.as_text(&self.text)
    }
}

impl Fields for LogRecord {
    fn log_source(&self) -> LogSource<'_> {
        LogSource::new(&self.source.product, &self.source.category, &self.source.service)
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        self.at(self.layout.position(name)?)
    }

    /// An object is not visited, since all that is in it is.
    fn each_field(&self, visit: &mut dyn FnMut(&str, Value<'_>)) {
        for (name, cell) in self.layout.names().iter().zip(&self.cells) {
            if !matches!(cell, Cell::Object { .. }) {
                visit(name, cell.value(&self.text, &self.items));
            }
        }
    }

    fn also(&self) -> &'static [&'static str] {
        self.also
    }

    fn layout(&self) -> Option<&Arc<Layout>> {
        Some(&self.layout)
    }

    #[inline]
    fn at(&self, position: usize) -> Option<Value<'_>> {
        Some(self.cells.get(position)?.value(&self.text, &self.items))
    }

    fn all_text(&self) -> Option<&str> {
        Some(&self.text)
    }
}

/// Two records are equal if they say the same, however they were filled.
impl PartialEq for LogRecord {
    fn eq(&self, other: &Self) -> bool {
        (&self.source, self.also, self.time, self.record_id)
            == (&other.source, other.also, other.time, other.record_id)
            && self.to_json() == other.to_json()
    }
}

#[expect(clippy::missing_fields_in_debug, reason = "what the others hold is said as fields")]
impl fmt::Debug for LogRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogRecord")
            .field("source", &self.source)
            .field("also", &self.also)
            .field("time", &self.time)
            .field("record_id", &self.record_id)
            .field("fields", &self.to_json())
            .finish()
    }
}
