//! Which rules and which records a person wants to see.

use wardline_event::{Severity, Timestamp};

use super::catalog::TACTICS;

/// Which rules are reported.
#[derive(Debug, Default)]
pub struct RuleFilter {
    /// This level and above.
    pub level: Option<Severity>,
    /// One of these tags, or a tag below one (`attack.t1059` takes `attack.t1059.001`); empty takes all.
    pub tags: Vec<Tag>,
    /// None of these tags.
    pub not_tags: Vec<Tag>,
    /// One of these ids, or a title that holds one of these; empty takes all.
    pub rules: Vec<String>,
    /// None of these ids and titles.
    pub not_rules: Vec<String>,
}

impl RuleFilter {
    /// True if every rule is reported.
    pub fn wants_all(&self) -> bool {
        let Self { level, tags, not_tags, rules, not_rules } = self;
        level.is_none()
            && [tags, not_tags].iter().all(|list| list.is_empty())
            && [rules, not_rules].iter().all(|list| list.is_empty())
    }

    /// True if a rule with these attributes is reported.
    pub fn wants(&self, id: &str, title: &str, level: Severity, tags: &[String]) -> bool {
        let title = title.to_lowercase();
        let named = |wanted: &String| {
            let wanted = wanted.to_lowercase();
            id.eq_ignore_ascii_case(&wanted) || title.contains(&wanted)
        };
        let tagged = |wanted: &Tag| tags.iter().any(|tag| wanted.takes(tag));
        self.level.is_none_or(|least| level >= least)
            && (self.rules.is_empty() || self.rules.iter().any(named))
            && !self.not_rules.iter().any(named)
            && (self.tags.is_empty() || self.tags.iter().any(tagged))
            && !self.not_tags.iter().any(tagged)
    }
}

/// A tag as a person writes it, and what it stands for in rules: `T1059`, `TA0002`, `Execution` or `attack.execution`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tag {
    text: String,
    any: Vec<String>,
}

/// ATT&CK's ids of tactics, and their names in tags.
const TACTIC_IDS: &[(&str, &[&str])] = &[
    ("ta0043", &["reconnaissance"]),
    ("ta0042", &["resource-development"]),
    ("ta0001", &["initial-access"]),
    ("ta0002", &["execution"]),
    ("ta0003", &["persistence"]),
    ("ta0004", &["privilege-escalation"]),
    // The younger name is that of ATT&CK 19.
    ("ta0005", &["defense-evasion", "stealth"]),
    ("ta0006", &["credential-access"]),
    ("ta0007", &["discovery"]),
    ("ta0008", &["lateral-movement"]),
    ("ta0009", &["collection"]),
    ("ta0011", &["command-and-control"]),
    ("ta0010", &["exfiltration"]),
    ("ta0040", &["impact"]),
];

impl Tag {
    /// Any text is a tag. What is an id of ATT&CK or the name of a tactic need not say so.
    pub fn new(text: &str) -> Self {
        let plain = plain(text);
        let name = plain.strip_prefix("attack.").unwrap_or(&plain);
        let mut any = Vec::new();
        if let Some((_, names)) = TACTIC_IDS.iter().find(|(id, _)| *id == name) {
            any.extend(names.iter().map(|name| format!("attack.{name}")));
        }
        let of_attack = is_attack_id(name) || TACTICS.contains(&name);
        any.push(if of_attack { format!("attack.{name}") } else { plain });
        Self { text: text.to_owned(), any }
    }

    /// Whether a rule's tag is this one, or one below it: `attack.t1059.001` is below `attack.t1059`.
    fn takes(&self, tag: &str) -> bool {
        let tag = plain(tag);
        let below = |rest: &str| rest.is_empty() || rest.starts_with('.');
        self.any.iter().any(|wanted| tag.strip_prefix(wanted.as_str()).is_some_and(below))
    }
}

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Without case, and with dashes where older rules write `defense_evasion` and people a blank.
fn plain(text: &str) -> String {
    text.trim().to_lowercase().replace(['_', ' '], "-")
}

/// `t1059`, `t1059.001`, `ta0002`, `s0002`, `g0016`.
fn is_attack_id(text: &str) -> bool {
    let letters = text.chars().take_while(char::is_ascii_alphabetic).count();
    let (kind, number) = text.split_at(letters);
    let (number, sub) = number.split_once('.').unwrap_or((number, "000"));
    let digits = |text: &str, n: usize| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
    matches!(kind, "t" | "ta" | "s" | "g") && digits(number, 4) && digits(sub, 3)
}

/// Which records are looked at.
#[derive(Debug, Default)]
pub struct RecordFilter {
    /// Written at this time or later.
    pub from: Option<Timestamp>,
    /// Written at this time or earlier.
    pub to: Option<Timestamp>,
    /// On a computer whose name fits one of these; empty takes all.
    pub computers: Vec<Name>,
    /// On none of these computers.
    pub not_computers: Vec<Name>,
}

impl RecordFilter {
    /// True if a record of this time is looked at. A record without a time is not, once a time is asked for.
    pub fn wants_time(&self, time: Option<Timestamp>) -> bool {
        match time {
            Some(time) => self.from.is_none_or(|from| time >= from) && self.to.is_none_or(|to| time <= to),
            None => self.from.is_none() && self.to.is_none(),
        }
    }

    /// True if the computer's name decides anything.
    pub fn asks_for_computers(&self) -> bool {
        !self.computers.is_empty() || !self.not_computers.is_empty()
    }

    /// True if records of this computer are looked at; a record that names none has the name `""`.
    pub fn wants_computer(&self, name: &str) -> bool {
        let fits = |wanted: &Name| wanted.fits(name);
        (self.computers.is_empty() || self.computers.iter().any(fits)) && !self.not_computers.iter().any(fits)
    }
}

/// A computer's name as a person writes it: `*` stands for anything, and a short name for the full one too.
#[derive(Clone, Debug)]
pub struct Name(String);

impl Name {
    /// Any text is a name.
    pub fn new(text: &str) -> Self {
        Self(text.to_lowercase())
    }

    fn fits(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        if glob(&self.0, &name) {
            return true;
        }
        // `ward-pc-7` takes `ward-pc-7.trust.example`; an address has no short form.
        name.split_once('.').is_some_and(|(short, _)| {
            !self.0.contains('.') && short.parse::<u8>().is_err() && glob(&self.0, short)
        })
    }
}

/// `*` matches any text; everything else itself. Linear but for one position to go back to.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(mut part) = parts.next() else { return rest.is_empty() };
    for next in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        part = next;
    }
    rest.ends_with(part)
}

/// A point in time as a person writes it: RFC 3339, or without its zone (then UTC), seconds or time of day.
///
/// `end` takes the last millisecond of what was written: a day's, a minute's.
pub fn parse_time(text: &str, end: bool) -> Result<Timestamp, String> {
    let wrong = || {
        "expected a date or a time, in UTC unless it says otherwise: 2024-11-03, 2024-11-03T10:00, \
         2024-11-03T10:00:05Z, 2024-11-03T10:00:05+01:00"
            .to_owned()
    };
    let mut full = text.trim().to_uppercase();
    if full.as_bytes().get(10) == Some(&b' ') {
        full.replace_range(10..11, "T");
    }
    if let Some(time) = Timestamp::parse_rfc3339(&full) {
        return Ok(time);
    }
    let (rest, length) = match full.len() {
        10 => ("T00:00:00Z", 86_400_000),
        16 => (":00Z", 60_000),
        19 => ("Z", 1_000),
        20.. => ("Z", 1),
        _ => return Err(wrong()),
    };
    let begin = Timestamp::parse_rfc3339(&(full + rest)).ok_or_else(wrong)?;
    Ok(if end { Timestamp(begin.0 + length - 1) } else { begin })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_minutes_seconds_or_rfc_3339() {
        let at = |text, end| parse_time(text, end).map(|t| t.to_string());
        for (text, begin, end) in [
            ("2024-11-03", "2024-11-03T00:00:00.000Z", "2024-11-03T23:59:59.999Z"),
            ("2024-11-03 10:00", "2024-11-03T10:00:00.000Z", "2024-11-03T10:00:59.999Z"),
            ("2024-11-03t10:00:05", "2024-11-03T10:00:05.000Z", "2024-11-03T10:00:05.999Z"),
            ("2024-11-03T10:00:05.25", "2024-11-03T10:00:05.250Z", "2024-11-03T10:00:05.250Z"),
            ("2024-11-03T10:00:05+01:00", "2024-11-03T09:00:05.000Z", "2024-11-03T09:00:05.000Z"),
        ] {
            assert_eq!(at(text, false).as_deref(), Ok(begin));
            assert_eq!(at(text, true).as_deref(), Ok(end));
        }
        for wrong in ["", "yesterday", "2024-13-01", "2024-11-03T25:00", "3.11.2024", "２０２４-11"] {
            assert!(at(wrong, false).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_fit_without_case_with_stars_and_without_their_domain() {
        for (name, fits, differs) in [
            (
                "ward-pc-7",
                &["WARD-PC-7", "ward-pc-7.trust.example"][..],
                &["ward-pc-70", "x.ward-pc-7", ""][..],
            ),
            ("ward-*", &["WARD-PC-7", "ward-"], &["LAB-2"]),
            ("*-pc-*", &["ward-pc-7", "-pc-"], &["pc", "-pc"]),
            ("a*a", &["aa", "aba"], &["a"]),
            ("10", &["10"], &["10.0.0.1"]),
            ("*", &["", "x"], &[]),
        ] {
            for text in fits {
                assert!(Name::new(name).fits(text), "{name} {text}");
            }
            for text in differs {
                assert!(!Name::new(name).fits(text), "{name} {text}");
            }
        }
    }

    #[test]
    fn a_technique_takes_its_sub_techniques() {
        let filter = |tags: &[&str], not: &[&str]| RuleFilter {
            tags: tags.iter().map(|t| Tag::new(t)).collect(),
            not_tags: not.iter().map(|t| Tag::new(t)).collect(),
            ..RuleFilter::default()
        };
        let tags = ["attack.t1059.001".to_owned(), "attack.execution".to_owned()];
        let wants = |f: RuleFilter| f.wants("", "t", Severity::Low, &tags);
        assert!(wants(filter(&["attack.T1059"], &[])));
        assert!(wants(filter(&["attack"], &[])));
        assert!(!wants(filter(&["attack.t105"], &[])));
        assert!(!wants(filter(&["attack.t1059.0011"], &[])));
        assert!(!wants(filter(&[], &["attack.execution"])));
        for tag in ["T1059", "t1059.001", "TA0002", "attack.ta0002", "Execution", "attack.Execution"] {
            assert!(wants(filter(&[tag], &[])), "{tag}");
        }
        for tag in ["T1060", "TA0005", "t105", "1059", "TA", "executio"] {
            assert!(!wants(filter(&[tag], &[])), "{tag}");
        }
    }

    #[test]
    fn a_tactic_is_known_by_its_id_its_name_and_older_spellings() {
        let takes = |wanted: &str, tag: &str| Tag::new(wanted).takes(tag);
        for wanted in ["TA0005", "defense evasion", "Defense-Evasion", "attack.defense_evasion"] {
            assert!(takes(wanted, "attack.defense_evasion"), "{wanted}");
            assert!(takes(wanted, "attack.defense-evasion"), "{wanted}");
            assert!(!takes(wanted, "attack.execution"), "{wanted}");
        }
        assert!(takes("TA0005", "attack.stealth") && takes("TA0002", "attack.ta0002"));
        assert!(takes("cve.2021-44228", "cve.2021-44228") && takes("S0002", "attack.s0002"));
        for (id, names) in TACTIC_IDS {
            assert!(is_attack_id(id) && names.iter().all(|name| TACTICS.contains(name)), "{id}");
        }
    }
}
