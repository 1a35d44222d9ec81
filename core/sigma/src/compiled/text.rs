//! The folded texts of one event, one behind the other in a buffer.

use wardline_event::Value;

use crate::compiled::index::Folded;
use crate::compiled::window::PADDING;
use crate::language::pattern::{Piece, fold_pieces};

/// Buffers longer than this are given back after the event that needed them.
const KEPT_BYTES: usize = 1 << 20;

/// Folded texts, each with [`PADDING`] behind it.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    bytes: Vec<u8>,
}

/// Where a folded text lies, and what is known of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    start: usize,
    len: usize,
    ascii: bool,
    number: bool,
}

impl Texts {
    /// Forgets all texts.
    pub fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
    }

    /// Folds the text of a value that is neither null nor a list.
    pub fn push(&mut self, value: &Value<'_>) -> Option<Span> {
        let start = self.bytes.len();
        let (mut ascii, mut number) = (true, false);
        match value {
            Value::Null | Value::List(_) => return None,
            Value::Str(text) => ascii = self.fold(text),
            Value::Int(n) => {
                number = true;
                self.digits(*n);
            }
            Value::Bool(_) | Value::Float(_) => ascii = self.fold(&value.as_text()?),
        }
        let len = self.bytes.len() - start;
        self.bytes.extend_from_slice(&[0; PADDING]);
        Some(Span { start, len, ascii, number })
    }

    /// Forgets the text at a span and all that came after it.
    pub fn cut(&mut self, span: Span) {
        self.bytes.truncate(span.start);
    }

    /// The text at a span, as the index wants it.
    pub fn folded(&self, span: Span) -> Folded<'_> {
        Folded { padded: &self.bytes[span.start..], len: span.len, ascii: span.ascii, number: span.number }
    }

    /// The bytes of the text at a span.
    pub fn bytes(&self, span: Span) -> &[u8] {
        &self.bytes[span.start..span.start + span.len]
    }

    /// The text at a span.
    pub fn text(&self, span: Span) -> &str {
        // What was folded was text and still is.
        str::from_utf8(self.bytes(span)).unwrap_or_default()
    }

    /// Appends the folded text and says whether that is all ASCII.
    fn fold(&mut self, text: &str) -> bool {
        let mut ascii = true;
        fold_pieces(text, |piece| match piece {
            Piece::Plain(plain) => self.lower(plain),
            Piece::Letter(c) => {
                ascii &= c.is_ascii();
                self.bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        });
        ascii
    }

    /// Appends a text with the capitals of ASCII made small.
    fn lower(&mut self, text: &str) {
        self.bytes.extend(text.bytes().map(|byte| byte.to_ascii_lowercase()));
    }

    fn digits(&mut self, number: i64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = number.unsigned_abs();
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            at -= 1;
            digits[at] = b'-';
        }
        self.bytes.extend_from_slice(&digits[at..]);
    }
}
