//! YAML with places: a small tree made from the parser's events, within limits.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span as Marks, StrInput};

use crate::error::{Fault, Pos, Span};
use crate::limits;

/// A YAML node and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub pos: Pos,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    /// In the order written; keys are unique.
    Mapping(Vec<(Key, Node)>),
}

/// A mapping's key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub text: String,
    pub pos: Pos,
    /// Its text without quotes.
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub text: String,
    /// Unquoted, so that it may mean a number, a flag or null.
    pub plain: bool,
    /// Its text without quotes.
    pub span: Span,
}

/// What a scalar means under YAML 1.2's core schema.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Typed<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(&'a str),
}

impl Scalar {
    pub fn typed(&self) -> Typed<'_> {
        let text = self.text.as_str();
        if !self.plain {
            return Typed::Str(text);
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Typed::Null,
            "true" | "True" | "TRUE" => return Typed::Bool(true),
            "false" | "False" | "FALSE" => return Typed::Bool(false),
            _ => {}
        }
        let int = match text.get(..2) {
            Some("0x") => {
                i64::from_str_radix(&text[2..], 16).ok().filter(|_| !text[2..].starts_with(['+', '-']))
            }
            Some("0o") => {
                i64::from_str_radix(&text[2..], 8).ok().filter(|_| !text[2..].starts_with(['+', '-']))
            }
            _ => text.parse().ok(),
        };
        if let Some(int) = int {
            return Typed::Int(int);
        }
        // Rust also reads `inf`, `nan` and `infinity`; for YAML these are words.
        let numeric =
            text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'))
                && text.bytes().any(|b| matches!(b, b'.' | b'e' | b'E'));
        match text.parse::<f64>() {
            Ok(float) if numeric && float.is_finite() => Typed::Float(float),
            _ => Typed::Str(text),
        }
    }
}

impl Node {
    /// The value of a mapping's key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Mapping(pairs) => pairs.iter().find(|(k, _)| k.text == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The pairs of a mapping; none of anything else.
    pub fn pairs(&self) -> &[(Key, Self)] {
        match &self.kind {
            Kind::Mapping(pairs) => pairs,
            _ => &[],
        }
    }

    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.kind {
            Kind::Scalar(scalar) => match scalar.typed() {
                Typed::Null => Json::Null,
                Typed::Bool(b) => Json::Bool(b),
                Typed::Int(n) => Json::from(n),
                Typed::Float(n) => Json::from(n),
                Typed::Str(s) => Json::from(s),
            },
            Kind::Sequence(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Kind::Mapping(pairs) => {
                Json::Object(pairs.iter().map(|(k, v)| (k.text.clone(), v.to_json())).collect())
            }
        }
    }
}

/// One document of a file, with its own part of the text.
pub(crate) struct Document<'a> {
    pub root: Node,
    pub text: &'a str,
}

/// Reads all documents; empty ones are left out.
pub(crate) fn parse(text: &str) -> Result<Vec<Document<'_>>, Fault> {
    if text.len() > limits::FILE_BYTES {
        return Err(Fault::new(
            "S002",
            Pos { line: 1, column: 1 },
            format!("the file is {} bytes long, the limit is {}", text.len(), limits::FILE_BYTES),
            "split it into several files",
        ));
    }
    let mut builder = Builder { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut documents = Vec::new();
    let mut starts = Vec::new();
    while let Some((event, at)) = builder.next()? {
        match event {
            Event::StreamEnd => break,
            Event::DocumentStart(explicit) => {
                builder.anchors.clear();
                let (event, pos_mark) = builder.require()?;
                if matches!(event, Event::DocumentEnd) {
                    continue;
                }
                let root = builder.node(event, pos_mark, 0)?;
                // An explicit `---` line belongs to no document; without one, comments before it do.
                starts.push(match (explicit, documents.is_empty()) {
                    (true, _) => at.start.line(),
                    (false, true) => 0,
                    (false, false) => at.start.line() - 1,
                });
                documents.push(root);
            }
            _ => {}
        }
    }
    documents.retain(|d| !matches!(&d.kind, Kind::Scalar(s) if s.typed() == Typed::Null));
    if documents.len() == 1 {
        return Ok(documents.into_iter().map(|root| Document { root, text }).collect());
    }
    Ok(cut(text, documents, &starts))
}

/// Gives each document the lines from its start to the next one's `---`.
fn cut<'a>(text: &'a str, documents: Vec<Node>, starts: &[usize]) -> Vec<Document<'a>> {
    let mut line_offsets = vec![0];
    line_offsets.extend(text.match_indices('\n').map(|(i, _)| i + 1));
    let offset = |line: usize| line_offsets.get(line).copied().unwrap_or(text.len());
    documents
        .into_iter()
        .map(|root| {
            let first = root.pos.line.saturating_sub(1);
            // The starts ascend, as the documents do.
            let next = starts.partition_point(|start| *start <= first);
            let start = if next == 0 { 0 } else { starts[next - 1] };
            let end = starts.get(next).map_or(text.len(), |line| offset(line.saturating_sub(1)));
            Document { root, text: text.get(offset(start)..end).unwrap_or(text) }
        })
        .collect()
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

fn pos(mark: Marker) -> Pos {
    Pos { line: mark.line().max(1), column: mark.col() + 1 }
}

/// The place of a scalar's text, without its quotes.
fn span(text: &str, marks: Marks, quoted: bool) -> Span {
    let quote = usize::from(quoted);
    let start = pos(marks.start);
    let length = if marks.start.line() == marks.end.line() {
        marks.end.col().saturating_sub(marks.start.col() + 2 * quote)
    } else {
        text.lines().next().unwrap_or_default().chars().count()
    };
    Span::new(Pos { line: start.line, column: start.column + quote }, length)
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Marks)>, Fault> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(next)) => Ok(Some(next)),
            Some(Err(error)) => Err(Fault::new(
                "S001",
                pos(*error.marker()),
                format!("this is not valid YAML: {}", error.info()),
                "check indentation and quotes",
            )),
        }
    }

    fn require(&mut self) -> Result<(Event<'a>, Marks), Fault> {
        self.next()?.ok_or_else(|| Fault::new("S001", Pos::default(), "the file ends too early", ""))
    }

    fn count(&mut self, nodes: usize, at: Pos) -> Result<(), Fault> {
        self.nodes += nodes;
        if self.nodes > limits::YAML_NODES {
            return Err(Fault::new(
                "S002",
                at,
                format!("more than {} YAML nodes once aliases are expanded", limits::YAML_NODES),
                "write the values out, or split the file",
            ));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, marks: Marks, depth: usize) -> Result<Node, Fault> {
        let at = pos(marks.start);
        self.count(1, at)?;
        if depth > limits::YAML_DEPTH {
            return Err(Fault::new(
                "S002",
                at,
                format!("nested deeper than {} levels", limits::YAML_DEPTH),
                "no Sigma attribute needs this; flatten it",
            ));
        }
        let (kind, anchor) = match event {
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(Fault::new("S001", at, "an alias refers to itself or to nothing", ""));
                };
                self.count(size(&node), at)?;
                return Ok(Node { pos: at, kind: node.kind });
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let quoted = matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
                let span = span(&text, marks, quoted);
                (Kind::Scalar(Scalar { text: text.into_owned(), plain, span }), anchor)
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    let (event, mark) = self.require()?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    items.push(self.node(event, mark, depth + 1)?);
                }
                (Kind::Sequence(items), anchor)
            }
            Event::MappingStart(anchor, _) => (Kind::Mapping(self.pairs(depth)?), anchor),
            _ => return Err(Fault::new("S001", at, "this is not valid YAML: a value is missing", "")),
        };
        let node = Node { pos: at, kind };
        if anchor != 0 {
            self.count(size(&node), at)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn pairs(&mut self, depth: usize) -> Result<Vec<(Key, Node)>, Fault> {
        let mut pairs: Vec<(Key, Node)> = Vec::new();
        let mut seen: HashMap<String, Pos> = HashMap::new();
        loop {
            let (event, mark) = self.require()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(pairs);
            }
            let key = self.node(event, mark, depth + 1)?;
            let Kind::Scalar(scalar) = key.kind else {
                return Err(Fault::new(
                    "S003",
                    key.pos,
                    "a key must be text",
                    "quote it if it holds braces or brackets",
                ));
            };
            if let Some(first) = seen.insert(scalar.text.clone(), key.pos) {
                return Err(Fault::new(
                    "S004",
                    key.pos,
                    format!("`{}` is given twice; the first is in line {}", scalar.text, first.line),
                    "keep one, join the values into a list, or use two selections",
                ));
            }
            let (event, mark) = self.require()?;
            let value = self.node(event, mark, depth + 1)?;
            pairs.push((Key { text: scalar.text, pos: key.pos, span: scalar.span }, value));
        }
    }
}

fn size(node: &Node) -> usize {
    match &node.kind {
        Kind::Scalar(_) => 1,
        Kind::Sequence(items) => 1 + items.iter().map(size).sum::<usize>(),
        Kind::Mapping(pairs) => 1 + pairs.iter().map(|(_, v)| 1 + size(v)).sum::<usize>(),
    }
}
