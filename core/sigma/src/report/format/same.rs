//! Whether two texts say the same.

use crate::language::yaml::{Document, Key, Kind, Node, Typed};

/// The same documents, the order of their attributes and the dashes of their dates left aside.
pub(super) fn documents(before: &[Document<'_>], after: &[Document<'_>]) -> bool {
    before.len() == after.len() && before.iter().zip(after).all(|(a, b)| roots(&a.root, &b.root))
}

fn roots(before: &Node, after: &Node) -> bool {
    let (Kind::Mapping(a), Kind::Mapping(b)) = (&before.kind, &after.kind) else {
        return nodes(before, after);
    };
    a.len() == b.len()
        && a.iter().all(|(key, value)| {
            let other = b.iter().find(|(k, _)| k.text == key.text).map(|(_, other)| other);
            other.is_some_and(|other| nodes(value, other) || is_date(key) && dates(value, other))
        })
}

fn is_date(key: &Key) -> bool {
    matches!(key.text.as_str(), "date" | "modified")
}

fn dates(before: &Node, after: &Node) -> bool {
    match (&before.kind, &after.kind) {
        (Kind::Scalar(a), Kind::Scalar(b)) => a.text.replace('/', "-") == b.text,
        _ => false,
    }
}

fn nodes(before: &Node, after: &Node) -> bool {
    match (&before.kind, &after.kind) {
        (Kind::Scalar(a), Kind::Scalar(b)) => match (a.typed(), b.typed()) {
            // The spelling of a number counts.
            (Typed::Int(_) | Typed::Float(_), Typed::Int(_) | Typed::Float(_)) => a.text == b.text,
            (a, b) => a == b,
        },
        (Kind::Sequence(a), Kind::Sequence(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| nodes(a, b))
        }
        (Kind::Mapping(a), Kind::Mapping(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|((ka, va), (kb, vb))| ka.text == kb.text && nodes(va, vb))
        }
        _ => false,
    }
}
