//! Matching one event against the rules of its class.

use wardline_event::{Fields, Value};

use crate::compiled::class::{Class, Expr, Keywords, Slow};
use crate::compiled::index::TextIndex;
use crate::compiled::memo::{Memo, Recall};
use crate::compiled::plan::{Plan, state};
use crate::compiled::seen::Seen;
use crate::compiled::text::{Span, Texts};
use crate::language::ast::Matcher;
use crate::language::eval::{refers, value_matches};
use crate::language::pattern::{fold_char, glob};

/// Working memory for one event, used again for the next.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    seen: Seen,
    /// By field: what is known of it (see [`state`]), and where its folded text lies.
    states: Vec<u8>,
    spans: Vec<Span>,
    texts: Texts,
    memo: Memo,
    /// What slow atoms came to: 0 where that is not known, else one of the constants below.
    slow: Vec<u8>,
    /// The entries of `slow` that are not 0.
    worked_out: Vec<u32>,
    word: String,
}

const HOLDS: u8 = 1;
const FAILS: u8 = 2;

impl Buffers {
    /// A text for short use.
    pub fn word(&mut self) -> &mut String {
        &mut self.word
    }
}

/// Calls `on_match` with each rule of the plan's class that the event matches.
pub(crate) fn match_event<F: Fields + ?Sized>(
    plan: &Plan,
    event: &F,
    buffers: &mut Buffers,
    on_match: &mut dyn FnMut(usize),
) {
    let class = &*plan.class;
    if class.rules.is_empty() {
        return;
    }
    buffers.seen.begin(class, &plan.always);
    for id in buffers.worked_out.drain(..) {
        buffers.slow[id as usize] = 0;
    }
    if buffers.slow.len() < class.slow.len() {
        buffers.slow.resize(class.slow.len(), 0);
    }
    if buffers.spans.len() < class.fields.len() {
        buffers.spans.resize(class.fields.len(), Span::default());
    }
    buffers.states.clear();
    buffers.states.extend_from_slice(&plan.states);
    buffers.texts.clear();

    let mut run = Run {
        plan,
        class,
        event,
        seen: &mut buffers.seen,
        states: &mut buffers.states,
        spans: &mut buffers.spans,
        texts: &mut buffers.texts,
        memo: &mut buffers.memo,
        slow: &mut buffers.slow,
        worked_out: &mut buffers.worked_out,
    };
    run.read();
    for at in 0..run.seen.sort() {
        let (rule, condition) = &class.rules[run.seen.candidate(at) as usize];
        if run.condition(condition) {
            on_match(*rule);
        }
    }
}

fn holds_null(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::List(items) => items.iter().any(holds_null),
        _ => false,
    }
}

/// Whether the folded text of a value, or of one value of a list, holds a byte.
fn holds_byte(value: &Value<'_>, byte: u8) -> bool {
    match value {
        Value::List(items) => items.iter().any(|item| holds_byte(item, byte)),
        value => value.as_text().is_some_and(|text| text.chars().any(|c| fold_char(c) == char::from(byte))),
    }
}

/// One event being looked at.
struct Run<'a, 'e, F: ?Sized> {
    plan: &'a Plan,
    class: &'a Class,
    event: &'e F,
    seen: &'a mut Seen,
    states: &'a mut [u8],
    spans: &'a mut [Span],
    texts: &'a mut Texts,
    memo: &'a mut Memo,
    slow: &'a mut [u8],
    worked_out: &'a mut Vec<u32>,
}

impl<'e, F: Fields + ?Sized> Run<'_, 'e, F> {
    /// Reads what may nominate a rule.
    fn read(&mut self) {
        let class = self.class;
        for read in &self.plan.reads {
            let value = match &self.plan.positions {
                Some(_) => self.event.at(read.position as usize),
                None => self.event.field(&class.fields[read.field as usize].name),
            };
            self.take(read.field, value);
        }
        if let Some(keywords) = &class.keywords
            && self.may_hold(keywords)
        {
            let index = (&keywords.index, self.plan.keywords());
            self.event.each_field(&mut |_, value| {
                self.search(&value, index, None, &[]);
            });
        }
    }

    /// Whether one of the keywords may be in a field.
    fn may_hold(&mut self, keywords: &Keywords) -> bool {
        let (Some(gate), Some(text)) = (&keywords.gate, self.event.all_text()) else { return true };
        let Some(span) = self.texts.push(&Value::str(text)) else { return true };
        let passes = gate.lets_pass(self.texts.folded(span));
        self.texts.cut(span);
        passes
    }

    /// The value of a field.
    fn value(&self, id: u32) -> Option<Value<'e>> {
        match &self.plan.positions {
            Some(positions) => self.event.at(positions[id as usize] as usize),
            None => self.event.field(&self.class.fields[id as usize].name),
        }
    }

    /// Takes in a field once.
    fn load(&mut self, id: u32) {
        if self.states[id as usize] & state::READ == 0 {
            self.take(id, self.value(id));
        }
    }

    /// Takes in the value of a field; one that may nominate rules is searched at once.
    fn take(&mut self, id: u32, value: Option<Value<'e>>) {
        let class = self.class;
        let field = &class.fields[id as usize];
        let Some(value) = value else {
            self.states[id as usize] = state::READ | state::NULL;
            self.seen.nominate_all(class.witnessed(field.null));
            return;
        };
        let mut known = state::READ | state::HAS;
        self.seen.nominate_all(class.witnessed(field.has));
        if holds_null(&value) {
            known |= state::NULL;
            self.seen.nominate_all(class.witnessed(field.null));
        }
        self.states[id as usize] = known;
        if field.eager {
            self.search_field(id, &value);
        }
    }

    /// Sets the bits of what is seen in a value, which is the whole of `field` if that is given.
    fn search(
        &mut self,
        value: &Value<'_>,
        (index, number): (&TextIndex, u32),
        field: Option<u32>,
        probes: &[(u32, Expr)],
    ) {
        if let Value::List(items) = value {
            let number = match field {
                // Probes look at the whole list, so what is found in an item is not what is found in such a value.
                Some(id) if !probes.is_empty() => self.plan.items(id),
                _ => number,
            };
            for item in items {
                self.search(item, (index, number), None, &[]);
            }
        }
        let text = match value {
            Value::Str(text) => Some(&**text),
            _ => None,
        };
        let hash = match text.map(|text| self.memo.recall(number, text)) {
            Some(Recall::Known(bits)) => {
                for bit in bits {
                    self.seen.set(self.class, u32::from_le_bytes(*bit));
                }
                return;
            }
            Some(Recall::New(hash)) => Some(hash),
            Some(Recall::Never) | None => None,
        };
        // What is not remembered needs no list, which may be long.
        let remembered = hash.is_some();
        let mut found = self.memo.list();
        let span = match field {
            Some(id) if self.states[id as usize] & state::FOLDED != 0 => Some(self.spans[id as usize]),
            _ => self.texts.push(value),
        };
        if let Some(span) = span {
            index.scan(self.texts.folded(span), &mut |bit| {
                self.seen.set(self.class, bit);
                if remembered {
                    found.push(bit);
                }
            });
            match field {
                Some(id) => {
                    self.spans[id as usize] = span;
                    self.states[id as usize] |= state::FOLDED;
                }
                None => self.texts.cut(span),
            }
        }
        for (bit, expr) in probes {
            if self.condition(expr) {
                self.seen.set(self.class, *bit);
                found.push(*bit);
            }
        }
        self.memo.learn(hash.zip(text), number, found);
    }

    /// Where the folded text of a field lies, if it has a single one.
    fn folded(&mut self, id: u32) -> Option<Span> {
        self.load(id);
        if self.states[id as usize] & state::FOLDED == 0 {
            self.spans[id as usize] = self.texts.push(&self.value(id)?)?;
            self.states[id as usize] |= state::FOLDED;
        }
        Some(self.spans[id as usize])
    }

    /// Searches a field that nominates no rule, once.
    fn search_late(&mut self, id: u32) {
        if self.states[id as usize] & state::SEARCHED == 0 {
            self.load(id);
            self.states[id as usize] |= state::SEARCHED;
            if let Some(value) = self.value(id) {
                self.search_field(id, &value);
            }
        }
    }

    /// Looks in the value of a field for all that rules look for there.
    fn search_field(&mut self, id: u32, value: &Value<'_>) {
        let field = &self.class.fields[id as usize];
        if !field.index.is_empty() || !field.probes.is_empty() {
            self.search(value, (&field.index, self.plan.whole(id)), Some(id), &field.probes);
        }
    }

    fn condition(&mut self, expr: &Expr) -> bool {
        match expr {
            Expr::Bit(bit) => self.seen.get(*bit),
            Expr::Late(bit, field) => {
                self.search_late(*field);
                self.seen.get(*bit)
            }
            Expr::And(parts) => parts.iter().all(|part| self.condition(part)),
            Expr::Or(parts) => parts.iter().any(|part| self.condition(part)),
            Expr::Not(part) => !self.condition(part),
            Expr::Has(field) => {
                self.load(*field);
                self.states[*field as usize] & state::HAS != 0
            }
            Expr::Null(field) => {
                self.load(*field);
                self.states[*field as usize] & state::NULL != 0
            }
            Expr::Any(bits) => self.seen.any(bits),
            Expr::LateAny(field, bits) => {
                self.search_late(*field);
                self.seen.any(bits)
            }
            Expr::Byte(field, byte) => self.byte(*field, *byte),
            Expr::Slow(id) => self.slow(*id),
        }
    }

    fn byte(&mut self, field: u32, byte: u8) -> bool {
        match self.folded(field) {
            Some(span) => self.texts.bytes(span).contains(&byte),
            None => self.value(field).is_some_and(|value| holds_byte(&value, byte)),
        }
    }

    fn slow(&mut self, id: u32) -> bool {
        if self.slow[id as usize] != 0 {
            return self.slow[id as usize] == HOLDS;
        }
        let holds = self.work_out(&self.class.slow[id as usize]);
        self.slow[id as usize] = if holds { HOLDS } else { FAILS };
        self.worked_out.push(id);
        holds
    }

    fn work_out(&mut self, slow: &Slow) -> bool {
        let Some(field) = slow.field else {
            let mut found = false;
            self.event.each_field(&mut |_, value| found = found || value_matches(&slow.matcher, &value));
            return found;
        };
        match (&slow.matcher, slow.other) {
            (Matcher::FieldRef { part, cased, .. }, Some(other)) => {
                let (value, other) = (self.value(field), self.value(other));
                value.zip(other).is_some_and(|(value, other)| refers(&value, &other, *part, *cased))
            }
            // What rules ask for is folded already.
            (Matcher::Text(pattern), _) if !pattern.cased => match self.folded(field) {
                Some(span) => glob(&pattern.tokens, self.texts.text(span)),
                None => self.value(field).is_some_and(|value| value_matches(&slow.matcher, &value)),
            },
            (matcher, _) => self.value(field).is_some_and(|value| value_matches(matcher, &value)),
        }
    }
}
