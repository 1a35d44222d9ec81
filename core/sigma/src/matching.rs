//! Matching one event against the rules of its class.

use wardline_event::{Fields, Value};

use crate::ast::Matcher;
use crate::class::{Class, Expr, Find, Slow};
use crate::eval::{refers, value_matches};
use crate::index::TextIndex;
use crate::pattern::{fold, glob};
use crate::plan::{Plan, state};
use crate::seen::Seen;
use crate::text::{Span, Texts};

/// Working memory for one event, used again for the next.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    seen: Seen,
    /// By field: what is known of it (see [`state`]), and where its folded text lies.
    states: Vec<u8>,
    spans: Vec<Span>,
    texts: Texts,
    /// What slow atoms came to: 0 where that is not known, else one of the constants below.
    slow: Vec<u8>,
    /// The entries of `slow` that are not 0.
    worked_out: Vec<u32>,
    held: Vec<(u32, Value<'static>)>,
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
    let mut held = recycle(std::mem::take(&mut buffers.held));

    let mut run = Run {
        plan,
        class,
        event,
        seen: &mut buffers.seen,
        states: &mut buffers.states,
        spans: &mut buffers.spans,
        texts: &mut buffers.texts,
        slow: &mut buffers.slow,
        worked_out: &mut buffers.worked_out,
        held: &mut held,
        keywords: true,
    };
    run.read();
    for at in 0..run.seen.sort() {
        let (rule, condition) = &class.rules[run.seen.candidate(at) as usize];
        if run.condition(condition) {
            on_match(*rule);
        }
    }
    buffers.held = recycle(held);
}

/// Keeps the allocation of an emptied list for values of another lifetime.
fn recycle<'a>(mut held: Vec<(u32, Value<'_>)>) -> Vec<(u32, Value<'a>)> {
    held.clear();
    held.into_iter().map(|(field, _)| (field, Value::Null)).collect()
}

fn holds_null(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::List(items) => items.iter().any(holds_null),
        _ => false,
    }
}

/// Whether the folded text of a value, or of one value of a list, holds a literal.
fn holds_text(value: &Value<'_>, literal: &str) -> bool {
    match value {
        Value::List(items) => items.iter().any(|item| holds_text(item, literal)),
        value => value.as_text().is_some_and(|text| fold(&text).contains(literal)),
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
    slow: &'a mut [u8],
    worked_out: &'a mut Vec<u32>,
    held: &'a mut Vec<(u32, Value<'e>)>,
    /// Whether keywords that are seen count. They are looked for in what [`Fields::each_field`] visits and nowhere
    /// else.
    keywords: bool,
}

impl<'e, F: Fields + ?Sized> Run<'_, 'e, F> {
    /// Reads what may nominate a rule.
    fn read(&mut self) {
        let class = self.class;
        let keywords = class.keywords.as_ref();
        if self.plan.positions.is_some() {
            for read in &self.plan.reads {
                let position = read.position as usize;
                self.keywords = keywords.is_some() && !self.event.is_object(position);
                match class.fields.get(read.field as usize) {
                    // Its index holds the keywords too.
                    Some(field) if field.eager => {
                        self.take(read.field, self.event.at(position), Some(&field.index));
                    }
                    Some(_) if self.keywords => self.take(read.field, self.event.at(position), keywords),
                    None if self.keywords => self.visit(self.event.at(position), keywords),
                    _ => {}
                }
            }
            return;
        }
        self.keywords = false;
        for read in &self.plan.reads {
            self.load(read.field);
        }
        self.keywords = true;
        if keywords.is_some() {
            self.event.each_field(&mut |_, value| self.visit(Some(value), keywords));
        }
    }

    /// Looks for keywords in a value.
    fn visit(&mut self, value: Option<Value<'_>>, keywords: Option<&TextIndex>) {
        if let (Some(value), Some(keywords)) = (value, keywords) {
            self.search(&value, keywords);
        }
    }

    /// Reads a field once.
    fn load(&mut self, id: u32) {
        if self.states[id as usize] & state::READ != 0 {
            return;
        }
        let field = &self.class.fields[id as usize];
        let value = match &self.plan.positions {
            Some(positions) => self.event.at(positions[id as usize] as usize),
            None => self.event.field(&field.name),
        };
        self.take(id, value, Some(&field.index));
    }

    /// Takes in the value of a field of the class and searches it for the literals of an index.
    fn take(&mut self, id: u32, value: Option<Value<'e>>, index: Option<&TextIndex>) {
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
        let index = index.filter(|index| !index.is_empty());
        let single = match index {
            Some(index) => self.search(&value, index),
            None if field.keep || field.keep_list => self.texts.push(&value),
            None => None,
        };
        if let Some(span) = single {
            self.spans[id as usize] = span;
            known |= state::FOLDED;
        }
        if field.keep || (field.keep_list && matches!(value, Value::List(_))) {
            self.held.push((id, value));
            known |= state::HELD;
        }
        self.states[id as usize] = known;
    }

    /// Folds a value and sets the bits of what is seen in it. Returns where its text lies, if it is a single one.
    fn search(&mut self, value: &Value<'_>, index: &TextIndex) -> Option<Span> {
        if let Value::List(items) = value {
            for item in items {
                self.search(item, index);
            }
            return None;
        }
        let span = self.texts.push(value)?;
        index.scan(self.texts.folded(span), &mut |bit| {
            if self.keywords || !self.class.keyword_bits[bit as usize] {
                self.seen.set(self.class, bit);
            }
        });
        Some(span)
    }

    /// Searches a field for the literals that nominate no rule, once.
    fn search_rest(&mut self, id: u32) {
        if self.states[id as usize] & state::SEARCHED != 0 {
            return;
        }
        self.load(id);
        let known = self.states[id as usize];
        self.states[id as usize] = known | state::SEARCHED;
        let rest = &self.class.fields[id as usize].rest;
        if rest.is_empty() {
        } else if known & state::FOLDED != 0 {
            let folded = self.texts.folded(self.spans[id as usize]);
            rest.scan(folded, &mut |bit| self.seen.set(self.class, bit));
        } else if let Some(at) = self.held.iter().position(|(held, _)| *held == id) {
            // Only a list is held without a text. It is put back where slow atoms find it.
            let (_, list) = self.held.swap_remove(at);
            self.search(&list, rest);
            self.held.push((id, list));
        }
    }

    fn condition(&mut self, expr: &Expr) -> bool {
        match expr {
            Expr::Bit(bit) => self.seen.get(*bit),
            Expr::Late(bit, field) => {
                self.search_rest(*field);
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
            Expr::Find(id) => self.find(*id),
            Expr::Slow(id) => self.slow(*id),
        }
    }

    fn find(&mut self, id: u32) -> bool {
        let Find { field, literal } = &self.class.finds[id as usize];
        self.load(*field);
        if self.states[*field as usize] & state::FOLDED != 0 {
            return self.texts.text(self.spans[*field as usize]).contains(&**literal);
        }
        self.held(*field).is_some_and(|value| holds_text(value, literal))
    }

    fn slow(&mut self, id: u32) -> bool {
        if self.slow[id as usize] != 0 {
            return self.slow[id as usize] == HOLDS;
        }
        let slow = &self.class.slow[id as usize];
        for field in [slow.field, slow.other].into_iter().flatten() {
            self.load(field);
        }
        let holds = self.work_out(slow);
        self.slow[id as usize] = if holds { HOLDS } else { FAILS };
        self.worked_out.push(id);
        holds
    }

    fn work_out(&self, slow: &Slow) -> bool {
        let Some(field) = slow.field else {
            let mut found = false;
            self.event.each_field(&mut |_, value| found = found || value_matches(&slow.matcher, &value));
            return found;
        };
        let Some(value) = self.held(field) else { return false };
        if let (Matcher::FieldRef { part, cased, .. }, Some(other)) = (&slow.matcher, slow.other) {
            return self.held(other).is_some_and(|other| refers(value, other, *part, *cased));
        }
        match (&slow.matcher, value) {
            // The text is folded already.
            (Matcher::Text(pattern), _)
                if !pattern.cased && self.states[field as usize] & state::FOLDED != 0 =>
            {
                glob(&pattern.tokens, self.texts.text(self.spans[field as usize]))
            }
            (matcher, value) => value_matches(matcher, value),
        }
    }

    fn held(&self, field: u32) -> Option<&Value<'e>> {
        if self.states[field as usize] & state::HELD == 0 {
            return None;
        }
        self.held.iter().find(|(held, _)| *held == field).map(|(_, value)| value)
    }
}
