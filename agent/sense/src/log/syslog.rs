//! Lines of syslog that any program of a Linux system wrote, in the three layouts that syslog daemons write: RFC 3164
//! (`Nov  3 07:01:02 host program[pid]: …`), the same with an RFC 3339 time, and RFC 5424 (`<34>1 time host …`).

use wardline_event::{Cell, Fill, LogSource, Timestamp};

/// The parts of a line.
#[derive(Debug, PartialEq)]
pub struct Entry<'a> {
    time: Option<Timestamp>,
    host: &'a str,
    program: &'a str,
    pid: Option<i64>,
    message: &'a str,
}

/// Programs, and Sigma's services of `product: linux`. Any other program's is `syslog`.
const SERVICES: &[(&str, &str)] = &[
    ("sshd", "sshd"),
    ("sshd-session", "sshd"),
    ("sudo", "sudo"),
    ("cron", "cron"),
    ("crond", "cron"),
    ("anacron", "cron"),
    ("crontab", "cron"),
    ("su", "auth"),
    ("login", "auth"),
    ("systemd-logind", "auth"),
    ("polkitd", "auth"),
    ("passwd", "auth"),
    ("useradd", "auth"),
    ("usermod", "auth"),
    ("groupadd", "auth"),
    ("clamd", "clamav"),
    ("freshclam", "clamav"),
    ("vsftpd", "vsftpd"),
    ("guacd", "guacamole"),
];

/// Takes a line apart; `None` if it is not laid out as syslog.
pub fn entry(line: &str) -> Option<Entry<'_>> {
    let (priority, rest) = match line.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((digits, rest)) if digits.len() <= 3 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            (true, rest)
        }
        _ => (false, line),
    };
    if priority && let Some(rest) = rest.strip_prefix("1 ") {
        return rfc5424(rest);
    }
    let (time, rest) = match rest.split_once(' ') {
        Some((first, rest)) if first.len() > 19 && first.as_bytes()[10] == b'T' => {
            (Some(Timestamp::parse_rfc3339(first)?), rest)
        }
        _ => {
            // The year is not said, and so the time is none.
            let (month, clock) = (rest.get(..3)?, rest.get(7..15)?);
            let dated = month.bytes().all(|b| b.is_ascii_alphabetic())
                && clock
                    .bytes()
                    .enumerate()
                    .all(|(i, b)| if i % 3 == 2 { b == b':' } else { b.is_ascii_digit() });
            (None, rest.get(15..).filter(|_| dated)?.strip_prefix(' ')?)
        }
    };
    let (host, rest) = rest.split_once(' ')?;
    let (tag, message) = rest.split_once(": ").or_else(|| Some((rest.strip_suffix(':')?, "")))?;
    let (program, pid) = match tag.split_once('[') {
        Some((program, pid)) => (program, pid.strip_suffix(']').and_then(|pid| pid.parse().ok())),
        None => (tag, None),
    };
    let is_tag = !program.is_empty() && !program.contains(char::is_whitespace);
    is_tag.then_some(Entry { time, host, program, pid, message })
}

fn rfc5424(text: &str) -> Option<Entry<'_>> {
    let mut parts = text.splitn(6, ' ');
    let (time, host, program) = (parts.next()?, parts.next()?, parts.next()?);
    let pid = parts.next()?.parse().ok();
    let rest = parts.nth(1)?;
    let message = behind_structured_data(rest)?;
    let message = message.trim_start_matches('\u{FEFF}');
    Some(Entry { time: Timestamp::parse_rfc3339(time), host, program, pid, message })
}

/// What follows `-` or elements like `[id name="value"]`, in whose values a backslash stands before `"`, `\` and `]`.
fn behind_structured_data(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix('-') {
        return Some(rest.trim_start());
    }
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b']' if !quoted && text.as_bytes().get(at + 1) != Some(&b'[') => {
                return Some(text[at + 1..].trim_start());
            }
            _ => {}
        }
    }
    None
}

impl Entry<'_> {
    /// Fills a record: `Computer`, `program`, `pid` and `message`.
    pub fn fill(&self, fill: &mut Fill<'_>) {
        for (name, text) in [("Computer", self.host), ("program", self.program), ("message", self.message)] {
            let cell = fill.text(text);
            fill.set(name, cell);
        }
        if let Some(pid) = self.pid {
            fill.set("pid", Cell::Int(pid));
        }
        let program = self.program.rsplit('/').next().unwrap_or_default();
        let service = SERVICES.iter().find(|(name, _)| name.eq_ignore_ascii_case(program));
        let record = fill.record();
        record.time = self.time;
        record.source = LogSource::new("linux", "", service.map_or("syslog", |(_, service)| service));
    }
}

#[cfg(test)]
mod tests {
    use super::super::windows_event::Workspace;

    /// Line, service, host, program, pid and message; `-` where there is none.
    const LINES: &[(&str, &str)] = &[
        (
            "Nov  3 07:01:02 pacs-2 sshd[811]: Failed password for root from 198.51.100.7 port 22 ssh2",
            "sshd|pacs-2|sshd|811|Failed password for root from 198.51.100.7 port 22 ssh2|-",
        ),
        (
            "<86>Nov 13 07:01:02 pacs-2 sudo: alice : TTY=pts/1 ; COMMAND=/bin/sh",
            "sudo|pacs-2|sudo|-|alice : TTY=pts/1 ; COMMAND=/bin/sh|-",
        ),
        (
            "2024-11-03T10:01:02.250+00:00 pacs-2 CRON[9]: (root) CMD (sync)",
            "cron|pacs-2|CRON|9|(root) CMD (sync)|2024-11-03T10:01:02.250Z",
        ),
        (
            "<34>1 2024-11-03T10:01:02Z pacs-2 su 12 ID47 - 'su root' failed",
            "auth|pacs-2|su|12|'su root' failed|2024-11-03T10:01:02.000Z",
        ),
        ("<165>1 - h app - - [a b=\"]\\]\"][c d=\"e\"] hello", "syslog|h|app|-|hello|-"),
        ("Nov  3 07:01:02 h kernel:", "syslog|h|kernel|-||-"),
        ("Nov  3 07:01:02 h last message repeated 3 times", "-"),
        ("a stack trace: goes on here", "-"),
        ("", "-"),
    ];

    #[test]
    fn lines_are_taken_apart() {
        for (line, wanted) in LINES {
            let mut workspace = Workspace::default();
            let read = workspace.syslog(line).map_or_else(
                || "-".to_owned(),
                |record| {
                    let json = record.to_json();
                    let text = |name: &str| json.get(name).map_or("-".to_owned(), ToString::to_string);
                    let text = |name: &str| record.text(name).map_or_else(|| text(name), str::to_owned);
                    let time = record.time.map_or_else(|| "-".to_owned(), |t| t.to_string());
                    [
                        &*record.source.service,
                        &text("Computer"),
                        &text("program"),
                        &text("pid"),
                        &text("message"),
                        &time,
                    ]
                    .join("|")
                },
            );
            assert_eq!(read, *wanted, "{line}");
        }
    }
}
