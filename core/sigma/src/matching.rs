//! Matching one event against the rules of its class.

use std::fmt::Write;
use std::sync::Arc;

use wardline_event::{Fields, LogSource, Value};

use crate::ast::Matcher;
use crate::class::{Class, Expr, Slow};
use crate::eval::{refers, value_matches};
use crate::index::TextIndex;
use crate::pattern::fold_into;
use crate::ruleset::RuleSet;

/// Log sources that one scratch remembers before it forgets them all: events name them, and may be hostile.
const REMEMBERED_SOURCES: usize = 256;
/// Text buffers longer than this are given back after the event that needed them.
const KEPT_TEXT_BYTES: usize = 1 << 20;

/// What one thread needs for matching; made by [`RuleSet::scratch`] and used again for every event.
#[derive(Debug)]
pub struct Scratch {
    set: RuleSet,
    classes: Vec<Arc<Class>>,
    /// Log sources seen and their classes: few enough to be searched.
    sources: Vec<(LogSource<'static>, usize)>,
    /// Index into `sources` of the last event's: events come in runs of one source.
    last: usize,
    buffers: Buffers,
}

#[derive(Debug, Default)]
struct Buffers {
    /// One bit per literal and presence atom of the class.
    bits: Vec<u64>,
    /// Fields that are read.
    loaded: Vec<u64>,
    /// Slow atoms: whether they are worked out, and what came out.
    known: Vec<u64>,
    holds: Vec<u64>,
    /// One bit per rule of the class: whether its condition is to be looked at.
    candidates: Vec<u64>,
    values: Vec<Option<Value<'static>>>,
    text: Text,
}

#[derive(Debug, Default)]
struct Text {
    folded: String,
    digits: String,
}

impl Scratch {
    pub(crate) fn new(set: RuleSet) -> Self {
        Self { set, classes: Vec::new(), sources: Vec::new(), last: 0, buffers: Buffers::default() }
    }

    /// Makes this the scratch of `set`.
    pub(crate) fn serve(&mut self, set: &RuleSet) {
        if !self.set.same_as(set) {
            *self = Self::new(set.clone());
        }
    }

    fn class_index(&mut self, source: &LogSource<'_>) -> usize {
        if let Some((last, index)) = self.sources.get(self.last)
            && last == source
        {
            return *index;
        }
        if let Some(found) = self.sources.iter().position(|(known, _)| known == source) {
            self.last = found;
            return self.sources[found].1;
        }
        if self.sources.len() >= REMEMBERED_SOURCES {
            self.sources.clear();
            self.classes.clear();
        }
        let class = self.set.class(source);
        let index = self.classes.iter().position(|c| Arc::ptr_eq(c, &class)).unwrap_or_else(|| {
            self.classes.push(class);
            self.classes.len() - 1
        });
        let owned = |term: &str| std::borrow::Cow::Owned(term.to_owned());
        let source = LogSource {
            product: owned(&source.product),
            category: owned(&source.category),
            service: owned(&source.service),
        };
        self.last = self.sources.len();
        self.sources.push((source, index));
        index
    }

    pub(crate) fn run<F: Fields + ?Sized>(&mut self, event: &F, on_match: &mut dyn FnMut(usize)) {
        let index = self.class_index(&event.log_source());
        let class = &*self.classes[index];
        if class.rules.is_empty() {
            return;
        }
        let buffers = &mut self.buffers;
        reset(&mut buffers.bits, class.bits);
        reset(&mut buffers.known, class.slow.len());
        reset(&mut buffers.holds, class.slow.len());
        buffers.candidates.clear();
        buffers.candidates.extend_from_slice(&class.always);
        reset(&mut buffers.loaded, class.fields.len());
        let mut values = recycle(std::mem::take(&mut buffers.values));
        values.resize_with(class.fields.len(), || None);

        let mut run = Run {
            class,
            event,
            bits: &mut buffers.bits,
            loaded: &mut buffers.loaded,
            known: &mut buffers.known,
            holds: &mut buffers.holds,
            values: &mut values,
            text: &mut buffers.text,
        };
        run.read();
        nominate(class, run.bits, &mut buffers.candidates);
        for (word, candidates) in buffers.candidates.iter().enumerate() {
            for_each_bit(*candidates, |bit| {
                let (rule, condition) = &class.rules[word * 64 + bit];
                if run.condition(condition) {
                    on_match(*rule);
                }
            });
        }
        buffers.values = recycle(values);
        if buffers.text.folded.capacity() > KEPT_TEXT_BYTES {
            buffers.text = Text::default();
        }
    }
}

/// Marks the rules of which a witness was seen.
fn nominate(class: &Class, bits: &[u64], candidates: &mut [u64]) {
    for (word, (bits, watched)) in bits.iter().zip(&class.watched).enumerate() {
        for_each_bit(bits & watched, |bit| {
            for rule in class.witnessed(word * 64 + bit) {
                set(candidates, *rule);
            }
        });
    }
}

fn holds_null(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::List(items) => items.iter().any(holds_null),
        _ => false,
    }
}

fn scan(index: &TextIndex, value: &Value<'_>, text: &mut Text, bits: &mut [u64]) {
    let Text { folded, digits } = text;
    let spelled: &str = match value {
        Value::Null => return,
        Value::List(items) => {
            for item in items {
                scan(index, item, text, bits);
            }
            return;
        }
        Value::Str(text) => text,
        Value::Bool(b) => {
            if *b {
                "true"
            } else {
                "false"
            }
        }
        Value::Int(n) => {
            digits.clear();
            // Writing to a String cannot fail.
            let _ = write!(digits, "{n}");
            digits
        }
        Value::Float(n) => {
            digits.clear();
            let _ = write!(digits, "{n}");
            digits
        }
    };
    fold_into(spelled, folded);
    index.scan(folded, &mut |bit| set(bits, bit));
}

/// Keeps the allocation of an emptied list for values of another lifetime.
fn recycle<'a>(mut values: Vec<Option<Value<'_>>>) -> Vec<Option<Value<'a>>> {
    values.clear();
    values.into_iter().map(|_| None).collect()
}

fn reset(bits: &mut Vec<u64>, count: usize) {
    bits.clear();
    bits.resize(count.div_ceil(64), 0);
}

fn set(bits: &mut [u64], bit: u32) {
    bits[bit as usize / 64] |= 1 << (bit % 64);
}

fn get(bits: &[u64], bit: u32) -> bool {
    bits[bit as usize / 64] >> (bit % 64) & 1 != 0
}

fn for_each_bit(mut word: u64, mut visit: impl FnMut(usize)) {
    while word != 0 {
        visit(word.trailing_zeros() as usize);
        word &= word - 1;
    }
}

/// One event being looked at.
struct Run<'a, 'e, F: ?Sized> {
    class: &'a Class,
    event: &'e F,
    bits: &'a mut [u64],
    loaded: &'a mut [u64],
    known: &'a mut [u64],
    holds: &'a mut [u64],
    values: &'a mut [Option<Value<'e>>],
    text: &'a mut Text,
}

impl<F: Fields + ?Sized> Run<'_, '_, F> {
    /// Reads what may nominate a rule.
    fn read(&mut self) {
        for (id, field) in self.class.fields.iter().enumerate() {
            if field.eager {
                self.load(id as u32);
            }
        }
        if let Some(keywords) = &self.class.keywords {
            let (bits, text) = (&mut *self.bits, &mut *self.text);
            self.event.each_field(&mut |_, value| scan(keywords, &value, text, bits));
        }
    }

    /// Reads a field, once, and sets the bits of what is seen in it.
    fn load(&mut self, id: u32) {
        if get(self.loaded, id) {
            return;
        }
        set(self.loaded, id);
        let field = &self.class.fields[id as usize];
        let Some(value) = self.event.field(&field.name) else {
            set(self.bits, field.null);
            return;
        };
        set(self.bits, field.has);
        if holds_null(&value) {
            set(self.bits, field.null);
        }
        if !field.index.is_empty() {
            scan(&field.index, &value, self.text, self.bits);
        }
        if field.keep {
            self.values[id as usize] = Some(value);
        }
    }

    fn condition(&mut self, expr: &Expr) -> bool {
        match expr {
            Expr::Bit(bit) => get(self.bits, *bit),
            Expr::Late(bit, field) => {
                self.load(*field);
                get(self.bits, *bit)
            }
            Expr::And(parts) => parts.iter().all(|part| self.condition(part)),
            Expr::Or(parts) => parts.iter().any(|part| self.condition(part)),
            Expr::Not(part) => !self.condition(part),
            Expr::Slow(id) => self.slow(*id),
        }
    }

    fn slow(&mut self, id: u32) -> bool {
        if get(self.known, id) {
            return get(self.holds, id);
        }
        let slow = &self.class.slow[id as usize];
        for field in [slow.field, slow.other].into_iter().flatten() {
            self.load(field);
        }
        let holds = slow.gate.is_none_or(|gate| get(self.bits, gate)) && self.work_out(slow);
        set(self.known, id);
        if holds {
            set(self.holds, id);
        }
        holds
    }

    fn work_out(&self, slow: &Slow) -> bool {
        let value = |id: u32| self.values[id as usize].as_ref();
        let Some(field) = slow.field else {
            let mut found = false;
            self.event.each_field(&mut |_, value| found = found || value_matches(&slow.matcher, &value));
            return found;
        };
        let Some(held) = value(field) else { return false };
        match (&slow.matcher, slow.other) {
            (Matcher::FieldRef { part, cased, .. }, Some(other)) => {
                value(other).is_some_and(|other| refers(held, other, *part, *cased))
            }
            (matcher, _) => value_matches(matcher, held),
        }
    }
}
