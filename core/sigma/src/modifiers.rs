//! Value modifiers: from `Field|modifier|modifier: value` to tests.

use regex::RegexBuilder;

use crate::ast::{Cidr, Matcher, Node, Order, Part, Pattern, Test};
use crate::encoding::{Spelling, Transform};
use crate::error::{Fault, Pos};
use crate::limits;
use crate::literal;
use crate::pattern::{TextPattern, Token, tokens};
use crate::suggest::distance;
use crate::yaml::{Key, Scalar, Typed};

/// Every modifier that Sigma 2.1 defines and this crate applies.
const KNOWN: &[&str] = &[
    "all",
    "base64",
    "base64offset",
    "cased",
    "cidr",
    "contains",
    "endswith",
    "exists",
    "expand",
    "fieldref",
    "gt",
    "gte",
    "i",
    "lt",
    "lte",
    "m",
    "neq",
    "re",
    "s",
    "startswith",
    "utf16",
    "utf16be",
    "utf16le",
    "wide",
    "windash",
];

/// Modifiers that Sigma 2.1 defines and this crate does not apply yet.
const TIME_PARTS: &[&str] = &["minute", "hour", "day", "week", "month", "year"];

/// What kind of test the modifiers ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Type {
    Text,
    Regex,
    Cidr,
    Exists,
    FieldRef,
    Compare(Order),
}

#[expect(clippy::struct_excessive_bools, reason = "each is one independent modifier")]
/// A detection item's key, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct FieldKey {
    /// `None` for keywords.
    pub field: Option<String>,
    /// `all`: every value must match.
    pub all: bool,
    /// `neq`: no value may match.
    pub negated: bool,
    kind: Type,
    part: Part,
    cased: bool,
    expand: bool,
    /// `i`, `m`, `s`.
    flags: [bool; 3],
    transforms: Vec<Transform>,
    /// The modifiers as written, for explanations.
    written: String,
}

impl FieldKey {
    /// A keyword without modifiers.
    pub fn keyword() -> Self {
        Self {
            field: None,
            all: false,
            negated: false,
            kind: Type::Text,
            part: Part::Anywhere,
            cased: false,
            expand: false,
            flags: [false; 3],
            transforms: Vec::new(),
            written: String::new(),
        }
    }

    pub fn parse(key: &Key) -> Result<Self, Fault> {
        let mut out = Self::keyword();
        let mut names = key.text.split('|');
        let field = names.next().unwrap_or_default();
        if !field.is_empty() {
            out.field = Some(field.to_owned());
            out.part = Part::Whole;
        }
        let mut column = key.text_at.column + field.chars().count() + 1;
        let mut parts = 0;
        for name in names {
            let at = Pos { line: key.text_at.line, column };
            column += name.chars().count() + 1;
            out.apply(name, at, &mut parts)?;
        }
        out.check(key, parts)?;
        let words: Vec<&str> = key.text.split('|').skip(1).filter(|m| *m != "all").collect();
        out.written = words.join("|");
        Ok(out)
    }

    fn apply(&mut self, name: &str, at: Pos, parts: &mut usize) -> Result<(), Fault> {
        let mut set_type = |kind: Type| {
            if self.kind == Type::Text || self.kind == kind {
                self.kind = kind;
                Ok(())
            } else {
                Err(Fault::new(
                    "S031",
                    at,
                    format!("`{name}` cannot be combined with the modifiers before it"),
                    "a value has one type: keep one of them",
                ))
            }
        };
        match name {
            "all" => self.all = true,
            "neq" => self.negated = true,
            "cased" => self.cased = true,
            "expand" => self.expand = true,
            "contains" => (self.part, *parts) = (Part::Anywhere, *parts + 1),
            "startswith" => (self.part, *parts) = (Part::Start, *parts + 1),
            "endswith" => (self.part, *parts) = (Part::End, *parts + 1),
            "re" => set_type(Type::Regex)?,
            "cidr" => set_type(Type::Cidr)?,
            "exists" => set_type(Type::Exists)?,
            "fieldref" => set_type(Type::FieldRef)?,
            "lt" => set_type(Type::Compare(Order::Less))?,
            "lte" => set_type(Type::Compare(Order::LessOrEqual))?,
            "gt" => set_type(Type::Compare(Order::Greater))?,
            "gte" => set_type(Type::Compare(Order::GreaterOrEqual))?,
            "i" | "m" | "s" => {
                if self.kind != Type::Regex {
                    return Err(Fault::new(
                        "S031",
                        at,
                        format!("`{name}` is a flag of regular expressions and stands after `re`"),
                        format!("write `re|{name}`"),
                    ));
                }
                self.flags["ims".find(name).unwrap_or_default()] = true;
            }
            "windash" => self.transforms.push(Transform::Windash),
            "wide" | "utf16le" => self.transforms.push(Transform::Utf16Le),
            "utf16be" => self.transforms.push(Transform::Utf16Be),
            "utf16" => self.transforms.push(Transform::Utf16),
            "base64" => self.transforms.push(Transform::Base64),
            "base64offset" => self.transforms.push(Transform::Base64Offset),
            _ if TIME_PARTS.contains(&name) => {
                return Err(Fault::new(
                    "S034",
                    at,
                    format!("the time modifier `{name}` is not supported yet"),
                    "compare a field that holds the number itself",
                ));
            }
            _ => return Err(unknown(name, at)),
        }
        Ok(())
    }

    fn check(&self, key: &Key, parts: usize) -> Result<(), Fault> {
        let conflict = |message: String, hint: &str| Err(Fault::new("S031", key.pos, message, hint));
        if parts > 1 {
            return conflict(
                "more than one of `contains`, `startswith` and `endswith`".to_owned(),
                "keep one; a value may hold `*` for the rest",
            );
        }
        let type_name = match self.kind {
            Type::Text | Type::FieldRef => None,
            Type::Regex => Some("re"),
            Type::Cidr => Some("cidr"),
            Type::Exists => Some("exists"),
            Type::Compare(_) => Some("a numeric comparison"),
        };
        if let Some(name) = type_name
            && (parts > 0 || self.cased)
        {
            return conflict(
                format!("{name} takes no `contains`, `startswith`, `endswith` or `cased`"),
                "use `re` with `.*`, `^` and `$` for regular expressions; elsewhere leave them out",
            );
        }
        if self.kind != Type::Text && !self.transforms.is_empty() {
            return conflict(
                "an encoding or `windash` changes text, and this value is not compared as text".to_owned(),
                "keep the one or the other",
            );
        }
        if self.field.is_none() && !matches!(self.kind, Type::Text | Type::Regex) {
            return conflict(
                "this modifier needs a field; keywords are text or regular expressions".to_owned(),
                "name the field before the first `|`",
            );
        }
        Ok(())
    }

    /// Whether values are regular expressions.
    pub fn is_regex(&self) -> bool {
        self.kind == Type::Regex
    }

    /// The tests for one value.
    pub fn test(&self, value: &Scalar) -> Result<Node, Fault> {
        let at = value.text_at;
        if value.text.len() > limits::VALUE_BYTES {
            return Err(Fault::new(
                "S002",
                at,
                format!("a value of {} bytes, the limit is {}", value.text.len(), limits::VALUE_BYTES),
                "shorten it",
            ));
        }
        if self.expand
            && let Some(name) = placeholder(&value.text)
        {
            return Err(Fault::new(
                "S033",
                at,
                format!("the placeholder `%{name}%` has no value here"),
                "placeholders are not supported yet; write the values out",
            ));
        }
        let typed = value.typed();
        if typed == Typed::Null && self.kind != Type::Regex {
            if self.field.is_none() {
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
                    format!("null cannot be used with `{}`", self.written),
                    "remove the modifier, or quote the word if it is meant as text",
                ));
            }
            return Ok(self.node(Matcher::Null, "null"));
        }
        match self.kind {
            Type::Exists => match typed {
                Typed::Bool(wanted) => Ok(self.node(Matcher::Exists(wanted), &value.text)),
                Typed::Str("yes" | "true") => Ok(self.node(Matcher::Exists(true), &value.text)),
                Typed::Str("no" | "false") => Ok(self.node(Matcher::Exists(false), &value.text)),
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
                Ok(self.node(Matcher::Cidr(cidr), &quoted(&value.text)))
            }
            Type::Compare(order) => {
                let number = match typed {
                    Typed::Int(n) => Some(n as f64),
                    Typed::Float(n) => Some(n),
                    Typed::Str(text) => number(text),
                    _ => None,
                };
                let Some(number) = number else {
                    return Err(Fault::new(
                        "S032",
                        at,
                        format!("`{}` is not a number", value.text),
                        format!("`{}` compares numbers", self.written),
                    ));
                };
                Ok(self.node(Matcher::Compare(order, number), &value.text))
            }
            Type::FieldRef => {
                let other = plain_text(&value.text).filter(|name| !name.is_empty()).ok_or_else(|| {
                    Fault::new("S032", at, "`fieldref` takes the name of a field", "remove the wildcard")
                })?;
                let matcher = Matcher::FieldRef { other, part: self.part, cased: self.cased };
                Ok(self.node(matcher, &quoted(&value.text)))
            }
            Type::Text => self.text(value, &typed),
        }
    }

    fn regex(&self, value: &Scalar) -> Result<Node, Fault> {
        let [i, m, s] = self.flags;
        let regex = RegexBuilder::new(&value.text)
            .case_insensitive(i)
            .multi_line(m)
            .dot_matches_new_line(s)
            .size_limit(limits::REGEX_BYTES)
            .nest_limit(100)
            .build();
        match regex {
            Ok(regex) => {
                let required = literal::required(&value.text, i, s);
                Ok(self.node(Matcher::Regex(Pattern { regex, required }), &quoted(&value.text)))
            }
            Err(regex::Error::CompiledTooBig(limit)) => Err(Fault::new(
                "S002",
                value.text_at,
                format!("the regular expression needs more than {limit} bytes"),
                "use smaller repetition counts",
            )),
            Err(error) => {
                // The library draws the expression and an arrow over several lines; its last line says what.
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default().trim();
                let what = last.strip_prefix("error: ").unwrap_or(last);
                Err(Fault::new(
                    "S032",
                    value.text_at,
                    format!("the regular expression cannot be read: {what}"),
                    "Sigma allows wildcards, anchors, quantifiers, classes, groups and alternation",
                ))
            }
        }
    }

    fn text(&self, value: &Scalar, typed: &Typed<'_>) -> Result<Node, Fault> {
        let shown = match typed {
            Typed::Str(_) => quoted(&value.text),
            _ => value.text.clone(),
        };
        // A number or flag means what it says; the spelling in the rule counts too, since logs hold text.
        let canonical = match typed {
            Typed::Int(n) => Some(n.to_string()),
            Typed::Float(n) => Some(n.to_string()),
            Typed::Bool(b) => Some(b.to_string()),
            _ => None,
        };
        let mut spellings = vec![Spelling::Tokens(match canonical {
            Some(_) => vec![Token::Lit(value.text.clone())],
            None => tokens(&value.text),
        })];
        if let Some(canonical) = canonical.filter(|c| *c != value.text) {
            spellings.push(Spelling::Tokens(vec![Token::Lit(canonical)]));
        }
        for transform in &self.transforms {
            let mut next = Vec::new();
            for spelling in spellings {
                transform.apply(spelling, value.text_at, &mut next)?;
            }
            spellings = next;
        }
        let mut tests = Vec::with_capacity(spellings.len());
        for spelling in spellings {
            let tokens = self.part.surround(spelling.into_tokens(value.text_at)?);
            tests.push(self.node(Matcher::Text(TextPattern::new(tokens, self.cased)), &shown));
        }
        Ok(match tests.pop() {
            Some(only) if tests.is_empty() => only,
            Some(last) => {
                tests.push(last);
                if self.negated { Node::And(tests) } else { Node::Or(tests) }
            }
            None => Node::Or(tests),
        })
    }

    fn node(&self, matcher: Matcher, shown: &str) -> Node {
        let written =
            if self.written.is_empty() { shown.to_owned() } else { format!("{} {shown}", self.written) };
        Node::Test(Test { field: self.field.clone(), matcher, negated: self.negated, written })
    }
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

fn unknown(name: &str, at: Pos) -> Fault {
    let lower = name.to_ascii_lowercase();
    let near = KNOWN.iter().filter(|known| known.len() > 2).find(|known| distance(known, &lower) <= 2);
    let hint = match near {
        Some(near) => format!("did you mean `{near}`? known modifiers: {}", KNOWN.join(", ")),
        None => format!("known modifiers: {}", KNOWN.join(", ")),
    };
    Fault::new("S030", at, format!("unknown modifier `{name}`"), hint)
}

/// The name of the first `%placeholder%`; a percent sign after a backslash stands for itself.
fn placeholder(text: &str) -> Option<&str> {
    let mut open = None;
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        if c == '%' && !escaped {
            match open {
                Some(start) if i > start => return Some(&text[start..i]),
                _ => open = Some(i + 1),
            }
        }
        escaped = c == '\\' && !escaped;
    }
    None
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
