//! Steps that change values.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::run::{Run, mark};
use super::step::{Filling, Hashes, Placeholders, Step, Transformation};
use super::text;
use super::tree::{Leaf, Tree, Value, text_value};
use crate::error::Fault;
use crate::language::pattern::{Token, tokens};
use crate::language::value::{as_regex, number};
use crate::language::yaml::Scalar;
use crate::limits;
use crate::linking::placeholder::{Segment, segments};

impl Run<'_> {
    /// Applies a step to the values of a detection item.
    pub fn values(&self, leaf: Leaf, what: &Transformation, step: &Step) -> Result<Leaf, Fault> {
        let mut leaf = leaf;
        let changed = match what {
            Transformation::Placeholders(filling) => filling.apply(&mut leaf, self.vars)?,
            Transformation::SetValue(value) => {
                for own in &mut leaf.values {
                    *own = Scalar { span: own.span, ..value.clone() };
                }
                // The modifiers said how the old values were meant.
                leaf.modifiers.retain(|m| matches!(m.as_str(), "all" | "neq"));
                true
            }
            Transformation::ToText => to_text(&mut leaf),
            Transformation::ToNumber => to_number(&mut leaf)?,
            Transformation::Replace(replace) => {
                change_text(&mut leaf, "replace_string", true, &|string| Some(vec![replace.apply(string)]))?
            }
            Transformation::MapText(map) => change_text(&mut leaf, "map_string", false, &|string| {
                let new = map.get(&text::shown(string))?;
                Some(new.iter().map(|text| tokens(text)).collect())
            })?,
            Transformation::Case(case) => {
                change_text(&mut leaf, "case", false, &|string| Some(vec![case.apply(string)]))?
            }
            // The others do not change values.
            _ => false,
        };
        if changed {
            leaf.applied.extend(step.id.clone());
        }
        Ok(leaf)
    }
}

/// What a string becomes; `None` if it stays.
type Changed<'c> = &'c dyn Fn(&[Token]) -> Option<Vec<Vec<Token>>>;

/// Changes those values that are text, and with `numbers` also numbers, as their text.
fn change_text(leaf: &mut Leaf, name: &str, numbers: bool, change: Changed<'_>) -> Result<bool, Fault> {
    let mut all = Vec::with_capacity(leaf.values.len());
    for value in &leaf.values {
        let string = match leaf.value(value) {
            Value::Text(string) => string,
            Value::Number if numbers => vec![Token::Lit(value.text.clone())],
            Value::Encoded => {
                let modifiers = leaf.modifiers.join("|");
                return Err(Fault::new(
                    "S082",
                    value.span.pos(),
                    format!("`{name}` cannot be applied to a value that is encoded (`{modifiers}`)"),
                    "leave the field out by a field name condition",
                ));
            }
            _ => {
                all.push(None);
                continue;
            }
        };
        all.push(change(&string).filter(|new| *new != [string]));
    }
    if all.iter().all(Option::is_none) {
        return Ok(false);
    }
    leaf.write_out_parts();
    for (value, new) in std::mem::take(&mut leaf.values).into_iter().zip(all) {
        match new {
            None => leaf.values.push(value),
            Some(new) => leaf.values.extend(new.iter().map(|string| text_value(string, value.span))),
        }
    }
    Ok(true)
}

/// Numbers become text.
fn to_text(leaf: &mut Leaf) -> bool {
    let mut changed = false;
    for at in 0..leaf.values.len() {
        if leaf.value(&leaf.values[at]) == Value::Number {
            leaf.values[at].plain = false;
            changed = true;
        }
    }
    changed
}

/// Text becomes numbers.
fn to_number(leaf: &mut Leaf) -> Result<bool, Fault> {
    let mut changed = false;
    for at in 0..leaf.values.len() {
        let value = &leaf.values[at];
        let string = match leaf.value(value) {
            Value::Text(string) => string,
            Value::Encoded => vec![Token::Many],
            _ => continue,
        };
        let shown = text::shown(&string);
        if number(&shown).is_none() || !matches!(&*string, [Token::Lit(_)]) {
            return Err(Fault::new(
                "S082",
                value.span.pos(),
                format!("`convert_type` cannot make a number of `{}`", value.text),
                "narrow the step by a field name condition",
            ));
        }
        leaf.values[at] = Scalar { text: shown.trim().to_owned(), plain: true, span: value.span };
        changed = true;
    }
    Ok(changed)
}

impl Placeholders {
    fn takes(&self, name: &str) -> bool {
        self.include.as_ref().is_none_or(|names| names.iter().any(|n| n == name))
            && !self.exclude.iter().any(|n| n == name)
    }

    fn apply(&self, leaf: &mut Leaf, vars: &BTreeMap<String, Vec<String>>) -> Result<bool, Fault> {
        if !leaf.has("expand") {
            return Ok(false);
        }
        let (mut changed, mut left) = (false, false);
        let mut values = Vec::with_capacity(leaf.values.len());
        for value in &leaf.values {
            let parts = segments(&value.text);
            let names = |own: bool| {
                parts.iter().any(|part| matches!(part, Segment::Name(name) if self.takes(name) == own))
            };
            if !names(true) {
                left |= names(false);
                values.push((value.clone(), false));
                continue;
            }
            changed = true;
            left |= names(false);
            for text in self.texts(&parts, leaf.has("re"), vars, value)? {
                values.push((Scalar { text, plain: false, span: value.span }, true));
            }
        }
        if changed {
            if !left {
                leaf.modifiers.retain(|m| m != "expand");
            }
            // While `expand` stays, a percent sign of what was put in must not begin a name.
            leaf.values = values
                .into_iter()
                .map(|(value, new)| match (new, left) {
                    (true, false) => Scalar { text: value.text.replace("\\%", "%"), ..value },
                    (false, false) => without_escapes(&value),
                    _ => value,
                })
                .collect();
        }
        Ok(changed)
    }

    /// Every way to put values in the place of the placeholders. Percent signs in them are escaped.
    fn texts(
        &self,
        parts: &[Segment<'_>],
        regex: bool,
        vars: &BTreeMap<String, Vec<String>>,
        value: &Scalar,
    ) -> Result<Vec<String>, Fault> {
        let mut texts = vec![String::new()];
        for part in parts {
            let choices: Vec<Cow<'_, str>> = match part {
                Segment::Text(text) => vec![escaped(text)],
                Segment::Name(name) if !self.takes(name) => vec![Cow::Owned(format!("%{name}%"))],
                Segment::Name(name) => {
                    let strings = self.values_of(name, vars, value)?;
                    strings.iter().map(|s| Cow::Owned(written(s, regex))).collect()
                }
            };
            if texts.len().saturating_mul(choices.len()) > limits::RULE_VALUES {
                return Err(Fault::new(
                    "S002",
                    value.span.pos(),
                    format!("placeholders make more than {} values of this one", limits::RULE_VALUES),
                    "give them fewer values; long lists of indicators belong in an indicator feed",
                ));
            }
            texts = texts.iter().flat_map(|text| choices.iter().map(move |c| format!("{text}{c}"))).collect();
        }
        Ok(texts)
    }

    fn values_of(
        &self,
        name: &str,
        vars: &BTreeMap<String, Vec<String>>,
        value: &Scalar,
    ) -> Result<Vec<Vec<Token>>, Fault> {
        let given = match &self.by {
            Filling::Wildcard => return Ok(vec![vec![Token::Many]]),
            Filling::Variables => vars.get(name),
            Filling::Given(values) => values.get(name),
        };
        let Some(given) = given else {
            return Err(Fault::new(
                "S033",
                value.span.pos(),
                format!("the placeholder `%{name}%` has no value"),
                "give it one in the pipeline's `vars`",
            ));
        };
        Ok(given.iter().map(|text| tokens(text)).collect())
    }
}

/// A value as a part of another: as a Sigma string, or of a regular expression.
fn written(string: &[Token], regex: bool) -> String {
    let text = if regex { as_regex(string) } else { text::written(string) };
    text.replace('%', "\\%")
}

/// A part of a value with `expand` that holds no name, as it is written there.
fn escaped(text: &str) -> Cow<'_, str> {
    if text.contains('%') { Cow::Owned(text.replace('%', "\\%")) } else { Cow::Borrowed(text) }
}

/// A value of an item that had `expand`, as it is written without.
fn without_escapes(value: &Scalar) -> Scalar {
    let parts = segments(&value.text);
    let text = parts
        .iter()
        .map(|part| match part {
            Segment::Text(text) => text.to_string(),
            Segment::Name(name) => format!("%{name}%"),
        })
        .collect();
    Scalar { text, plain: false, span: value.span }
}

impl Hashes {
    /// Items for the fields of single hashes in the place of one for the field that holds them all.
    pub fn apply(&self, leaf: Leaf, step: &Step) -> Result<Option<Tree>, Fault> {
        let own = leaf.field.as_ref().is_some_and(|name| self.fields.contains(name));
        let strings: Option<Vec<Vec<Token>>> = leaf
            .values
            .iter()
            .map(|value| match leaf.value(value) {
                Value::Text(string) => Some(string),
                _ => None,
            })
            .collect();
        let Some(strings) = strings.filter(|_| own) else { return Ok(Some(Tree::Leaf(leaf))) };
        let mut by_field: BTreeMap<String, Vec<Scalar>> = BTreeMap::new();
        for (string, value) in strings.iter().zip(&leaf.values) {
            let Some((algorithm, hash)) = self.algorithm(&text::plain(string)) else { continue };
            let name = if self.drop_algorithm { "" } else { &*algorithm };
            by_field.entry(format!("{}{name}", self.prefix)).or_default().push(Scalar {
                text: hash,
                plain: false,
                span: value.span,
            });
        }
        if by_field.is_empty() {
            return Err(Fault::new(
                "S082",
                leaf.span.pos(),
                format!("`hashes_fields` finds no hash of these kinds: {}", self.valid.join(", ")),
                "name the kind in `valid_hash_algos`, or narrow the step by a rule condition",
            ));
        }
        // pySigma drops these two; without them the rule would ask for something else.
        let modifiers: Vec<String> =
            leaf.modifiers.iter().filter(|m| matches!(m.as_str(), "all" | "neq")).cloned().collect();
        let every = !modifiers.is_empty();
        let leaves = by_field
            .into_iter()
            .map(|(name, values)| {
                let modifiers = modifiers.clone();
                Tree::Leaf(Leaf { field: Some(name), modifiers, values, ..leaf.clone() })
            })
            .collect();
        let mut tree = if every { Tree::And(leaves) } else { Tree::Or(leaves) };
        if let Some(id) = &step.id {
            mark(&mut tree, id);
        }
        Ok(Some(tree))
    }

    /// Which hash it is, by its name or its length, and the hash.
    fn algorithm(&self, text: &str) -> Option<(String, String)> {
        let separator = if text.contains('|') { '|' } else { '=' };
        let parts: Vec<&str> = text.split(separator).collect();
        let (name, hash) = match &*parts {
            [name, hash] => (name.trim_start_matches('*').to_uppercase(), hash.trim_matches(['*', '?'])),
            _ => {
                let hash = parts.first()?.trim_matches(['*', '?']);
                let name = match hash.len() {
                    32 => "MD5",
                    40 => "SHA1",
                    64 => "SHA256",
                    128 => "SHA512",
                    _ => return None,
                };
                (name.to_owned(), hash)
            }
        };
        self.valid.contains(&name).then(|| (name, hash.to_owned()))
    }
}
