//! The key of a detection item: `Field|modifier|modifier`.

use std::sync::Arc;

use crate::error::{Fault, Pos, Span};
use crate::language::ast::{Item, Order, Part};
use crate::language::encoding::Transform;
use crate::language::regexp::Flags;
use crate::language::time_part::TimePart;
use crate::suggest;

/// Every modifier that Sigma 2.1 defines.
const KNOWN: &[&str] = &[
    "all",
    "base64",
    "base64offset",
    "cased",
    "cidr",
    "contains",
    "day",
    "endswith",
    "exists",
    "expand",
    "fieldref",
    "gt",
    "gte",
    "hour",
    "i",
    "lt",
    "lte",
    "m",
    "minute",
    "month",
    "neq",
    "re",
    "s",
    "startswith",
    "utf16",
    "utf16be",
    "utf16le",
    "week",
    "wide",
    "windash",
    "year",
];

/// What kind of test the modifiers ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Type {
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
    /// The key as written.
    pub item: Arc<Item>,
    /// `all`: every value must match.
    pub all: bool,
    /// `neq`: no value may match.
    pub negated: bool,
    /// Whether there is no field: a keyword.
    pub keyword: bool,
    pub kind: Type,
    pub part: Part,
    pub time_part: Option<TimePart>,
    pub cased: bool,
    pub expand: bool,
    pub flags: Flags,
    pub transforms: Vec<Transform>,
}

impl FieldKey {
    /// A keyword without modifiers; the place is that of its value.
    pub fn keyword(span: Span) -> Self {
        Self::new(Item { key: String::new(), span })
    }

    fn new(item: Item) -> Self {
        let keyword = item.field().is_none();
        Self {
            item: Arc::new(item),
            all: false,
            negated: false,
            keyword,
            kind: Type::Text,
            part: if keyword { Part::Anywhere } else { Part::Whole },
            time_part: None,
            cased: false,
            expand: false,
            flags: Flags::default(),
            transforms: Vec::new(),
        }
    }

    /// Reads a key. `at` is where the key begins, with its quote if it has one.
    pub fn parse(item: Item, at: Pos) -> Result<Self, Fault> {
        let mut out = Self::new(item);
        if !out.item.key.contains('|') {
            return Ok(out);
        }
        let item = Arc::clone(&out.item);
        let start = item.span.pos();
        let mut column = start.column + item.field().unwrap_or_default().chars().count() + 1;
        let mut parts = 0;
        for name in item.modifiers() {
            let at = Pos { line: start.line, column };
            column += name.chars().count() + 1;
            out.apply(name, at, &mut parts)?;
        }
        out.check(at, parts)?;
        Ok(out)
    }

    /// The modifiers that say how one value is meant.
    pub fn written(&self) -> String {
        self.item.modifiers().filter(|m| *m != "all").collect::<Vec<_>>().join("|")
    }

    fn apply(&mut self, name: &str, at: Pos, parts: &mut usize) -> Result<(), Fault> {
        let mut set_type = |kind: Type| {
            let time_alone = self.kind == Type::Compare(Order::Equal) && matches!(kind, Type::Compare(_));
            if self.kind == Type::Text || self.kind == kind || time_alone {
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
                match name {
                    "i" => self.flags.case_insensitive = true,
                    "m" => self.flags.multi_line = true,
                    _ => self.flags.dot_all = true,
                }
            }
            "windash" => self.transforms.push(Transform::Windash),
            "wide" | "utf16le" => self.transforms.push(Transform::Utf16Le),
            "utf16be" => self.transforms.push(Transform::Utf16Be),
            "utf16" => self.transforms.push(Transform::Utf16),
            "base64" => self.transforms.push(Transform::Base64),
            "base64offset" => self.transforms.push(Transform::Base64Offset),
            _ => {
                let part = TimePart::named(name).ok_or_else(|| unknown(name, at))?;
                if self.time_part.replace(part).is_some() {
                    return Err(Fault::new(
                        "S031",
                        at,
                        "more than one part of a time",
                        "keep one, and name the field again for the other",
                    ));
                }
                // `hour` alone asks for that hour, `hour|gte` for that one or a later.
                if self.kind == Type::Text {
                    self.kind = Type::Compare(Order::Equal);
                }
            }
        }
        Ok(())
    }

    fn check(&self, at: Pos, parts: usize) -> Result<(), Fault> {
        let conflict = |message: String, hint: &str| Err(Fault::new("S031", at, message, hint));
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
            Type::Compare(_) => {
                Some(if self.time_part.is_some() { "a part of a time" } else { "a numeric comparison" })
            }
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
        if self.keyword && !matches!(self.kind, Type::Text | Type::Regex) {
            return conflict(
                "this modifier needs a field; keywords are text or regular expressions".to_owned(),
                "name the field before the first `|`",
            );
        }
        Ok(())
    }
}

fn unknown(name: &str, at: Pos) -> Fault {
    let long = KNOWN.iter().copied().filter(|known| known.len() > 2);
    let hint = match suggest::nearest(name, long) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known modifiers: {}", KNOWN.join(", ")),
    };
    Fault::new("S030", at, format!("unknown modifier `{name}`"), hint)
}
