//! Sigma's strings: escapes, wildcards, and matching without regard to case.

use std::borrow::Cow;

/// One part of a Sigma string.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum Token {
    /// Text that stands for itself.
    Lit(String),
    /// `?`: exactly one character.
    One,
    /// `*`: any number of characters, none included.
    Many,
    /// One of the characters that Windows programs take for a dash (`windash`).
    Dash,
}

/// The characters that `windash` treats alike: hyphen, slash, en dash, em dash, horizontal bar.
pub(crate) const DASHES: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];

/// A string as a rule compares it with a field's text. Without `cased`, literals are folded already.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct TextPattern {
    pub tokens: Vec<Token>,
    pub cased: bool,
}

/// Reads escapes and wildcards.
///
/// A backslash before `*`, `?` or `\` makes that character stand for itself; before anything else it is a
/// plain backslash (Sigma specification, "Escaping").
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut literal = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let wildcard = match c {
            '\\' => {
                literal.push(chars.next_if(|next| matches!(next, '*' | '?' | '\\')).unwrap_or('\\'));
                continue;
            }
            '*' => Token::Many,
            '?' => Token::One,
            _ => {
                literal.push(c);
                continue;
            }
        };
        if !literal.is_empty() {
            out.push(Token::Lit(std::mem::take(&mut literal)));
        }
        // Two stars in a row say no more than one.
        if wildcard != Token::Many || out.last() != Some(&Token::Many) {
            out.push(wildcard);
        }
    }
    if !literal.is_empty() {
        out.push(Token::Lit(literal));
    }
    out
}

/// Adds tokens to others, as if their texts had been written one after the other but read apart.
pub(crate) fn push_tokens(out: &mut Vec<Token>, more: Vec<Token>) {
    for token in more {
        match (out.last_mut(), token) {
            (Some(Token::Lit(last)), Token::Lit(text)) => last.push_str(&text),
            (Some(Token::Many), Token::Many) => {}
            (_, token) => out.push(token),
        }
    }
}

/// Folds one character: Unicode's simple case folding, as far as Rust's one-to-one case mappings give it.
pub(crate) fn fold_char(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    match c {
        // Signs, and letters of scripts without capitals, are most of what is not ASCII. The dotless i has a capital, but
        // the folding of that capital is the dotted one: not the same letter.
        '\u{80}'..='\u{b4}'
        | '\u{b6}'..='\u{bf}'
        | '\u{2000}'..='\u{20ff}'
        | '\u{2e80}'..='\u{a63f}'
        | '\u{ac00}'..='\u{d7ff}'
        | 'ı' => return c,
        // Letters that are the same and whose capitals are several characters each (CaseFolding.txt, status S).
        '\u{1fd3}' => return '\u{390}',
        '\u{1fe3}' => return '\u{3b0}',
        '\u{fb05}' => return '\u{fb06}',
        _ => {}
    }
    let capital = one_to_one(c, c.to_uppercase());
    one_to_one(capital, capital.to_lowercase())
}

/// The mapping's only character, or the character itself if the mapping makes several.
fn one_to_one(c: char, mut mapped: impl ExactSizeIterator<Item = char>) -> char {
    if mapped.len() == 1 { mapped.next().unwrap_or(c) } else { c }
}

/// Folds a text; ASCII that is lower-case already is borrowed.
pub(crate) fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        }
    } else {
        Cow::Owned(text.chars().map(fold_char).collect())
    }
}

/// A piece of a text that is being folded.
pub(crate) enum Piece<'a> {
    /// ASCII, as it stands in the text.
    Plain(&'a str),
    /// One other character, folded.
    Letter(char),
}

/// Takes a text apart into pieces, in their order.
pub(crate) fn fold_pieces<'a>(text: &'a str, mut each: impl FnMut(Piece<'a>)) {
    let mut rest = text;
    loop {
        let (plain, others) = rest.split_at(ascii_length(rest.as_bytes()));
        each(Piece::Plain(plain));
        // Texts in other scripts come with spaces and digits: letters are folded in runs too.
        let mut letters = others.chars();
        loop {
            let before = letters.as_str();
            match letters.next() {
                Some(c) if !c.is_ascii() => each(Piece::Letter(fold_char(c))),
                Some(_) => {
                    rest = before;
                    break;
                }
                None => return,
            }
        }
    }
}

/// Appends the folded `text` to `out`.
pub(crate) fn fold_into(text: &str, out: &mut String) {
    fold_pieces(text, |piece| match piece {
        Piece::Plain(plain) => {
            let start = out.len();
            out.push_str(plain);
            out[start..].make_ascii_lowercase();
        }
        Piece::Letter(c) => out.push(c),
    });
}

/// How many bytes come before the first that is not ASCII.
fn ascii_length(bytes: &[u8]) -> usize {
    let (chunks, _) = bytes.as_chunks::<16>();
    let length = chunks.iter().take_while(|chunk| chunk.is_ascii()).count() * 16;
    length + bytes[length..].iter().take_while(|byte| byte.is_ascii()).count()
}

/// The text that the tokens stand for, if there is just one.
pub(crate) fn whole(tokens: &[Token]) -> Option<&str> {
    match tokens {
        [] => Some(""),
        [Token::Lit(text)] => Some(text),
        _ => None,
    }
}

impl TextPattern {
    pub fn new(mut tokens: Vec<Token>, cased: bool) -> Self {
        // Encoding an empty text gives an empty literal, which says nothing.
        tokens.retain(|token| !matches!(token, Token::Lit(text) if text.is_empty()));
        if !cased {
            for token in &mut tokens {
                if let Token::Lit(text) = token {
                    *text = fold(text).into_owned();
                }
            }
        }
        Self { tokens, cased }
    }

    /// Bytes of all literals that the index makes of this pattern: five for each dash, up to 25.
    pub fn weight(&self) -> usize {
        let (mut bytes, mut dashes) = (1, 0);
        for token in &self.tokens {
            match token {
                Token::Lit(text) => bytes += text.len(),
                Token::Dash => dashes += 1,
                Token::One | Token::Many => {}
            }
        }
        bytes * [1, DASHES.len(), DASHES.len() * DASHES.len()].get(dashes).copied().unwrap_or(1)
    }

    /// Whether the pattern matches the whole of a text as the event holds it.
    pub fn is_match(&self, text: &str) -> bool {
        if self.cased { glob(&self.tokens, text) } else { glob(&self.tokens, &fold(text)) }
    }
}

/// Matches tokens against a whole text. A star takes as little as it can; only the last star is ever widened,
/// which is enough for patterns of this kind.
pub(crate) fn glob(tokens: &[Token], text: &str) -> bool {
    let (mut at, mut token) = (0, 0);
    // Where to go on when the present try fails: after the last star, with that much text eaten by it.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let rest = &text[at..];
        let eaten = match tokens.get(token) {
            None if rest.is_empty() => return true,
            None => None,
            Some(Token::Many) => {
                if token + 1 == tokens.len() {
                    return true;
                }
                token += 1;
                retry = Some((token, at));
                continue;
            }
            Some(Token::Lit(literal)) => rest.starts_with(literal.as_str()).then_some(literal.len()),
            Some(Token::One) => rest.chars().next().map(char::len_utf8),
            Some(Token::Dash) => rest.chars().next().filter(|c| DASHES.contains(c)).map(char::len_utf8),
        };
        if let Some(eaten) = eaten {
            at += eaten;
            token += 1;
            continue;
        }
        let Some((star_token, star_at)) = retry else { return false };
        let Some(next) = next_start(&tokens[star_token], text, star_at) else { return false };
        (token, at) = (star_token, next);
        retry = Some((star_token, next));
    }
}

/// The next place after `from` where the token that follows a star can begin.
fn next_start(token: &Token, text: &str, from: usize) -> Option<usize> {
    let first = text[from..].chars().next()?;
    let after = from + first.len_utf8();
    match token {
        Token::Lit(literal) => text[after..].find(literal.as_str()).map(|i| after + i),
        _ => Some(after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

    /// Against the Unicode tables of another library: two characters fold alike exactly if simple case folding
    /// says so.
    #[test]
    fn folding_is_unicodes_simple_case_folding() {
        // The two libraries may know different versions of Unicode.
        let unknown = regex::Regex::new(r"\p{Cn}").unwrap();
        for c in '\0'..=char::MAX {
            let mut class = ClassUnicode::new([ClassUnicodeRange::new(c, c)]);
            class.case_fold_simple();
            for same in class.ranges().iter().flat_map(|r| r.start()..=r.end()) {
                assert_eq!(fold_char(c), fold_char(same), "{c:?} and {same:?} are the same letter");
            }
            let folded = fold_char(c);
            let within = class.ranges().iter().any(|r| (r.start()..=r.end()).contains(&folded));
            assert!(
                within || unknown.is_match(&String::from(c)),
                "{c:?} folds to {folded:?}, which is another letter"
            );
        }
    }

    /// The same pattern as a regular expression.
    fn as_regex(tokens: &[Token]) -> String {
        let mut out = String::from("(?s)^");
        for token in tokens {
            match token {
                Token::Lit(text) => out.push_str(&regex_syntax::escape(text)),
                Token::One => out.push('.'),
                Token::Many => out.push_str(".*"),
                Token::Dash => out.push_str("[-/–—―]"),
            }
        }
        out + "$"
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

        #[test]
        fn wildcards_match_as_a_regular_expression_does(
            pattern in r"[abé?*\\–-]{0,10}",
            text in r"[abé?*\\–-]{0,14}",
        ) {
            let tokens = tokens(&pattern);
            let wanted = regex::Regex::new(&as_regex(&tokens)).unwrap().is_match(&text);
            prop_assert_eq!(glob(&tokens, &text), wanted, "{:?}", tokens);
        }
    }
}
