use super::codec::{read_section, write_section};
use super::*;

const RULE: &str =
    "title: t\nlogsource: {product: p}\nlevel: high\ndetection: {a: {b: c}, condition: not a}\n";

fn rules(text: &str) -> Collection {
    Collection::parse(text, "x").unwrap()
}

/// A collection's bytes with an index, parts and the checksum that fits them.
fn sealed(index: &[u8], parts: &[u8]) -> Vec<u8> {
    let body = [&(index.len() as u64).to_le_bytes(), index, parts].concat();
    [HEADER, &crc32fast::hash(&body).to_le_bytes(), &body].concat()
}

/// The index and the parts.
fn taken_apart(bytes: &[u8]) -> (&[u8], &[u8]) {
    let body = &bytes[HEADER.len() + 4..];
    let (length, rest) = body.split_first_chunk::<8>().unwrap();
    rest.split_at(u64::from_le_bytes(*length) as usize)
}

#[test]
fn what_lies_about_lengths_is_refused() {
    let empty = Collection::default().to_bytes();
    let (index, _) = taken_apart(&empty);
    assert_eq!(index, [0; 7], "no text; no rules, correlations, filters");
    assert!(Collection::from_bytes(&sealed(index, &[])).is_ok());
    let with = |structure: &[u8]| {
        let bytes = sealed(&[&index[..4], structure].concat(), &[]);
        Collection::from_bytes(&bytes).unwrap_err()
    };
    // A list longer than what is left, up to the longest that can be said.
    assert_eq!(with(&[0x7f]), CacheError::Damaged);
    assert_eq!(with(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), CacheError::Damaged);
    // Numbers that are longer than they need be, or too long.
    assert_eq!(with(&[0x80, 0, 0, 0]), CacheError::Senseless);
    assert_eq!(with(&[0xff; 20]), CacheError::Senseless);
    // Parts that nothing in the index asks for, and too few.
    assert_eq!(Collection::from_bytes(&sealed(index, &[0])).unwrap_err(), CacheError::Damaged);
    let bytes = rules(RULE).to_bytes();
    let (index, parts) = taken_apart(&bytes);
    let cut = sealed(index, &parts[..parts.len() - 1]);
    assert_eq!(Collection::open(cut).unwrap_err(), CacheError::Damaged);
}

#[test]
fn conditions_have_a_depth_and_name_what_is_there() {
    let mut section = Vec::new();
    write_section(&mut section, |out| rules(RULE).rules[0].detection.store(out));
    let at = section.len() - 3;
    assert_eq!(section[at..], [2, 3, 0], "not, selection, 0");
    let deep = |levels: usize| {
        read_section::<Detection>(&[&section[..at], &vec![2; levels], &section[at + 1..]].concat())
    };
    assert!(deep(100).is_ok());
    assert_eq!(deep(100_000).unwrap_err(), CacheError::Limit);
    section[at + 2] = 1;
    assert_eq!(read_section::<Detection>(&section).unwrap_err(), CacheError::Senseless);
}

/// Damage that the checksum does not tell: it is seen when the part is needed, and the rule is none then.
#[test]
fn a_damaged_part_is_no_wrong_rule() {
    let bytes = rules(RULE).to_bytes();
    let (index, parts) = taken_apart(&bytes);
    let mut parts = parts.to_vec();
    let last = parts.len() - 1;
    parts[last] = 1;
    let bytes = sealed(index, &parts);
    assert_eq!(Collection::from_bytes(&bytes).unwrap_err(), CacheError::Senseless);

    let set = Collection::open(bytes).unwrap().link(&crate::LinkOptions::default()).rules;
    assert!(!set.is_damaged(), "nothing was needed yet");
    assert_eq!(set.rules()[0].title, "t");
    let event = wardline_event::LogRecord::new(wardline_event::LogSource::new("p", "", ""));
    let mut found = Vec::new();
    set.matches(&event, &mut set.scratch(), &mut |rule| found.push(rule));
    assert!(found.is_empty() && set.is_damaged());
}

#[test]
fn the_index_says_what_the_rules_say() {
    let (one, other) = (rules(RULE).to_bytes(), rules(&RULE.replace("b: c", "b: d")).to_bytes());
    let mixed = sealed(taken_apart(&one).0, taken_apart(&other).1);
    assert!(Collection::from_bytes(&mixed).is_ok(), "the same as far as the index goes");
    let other = rules(&RULE.replace("level: high", "level: low ")).to_bytes();
    let mixed = sealed(taken_apart(&one).0, taken_apart(&other).1);
    assert_eq!(Collection::from_bytes(&mixed).unwrap_err(), CacheError::Senseless);
}

/// A rule is as it was kept until somebody changes it.
#[test]
fn a_changed_rule_is_asked_itself() {
    let mut rules = Collection::open(rules(RULE).to_bytes()).unwrap().rules;
    let [rule] = &mut rules[..] else { panic!("one rule") };
    assert_eq!(rule.brief().level, wardline_event::Severity::High);
    rule.attributes.id = "new".to_owned();
    assert_eq!((rule.brief().id.as_str(), rule.title.as_str()), ("new", "t"));
    let copy = rule.clone();
    assert_eq!(copy.brief().id, "new");
}
