//! A rule's detection, as parsed.

use std::net::IpAddr;
use std::sync::Arc;

use crate::error::Span;
use crate::language::pattern::TextPattern;
use crate::language::regexp::Regexp;
use crate::language::time_part::TimePart;
use crate::limits;

/// The `detection` attribute.
#[derive(Clone, Debug)]
pub(crate) struct Detection {
    pub selections: Vec<Selection>,
    /// Of a list of conditions, that one of them holds.
    pub condition: Condition,
}

impl Detection {
    /// About how many bytes a copy takes, for limits.
    pub fn bytes(&self) -> usize {
        self.selections.iter().map(|s| s.name.len() + s.body.bytes()).sum()
    }

    /// The first value whose placeholders are not expanded.
    pub fn placeholder(&self) -> Option<&Expand> {
        self.selections.iter().find_map(|s| s.body.placeholder())
    }

    /// Bytes of text that the index has to hold for this rule, all spellings counted.
    pub fn weight(&self) -> usize {
        self.selections.iter().map(|s| s.body.weight()).sum()
    }
}

impl Condition {
    /// Adds `by` to every index of a selection.
    pub fn shift(&mut self, by: usize) {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter_mut().for_each(|part| part.shift(by)),
            Self::Not(part) => part.shift(by),
            Self::Selection(index) => *index += by,
        }
    }
}

impl Node {
    /// About how many bytes a copy takes; a value is there twice, as it is shown and as it is compared.
    fn bytes(&self) -> usize {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::bytes).sum(),
            Self::Test(test) => limits::LINK_TEST + 2 * test.value.len(),
            Self::Expand(expand) => limits::LINK_TEST + expand.text.len(),
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::weight).sum(),
            Self::Test(test) => match &test.matcher {
                Matcher::Text(pattern) => pattern.weight(),
                Matcher::Regex(regexp) => 1 + regexp.required.any.iter().map(String::len).sum::<usize>(),
                _ => 1,
            },
            Self::Expand(_) => 1,
        }
    }

    /// The first value whose placeholders are not expanded.
    fn placeholder(&self) -> Option<&Expand> {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().find_map(Self::placeholder),
            Self::Test(_) => None,
            Self::Expand(expand) => Some(expand),
        }
    }
}

/// A condition over selections. `And([])` is true, `Or([])` false; the parser makes neither.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    /// An index into [`Detection::selections`].
    Selection(usize),
}

/// A search identifier and what it asks for.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub name: String,
    /// Where the name stands.
    pub span: Span,
    pub body: Node,
}

/// A tree of tests.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Test(Test),
    /// Tests that are known once their placeholders have values. No rule set takes a rule that still has one.
    Expand(Expand),
}

/// The key of a detection item as written: a field and its modifiers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Item {
    /// `CommandLine|contains|all`; empty for keywords without modifiers.
    pub key: String,
    /// Where the key stands; the place of the first value if there is no key.
    pub span: Span,
}

impl Item {
    /// `None` for keywords.
    pub fn field(&self) -> Option<&str> {
        self.key.split('|').next().filter(|field| !field.is_empty())
    }

    /// The modifiers, in the order written.
    pub fn modifiers(&self) -> impl Iterator<Item = &str> {
        self.key.split('|').skip(1)
    }
}

/// One test of one field, or of every field (a keyword).
#[derive(Clone, Debug)]
pub(crate) struct Test {
    /// Shared by all tests that come from it.
    pub item: Arc<Item>,
    pub matcher: Matcher,
    /// `neq`: the test holds if the matcher does not.
    pub negated: bool,
    /// The value as a person is to see it: `'/nc'`, `42`, `null`.
    pub value: String,
    /// Where the value stands, without its quotes.
    pub span: Span,
}

impl Test {
    /// The field that is tested; `None` for a keyword.
    pub fn field(&self) -> Option<&str> {
        self.item.field()
    }

    /// What the rule asked for, for explanations: `endswith '/nc'`.
    pub fn written(&self) -> String {
        let modifiers: Vec<&str> = self.item.modifiers().filter(|m| *m != "all").collect();
        if modifiers.is_empty() {
            self.value.clone()
        } else {
            format!("{} {}", modifiers.join("|"), self.value)
        }
    }
}

/// A value with placeholders that have no value yet.
#[derive(Clone, Debug)]
pub(crate) struct Expand {
    pub item: Arc<Item>,
    /// The value as written.
    pub text: String,
    pub span: Span,
}

/// How a value is tested.
#[derive(Clone, Debug)]
pub(crate) enum Matcher {
    Text(TextPattern),
    Regex(Arc<Regexp>),
    Cidr(Cidr),
    /// Missing or null.
    Null,
    /// Whether the field is there, whatever it holds.
    Exists(bool),
    Compare(Order, f64),
    /// A part of the time that the field holds.
    Time(TimePart, Order, f64),
    FieldRef {
        other: String,
        part: Part,
        cased: bool,
    },
}

/// Numeric comparison.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Which part of a field's text another field's text must be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Part {
    Whole,
    Start,
    End,
    Anywhere,
}

/// A network, IPv4 or IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Cidr {
    pub base: IpAddr,
    /// Not more than the address has bits.
    pub prefix: u8,
}

impl Cidr {
    /// Reads `10.0.0.0/8`, `fe80::/10` or a single address. Bits past the prefix are ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let (base, prefix) = match text.split_once('/') {
            Some((base, prefix)) => (base, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().ok()?;
        let bits = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            // `parse` alone would take `+8` too.
            Some(p) if !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()) => p.parse().ok()?,
            Some(_) => return None,
            None => bits,
        };
        (prefix <= bits).then_some(Self { base, prefix })
    }

    /// Whether the address lies in the network. An IPv4 address in IPv6 clothes (`::ffff:10.0.0.1`), as Windows
    /// writes it, lies in IPv4 networks too.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.holds(address) || self.holds(address.to_canonical())
    }

    fn holds(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let differ = u32::from(base) ^ u32::from(address);
                differ.checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let differ = u128::from(base) ^ u128::from(address);
                differ.checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl Order {
    #[expect(
        clippy::float_cmp,
        reason = "only parts of times are compared for equality, and these are whole"
    )]
    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Equal => value == bound,
            Self::Less => value < bound,
            Self::LessOrEqual => value <= bound,
            Self::Greater => value > bound,
            Self::GreaterOrEqual => value >= bound,
        }
    }
}
