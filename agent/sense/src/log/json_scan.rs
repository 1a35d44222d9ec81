//! JSON text read from front to back in one pass, without a tree.
//!
//! As RFC 8259 has it, but for two freedoms that logs need: control characters may stand in texts, and half of a
//! surrogate pair becomes U+FFFD.

use std::borrow::Cow;

use wardline_event::{Cell, Fill};

use super::{Fault, MAX_NESTED_BYTES, MAX_NESTING};

/// A place in JSON text, before a value or between the parts of one.
pub struct Scan<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Bytes of [`MAX_NESTED_BYTES`] that are taken.
    nested: usize,
}

/// Something that is not JSON, or nested too deep.
#[derive(Clone, Copy, Debug)]
pub enum Bad {
    /// Deeper than [`MAX_NESTING`].
    TooDeep,
    /// More than [`MAX_NESTED_BYTES`].
    TooMuch,
    /// What was expected, and the byte where it is not.
    Expected(&'static str, usize),
}

impl From<Bad> for Fault {
    fn from(bad: Bad) -> Self {
        match bad {
            Bad::TooDeep => Self::TooDeep,
            Bad::TooMuch => Self::Malformed(format!(
                "the dotted names and the texts of its nested objects come to more than {} MiB, skipped",
                MAX_NESTED_BYTES / 1024 / 1024
            )),
            Bad::Expected(what, at) => {
                Self::Malformed(format!("not JSON: expected {what} at its column {}", at + 1))
            }
        }
    }
}

type Result<T> = std::result::Result<T, Bad>;

impl<'a> Scan<'a> {
    /// Before the first value of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, nested: 0 }
    }

    fn expected<T>(&self, what: &'static str) -> Result<T> {
        Err(Bad::Expected(what, self.at))
    }

    /// The next byte that is no blank; 0 at the end.
    pub fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                Some(byte) => return *byte,
                None => return 0,
            }
        }
    }

    /// Where the next value begins.
    pub fn place(&mut self) -> usize {
        self.peek();
        self.at
    }

    /// The text from a place up to here.
    pub fn since(&self, place: usize) -> &'a str {
        &self.text[place..self.at]
    }

    /// True if nothing follows.
    pub fn ended(&mut self) -> bool {
        self.peek();
        self.at == self.text.len()
    }

    /// Takes room for a dotted name or the text of an object, both of which repeat what stands elsewhere.
    pub fn nest(&mut self, bytes: usize) -> Result<()> {
        self.nested += bytes;
        if self.nested > MAX_NESTED_BYTES { Err(Bad::TooMuch) } else { Ok(()) }
    }

    fn enter(&mut self) -> Result<()> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_NESTING { Err(Bad::TooDeep) } else { Ok(()) }
    }

    /// Calls `each` with the keys of the object that comes next; `each` must read the value behind the key.
    pub fn object(&mut self, mut each: impl FnMut(&mut Self, &str) -> Result<()>) -> Result<()> {
        if self.peek() != b'{' {
            return self.expected("an object");
        }
        self.enter()?;
        if self.peek() == b'}' {
            self.at += 1;
            self.depth -= 1;
            return Ok(());
        }
        loop {
            let key = self.key()?;
            if self.peek() != b':' {
                return self.expected("a colon");
            }
            self.at += 1;
            each(self, &key)?;
            match self.peek() {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    self.depth -= 1;
                    return Ok(());
                }
                _ => return self.expected("a comma or the object's end"),
            }
        }
    }

    /// Calls `each` before each item of the array that comes next; `each` must read the item.
    pub fn array(&mut self, mut each: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        if self.peek() != b'[' {
            return self.expected("an array");
        }
        self.enter()?;
        if self.peek() == b']' {
            self.at += 1;
            self.depth -= 1;
            return Ok(());
        }
        loop {
            each(self)?;
            match self.peek() {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    self.depth -= 1;
                    return Ok(());
                }
                _ => return self.expected("a comma or the array's end"),
            }
        }
    }

    fn key(&mut self) -> Result<Cow<'a, str>> {
        if self.peek() != b'"' {
            return self.expected("a name in quotation marks");
        }
        let from = self.at + 1;
        let bytes = self.text.as_bytes();
        let mut at = from;
        // Names are short: a search would cost more to begin.
        loop {
            match bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Cow::Borrowed(&self.text[from..at]));
                }
                Some(b'\\') => {
                    let mut name = String::new();
                    self.text(&mut name)?;
                    return Ok(Cow::Owned(name));
                }
                Some(_) => at += 1,
                None => return self.expected("the end of the name that begins"),
            }
        }
    }

    /// Appends the text that comes next to `out`.
    pub fn text(&mut self, out: &mut String) -> Result<()> {
        if self.peek() != b'"' {
            return self.expected("text");
        }
        let begin = self.at;
        self.at += 1;
        let bytes = self.text.as_bytes();
        loop {
            let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[self.at..]) else {
                self.at = begin;
                return self.expected("the end of the text that begins");
            };
            out.push_str(&self.text[self.at..self.at + found]);
            self.at += found + 1;
            if bytes[self.at - 1] == b'"' {
                return Ok(());
            }
            self.escape(out)?;
        }
    }

    /// What follows a backslash.
    fn escape(&mut self, out: &mut String) -> Result<()> {
        let c = match self.text.as_bytes().get(self.at) {
            Some(b'\\') => '\\',
            Some(b'"') => '"',
            Some(b'/') => '/',
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'u') => {
                let unit = self.unit(self.at + 1)?;
                self.at += 5;
                let low = match unit {
                    0xD800..0xDC00 if self.text.as_bytes()[self.at..].starts_with(b"\\u") => {
                        self.unit(self.at + 2).ok().filter(|low| (0xDC00..0xE000).contains(low))
                    }
                    _ => None,
                };
                let code = low.map_or(unit, |low| {
                    self.at += 6;
                    0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
                });
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                return Ok(());
            }
            _ => return self.expected("one of \\ \" / n t r b f u behind the backslash"),
        };
        self.at += 1;
        out.push(c);
        Ok(())
    }

    /// Four hexadecimal digits.
    fn unit(&self, at: usize) -> Result<u32> {
        let digits = self.text.as_bytes().get(at..at + 4);
        digits
            .filter(|d| d.iter().all(u8::is_ascii_hexdigit))
            .and_then(|d| u32::from_str_radix(std::str::from_utf8(d).ok()?, 16).ok())
            .ok_or(Bad::Expected("four hexadecimal digits", at))
    }

    /// The number that comes next.
    fn number(&mut self) -> Result<Cell> {
        let (from, bytes) = (self.at, self.text.as_bytes());
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let first = from + usize::from(bytes[from] == b'-');
        let mut at = digits(first);
        if at == first || (bytes[first] == b'0' && at > first + 1) {
            return self.expected("a value");
        }
        let mut whole = true;
        if bytes.get(at) == Some(&b'.') {
            whole = false;
            let end = digits(at + 1);
            if end == at + 1 {
                return self.expected("a value");
            }
            at = end;
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            whole = false;
            let begin = at + 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            at = digits(begin);
            if at == begin {
                return self.expected("a value");
            }
        }
        let text = &self.text[from..at];
        // A negative zero is no whole number.
        if whole && text != "-0" {
            if let Ok(n) = text.parse() {
                self.at = at;
                return Ok(Cell::Int(n));
            }
            if let Ok(n) = text.parse() {
                self.at = at;
                return Ok(Cell::Unsigned(n));
            }
        }
        match text.parse::<f64>() {
            Ok(n) if n.is_finite() => {
                self.at = at;
                Ok(Cell::Float(n))
            }
            _ => self.expected("a number that is not as large"),
        }
    }

    fn word(&mut self, word: &str, cell: Cell) -> Result<Cell> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(cell)
        } else {
            self.expected("a value")
        }
    }

    /// Puts the value that comes next into a record; an object as its text.
    pub fn value(&mut self, fill: &mut Fill<'_>) -> Result<Cell> {
        match self.peek() {
            b'"' => {
                let from = fill.buffer().len();
                self.text(fill.buffer())?;
                Ok(fill.text_since(from))
            }
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word("true", Cell::Bool(true)),
            b'f' => self.word("false", Cell::Bool(false)),
            b'n' => self.word("null", Cell::Null),
            b'{' => {
                let place = self.at;
                self.skip()?;
                Ok(fill.object_text(self.since(place)))
            }
            b'[' => {
                let mut items = Vec::new();
                self.array(|scan| {
                    items.push(scan.value(fill)?);
                    Ok(())
                })?;
                Ok(fill.list(&items))
            }
            _ => self.expected("a value"),
        }
    }

    /// Passes over the value that comes next.
    pub fn skip(&mut self) -> Result<()> {
        match self.peek() {
            b'"' => {
                self.at += 1;
                loop {
                    let rest = &self.text.as_bytes()[self.at..];
                    match memchr::memchr2(b'"', b'\\', rest) {
                        Some(found) if rest[found] == b'"' => {
                            self.at += found + 1;
                            return Ok(());
                        }
                        Some(found) => {
                            self.at += found + 1;
                            self.escape(&mut String::new())?;
                        }
                        None => return self.expected("the end of the text that begins"),
                    }
                }
            }
            b'{' => self.object(|scan, _| scan.skip()),
            b'[' => self.array(Self::skip),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            b't' => self.word("true", Cell::Null).map(drop),
            b'f' => self.word("false", Cell::Null).map(drop),
            b'n' => self.word("null", Cell::Null).map(drop),
            _ => self.expected("a value"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::windows_event::Workspace;
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};
    use wardline_event::{LogRecord, LogSource};

    fn is_json(text: &str) -> bool {
        let mut scan = Scan::new(text);
        scan.skip().is_ok() && scan.ended()
    }

    fn value() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            any::<i32>().prop_map(|n| Json::from(f64::from(n) / 8.0)),
            any::<String>().prop_map(Json::from),
            "[\"\\\\/\u{8}\n é🩺]{0,8}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
                prop::collection::hash_map("[a-c.\"\\\\é]{1,3}", inner, 0..5)
                    .prop_map(|pairs| Json::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// As another parser has it. Its alphabet holds neither control characters nor halves of surrogate pairs.
        #[test]
        fn what_is_json_is_agreed_on(text in "[\\[\\]{}\",:0-9a-cefu\\\\ +.-]{0,24}", json in value(), cut in any::<prop::sample::Index>()) {
            prop_assert_eq!(is_json(&text), serde_json::from_str::<Json>(&text).is_ok());
            let whole = json.to_string();
            prop_assert!(is_json(&whole));
            let at = whole.floor_char_boundary(cut.index(whole.len()));
            prop_assert_eq!(is_json(&whole[..at]), serde_json::from_str::<Json>(&whole[..at]).is_ok());
        }

        #[test]
        fn a_record_is_what_the_tree_says(json in value(), pretty in any::<bool>()) {
            let object = json!({"x": json, "y.z": 1});
            let text = if pretty { serde_json::to_string_pretty(&object).unwrap() } else { object.to_string() };
            let mut workspace = Workspace::default();
            let record = workspace.object(&text).unwrap();
            prop_assert_eq!(&*record, &LogRecord::from_json(LogSource::default(), object.as_object().unwrap()));
        }
    }

    #[test]
    fn freedoms_and_limits() {
        let mut text = String::new();
        Scan::new("\"a\tb\\ud800c\\ud83e\\ude7a\\udc00\"").text(&mut text).unwrap();
        assert_eq!(text, "a\tb\u{FFFD}c🩺\u{FFFD}");
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(is_json(&deep(MAX_NESTING)) && !is_json(&deep(MAX_NESTING + 1)));
        assert!(!is_json(&"[".repeat(1_000_000)), "and the stack holds");
        let bad = Scan::new("{\"a\" 1}").skip().unwrap_err();
        assert_eq!(Fault::from(bad).to_string(), "not JSON: expected a colon at its column 6");
    }
}
