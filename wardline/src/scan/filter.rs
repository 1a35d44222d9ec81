//! Which rules and which records a person wants to see.

use wardline_event::{Severity, Timestamp};

/// Which rules are reported.
#[derive(Debug, Default)]
pub struct RuleFilter {
    /// This level and above.
    pub level: Option<Severity>,
    /// One of these tags, or a tag below one (`attack.t1059` takes `attack.t1059.001`); empty takes all.
    pub tags: Vec<String>,
    /// None of these tags.
    pub not_tags: Vec<String>,
    /// One of these ids, or a title that holds one of these; empty takes all.
    pub rules: Vec<String>,
    /// None of these ids and titles.
    pub not_rules: Vec<String>,
}

impl RuleFilter {
    /// True if a rule with these attributes is reported.
    pub fn wants(&self, id: &str, title: &str, level: Severity, tags: &[String]) -> bool {
        let title = title.to_lowercase();
        let named = |wanted: &String| {
            let wanted = wanted.to_lowercase();
            id.eq_ignore_ascii_case(&wanted) || title.contains(&wanted)
        };
        let tagged = |wanted: &String| tags.iter().any(|tag| is_below(tag, wanted));
        self.level.is_none_or(|least| level >= least)
            && (self.rules.is_empty() || self.rules.iter().any(named))
            && !self.not_rules.iter().any(named)
            && (self.tags.is_empty() || self.tags.iter().any(tagged))
            && !self.not_tags.iter().any(tagged)
    }
}

/// `attack.t1059.001` is below `attack.t1059`, and below itself.
fn is_below(tag: &str, wanted: &str) -> bool {
    tag.get(..wanted.len()).is_some_and(|head| head.eq_ignore_ascii_case(wanted))
        && matches!(tag.as_bytes().get(wanted.len()), None | Some(b'.'))
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
            tags: tags.iter().map(|t| (*t).to_owned()).collect(),
            not_tags: not.iter().map(|t| (*t).to_owned()).collect(),
            ..RuleFilter::default()
        };
        let tags = ["attack.t1059.001".to_owned(), "attack.execution".to_owned()];
        let wants = |f: RuleFilter| f.wants("", "t", Severity::Low, &tags);
        assert!(wants(filter(&["attack.T1059"], &[])));
        assert!(wants(filter(&["attack"], &[])));
        assert!(!wants(filter(&["attack.t105"], &[])));
        assert!(!wants(filter(&["attack.t1059.0011"], &[])));
        assert!(!wants(filter(&[], &["attack.execution"])));
    }
}
