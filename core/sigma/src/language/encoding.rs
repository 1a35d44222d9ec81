//! Modifiers that change a text before it is compared: dashes, UTF-16, Base64.

use crate::error::{Fault, Pos};
use crate::language::pattern::{DASHES, Token};
use crate::limits;

/// A change of the text, applied in the order written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transform {
    Windash,
    Utf16Le,
    Utf16Be,
    Utf16,
    Base64,
    Base64Offset,
}

/// A value on its way through the transforms.
#[derive(Clone, Debug)]
pub(crate) enum Spelling {
    Tokens(Vec<Token>),
    /// What an encoding to UTF-16 made; not text until Base64 makes it so.
    Bytes(Vec<u8>),
}

impl Spelling {
    pub fn into_tokens(self, at: Pos) -> Result<Vec<Token>, Fault> {
        match self {
            Self::Tokens(tokens) => Ok(tokens),
            Self::Bytes(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Ok(vec![Token::Lit(text)]),
                Err(_) => Err(Fault::new(
                    "S032",
                    at,
                    "this UTF-16 text has bytes that no text field can hold",
                    "add `base64` or `base64offset` after the encoding",
                )),
            },
        }
    }

    /// The bytes to encode: one for each choice of dashes.
    fn variants(self, at: Pos) -> Result<Vec<Vec<u8>>, Fault> {
        let tokens = match self {
            Self::Bytes(bytes) => return Ok(vec![bytes]),
            Self::Tokens(tokens) => tokens,
        };
        let texts = expand_dashes(&tokens, limits::WINDASH_VARIANTS).ok_or_else(|| {
            Fault::new(
                "S032",
                at,
                "this value cannot be encoded: it has a wildcard, or too many dashes for `windash`",
                "escape the wildcard as `\\*` or `\\?`, or drop `windash`",
            )
        })?;
        Ok(texts.into_iter().map(String::into_bytes).collect())
    }
}

/// All texts that literals and dashes stand for; `None` if there are wildcards or more than `limit` texts.
pub(crate) fn expand_dashes(tokens: &[Token], limit: usize) -> Option<Vec<String>> {
    let mut texts = vec![String::new()];
    for token in tokens {
        match token {
            Token::Lit(literal) => texts.iter_mut().for_each(|t| t.push_str(literal)),
            Token::Dash => {
                if texts.len() * DASHES.len() > limit {
                    return None;
                }
                texts = texts
                    .iter()
                    .flat_map(|t| {
                        DASHES.map(|dash| {
                            let mut t = t.clone();
                            t.push(dash);
                            t
                        })
                    })
                    .collect();
            }
            Token::One | Token::Many => return None,
        }
    }
    Some(texts)
}

impl Transform {
    /// Pushes the spelling's successors to `out`.
    pub fn apply(self, spelling: Spelling, at: Pos, out: &mut Vec<Spelling>) -> Result<(), Fault> {
        if self == Self::Windash {
            out.push(match spelling {
                Spelling::Tokens(tokens) => Spelling::Tokens(windash(tokens)),
                Spelling::Bytes(_) => {
                    return Err(Fault::new("S031", at, "`windash` comes before an encoding", "swap the two"));
                }
            });
            return Ok(());
        }
        for bytes in spelling.variants(at)? {
            match self {
                Self::Windash => {}
                Self::Base64 => out.push(Spelling::Tokens(vec![Token::Lit(base64(&bytes))])),
                Self::Base64Offset if bytes.len() < 2 => {
                    return Err(Fault::new(
                        "S032",
                        at,
                        "`base64offset` needs two bytes at least: less leaves nothing to look for",
                        "look for a longer text",
                    ));
                }
                Self::Base64Offset => out.extend(
                    base64_offsets(&bytes).into_iter().map(|text| Spelling::Tokens(vec![Token::Lit(text)])),
                ),
                Self::Utf16Le | Self::Utf16Be | Self::Utf16 => {
                    let Ok(text) = String::from_utf8(bytes) else {
                        return Err(Fault::new("S031", at, "two UTF-16 encodings in a row", "keep one"));
                    };
                    out.push(Spelling::Bytes(self.utf16(&text)));
                }
            }
        }
        Ok(())
    }

    fn utf16(self, text: &str) -> Vec<u8> {
        // The byte order mark, then little-endian: what the specification shows for `utf16`.
        let mut bytes = if self == Self::Utf16 { vec![0xff, 0xfe] } else { Vec::new() };
        for unit in text.encode_utf16() {
            bytes.extend(if self == Self::Utf16Be { unit.to_be_bytes() } else { unit.to_le_bytes() });
        }
        bytes
    }
}

/// Turns each dash that begins a word into one that stands for all of them, whichever the rule has. In `-param-name`
/// that is the first only.
fn windash(tokens: Vec<Token>) -> Vec<Token> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = Vec::new();
    for token in tokens {
        let Token::Lit(text) = token else {
            out.push(token);
            continue;
        };
        let mut literal = String::new();
        let mut before = None;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let begins_word = DASHES.contains(&c)
                && !before.is_some_and(word)
                && chars.peek().is_some_and(|next| word(*next));
            before = Some(c);
            if begins_word {
                if !literal.is_empty() {
                    out.push(Token::Lit(std::mem::take(&mut literal)));
                }
                out.push(Token::Dash);
            } else {
                literal.push(c);
            }
        }
        if !literal.is_empty() {
            out.push(Token::Lit(literal));
        }
    }
    out
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = ALPHABET[(group >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// The parts of a Base64 text that stay the same wherever the bytes lie in what was encoded: for zero, one and two
/// bytes before them, without the digits that also depend on a neighbour.
fn base64_offsets(bytes: &[u8]) -> [String; 3] {
    [0, 1, 2].map(|before: usize| {
        let mut padded = vec![b' '; before];
        padded.extend_from_slice(bytes);
        let text = base64(&padded);
        let first = [0, 2, 3][before];
        let tail = [0, 3, 2][padded.len() % 3];
        text.get(first..text.len() - tail).unwrap_or_default().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn every_offset_is_found_in_every_neighbourhood() {
        for word in ["http://", "ab", "Invoke"] {
            let parts = base64_offsets(word.as_bytes());
            for before in 0..6 {
                for after in 0..4 {
                    let text = format!("{}{word}{}", &"qwerty"[..before], &"zxcv"[..after]);
                    let coded = base64(text.as_bytes());
                    assert!(coded.contains(&parts[before % 3]), "{word} in {text}: {coded} {parts:?}");
                }
            }
        }
    }
}
