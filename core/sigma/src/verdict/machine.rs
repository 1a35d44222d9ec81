//! An automaton that says whether a text of ASCII characters passes one test.

use std::collections::HashMap;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_automata::{Input, MatchKind};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, HirKind, Look, Repetition};

use crate::language::ast::Matcher;
use crate::language::pattern::{DASHES, TextPattern, Token};
use crate::language::regexp::Regexp;

/// ASCII characters.
pub(super) const CHARS: usize = 128;
/// The text does not pass, whatever follows.
pub(super) const NO: u16 = 0;
/// The text passes, whatever follows.
pub(super) const YES: u16 = 1;
/// Where a machine begins.
pub(super) const START: u16 = 2;
/// Bytes that building one automaton may take.
const BUILD_BYTES: usize = 2 << 20;
/// States of one automaton; more than fit into the tables.
const STATES: usize = 1 << 14;

/// The automaton. A NUL stands for a space: so a command line is read as the kernel keeps it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Machine {
    /// Characters that no state tells apart have one class.
    pub classes: [u8; CHARS],
    /// For each state from [`START`] on a row: where each class leads, and last whether the text passes if it ends here.
    pub rows: Vec<Vec<u16>>,
}

impl Machine {
    /// `None` if it would be too large. Not for matchers that ask for more than a search in one text.
    pub fn of(matcher: &Matcher) -> Option<Result<Self, TooBig>> {
        match matcher {
            Matcher::Text(pattern) => Some(Self::build(&of_pattern(pattern))),
            Matcher::Regex(regexp) => Some(of_regexp(regexp).and_then(|hir| Self::build(&hir))),
            _ => None,
        }
    }

    /// Passes paths that one of these patterns names; `*` stands for any characters but `/`.
    pub fn of_paths(patterns: &[String]) -> Result<Self, TooBig> {
        let path = |pattern: &String| {
            let mut parts = vec![Hir::look(Look::Start)];
            parts.extend(pattern.chars().map(|c| match c {
                '*' => any_of_class(class(&[('\0', '.'), ('0', '\x7f')])),
                c => class(&[(c, c)]),
            }));
            parts.push(Hir::look(Look::End));
            Hir::concat(parts)
        };
        Self::build(&Hir::alternation(patterns.iter().map(path).collect()))
    }

    /// Whether it passes a text of ASCII characters.
    pub fn passes(&self, text: &[u8]) -> bool {
        let mut state = START;
        for byte in text {
            if state < START {
                break;
            }
            let row = &self.rows[usize::from(state - START)];
            state = row[usize::from(self.classes[usize::from(*byte) % CHARS])];
        }
        if state < START { state == YES } else { self.rows[usize::from(state - START)].last() == Some(&YES) }
    }

    /// Cells of the table.
    pub fn cells(&self) -> usize {
        self.rows.iter().map(Vec::len).sum()
    }

    fn build(hir: &Hir) -> Result<Self, TooBig> {
        let nfa = thompson::Compiler::new()
            .configure(
                thompson::Config::new()
                    .utf8(false)
                    .which_captures(WhichCaptures::None)
                    .nfa_size_limit(Some(BUILD_BYTES)),
            )
            .build_from_hir(hir)
            .map_err(|_| TooBig)?;
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Unanchored)
                    .match_kind(MatchKind::LeftmostFirst)
                    .accelerate(false)
                    .dfa_size_limit(Some(BUILD_BYTES))
                    .determinize_size_limit(Some(BUILD_BYTES)),
            )
            .build_from_nfa(&nfa)
            .map_err(|_| TooBig)?;
        Self::read(&dfa)
    }

    /// Reads the states that can be reached, with a match as an end.
    fn read(dfa: &dense::DFA<Vec<u32>>) -> Result<Self, TooBig> {
        let start = dfa.start_state_forward(&Input::new(b"")).map_err(|_| TooBig)?;
        let mut known = HashMap::from([(start, START)]);
        let mut order = vec![start];
        let mut full: Vec<Vec<u16>> = Vec::new();
        let mut at = 0;
        while let Some(&state) = order.get(at) {
            at += 1;
            let mut leads = |next: StateID| {
                if dfa.is_match_state(next) {
                    YES
                } else if dfa.is_dead_state(next) {
                    NO
                } else {
                    *known.entry(next).or_insert_with(|| {
                        order.push(next);
                        START + (order.len() - 1) as u16
                    })
                }
            };
            let mut row: Vec<u16> = (0..CHARS as u8).map(|b| leads(dfa.next_state(state, b))).collect();
            row[0] = row[usize::from(b' ')];
            row.push(u16::from(dfa.is_match_state(dfa.next_eoi_state(state))));
            full.push(row);
            if order.len() > STATES {
                return Err(TooBig);
            }
        }
        Ok(Self::with_classes(&smallest(&full)))
    }

    fn with_classes(full: &[Vec<u16>]) -> Self {
        let mut classes = [0; CHARS];
        let mut known: HashMap<Vec<u16>, u8> = HashMap::new();
        let mut first = Vec::new();
        for (byte, class) in classes.iter_mut().enumerate() {
            let column: Vec<u16> = full.iter().map(|row| row[byte]).collect();
            let fresh = known.len() as u8;
            *class = *known.entry(column).or_insert_with(|| {
                first.push(byte);
                fresh
            });
        }
        first.push(CHARS);
        let rows = full.iter().map(|row| first.iter().map(|at| row[*at]).collect()).collect();
        Self { classes, rows }
    }
}

/// Its automaton has more states than can be followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooBig;

/// States that no text tells apart become one, as Moore's algorithm finds them: blocks are split until none has two
/// states of which some character leads to different blocks.
fn smallest(full: &[Vec<u16>]) -> Vec<Vec<u16>> {
    // Of NO and YES, then of the states.
    let mut block: Vec<u16> = vec![0; full.len()];
    let mut blocks = 0;
    loop {
        let leads = |to: u16| if to < START { to } else { START + block[usize::from(to - START)] };
        let mut known: HashMap<(u16, Vec<u16>), u16> = HashMap::new();
        let next: Vec<u16> = (full.iter().zip(&block))
            .map(|(row, own)| {
                let fresh = known.len() as u16;
                *known.entry((*own, row.iter().map(|to| leads(*to)).collect())).or_insert(fresh)
            })
            .collect();
        let count = known.len();
        block = next;
        if count == blocks {
            break;
        }
        blocks = count;
    }
    // Blocks are numbered as they are met, so the start's is the first.
    let mut rows: Vec<Vec<u16>> = vec![Vec::new(); blocks];
    for (row, own) in full.iter().zip(&block) {
        let to_block = |to: &u16| if *to < START { *to } else { START + block[usize::from(*to - START)] };
        // The last place of a row says whether the text passes: NO and YES are kept as they are.
        rows[usize::from(*own)] = row.iter().map(to_block).collect();
    }
    rows
}

/// A Sigma string is about the whole text.
fn of_pattern(pattern: &TextPattern) -> Hir {
    let mut parts = vec![Hir::look(Look::Start)];
    for token in &pattern.tokens {
        match token {
            Token::Lit(text) => parts.extend(text.chars().map(|c| letter(c, pattern.cased))),
            Token::One => parts.push(any()),
            Token::Many => parts.push(any_of_class(any())),
            Token::Dash => parts.push(class(&DASHES.map(|dash| (dash, dash)))),
        }
    }
    parts.push(Hir::look(Look::End));
    Hir::concat(parts)
}

/// Literals of patterns that do not look at case are folded; of ASCII characters, only letters fold to what they are
/// not, and only to ASCII.
fn letter(c: char, cased: bool) -> Hir {
    if cased { class(&[(c, c)]) } else { class(&[(c, c), (c.to_ascii_uppercase(), c.to_ascii_uppercase())]) }
}

fn any() -> Hir {
    class(&[('\0', '\x7f')])
}

fn any_of_class(hir: Hir) -> Hir {
    Hir::repetition(Repetition { min: 0, max: None, greedy: true, sub: Box::new(hir) })
}

/// ASCII characters of these ranges; without any, what never matches.
fn class(ranges: &[(char, char)]) -> Hir {
    let ascii = ranges.iter().filter(|(start, _)| start.is_ascii());
    let ranges = ascii.map(|(start, end)| ClassBytesRange::new(*start as u8, (*end).min('\x7f') as u8));
    Hir::class(Class::Bytes(ClassBytes::new(ranges)))
}

/// Read as the engine reads it, then without all that no ASCII text has.
fn of_regexp(regexp: &Regexp) -> Result<Hir, TooBig> {
    let hir = ParserBuilder::new()
        .case_insensitive(regexp.flags.case_insensitive)
        .multi_line(regexp.flags.multi_line)
        .dot_matches_new_line(regexp.flags.dot_all)
        .nest_limit(crate::language::regexp::NEST_LIMIT)
        .build()
        .parse(&regexp.source)
        .map_err(|_| TooBig)?;
    Ok(ascii(&hir))
}

fn ascii(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) if literal.0.is_ascii() => Hir::literal(literal.0.clone()),
        HirKind::Literal(_) => Hir::fail(),
        HirKind::Class(Class::Unicode(unicode)) => {
            class(&unicode.ranges().iter().map(|r| (r.start(), r.end())).collect::<Vec<_>>())
        }
        HirKind::Class(Class::Bytes(bytes)) => {
            let ranges = bytes.ranges().iter().map(|r| (char::from(r.start()), char::from(r.end())));
            class(&ranges.collect::<Vec<_>>())
        }
        HirKind::Look(look) => Hir::look(match look {
            Look::WordUnicode => Look::WordAscii,
            Look::WordUnicodeNegate => Look::WordAsciiNegate,
            Look::WordStartUnicode => Look::WordStartAscii,
            Look::WordEndUnicode => Look::WordEndAscii,
            Look::WordStartHalfUnicode => Look::WordStartHalfAscii,
            Look::WordEndHalfUnicode => Look::WordEndHalfAscii,
            other => *other,
        }),
        HirKind::Repetition(repetition) => Hir::repetition(repetition.with(ascii(&repetition.sub))),
        // Where a match is does not matter.
        HirKind::Capture(capture) => ascii(&capture.sub),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(ascii).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(ascii).collect()),
    }
}
