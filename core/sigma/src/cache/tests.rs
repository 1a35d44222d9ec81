use super::codec::{read_section, write_section};
use super::*;

const RULE: &str =
    "title: t\nlogsource: {product: p}\nlevel: high\ndetection: {a: {b: c}, condition: not a}\n";

fn rules(text: &str) -> Collection {
    Collection::parse(text, "x").unwrap()
}

fn from_bytes(bytes: Vec<u8>) -> Result<Collection, CacheError> {
    Collection::from_bytes(Arc::new(bytes))
}

/// Parts with the table that fits them.
fn sealed<P: AsRef<[u8]>>(parts: &[P]) -> Vec<u8> {
    let mut out = ContainerWriter::new(HEADER);
    for part in parts {
        out.part(|out| out.extend_from_slice(part.as_ref()));
    }
    out.finish()
}

/// The parts.
fn taken_apart(bytes: &[u8]) -> Vec<Vec<u8>> {
    let parts = Container::open(HEADER, MOST_BYTES, Arc::new(bytes.to_vec())).unwrap();
    (0..parts.count()).map(|part| parts.part(part).unwrap().into_owned()).collect()
}

#[test]
fn what_lies_about_lengths_is_refused() {
    let parts = taken_apart(&Collection::default().to_bytes());
    let [index] = &parts[..] else { panic!("{parts:?}") };
    assert_eq!(*index, [0; 7], "no text; no rules, correlations, filters");
    assert!(from_bytes(sealed(&[index])).is_ok());
    let with = |structure: &[u8]| from_bytes(sealed(&[[&index[..4], structure].concat()])).unwrap_err();
    // A list longer than what is left, up to the longest that can be said.
    assert_eq!(with(&[0x7f]), CacheError::Damaged);
    assert_eq!(with(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), CacheError::Damaged);
    // Numbers that are longer than they need be, or too long.
    assert_eq!(with(&[0x80, 0, 0, 0]), CacheError::Senseless);
    assert_eq!(with(&[0xff; 20]), CacheError::Senseless);
    // Parts that nothing in the index asks for, and too few.
    assert_eq!(from_bytes(sealed(&[&index[..], &[0]])).unwrap_err(), CacheError::Damaged);
    assert_eq!(from_bytes(sealed::<Vec<u8>>(&[])).unwrap_err(), CacheError::Damaged);
    let parts = taken_apart(&rules(RULE).to_bytes());
    let cut = sealed(&parts[..parts.len() - 1]);
    assert_eq!(Collection::open(Arc::new(cut)).unwrap_err(), CacheError::Damaged);
}

/// The table says how many parts there are and how long each is, and may lie about both.
#[test]
fn what_lies_about_parts_is_refused() {
    let with = |table: &[u8], parts: &[u8]| {
        let digest = digest(0, table).to_le_bytes();
        from_bytes([HEADER, &digest, table, parts].concat()).unwrap_err()
    };
    assert_eq!(with(&[], &[]), CacheError::Damaged);
    assert_eq!(with(&[1, 0, 0], &[]), CacheError::Damaged);
    assert_eq!(with(&[0xff; 4], &[]), CacheError::Damaged);
    let entry = |length: u32| [&1u32.to_le_bytes()[..], &length.to_le_bytes(), &[0; 8]].concat();
    assert_eq!(with(&entry(u32::MAX), &[0; 7]), CacheError::Damaged);
    assert_eq!(with(&entry(8), &[0; 7]), CacheError::Damaged);
    assert_eq!(with(&entry(6), &[0; 7]), CacheError::Damaged);
    assert_eq!(with(&entry(7), &[0; 7]), CacheError::Damaged, "another digest");
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

/// Damage that is seen when the part is needed: the rule is none then.
#[test]
fn a_damaged_part_is_no_wrong_rule() {
    let mut parts = taken_apart(&rules(RULE).to_bytes());
    *parts[2].last_mut().unwrap() = 1;
    let bytes = sealed(&parts);
    assert_eq!(from_bytes(bytes.clone()).unwrap_err(), CacheError::Senseless);

    let set = Collection::open(Arc::new(bytes)).unwrap().link(&crate::LinkOptions::default()).rules;
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
    let mixed = |other: &[u8]| {
        let (index, parts) = (taken_apart(&one).remove(0), taken_apart(other).split_off(1));
        from_bytes(sealed(&[vec![index], parts].concat()))
    };
    assert!(mixed(&other).is_ok(), "the same as far as the index goes");
    let other = rules(&RULE.replace("level: high", "level: low ")).to_bytes();
    assert_eq!(mixed(&other).unwrap_err(), CacheError::Senseless);
}

/// A rule is as it was kept until somebody changes it.
#[test]
fn a_changed_rule_is_asked_itself() {
    let mut rules = Collection::open(Arc::new(rules(RULE).to_bytes())).unwrap().rules;
    let [rule] = &mut rules[..] else { panic!("one rule") };
    assert_eq!(rule.brief().level, wardline_event::Severity::High);
    rule.attributes.id = "new".to_owned();
    assert_eq!((rule.brief().id.as_str(), rule.title.as_str()), ("new", "t"));
    let copy = rule.clone();
    assert_eq!(copy.brief().id, "new");
}
