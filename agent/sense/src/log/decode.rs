//! Text files as UTF-8: byte order marks are dropped and UTF-16, which Windows tools write, is converted.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};

use super::MAX_RECORD_BYTES;

#[derive(Clone, Copy, PartialEq)]
enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
}

/// The encoding that a byte order mark names, and the mark's length.
fn encoding(head: &[u8]) -> (Encoding, usize) {
    match head {
        [0xEF, 0xBB, 0xBF, ..] => (Encoding::Utf8, 3),
        [0xFF, 0xFE, ..] => (Encoding::Utf16Le, 2),
        [0xFE, 0xFF, ..] => (Encoding::Utf16Be, 2),
        _ => (Encoding::Utf8, 0),
    }
}

fn utf16_to_utf8(units: impl Iterator<Item = u16>, out: &mut Vec<u8>) {
    for c in char::decode_utf16(units) {
        let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

fn unit(encoding: Encoding, pair: [u8; 2]) -> u16 {
    if encoding == Encoding::Utf16Le { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) }
}

/// The first bytes of a file as UTF-8, without its byte order mark.
pub fn head_to_utf8(head: &[u8]) -> Cow<'_, [u8]> {
    let (encoding, mark) = encoding(head);
    let body = &head[mark..];
    if encoding == Encoding::Utf8 {
        return Cow::Borrowed(body);
    }
    let mut out = Vec::with_capacity(body.len());
    let (pairs, _) = body.as_chunks::<2>();
    utf16_to_utf8(pairs.iter().map(|p| unit(encoding, *p)), &mut out);
    Cow::Owned(out)
}

/// A reader that yields UTF-8 whatever its source's byte order mark says. Bytes of a file without a mark pass
/// through as they are.
pub struct Utf8Reader<R> {
    inner: BufReader<R>,
    encoding: Option<Encoding>,
    /// Converted bytes not yet handed out.
    out: Vec<u8>,
    taken: usize,
    /// A high surrogate that waits for its other half.
    high: Option<u16>,
}

impl<R: Read> Utf8Reader<R> {
    pub fn new(inner: R) -> Self {
        let inner = BufReader::with_capacity(64 * 1024, inner);
        Self { inner, encoding: None, out: Vec::new(), taken: 0, high: None }
    }

    /// Converts the next piece of UTF-16 into `out`; leaves it empty at the end.
    fn refill(&mut self, encoding: Encoding) -> io::Result<()> {
        self.out.clear();
        self.taken = 0;
        let mut bytes = Vec::with_capacity(8192);
        self.inner.by_ref().take(8192).read_to_end(&mut bytes)?;
        let (pairs, rest) = bytes.as_chunks::<2>();
        let mut units: Vec<u16> = self.high.take().into_iter().collect();
        units.extend(pairs.iter().map(|p| unit(encoding, *p)));
        if bytes.len() == 8192
            && let Some(last) = units.pop_if(|u| (0xD800..0xDC00).contains(u))
        {
            self.high = Some(last);
        }
        utf16_to_utf8(units.into_iter(), &mut self.out);
        if !rest.is_empty() {
            // Half a character at the end of the file.
            self.out.extend_from_slice("\u{FFFD}".as_bytes());
        }
        Ok(())
    }
}

impl<R: Read> Read for Utf8Reader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(buf.len());
        buf[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl<R: Read> BufRead for Utf8Reader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let encoding = if let Some(known) = self.encoding {
            known
        } else {
            let (found, mark) = encoding(self.inner.fill_buf()?);
            self.inner.consume(mark);
            *self.encoding.insert(found)
        };
        if encoding == Encoding::Utf8 {
            return self.inner.fill_buf();
        }
        if self.taken == self.out.len() {
            self.refill(encoding)?;
        }
        Ok(&self.out[self.taken..])
    }

    fn consume(&mut self, amount: usize) {
        if self.encoding == Some(Encoding::Utf8) { self.inner.consume(amount) } else { self.taken += amount }
    }
}

/// What a line turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// It is in the buffer, without its line end.
    Whole,
    /// It was longer than [`MAX_RECORD_BYTES`]; the buffer holds its beginning, the rest was skipped.
    TooLong,
    /// There are no more.
    End,
}

/// Reads the next line into `line`.
pub fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let mut too_long = false;
    let mut any = false;
    loop {
        let available = match reader.fill_buf() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if available.is_empty() {
            break;
        }
        any = true;
        let end = memchr::memchr(b'\n', available);
        let piece = &available[..end.unwrap_or(available.len())];
        let room = MAX_RECORD_BYTES - line.len();
        too_long |= piece.len() > room;
        line.extend_from_slice(&piece[..piece.len().min(room)]);
        let used = piece.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            break;
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(match (any, too_long) {
        (false, _) => Line::End,
        (true, true) => Line::TooLong,
        (true, false) => Line::Whole,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<String> {
        let mut reader = Utf8Reader::new(bytes);
        let (mut line, mut all) = (Vec::new(), Vec::new());
        while next_line(&mut reader, &mut line).unwrap() != Line::End {
            all.push(String::from_utf8(line.clone()).unwrap());
        }
        all
    }

    #[test]
    fn the_same_text_is_read_from_every_encoding() {
        // Long enough that pieces end inside surrogate pairs.
        let text = format!("{}\nü\r\n\nend", "x🩺".repeat(5000));
        let want: Vec<_> = text.lines().map(str::to_owned).collect();
        let le: Vec<u8> =
            [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> =
            [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect();
        assert_eq!(lines(text.as_bytes()), want);
        assert_eq!(lines(&[b"\xEF\xBB\xBF", text.as_bytes()].concat()), want);
        assert_eq!(lines(&le), want);
        assert_eq!(lines(&be), want);
    }

    #[test]
    fn broken_utf16_becomes_replacement_characters() {
        assert_eq!(lines(b"\xFF\xFEa\0\x00\xD8b\0c"), ["a\u{FFFD}b\u{FFFD}"]);
    }

    #[test]
    fn an_overlong_line_is_skipped_and_the_next_is_read() {
        let bytes = [vec![b'x'; MAX_RECORD_BYTES + 1], b"\nnext".to_vec()].concat();
        let mut reader = Utf8Reader::new(&bytes[..]);
        let mut line = Vec::new();
        assert_eq!(next_line(&mut reader, &mut line).unwrap(), Line::TooLong);
        assert_eq!(next_line(&mut reader, &mut line).unwrap(), Line::Whole);
        assert_eq!(line, b"next");
        assert_eq!(next_line(&mut reader, &mut line).unwrap(), Line::End);
    }
}
