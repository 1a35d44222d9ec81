//! Text as people see it: hostile characters made visible, times, numbers.

use std::fmt::{self, Display, Write};

use askama::Values;
use askama::filters::{Escaper, Safe};
use time::OffsetDateTime;
use wardline_event::Timestamp;

/// The escaper of every template. Beside HTML's own characters it spells out those that deceive the eye: control
/// characters, and the ones that turn the direction of the text or take no space (`invoice\u{202e}fdp.exe`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Visible;

impl Escaper for Visible {
    fn write_escaped_str<W: Write>(&self, mut out: W, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_escaped_char(&mut out, c))
    }

    fn write_escaped_char<W: Write>(&self, mut out: W, c: char) -> fmt::Result {
        match c {
            '&' => out.write_str("&amp;"),
            '<' => out.write_str("&lt;"),
            '>' => out.write_str("&gt;"),
            '"' => out.write_str("&quot;"),
            '\'' => out.write_str("&#39;"),
            '\n' | '\t' => out.write_char(c),
            c if deceives(c) => write!(out, "\\u{{{:x}}}", u32::from(c)),
            c => out.write_char(c),
        }
    }
}

/// Characters that are not seen, or that change how others are seen.
fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Writes `text` into HTML by hand, as a template would.
pub fn escaped(text: &str) -> impl Display {
    struct Escaped<'a>(&'a str);
    impl Display for Escaped<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            Visible.write_escaped_str(f, self.0)
        }
    }
    Escaped(text)
}

/// The first `max` characters, and how many more there are.
pub fn short(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((cut, _)) => {
            format!("{}… ({} more characters)", &text[..cut], grouped(text[cut..].chars().count() as u64))
        }
        None => text.to_owned(),
    }
}

/// Text with the ids in it cut to what a person can compare; the whole is in the page's tooltip and in the API.
pub fn brief(text: &str) -> String {
    let cut = |word: &str| {
        if word.len() >= 32 && word.bytes().all(|b| b.is_ascii_hexdigit()) {
            format!("{}…", &word[..10])
        } else {
            word.to_owned()
        }
    };
    text.split(' ').map(cut).collect::<Vec<_>>().join(" ")
}

/// The last part of a path, Windows' or Unix': what people call a program. The whole text if there is none.
pub fn base_name(path: &str) -> &str {
    match path.rsplit(['/', '\\']).next() {
        Some(name) if !name.is_empty() => name,
        _ => path,
    }
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// An address of this hub: a path and what is asked, percent-encoded (RFC 3986). Empty values are left out.
pub fn address(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut out = path.to_owned();
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        out.push(if out.len() == path.len() { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                out.push(char::from(byte));
            } else {
                write!(out, "%{byte:02X}").expect("writing to a String cannot fail");
            }
        }
    }
    out
}

/// Microseconds as people say them: `0.8 ms`, `14 ms`, `2.3 seconds`.
pub fn spoken_us(us: u64) -> String {
    match us {
        0..10_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        10_000..1_000_000 => format!("{} ms", us / 1000),
        _ => format!("{}.{} seconds", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

/// `2 minutes ago`; a time that has not come yet is `in 2 minutes`.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let (ms, future) =
        if at > now { (at.since(now).as_millis(), true) } else { (now.since(at).as_millis(), false) };
    let s = ms / 1000;
    let count = |n: u128, unit: &str| format!("{n} {unit}{}", if n == 1 { "" } else { "s" });
    let span = match s {
        0..10 if !future => return "just now".to_owned(),
        0..60 => count(s, "second"),
        60..3600 => count(s / 60, "minute"),
        3600..86_400 => count(s / 3600, "hour"),
        _ => count(s / 86_400, "day"),
    };
    if future { format!("in {span}") } else { format!("{span} ago") }
}

/// `23 Nov 2026, 16:12:03 UTC`; a time outside the calendar as its milliseconds.
pub fn absolute(at: Timestamp) -> String {
    match OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000) {
        Ok(t) if (0..=9999).contains(&t.year()) => format!(
            "{} {} {}, {:02}:{:02}:{:02} UTC",
            t.day(),
            &t.month().to_string()[..3],
            t.year(),
            t.hour(),
            t.minute(),
            t.second()
        ),
        _ => at.to_string(),
    }
}

/// `16:12:03.250`: within a timeline, where the day is said once.
pub fn clock_time(at: Timestamp) -> String {
    match OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000) {
        Ok(t) => format!("{:02}:{:02}:{:02}.{:03}", t.hour(), t.minute(), t.second(), t.millisecond()),
        Err(_) => at.to_string(),
    }
}

/// A `<time>` element: how long ago, kept true by the console's script, and the exact time on hover.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ago {
    /// When it was.
    pub at: Timestamp,
    /// When the page is made.
    pub now: Timestamp,
}

impl Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The script only counts upwards, so what lies ahead is left alone.
        let live = if self.at <= self.now { format!(" data-ago=\"{}\"", self.at.0) } else { String::new() };
        let (at, title, text) = (self.at, absolute(self.at), ago(self.at, self.now));
        write!(f, "<time datetime=\"{at}\" title=\"{title}\"{live}>{text}</time>")
    }
}

impl Markup for Ago {}

/// A `<time>` element with the exact time, as an inspector wants to read it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exact(pub Timestamp);

impl Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<time datetime=\"{}\">{}</time>", self.0, absolute(self.0))
    }
}

impl Markup for Exact {}

/// What writes HTML of its own, with every text in it escaped. Only such types pass the filter `html`, so no text
/// can be trusted by mistake.
pub trait Markup: Display {}

impl<T: Markup + ?Sized> Markup for &T {}

/// Filters that templates of every room use (`use wardline_kernel::page::filters;`).
#[allow(clippy::inline_always)] // askama's macro writes it.
pub mod filters {
    use super::{Markup, Safe, Values, brief as brief_text, grouped as grouped_text, short as short_text};

    /// Leaves markup as it is.
    #[askama::filter_fn]
    pub fn html<T: Markup>(value: T, _: &dyn Values) -> askama::Result<Safe<T>> {
        Ok(Safe(value))
    }

    /// See [`super::short`].
    #[askama::filter_fn]
    pub fn short(value: impl AsRef<str>, _: &dyn Values, max: usize) -> askama::Result<String> {
        Ok(short_text(value.as_ref(), max))
    }

    /// See [`super::brief`].
    #[askama::filter_fn]
    pub fn brief(value: impl AsRef<str>, _: &dyn Values) -> askama::Result<String> {
        Ok(brief_text(value.as_ref()))
    }

    /// See [`super::grouped`].
    #[askama::filter_fn]
    pub fn grouped(value: &u64, _: &dyn Values) -> askama::Result<String> {
        Ok(grouped_text(*value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_carries_any_text() {
        assert_eq!(address("/devices", &[("name", ""), ("after", "")]), "/devices");
        assert_eq!(
            address("/devices", &[("name", "a b&c=\"<ä"), ("x", ""), ("order", "name")]),
            "/devices?name=a%20b%26c%3D%22%3C%C3%A4&order=name"
        );
    }

    #[test]
    fn what_deceives_is_spelled_out() {
        let cases = [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("invoice\u{202e}fdp.exe", "invoice\\u{202e}fdp.exe"),
            ("a\u{1b}[31mb\0", "a\\u{1b}[31mb\\u{0}"),
            ("x' onmouseover=\"y", "x&#39; onmouseover=&quot;y"),
            ("zero\u{200b}width\u{feff}", "zero\\u{200b}width\\u{feff}"),
            ("line\nbreak\ttab", "line\nbreak\ttab"),
            ("Ärztezimmer 3 – Ωμέγα 診", "Ärztezimmer 3 – Ωμέγα 診"),
        ];
        for (text, html) in cases {
            assert_eq!(escaped(text).to_string(), html);
        }
    }

    proptest! {
        #[test]
        fn no_text_leaves_its_place(text in any::<String>()) {
            let html = escaped(&text).to_string();
            prop_assert!(!html.contains(['<', '>', '"', '\'']));
            prop_assert!(html.chars().all(|c| matches!(c, '\n' | '\t') || !deceives(c)));
        }

        #[test]
        fn cutting_keeps_whole_characters(text in any::<String>(), max in 0usize..50) {
            let cut = short(&text, max);
            prop_assert!(text.chars().count() > max || cut == text);
        }
    }

    #[test]
    fn times_and_numbers_read_as_people_say_them() {
        let now = Timestamp(1_494_586_920_250);
        assert_eq!(ago(now, now), "just now");
        assert_eq!(ago(Timestamp(now.0 - 61_000), now), "1 minute ago");
        assert_eq!(ago(Timestamp(now.0 - 3 * 86_400_000), now), "3 days ago");
        assert_eq!(ago(Timestamp(now.0 + 3_600_000), now), "in 1 hour");
        assert_eq!(ago(Timestamp(i64::MIN), Timestamp(i64::MAX)), "106751991167 days ago");
        assert_eq!(absolute(now), "12 May 2017, 11:02:00 UTC");
        assert_eq!(clock_time(now), "11:02:00.250");
        assert_eq!(absolute(Timestamp(i64::MAX)), format!("{}ms", i64::MAX));
        assert_eq!(
            Ago { at: now, now }.to_string(),
            "<time datetime=\"2017-05-12T11:02:00.250Z\" title=\"12 May 2017, 11:02:00 UTC\" \
             data-ago=\"1494586920250\">just now</time>"
        );
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [840, 4120, 14_900, 2_345_678].map(spoken_us),
            ["0.8 ms", "4.1 ms", "14 ms", "2.3 seconds"]
        );
        assert_eq!(base_name("C:\\Windows\\System32\\vssadmin.exe"), "vssadmin.exe");
        assert_eq!(["/usr/bin/nc", "nc", "/", ""].map(base_name), ["nc", "nc", "/", ""]);
        assert_eq!(brief("device 00000000000000000000000000000005"), "device 0000000000…");
        assert_eq!(brief("deadbeef is short"), "deadbeef is short");
        assert_eq!(short("abcdef", 3), "abc… (3 more characters)");
    }
}
