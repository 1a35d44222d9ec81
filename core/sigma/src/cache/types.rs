//! The parts of rules, correlations and filters: what is stored of each, and what must hold of it.
//!

use std::net::IpAddr;

use serde_json::{Map, Number, Value as Json};
use wardline_event::{LogSource, Severity};

use crate::cache::CacheError;
use crate::cache::codec::{Reader, Stored, Writer, fields, variants};
use crate::compiled::class::{Expr, Slow};
use crate::compiled::discriminator::Discriminator;
use crate::correlation::{
    Alias, Correlation, CorrelationCondition, CorrelationType, Expression, Operator, RuleExpression,
    Threshold, Timespan,
};
use crate::error::{Pos, Span};
use crate::language::ast::{
    Cidr, Condition, Detection, Expand, Item, Matcher, Node, Order, Part, Selection, Test,
};
use crate::language::attributes::{Attributes, Related};
use crate::language::literal::Required;
use crate::language::pattern::{TextPattern, Token};
use crate::language::regexp::{Flags, Regexp};
use crate::language::rule::Brief;
use crate::language::time_part::TimePart;
use crate::linking::filter::{Filter, FilterRules};

fields!(Brief { id, level, weight, fields, expands });
fields!(Filter { attributes, log_source, rules, detection });
variants!(FilterRules { 0 Any, 1 These(names) });
fields!(LogSource<'static> { product, category, service });
fields!(Attributes {
    id,
    title,
    name,
    description,
    status,
    author,
    date,
    modified,
    license,
    taxonomy,
    level,
    tags,
    scope,
    related,
    false_positives,
    references,
    fields,
    source,
    origin,
    line,
    extra,
    id_at,
});
fields!(Related { id, kind });
variants!(Severity { 0 Informational, 1 Low, 2 Medium, 3 High, 4 Critical });
fields!(Pos { line, column });
fields!(Span { line, column, length });

fields!(Detection { selections, condition } where |d| d.condition.names_below(d.selections.len()));
variants!(Condition { 0 And(parts), 1 Or(parts), 2 Not(part), 3 Selection(index) });
fields!(Selection { name, span, body });
variants!(Node { 0 And(parts), 1 Or(parts), 2 Test(test), 3 Expand(expand) });
fields!(Item { key, span });
fields!(Test { item, matcher, negated, value, span });
fields!(Expand { item, text, span });
variants!(Matcher {
    0 Text(pattern),
    1 Regex(regexp),
    2 Cidr(network),
    3 Null,
    4 Exists(there),
    5 Compare(order, bound),
    6 Time(part, order, bound),
    7 FieldRef { other, part, cased },
});
variants!(Order { 0 Equal, 1 Less, 2 LessOrEqual, 3 Greater, 4 GreaterOrEqual });
variants!(Part { 0 Whole, 1 Start, 2 End, 3 Anywhere });
variants!(TimePart { 0 Minute, 1 Hour, 2 Day, 3 Week, 4 Month, 5 Year });
fields!(TextPattern { tokens, cased } where |p| p.tokens.iter().all(|t| !matches!(t, Token::Lit(text) if text.is_empty())));
variants!(Token { 0 Lit(text), 1 One, 2 Many, 3 Dash });
fields!(Required { any, length });
fields!(Flags { case_insensitive, multi_line, dot_all });

fields!(Discriminator { field, examples, outcomes, numbers } where Discriminator::is_sound);
fields!(Slow { field, other, matcher });
variants!(Expr {
    0 And(parts),
    1 Or(parts),
    2 Not(part),
    3 Has(field),
    4 Null(field),
    5 Bit(bit),
    6 Late(bit, field),
    7 Any(bits),
    8 LateAny(field, bits),
    9 Byte(field, byte),
    10 Slow(index),
});

fields!(Alias { name, fields });
variants!(CorrelationType {
    0 EventCount,
    1 ValueCount,
    2 Temporal,
    3 TemporalOrdered,
    4 ValueSum,
    5 ValueAvg,
    6 ValuePercentile,
    7 ValueMedian,
    8 ValueMin,
    9 ValueMax,
});
variants!(CorrelationCondition { 0 Thresholds { thresholds, fields, percentile }, 1 Rules(rules) });
fields!(Threshold { operator, bound });
variants!(Operator { 0 Greater, 1 GreaterOrEqual, 2 Less, 3 LessOrEqual, 4 Equal, 5 NotEqual });
fields!(RuleExpression { text, expression });
variants!(Expression { 0 Rule(index), 1 Not(part), 2 And(parts), 3 Or(parts) });

impl Condition {
    fn names_below(&self, count: usize) -> bool {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().all(|part| part.names_below(count)),
            Self::Not(part) => part.names_below(count),
            Self::Selection(index) => *index < count,
        }
    }
}

impl Expression {
    fn names_below(&self, count: usize) -> bool {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().all(|part| part.names_below(count)),
            Self::Not(part) => part.names_below(count),
            Self::Rule(index) => *index < count,
        }
    }
}

impl Stored for Correlation {
    fn store(&self, out: &mut Writer) {
        let Self { attributes, kind, rules, group_by, timespan, aliases, condition, generate, has_level, at } =
            self;
        attributes.store(out);
        kind.store(out);
        rules.store(out);
        group_by.store(out);
        timespan.store(out);
        aliases.store(out);
        condition.store(out);
        generate.store(out);
        has_level.store(out);
        at.store(out);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        let out = Self {
            attributes: Stored::load(from)?,
            kind: Stored::load(from)?,
            rules: Stored::load(from)?,
            group_by: Stored::load(from)?,
            timespan: Stored::load(from)?,
            aliases: Stored::load(from)?,
            condition: Stored::load(from)?,
            generate: Stored::load(from)?,
            has_level: Stored::load(from)?,
            at: Stored::load(from)?,
        };
        let names = match &out.condition {
            CorrelationCondition::Rules(rules) => rules.expression.names_below(out.rules.len()),
            CorrelationCondition::Thresholds { thresholds, .. } => !thresholds.is_empty(),
        };
        if !names || out.rules.is_empty() {
            return Err(CacheError::Senseless);
        }
        // The same as for a correlation that was parsed.
        out.check().map_err(|_| CacheError::Senseless)
    }
}

impl Stored for Timespan {
    fn store(&self, out: &mut Writer) {
        out.number(self.seconds());
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        Self::from_seconds(from.number()?).ok_or(CacheError::Senseless)
    }
}

/// Without what was compiled: it is compiled when it is first needed.
impl Stored for Regexp {
    fn store(&self, out: &mut Writer) {
        self.source.store(out);
        self.flags.store(out);
        self.required.store(out);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        Ok(Self::trusted(Stored::load(from)?, Stored::load(from)?, Stored::load(from)?))
    }
}

impl Stored for Cidr {
    fn store(&self, out: &mut Writer) {
        match self.base {
            IpAddr::V4(base) => {
                out.byte(4);
                out.bytes(&base.octets());
            }
            IpAddr::V6(base) => {
                out.byte(6);
                out.bytes(&base.octets());
            }
        }
        out.byte(self.prefix);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        let (base, bits) = match from.byte()? {
            4 => (IpAddr::from(from.bytes::<4>()?), 32),
            6 => (IpAddr::from(from.bytes::<16>()?), 128),
            _ => return Err(CacheError::Senseless),
        };
        let prefix = from.byte()?;
        if prefix > bits { Err(CacheError::Senseless) } else { Ok(Self { base, prefix }) }
    }
}

impl Stored for Map<String, Json> {
    fn store(&self, out: &mut Writer) {
        self.len().store(out);
        for (key, value) in self {
            out.text(key);
            value.store(out);
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        let mut out = Self::new();
        for _ in 0..from.size()? {
            if out.insert(String::load(from)?, Json::load(from)?).is_some() {
                return Err(CacheError::Senseless);
            }
        }
        Ok(out)
    }
}

impl Stored for Json {
    fn store(&self, out: &mut Writer) {
        match self {
            Self::Null => out.byte(0),
            Self::Bool(value) => {
                out.byte(1);
                value.store(out);
            }
            Self::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(n), _) => {
                    out.byte(2);
                    out.number(n);
                }
                (_, Some(n)) => {
                    out.byte(3);
                    out.number(n as u64);
                }
                _ => {
                    out.byte(4);
                    number.as_f64().unwrap_or_default().store(out);
                }
            },
            Self::String(text) => {
                out.byte(5);
                out.text(text);
            }
            Self::Array(items) => {
                out.byte(6);
                items.store(out);
            }
            Self::Object(map) => {
                out.byte(7);
                map.store(out);
            }
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        from.deeper(|from| {
            Ok(match from.byte()? {
                0 => Self::Null,
                1 => Self::Bool(bool::load(from)?),
                2 => Self::Number(from.number()?.into()),
                3 => match from.number()? as i64 {
                    n if n < 0 => Self::Number(n.into()),
                    _ => return Err(CacheError::Senseless),
                },
                4 => Self::Number(Number::from_f64(f64::load(from)?).ok_or(CacheError::Senseless)?),
                5 => Self::String(String::load(from)?),
                6 => Self::Array(Stored::load(from)?),
                7 => Self::Object(Stored::load(from)?),
                _ => return Err(CacheError::Senseless),
            })
        })
    }
}
