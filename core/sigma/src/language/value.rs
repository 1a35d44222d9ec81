//! A detection item's value: from its text and its key to tests.

use std::borrow::Cow;
use std::sync::Arc;

use crate::error::{Fault, Span};
use crate::language::ast::{Cidr, Expand, Matcher, Node, Part, Test};
use crate::language::encoding::Spelling;
use crate::language::modifiers::{FieldKey, Type};
use crate::language::pattern::{TextPattern, Token, push_tokens, tokens};
use crate::language::regexp::{Regexp, RegexpFault};
use crate::language::yaml::{Scalar, Typed};
use crate::limits;
use crate::linking::placeholder::{Segment, segments};

/// A value as it is to be tested, with its placeholders expanded.
struct Given<'a> {
    text: Cow<'a, str>,
    typed: Typed<'a>,
    /// What the text means as a Sigma string, if that is known already.
    tokens: Option<Vec<Token>>,
    span: Span,
}

impl FieldKey {
    /// Whether values are regular expressions.
    pub fn is_regex(&self) -> bool {
        self.kind == Type::Regex
    }

    /// The tests for one value.
    pub fn test(&self, value: &Scalar) -> Result<Node, Fault> {
        check_length(&value.text, value.span)?;
        if !self.expand {
            let (text, typed) = (Cow::Borrowed(value.text.as_str()), value.typed());
            return self.given(&Given { text, typed, tokens: None, span: value.span });
        }
        let segments = segments(&value.text);
        if segments.iter().any(|s| matches!(s, Segment::Name(_))) {
            let item = Arc::clone(&self.item);
            return Ok(Node::Expand(Expand { item, text: value.text.clone(), span: value.span }));
        }
        self.expanded(&segments, &[], value.span)
    }

    /// The tests for a value in which `values` stand for the placeholders, one for each in their order.
    pub fn expanded(&self, segments: &[Segment<'_>], values: &[&str], span: Span) -> Result<Node, Fault> {
        let (mut text, mut pattern) = (String::new(), Vec::new());
        let mut values = values.iter();
        for segment in segments {
            match segment {
                Segment::Text(part) => {
                    text.push_str(part);
                    push_tokens(&mut pattern, tokens(part));
                }
                Segment::Name(_) => {
                    let value = values.next().copied().unwrap_or_default();
                    if self.is_regex() {
                        text.push_str(&as_regex(&tokens(value)));
                    } else {
                        text.push_str(value);
                    }
                    push_tokens(&mut pattern, tokens(value));
                }
            }
        }
        check_length(&text, span)?;
        self.given(&Given {
            typed: Typed::Str(&text),
            text: Cow::Borrowed(&text),
            tokens: Some(pattern),
            span,
        })
    }

    fn given(&self, value: &Given<'_>) -> Result<Node, Fault> {
        let at = value.span.pos();
        let typed = &value.typed;
        if *typed == Typed::Null {
            if self.keyword {
                return Err(Fault::new(
                    "S032",
                    at,
                    "a keyword cannot be null",
                    "remove it, or quote the word",
                ));
            }
            if self.kind != Type::Text || self.part != Part::Whole || !self.transforms.is_empty() {
                return Err(Fault::new(
                    "S032",
                    at,
                    format!("null cannot be used with `{}`", self.written()),
                    "remove the modifier, or quote the word if it is meant as text",
                ));
            }
            return Ok(self.node(Matcher::Null, "null".to_owned(), value));
        }
        match self.kind {
            Type::Exists => match typed {
                Typed::Bool(wanted) => Ok(self.node(Matcher::Exists(*wanted), value.text.to_string(), value)),
                Typed::Str("yes" | "true") => {
                    Ok(self.node(Matcher::Exists(true), value.text.to_string(), value))
                }
                Typed::Str("no" | "false") => {
                    Ok(self.node(Matcher::Exists(false), value.text.to_string(), value))
                }
                _ => Err(Fault::new("S032", at, "`exists` takes true or false", "write `true` or `false`")),
            },
            Type::Regex => self.regex(value),
            Type::Cidr => {
                let Some(cidr) = Cidr::parse(&value.text) else {
                    return Err(Fault::new(
                        "S032",
                        at,
                        format!("`{}` is not a network", value.text),
                        "write it as 10.0.0.0/8 or fe80::/10",
                    ));
                };
                Ok(self.node(Matcher::Cidr(cidr), quoted(&value.text), value))
            }
            Type::Compare(order) => {
                let number = match typed {
                    Typed::Int(n) => Some(*n as f64),
                    Typed::Float(n) => Some(*n),
                    Typed::Str(text) => number(text),
                    _ => None,
                };
                let Some(number) = number else {
                    return Err(Fault::new(
                        "S032",
                        at,
                        format!("`{}` is not a number", value.text),
                        format!("`{}` compares numbers", self.written()),
                    ));
                };
                let matcher = match self.time_part {
                    Some(part) => Matcher::Time(part, order, number),
                    None => Matcher::Compare(order, number),
                };
                Ok(self.node(matcher, value.text.to_string(), value))
            }
            Type::FieldRef => {
                let other = plain_text(&value.text).filter(|name| !name.is_empty()).ok_or_else(|| {
                    Fault::new("S032", at, "`fieldref` takes the name of a field", "remove the wildcard")
                })?;
                let matcher = Matcher::FieldRef { other, part: self.part, cased: self.cased };
                Ok(self.node(matcher, quoted(&value.text), value))
            }
            Type::Text => self.text(value),
        }
    }

    fn regex(&self, value: &Given<'_>) -> Result<Node, Fault> {
        let at = value.span.pos();
        match Regexp::new(&value.text, self.flags) {
            Ok(regexp) => Ok(self.node(Matcher::Regex(Arc::new(regexp)), quoted(&value.text), value)),
            Err(RegexpFault::TooBig) => Err(Fault::new(
                "S002",
                at,
                format!("the regular expression needs more than {} bytes", limits::REGEX_BYTES),
                "use smaller repetition counts",
            )),
            Err(RegexpFault::Broken(what)) => Err(Fault::new(
                "S032",
                at,
                format!("the regular expression cannot be read: {what}"),
                "Sigma allows wildcards, anchors, quantifiers, classes, groups and alternation",
            )),
        }
    }

    fn text(&self, value: &Given<'_>) -> Result<Node, Fault> {
        let at = value.span.pos();
        // A number or flag means what it says; the spelling in the rule counts too, since logs hold text.
        let canonical = match &value.typed {
            Typed::Int(n) => Some(n.to_string()),
            Typed::Float(n) => Some(n.to_string()),
            Typed::Bool(b) => Some(b.to_string()),
            Typed::Null | Typed::Str(_) => None,
        };
        let shown = if canonical.is_some() { value.text.to_string() } else { quoted(&value.text) };
        let mut spellings = vec![Spelling::Tokens(match (&canonical, &value.tokens) {
            (Some(_), _) => vec![Token::Lit(value.text.to_string())],
            (None, Some(tokens)) => tokens.clone(),
            (None, None) => tokens(&value.text),
        })];
        if let Some(canonical) = canonical.filter(|c| *c != value.text) {
            spellings.push(Spelling::Tokens(vec![Token::Lit(canonical)]));
        }
        for transform in &self.transforms {
            let mut next = Vec::new();
            for spelling in spellings {
                transform.apply(spelling, at, &mut next)?;
            }
            spellings = next;
        }
        let mut tests = Vec::with_capacity(spellings.len());
        for spelling in spellings {
            let tokens = self.part.surround(spelling.into_tokens(at)?);
            tests.push(self.node(Matcher::Text(TextPattern::new(tokens, self.cased)), shown.clone(), value));
        }
        Ok(match tests.pop() {
            Some(only) if tests.is_empty() => only,
            Some(last) => {
                tests.push(last);
                // `neq` says that the field differs from every spelling.
                if self.negated { Node::And(tests) } else { Node::Or(tests) }
            }
            None => Node::Or(tests),
        })
    }

    fn node(&self, matcher: Matcher, shown: String, value: &Given<'_>) -> Node {
        let item = Arc::clone(&self.item);
        Node::Test(Test { item, matcher, negated: self.negated, value: shown, span: value.span })
    }
}

fn check_length(text: &str, span: Span) -> Result<(), Fault> {
    if text.len() <= limits::VALUE_BYTES {
        return Ok(());
    }
    Err(Fault::new(
        "S002",
        span.pos(),
        format!("a value of {} bytes, the limit is {}", text.len(), limits::VALUE_BYTES),
        "shorten it",
    ))
}

/// A Sigma string as part of a regular expression.
pub(crate) fn as_regex(tokens: &[Token]) -> String {
    tokens
        .iter()
        .map(|token| match token {
            Token::Lit(text) => regex_syntax::escape(text),
            Token::One => ".".to_owned(),
            Token::Many => ".*".to_owned(),
            Token::Dash => "[-/]".to_owned(),
        })
        .collect()
}

impl Part {
    fn surround(self, mut pattern: Vec<Token>) -> Vec<Token> {
        if matches!(self, Self::End | Self::Anywhere) && pattern.first() != Some(&Token::Many) {
            pattern.insert(0, Token::Many);
        }
        if matches!(self, Self::Start | Self::Anywhere) && pattern.last() != Some(&Token::Many) {
            pattern.push(Token::Many);
        }
        pattern
    }
}

/// The text without escapes; `None` if it holds a wildcard.
fn plain_text(text: &str) -> Option<String> {
    match tokens(text).as_mut_slice() {
        [] => Some(String::new()),
        [Token::Lit(literal)] => Some(std::mem::take(literal)),
        _ => None,
    }
}

/// Reads a number written as text, in a rule or in an event.
pub(crate) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    // Rust also reads `inf` and `nan`; in a log these are words.
    if !text.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|n: &f64| n.is_finite())
}

fn quoted(text: &str) -> String {
    format!("'{text}'")
}
