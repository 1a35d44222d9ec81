//! Filling a record, name by name.

use serde_json::{Map, Value as Json};

use crate::cell::Cell;
use crate::fields::Value;
use crate::layouts::{LayoutId, Layouts, Step};
use crate::log_record::LogRecord;

/// A rank that every name which stands in the record itself has.
const OWN: u16 = 0;
/// Added where an object's own name has a dot: its fields can be confused with those of an object in an object.
const DOTTED: u16 = 1 << 15;

/// A record that is being filled.
///
/// First a value is put into the record, which gives a [`Cell`]; then the cell is set under a name. A record whose
/// filling is not brought to its [`Fill::finish`] has no fields.
pub struct Fill<'a> {
    record: &'a mut LogRecord,
    layouts: &'a mut Layouts,
    at: LayoutId,
    finished: bool,
}

impl<'a> Fill<'a> {
    pub(crate) fn new(record: &'a mut LogRecord, layouts: &'a mut Layouts) -> Self {
        record.cells.clear();
        record.ranks.clear();
        record.items.clear();
        record.text.clear();
        let at = layouts.begin();
        Self { record, layouts, at, finished: false }
    }

    /// Puts text into the record.
    pub fn text(&mut self, text: &str) -> Cell {
        self.record.keep_text(text)
    }

    /// The record's text, to be appended to. [`Fill::text_since`] makes a value of what was.
    pub fn buffer(&mut self) -> &mut String {
        &mut self.record.text
    }

    /// What was appended to [`Fill::buffer`] since it was `from` bytes long.
    pub fn text_since(&self, from: usize) -> Cell {
        self.record.text_since(from)
    }

    /// Puts an object into the record; `json` is its text.
    pub fn object_text(&mut self, json: &str) -> Cell {
        let from = self.record.text.len();
        self.record.text.push_str(json);
        Cell::object(from, self.record.text.len())
    }

    /// A part of a text, in bytes from its beginning.
    pub fn part(&self, text: Cell, range: std::ops::Range<usize>) -> Cell {
        text.part(range)
    }

    /// Puts a list of values into the record.
    pub fn list(&mut self, items: &[Cell]) -> Cell {
        self.record.keep_list(items)
    }

    /// Sets a field. A name that comes again keeps its place and gets the new value.
    pub fn set(&mut self, name: &str, cell: Cell) {
        self.set_ranked(name, cell, OWN);
    }

    /// Sets the field that stands at this dotted name, `steps` objects deep; `dotted` if one of these objects has a
    /// name with a dot. A name that is spelled alike and has fewer steps stays.
    pub fn set_nested(&mut self, path: &str, steps: usize, dotted: bool, cell: Cell) {
        let steps = u16::try_from(steps).unwrap_or(u16::MAX).min(DOTTED - 1);
        self.set_ranked(path, cell, if dotted { DOTTED | steps } else { steps });
    }

    fn set_ranked(&mut self, name: &str, cell: Cell, rank: u16) {
        match self.layouts.step(&mut self.at, name) {
            Step::New => {
                self.record.cells.push(cell);
                self.record.ranks.push(rank);
            }
            Step::Again(position) => {
                let position = position as usize;
                if rank <= self.record.ranks[position] {
                    self.record.cells[position] = cell;
                    self.record.ranks[position] = rank;
                }
            }
        }
    }

    /// Sets every field of a JSON object, and what stands in objects in it.
    pub fn object(&mut self, fields: &Map<String, Json>) {
        for (name, value) in fields {
            let cell = self.json(value);
            self.set(name, cell);
            if let Json::Object(inner) = value {
                self.inner(name, inner, 1, name.contains('.'));
            }
        }
    }

    fn inner(&mut self, path: &str, object: &Map<String, Json>, steps: usize, dotted: bool) {
        for (name, value) in object {
            let path = format!("{path}.{name}");
            let cell = self.json(value);
            self.set_nested(&path, steps, dotted, cell);
            if let Json::Object(inner) = value {
                self.inner(&path, inner, steps + 1, dotted || name.contains('.'));
            }
        }
    }

    /// Puts a JSON value into the record.
    pub fn json(&mut self, json: &Json) -> Cell {
        match json {
            Json::Null => Cell::Null,
            Json::Bool(b) => Cell::Bool(*b),
            Json::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(n), _) => Cell::Int(n),
                (None, Some(n)) => Cell::Unsigned(n),
                (None, None) => Cell::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => self.text(text),
            Json::Array(items) => {
                let cells: Vec<Cell> = items.iter().map(|i| self.json(i)).collect();
                self.list(&cells)
            }
            Json::Object(_) => self.object_text(&json.to_string()),
        }
    }

    /// The names so far; while [`Layouts::generation`] stays, the same place means the same names.
    pub fn place(&self) -> LayoutId {
        self.at
    }

    /// See [`Layouts::generation`].
    pub fn generation(&self) -> u64 {
        self.layouts.generation()
    }

    /// Where a field stands: 0 is the first that was set.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.layouts.position(self.at, name)
    }

    /// The names so far, with their positions, the last first.
    pub fn names(&self) -> impl Iterator<Item = (usize, &str)> {
        self.layouts.path(self.at)
    }

    /// The value at a position.
    pub fn cell(&self, position: usize) -> Option<Cell> {
        self.record.cells.get(position).copied()
    }

    /// Replaces the value at a position that has one.
    pub fn replace(&mut self, position: usize, cell: Cell) {
        if let Some(place) = self.record.cells.get_mut(position) {
            *place = cell;
        }
    }

    /// What a cell means.
    pub fn value(&self, cell: Cell) -> Value<'_> {
        cell.value(&self.record.text, &self.record.items)
    }

    /// A cell's text, if it is text.
    pub fn as_text(&self, cell: Cell) -> Option<&str> {
        cell.as_text(&self.record.text)
    }

    /// A cell's items, if it is a list.
    pub fn items(&self, cell: Cell) -> &[Cell] {
        cell.items(&self.record.items)
    }

    /// The record's source, `also`, time and number.
    pub fn record(&mut self) -> &mut LogRecord {
        self.record
    }

    /// Ends the filling.
    pub fn finish(mut self) {
        let layout = self.layouts.layout(self.at);
        if !std::sync::Arc::ptr_eq(layout, &self.record.layout) {
            self.record.layout = std::sync::Arc::clone(layout);
        }
        self.finished = true;
    }
}

impl Drop for Fill<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.record.layout = std::sync::Arc::default();
            self.record.cells.clear();
            self.record.ranks.clear();
        }
    }
}
