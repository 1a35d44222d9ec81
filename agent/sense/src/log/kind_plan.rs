//! What a kind of event makes of a record: its log source, and the fields under Sigma's names.
//!
//! Where fields stand follows from the layout and is found out once for it; a record then costs a few comparisons.

use std::ops::Range;
use std::sync::Arc;

use wardline_event::{Cell, Fill, LogSource, Value};
use wardline_sigma::sources::{Derivation, EventKind};

/// For one kind of event in records of one layout.
pub struct KindPlan {
    kind: Arc<EventKind>,
    own: Parts,
    /// For each of the kind's cases.
    cases: Vec<Parts>,
}

struct Parts {
    source: LogSource<'static>,
    also: &'static [&'static str],
    made: Vec<Made>,
}

/// A field that is made of others.
struct Made {
    derivation: Derivation,
    /// The fields that it is made of and that are there.
    inputs: Vec<(Box<str>, usize)>,
    is_copy: bool,
}

/// What one record needs, used again for the next.
#[derive(Default)]
pub struct Scratch {
    cells: Vec<Option<Cell>>,
    text: String,
}

impl KindPlan {
    pub fn new(kind: &Arc<EventKind>, fill: &Fill<'_>) -> Self {
        Self {
            kind: Arc::clone(kind),
            own: Parts::new(kind, fill),
            cases: kind.cases().map(|case| Parts::new(case, fill)).collect(),
        }
    }

    /// Names the record's log source and adds the fields that are made.
    pub fn apply(&self, fill: &mut Fill<'_>, scratch: &mut Scratch) {
        let case = if self.cases.is_empty() {
            None
        } else {
            self.kind.case(&|name| Some(fill.value(fill.cell(fill.position(name)?)?)))
        };
        let parts = case.and_then(|at| self.cases.get(at)).unwrap_or(&self.own);
        let record = fill.record();
        record.source.clone_from(&parts.source);
        record.also = parts.also;
        // All of them before any takes its name, which another may be made of.
        scratch.cells.clear();
        for made in &parts.made {
            let cell = made.cell(fill, &mut scratch.text);
            scratch.cells.push(cell);
        }
        for (made, cell) in parts.made.iter().zip(&scratch.cells) {
            if let Some(cell) = cell {
                fill.set(&made.derivation.to, *cell);
            }
        }
    }
}

impl Parts {
    fn new(kind: &EventKind, fill: &Fill<'_>) -> Self {
        Self {
            source: kind.log_source.clone(),
            also: kind.also,
            made: kind.derive.iter().filter_map(|derivation| Made::new(derivation, fill)).collect(),
        }
    }
}

impl Made {
    /// `None` if nothing that it is made of is there.
    fn new(derivation: &Derivation, fill: &Fill<'_>) -> Option<Self> {
        let inputs = derivation.inputs();
        let inputs: Vec<(Box<str>, usize)> =
            inputs.into_iter().filter_map(|name| Some((name.into(), fill.position(name)?))).collect();
        let is_copy = derivation.copy_of().is_some();
        (!inputs.is_empty()).then(|| Self { derivation: derivation.clone(), inputs, is_copy })
    }

    fn cell(&self, fill: &mut Fill<'_>, text: &mut String) -> Option<Cell> {
        let first = fill.cell(self.inputs.first()?.1)?;
        if self.is_copy {
            return Some(first);
        }
        let get = |name: &str| {
            let (_, position) = self.inputs.iter().find(|(input, _)| **input == *name)?;
            Some(fill.value(fill.cell(*position)?))
        };
        match self.derivation.value(&get)? {
            Value::Null => Some(Cell::Null),
            Value::Bool(flag) => Some(Cell::Bool(flag)),
            Value::Int(number) => Some(Cell::Int(number)),
            Value::Float(number) => Some(Cell::Float(number)),
            Value::Str(made) => {
                if let Some(range) = fill.as_text(first).and_then(|whole| place_in(whole, &made)) {
                    return Some(fill.part(first, range));
                }
                text.clear();
                text.push_str(&made);
                Some(fill.text(text))
            }
            // Only a copy can be a list.
            Value::List(_) => None,
        }
    }
}

/// Where a text that was cut out of another lies in it.
fn place_in(whole: &str, part: &str) -> Option<Range<usize>> {
    let from = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let range = from..from + part.len();
    // The same bytes elsewhere in memory are not in there.
    (whole.get(range.clone()) == Some(part)).then_some(range)
}
