//! The YAML of pySigma's processing pipelines, as its documentation describes it.

use std::collections::BTreeMap;

use super::step::{AddedCondition, Case, Filling, Hashes, Placeholders, Replace, Step, Transformation};
use super::{Pipeline, SHAPE, conditions, regexes};
use crate::error::Fault;
use crate::language::detection;
use crate::language::yaml::{Kind, Node, Scalar, Typed};

/// Attributes of a step that say when it is applied, and its type and name.
const COMMON: &[&str] = &[
    "id",
    "type",
    "rule_conditions",
    "rule_cond_expr",
    "rule_cond_op",
    "rule_cond_not",
    "detection_item_conditions",
    "detection_item_cond_expr",
    "detection_item_cond_op",
    "detection_item_cond_not",
    "field_name_conditions",
    "field_name_cond_expr",
    "field_name_cond_op",
    "field_name_cond_not",
];

pub(super) fn read(root: &Node) -> Result<Pipeline, Fault> {
    SHAPE.only(
        root,
        "a pipeline",
        &["name", "priority", "vars", "transformations", "postprocessing", "finalizers", "allowed_backends"],
    )?;
    let mut notices = Vec::new();
    for key in ["postprocessing", "finalizers"] {
        if root.get(key).is_some() {
            notices.push(format!(
                "`{key}` is about the text of queries, which are not made here: it has no effect"
            ));
        }
    }
    if root.get("allowed_backends").is_some() {
        notices.push("`allowed_backends` names makers of queries: it has no effect".to_owned());
    }
    Ok(Pipeline {
        name: SHAPE.text_of(root, "name")?.unwrap_or_default(),
        priority: priority(root)?,
        notices,
        steps: steps(root, "transformations")?,
        vars: root.get("vars").map_or(Ok(BTreeMap::new()), lists)?,
    })
}

pub(super) fn priority(root: &Node) -> Result<i64, Fault> {
    let Some(node) = root.get("priority") else { return Ok(0) };
    match SHAPE.scalar(node, "`priority`")?.typed() {
        Typed::Int(n) => Ok(n),
        _ => Err(SHAPE.fault(node, "`priority` must be a whole number", "lower ones are applied first")),
    }
}

/// Names with a text or several.
pub(super) fn lists(node: &Node) -> Result<BTreeMap<String, Vec<String>>, Fault> {
    let pairs = SHAPE.pairs(node, "this")?;
    pairs.iter().map(|(key, value)| Ok((key.text.clone(), SHAPE.texts(value, "a value")?))).collect()
}

fn steps(node: &Node, key: &str) -> Result<Vec<Step>, Fault> {
    let Some(list) = node.get(key) else { return Ok(Vec::new()) };
    SHAPE.list(list, &format!("`{key}`"))?.iter().map(step).collect()
}

fn step(node: &Node) -> Result<Step, Fault> {
    SHAPE.pairs(node, "a transformation")?;
    let Some(kind) = node.get("type") else {
        return Err(SHAPE.fault(
            node,
            "a transformation without `type`",
            "add `type: field_name_mapping` or another",
        ));
    };
    let name = SHAPE.text(kind, "`type`")?;
    let what = transformation(node, kind, &name)?;
    let (rules, items, fields) =
        (conditions::rules(node)?, conditions::items(node)?, conditions::fields(node)?);
    if is_for_rules(&what) && !(items.list.is_empty() && fields.list.is_empty()) {
        return Err(SHAPE.fault(
            node,
            format!("`{name}` is about the whole rule: it has no detection item or field name conditions"),
            "use `rule_conditions`",
        ));
    }
    Ok(Step { id: SHAPE.text_of(node, "id")?, rules, items, fields, what, pos: node.pos })
}

/// Whether a transformation looks at no detection item. pySigma does not look at the conditions of such items then,
/// which would leave them without effect.
fn is_for_rules(what: &Transformation) -> bool {
    use Transformation as T;
    matches!(
        what,
        T::AddCondition(_)
            | T::ChangeLogSource(_)
            | T::AddFields(_)
            | T::RemoveFields(_)
            | T::SetFields(_)
            | T::SetState(..)
            | T::SetAttribute(..)
            | T::FailRule(_)
            | T::FailUnmapped
            | T::Nest(_)
    )
}

fn transformation(node: &Node, kind: &Node, name: &str) -> Result<Transformation, Fault> {
    use Transformation as T;
    let only = |own: &[&str]| {
        let known: Vec<&str> = own.iter().chain(COMMON).copied().collect();
        SHAPE.only(node, &format!("`{name}`"), &known)
    };
    let need = |key: &str| {
        node.get(key)
            .ok_or_else(|| SHAPE.fault(node, format!("`{name}` without `{key}`"), format!("add `{key}:`")))
    };
    let text = |key: &str| SHAPE.text(need(key)?, &format!("`{key}`"));
    let scalar = |key: &str| SHAPE.scalar(need(key)?, &format!("`{key}`")).cloned();
    Ok(match name {
        "field_name_mapping" => {
            only(&["mapping"])?;
            T::Rename(mapping(need("mapping")?)?)
        }
        "field_name_prefix_mapping" => {
            only(&["mapping"])?;
            let pairs = SHAPE.pairs(need("mapping")?, "`mapping`")?;
            let pair = |(key, value): &(crate::language::yaml::Key, Node)| {
                Ok((key.text.clone(), SHAPE.texts(value, "a beginning of a field's name")?))
            };
            T::RenamePrefix(pairs.iter().map(pair).collect::<Result<_, Fault>>()?)
        }
        "field_name_prefix" => {
            only(&["prefix"])?;
            T::AddPrefix(text("prefix")?)
        }
        "field_name_suffix" => {
            only(&["suffix"])?;
            T::AddSuffix(text("suffix")?)
        }
        "drop_detection_item" => {
            only(&[])?;
            T::Drop
        }
        "hashes_fields" => {
            only(&["valid_hash_algos", "field_prefix", "drop_algo_prefix", "field_to_parse"])?;
            let fields = SHAPE.texts_of(node, "field_to_parse")?;
            T::Hashes(Hashes {
                valid: SHAPE.texts(need("valid_hash_algos")?, "`valid_hash_algos`")?,
                prefix: node.get("field_prefix").map_or(Ok(String::new()), |n| {
                    SHAPE.scalar(n, "`field_prefix`").map(|s| s.text.clone())
                })?,
                drop_algorithm: SHAPE.flag_of(node, "drop_algo_prefix")?,
                fields: if fields.is_empty() { vec!["Hashes".to_owned(), "Hash".to_owned()] } else { fields },
            })
        }
        "wildcard_placeholders" | "value_placeholders" => {
            only(&["include", "exclude"])?;
            if node.get("include").is_some() && node.get("exclude").is_some() {
                return Err(SHAPE.fault(node, "`include` and `exclude` together", "keep one of them"));
            }
            T::Placeholders(Placeholders {
                include: node.get("include").map(|n| SHAPE.texts(n, "`include`")).transpose()?,
                exclude: SHAPE.texts_of(node, "exclude")?,
                by: if name == "wildcard_placeholders" { Filling::Wildcard } else { Filling::Variables },
            })
        }
        "add_condition" => {
            only(&["conditions", "name", "template", "negated"])?;
            detection::selection(need("conditions")?)?;
            T::AddCondition(AddedCondition {
                name: SHAPE.text_of(node, "name")?.unwrap_or_else(|| "_added".to_owned()),
                selection: need("conditions")?.clone(),
                template: SHAPE.flag_of(node, "template")?,
                negated: SHAPE.flag_of(node, "negated")?,
            })
        }
        "change_logsource" => {
            only(&["category", "product", "service"])?;
            T::ChangeLogSource(conditions::log_source(node)?)
        }
        "add_field" | "remove_field" => {
            only(&["field"])?;
            let names = SHAPE.texts(need("field")?, "`field`")?;
            if name == "add_field" { T::AddFields(names) } else { T::RemoveFields(names) }
        }
        "set_field" => {
            only(&["fields"])?;
            T::SetFields(SHAPE.texts(need("fields")?, "`fields`")?)
        }
        "replace_string" => {
            only(&["regex", "replacement", "skip_special", "interpret_special"])?;
            let regex = regexes::anywhere(need("regex")?)?;
            let replacement = regexes::replacement(need("replacement")?, &regex)?;
            T::Replace(Replace {
                regex,
                replacement,
                skip_special: SHAPE.flag_of(node, "skip_special")?,
                interpret_special: SHAPE.flag_of(node, "interpret_special")?,
            })
        }
        "map_string" => {
            only(&["mapping"])?;
            T::MapText(lists(need("mapping")?)?)
        }
        "set_value" => {
            only(&["value", "force_type"])?;
            T::SetValue(forced(scalar("value")?, node)?)
        }
        "convert_type" => {
            only(&["target_type"])?;
            match &*text("target_type")? {
                "str" => T::ToText,
                "num" => T::ToNumber,
                other => {
                    let message = format!("`target_type` cannot be `{other}`");
                    return Err(SHAPE.fault(need("target_type")?, message, "it can be: str, num"));
                }
            }
        }
        "case" => {
            only(&["method"])?;
            match node.get("method").map(|_| text("method")).transpose()?.as_deref() {
                None | Some("lower") => T::Case(Case::Lower),
                Some("upper") => T::Case(Case::Upper),
                Some(other) => {
                    let message = format!("`case` to `{other}` cannot be applied here");
                    return Err(SHAPE.fault(need("method")?, message, "it can be: lower, upper"));
                }
            }
        }
        "set_state" => {
            only(&["key", "val"])?;
            T::SetState(text("key")?, need("val")?.to_json())
        }
        "set_custom_attribute" => {
            only(&["attribute", "value"])?;
            T::SetAttribute(text("attribute")?, need("value")?.to_json())
        }
        "rule_failure" => {
            only(&["message"])?;
            T::FailRule(text("message")?)
        }
        "detection_item_failure" => {
            only(&["message"])?;
            T::FailItem(text("message")?)
        }
        "strict_field_mapping_failure" => {
            only(&[])?;
            T::FailUnmapped
        }
        "nest" => {
            only(&["items"])?;
            need("items")?;
            T::Nest(steps(node, "items")?)
        }
        _ => return Err(refused(kind, name)),
    })
}

/// Transformations that pySigma has and that cannot be applied, and why.
fn refused(kind: &Node, name: &str) -> Fault {
    let why = match name {
        "query_expression_placeholders" => "it writes text into queries, and no query is made here",
        "file_placeholders" | "http_placeholders" | "command_placeholders" => {
            "it fetches values from outside while rules are read; write them into `vars`"
        }
        "field_name_transform" => "it calls a Python function; write the names into a `field_name_mapping`",
        "regex" => {
            "it is for query languages that look at case; here text is compared without regard to case"
        }
        "extract_fields" => "it is not supported yet",
        _ => {
            return SHAPE.fault(
                kind,
                format!("there is no transformation `{name}`"),
                "see docs/pipelines.md for those that there are",
            );
        }
    };
    SHAPE.fault(kind, format!("the transformation `{name}` cannot be applied"), why)
}

/// `mapping` of field names; the key `null` stands for keywords.
fn mapping(node: &Node) -> Result<BTreeMap<Option<String>, Vec<String>>, Fault> {
    let pairs = SHAPE.pairs(node, "`mapping`")?;
    pairs
        .iter()
        .map(|(key, value)| {
            let name = Some(key.text.clone()).filter(|text| !matches!(text.as_str(), "null" | "~" | ""));
            Ok((name, SHAPE.texts(value, "a field's name")?))
        })
        .collect()
}

/// A value with the type that `force_type` gives it.
fn forced(value: Scalar, node: &Node) -> Result<Scalar, Fault> {
    let Some(force) = node.get("force_type") else { return Ok(value) };
    let word = SHAPE.text(force, "`force_type`")?;
    match &*word {
        "str" => Ok(Scalar { plain: false, ..value }),
        "num" => {
            let number = Scalar { plain: true, ..value };
            if matches!(number.typed(), Typed::Int(_) | Typed::Float(_)) {
                return Ok(number);
            }
            Err(SHAPE.fault(force, format!("`{}` is not a number", number.text), "leave `force_type` out"))
        }
        _ => Err(SHAPE.fault(force, format!("`force_type` cannot be `{word}`"), "it can be: str, num")),
    }
}

/// Whether a node is a scalar or a list of them.
pub(super) fn is_flat(node: &Node) -> bool {
    match &node.kind {
        Kind::Scalar(_) => true,
        Kind::Sequence(items) => items.iter().all(|item| matches!(item.kind, Kind::Scalar(_))),
        Kind::Mapping(_) => false,
    }
}
