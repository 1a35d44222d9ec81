//! From YAML to sources.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::derive::{Change, Derivation, Input};
use super::kind::{Case, Condition, EventKind, FieldNames};
use super::recognise::Marks;
use super::{Source, intern, template};
use crate::error::{Fault, Pos};
use crate::language::shape::Shape;
use crate::language::yaml::{self, Kind, Node};
use crate::limits;
use crate::suggest;

const SHAPE: Shape = Shape { code: "S070" };

/// Fields and derivations that several events share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub fields: FieldNames,
    pub derive: Vec<Derivation>,
}

/// What a file holds.
pub(crate) struct File {
    pub sources: Vec<Source>,
    /// The groups that were there before, and the file's own.
    pub groups: HashMap<String, Arc<Group>>,
}

/// Reads a file. A group may be used by what stands behind it.
pub(crate) fn file(text: &str, groups: &HashMap<String, Arc<Group>>) -> Result<File, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let documents = yaml::parse(text)?;
    if documents.is_empty() {
        let pos = Pos { line: 1, column: 1 };
        return Err(Fault::new("S070", pos, "the file holds no source", "begin with `source: name`"));
    }
    let mut file = File { sources: Vec::new(), groups: groups.clone() };
    let mut own_groups: Vec<String> = Vec::new();
    for document in &documents {
        let root = &document.root;
        if let Some(name) = SHAPE.text_of(root, "group")? {
            SHAPE.only(root, "a group", &["group", "groups", "fields", "derive"])?;
            let group = shared(root, &file.groups)?;
            if own_groups.contains(&name) {
                return Err(twice(root, "group", &name));
            }
            file.groups.insert(name.clone(), Arc::new(group));
            own_groups.push(name);
        } else {
            let source = source(root, &file.groups)?;
            if file.sources.iter().any(|s| s.name == source.name) {
                return Err(twice(root, "source", &source.name));
            }
            file.sources.push(source);
        }
    }
    Ok(file)
}

fn twice(node: &Node, what: &str, name: &str) -> Fault {
    Fault::new("S071", node.pos, format!("the {what} `{name}` is there twice"), "give it another name")
}

/// The attributes `groups`, `fields` and `derive` of a group, a source, an event or a case.
fn shared(node: &Node, groups: &HashMap<String, Arc<Group>>) -> Result<Group, Fault> {
    let mut out = Group::default();
    if let Some(list) = node.get("groups") {
        for item in Shape::items(list) {
            let name = SHAPE.text(item, "a group's name")?;
            let Some(group) = groups.get(&name) else {
                let near = suggest::nearest(&name, groups.keys().map(String::as_str));
                let hint = near.map_or("a group stands before what uses it".to_owned(), |near| {
                    format!("did you mean `{near}`?")
                });
                return Err(Fault::new("S071", item.pos, format!("there is no group `{name}`"), hint));
            };
            out.fields.add(&group.fields);
            derive_all(&mut out.derive, group.derive.iter().cloned());
        }
    }
    if let Some(fields) = node.get("fields") {
        let names = SHAPE.texts(fields, "a field's name")?;
        // The word instead of a list; a field of that name stands in a list.
        if matches!(&fields.kind, Kind::Scalar(s) if s.text == "any") {
            out.fields.open = true;
        } else {
            out.fields.names.extend(names);
        }
    }
    if let Some(pairs) = node.get("derive") {
        for (key, value) in SHAPE.pairs(pairs, "`derive`")? {
            let derivation = derivation(&key.text, value)?;
            derive_all(&mut out.derive, [derivation]);
        }
    }
    Ok(out)
}

/// Adds derivations; one for a field that has one replaces it.
fn derive_all(all: &mut Vec<Derivation>, more: impl IntoIterator<Item = Derivation>) {
    for one in more {
        all.retain(|old| old.to != one.to);
        all.push(one);
    }
}

fn source(root: &Node, groups: &HashMap<String, Arc<Group>>) -> Result<Source, Fault> {
    SHAPE.only(
        root,
        "a source",
        &[
            "source",
            "title",
            "product",
            "service",
            "category",
            "also",
            "channels",
            "providers",
            "has",
            "when",
            "reader",
            "groups",
            "fields",
            "derive",
            "other_fields",
            "events",
            "cases",
        ],
    )?;
    let Some(name) = SHAPE.text_of(root, "source")? else {
        return Err(SHAPE.fault(root, "this is neither a source nor a group", "begin with `source: name`"));
    };
    let marks = Marks {
        channels: SHAPE.texts_of(root, "channels")?,
        providers: SHAPE.texts_of(root, "providers")?,
        has: SHAPE.texts_of(root, "has")?,
        when: root.get("when").map_or(Ok(Vec::new()), conditions)?,
        reader: SHAPE.flag_of(root, "reader")?,
    };
    let base = EventKind {
        source: name.clone(),
        title: SHAPE.text_of(root, "title")?.unwrap_or_else(|| name.clone()),
        ..EventKind::default()
    };
    let mut base = described(base, root, groups)?;
    if base.log_source == wardline_event::LogSource::default() {
        return Err(SHAPE.fault(
            root,
            format!("the source `{name}` names no product, service or category"),
            "no rule could ever see it; give at least one of the three",
        ));
    }
    // The source's own cases are those of its other events.
    let cases = std::mem::take(&mut base.cases);
    let mut source = Source {
        name,
        title: base.title.clone(),
        found_by: marks.found_by(),
        marks,
        events: Vec::new(),
        by_id: HashMap::new(),
        other: Arc::default(),
    };
    if let Some(events) = root.get("events") {
        for node in SHAPE.list(events, "`events`")? {
            let event = event(&base, node, groups)?;
            if event.ids.is_empty() {
                return Err(SHAPE.fault(node, "an event without `id`", "add `id: 4688`, or a list of ids"));
            }
            for id in &event.ids {
                let places = source.by_id.entry(*id).or_default();
                if places.iter().any(|at| source.events[*at].providers == event.providers) {
                    return Err(twice(node, "event", &id.to_string()));
                }
                places.push(source.events.len());
            }
            source.events.push(Arc::new(event));
        }
    }
    let mut other = EventKind { cases, ..base };
    if let Some(fields) = root.get("other_fields") {
        if matches!(&fields.kind, Kind::Scalar(s) if s.text == "any") {
            other.fields.open = true;
        } else {
            other.fields.names.extend(SHAPE.texts(fields, "a field's name")?);
        }
    }
    source.other = Arc::new(other);
    Ok(source)
}

fn event(base: &EventKind, node: &Node, groups: &HashMap<String, Arc<Group>>) -> Result<EventKind, Fault> {
    SHAPE.only(
        node,
        "an event",
        &["id", "title", "providers", "category", "also", "groups", "fields", "derive", "cases"],
    )?;
    let mut event = base.clone();
    if let Some(ids) = node.get("id") {
        for id in Shape::items(ids) {
            let number = SHAPE.text(id, "an event's id")?.parse().map_err(|_| {
                SHAPE.fault(id, "an event's id is a whole number", "describe other events by `cases`")
            })?;
            event.ids.push(number);
        }
    }
    event.providers = SHAPE.texts_of(node, "providers")?;
    if let Some(title) = SHAPE.text_of(node, "title")? {
        event.title = title;
    }
    described(event, node, groups)
}

/// Adds to `kind` what a source, event or case says further.
fn described(
    mut kind: EventKind,
    node: &Node,
    groups: &HashMap<String, Arc<Group>>,
) -> Result<EventKind, Fault> {
    let term = |key: &str| Ok::<_, Fault>(SHAPE.text_of(node, key)?.map(|t| Cow::Borrowed(intern::term(&t))));
    if let Some(product) = term("product")? {
        kind.log_source.product = product;
    }
    if let Some(service) = term("service")? {
        kind.log_source.service = service;
    }
    if let Some(category) = term("category")? {
        kind.log_source.category = category;
    }
    if node.get("also").is_some() {
        kind.also = intern::list(&SHAPE.texts_of(node, "also")?);
    }
    let shared = shared(node, groups)?;
    kind.fields.add(&shared.fields);
    derive_all(&mut kind.derive, shared.derive);
    kind.fields.names.extend(kind.derive.iter().map(|d| d.to.clone()));
    if let Some(cases) = node.get("cases") {
        for case in SHAPE.list(cases, "`cases`")? {
            SHAPE.only(
                case,
                "a case",
                &["when", "title", "category", "also", "groups", "fields", "derive"],
            )?;
            let Some(when) = case.get("when") else {
                return Err(SHAPE.fault(case, "a case without `when`", "add `when: {Field: value}`"));
            };
            let mut own = EventKind { cases: Vec::new(), ..kind.clone() };
            if let Some(title) = SHAPE.text_of(case, "title")? {
                own.title = title;
            }
            let case = Case { when: conditions(when)?, kind: described(own, case, groups)? };
            kind.cases.push(case);
        }
    }
    Ok(kind)
}

fn conditions(node: &Node) -> Result<Vec<Condition>, Fault> {
    let pairs = SHAPE.pairs(node, "`when`")?;
    if pairs.is_empty() {
        return Err(SHAPE.fault(node, "an empty condition", "write `Field: value`"));
    }
    pairs
        .iter()
        .map(|(key, value)| {
            let (field, all) = match key.text.split_once('|') {
                None => (&*key.text, false),
                Some((field, "all")) => (field, true),
                Some((_, other)) => {
                    return Err(Fault::new(
                        "S070",
                        key.pos,
                        format!("a condition of a source has no modifier `{other}`"),
                        "only `all`; the values are compared without regard to case",
                    ));
                }
            };
            let values = SHAPE.texts(value, "a condition's value")?;
            if values.is_empty() {
                return Err(SHAPE.fault(
                    value,
                    "a condition without a value",
                    "write the value that it must have",
                ));
            }
            Ok(Condition { field: field.to_owned(), values, all })
        })
        .collect()
}

fn derivation(to: &str, node: &Node) -> Result<Derivation, Fault> {
    let what = format!("what `{to}` is made of");
    let (from, change) = match &node.kind {
        Kind::Scalar(_) | Kind::Sequence(_) => (node, Change::default()),
        Kind::Mapping(_) => {
            SHAPE.only(node, &what, &["from", "key", "values", "otherwise", "prefixes", "as"])?;
            let from = node.get("from").ok_or_else(|| {
                SHAPE.fault(node, format!("`{to}` is made of nothing"), "add `from: Field`")
            })?;
            (from, change(node)?)
        }
    };
    let mut inputs = Vec::new();
    for item in Shape::items(from) {
        let text = SHAPE.text(item, &what)?;
        inputs.push(if text.contains('{') {
            Input::Template(
                template::parse(&text).map_err(|(message, hint)| SHAPE.fault(item, message, hint))?,
            )
        } else {
            Input::Field(text)
        });
    }
    if inputs.is_empty() {
        return Err(SHAPE.fault(from, format!("`{to}` is made of nothing"), "name a field"));
    }
    Ok(Derivation { to: to.to_owned(), from: inputs, change })
}

fn change(node: &Node) -> Result<Change, Fault> {
    let table = |key: &str| -> Result<Vec<(String, String)>, Fault> {
        let Some(table) = node.get(key) else { return Ok(Vec::new()) };
        let pairs = SHAPE.pairs(table, &format!("`{key}`"))?;
        if pairs.len() > limits::SOURCE_TABLE {
            return Err(SHAPE.fault(
                table,
                format!("`{key}` has {} entries, the limit is {}", pairs.len(), limits::SOURCE_TABLE),
                "it is searched for every event",
            ));
        }
        pairs
            .iter()
            .map(|(old, new)| Ok((old.text.clone(), SHAPE.scalar(new, "a replacement")?.text.clone())))
            .collect()
    };
    let one_of = |key: &str, allowed: &[&str]| -> Result<Option<String>, Fault> {
        let Some(value) = node.get(key) else { return Ok(None) };
        let word = SHAPE.text(value, &format!("`{key}`"))?;
        if allowed.contains(&word.as_str()) {
            return Ok(Some(word));
        }
        let known = allowed.join(", ");
        Err(SHAPE.fault(value, format!("`{key}` cannot be `{word}`"), format!("it can be: {known}")))
    };
    Ok(Change {
        key: SHAPE.text_of(node, "key")?,
        values: table("values")?,
        keep_others: one_of("otherwise", &["keep", "drop"])?.as_deref() == Some("keep"),
        prefixes: table("prefixes")?,
        number: one_of("as", &["number"])?.is_some(),
    })
}
