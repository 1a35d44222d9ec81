//! Texts with fields in them: `{ObjectName}[\{ObjectValueName}]`.
//!
//! `{Field}` stands for the field's text; what stands in `[…]` is left out if one of its fields holds nothing. Where
//! a field outside of brackets holds nothing, the whole text is nothing.

use super::derive::Piece;

/// What is wrong, and what to do about it.
type Wrong = (String, &'static str);

pub(crate) fn parse(text: &str) -> Result<Vec<Piece>, Wrong> {
    let mut pieces = Vec::new();
    let mut optional: Option<Vec<Piece>> = None;
    let mut rest = text;
    while !rest.is_empty() {
        let special = rest.find(['{', '[', ']', '}']).unwrap_or(rest.len());
        let (plain, tail) = rest.split_at(special);
        let target = optional.as_mut().unwrap_or(&mut pieces);
        if !plain.is_empty() {
            target.push(Piece::Text(plain.to_owned()));
        }
        let mut chars = tail.chars();
        rest = match chars.next() {
            Some('{') => {
                let (name, tail) = chars
                    .as_str()
                    .split_once('}')
                    .filter(|(name, _)| !name.is_empty() && !name.contains(['{', '[', ']']))
                    .ok_or_else(|| {
                        (format!("`{text}` has a `{{` without a field's name and `}}`"), "write `{Field}`")
                    })?;
                target.push(Piece::Field(name.to_owned()));
                tail
            }
            Some('[') if optional.is_none() => {
                optional = Some(Vec::new());
                chars.as_str()
            }
            Some(']') if optional.is_some() => {
                pieces.extend(optional.take().map(Piece::Optional));
                chars.as_str()
            }
            Some(c) => {
                return Err((
                    format!("`{text}` has a `{c}` out of place"),
                    "write `{Field}` and `[optional {Field}]`",
                ));
            }
            None => "",
        };
    }
    if optional.is_some() {
        return Err((format!("`{text}` has a `[` without its `]`"), "close it"));
    }
    Ok(pieces)
}
