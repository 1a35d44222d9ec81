//! What a program wrote into the system's log, and what it says of who signed in.

use crate::activity::{Body, Event, Process};
use crate::fields::{Fields, LogSource, Value};

/// A line of the system's log.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct LogActivity {
    /// What the program calls itself: `sshd`, `CRON`.
    pub program: String,
    /// What it wrote.
    pub message: String,
    /// The service that it belongs to; empty if it is not known.
    pub unit: String,
    /// Syslog's facility: 4 and 10 are about who may enter.
    pub facility: Option<u8>,
    /// Whether somebody vouches for it that the superuser's program wrote it, and not just anybody in its name.
    pub is_vouched: bool,
    /// What it says of who signed in or tried to; only where it is vouched for.
    pub login: Option<Login>,
    /// Who wrote it, as far as that is known.
    pub actor: Process,
}

/// Somebody signed in, tried to, became somebody else, or left.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Login {
    /// True if a session ended (OCSF Logoff), false if one began or was asked for (OCSF Logon).
    pub is_logoff: bool,
    /// Whether it was granted.
    pub success: bool,
    /// Who is signed in then.
    pub user: String,
    /// Who asked for it, where that is somebody on this machine; empty if it is not said.
    pub by: String,
    /// From where; empty if it is not said.
    pub source_ip: String,
    /// From which port; 0 if it is not said.
    pub source_port: u16,
    /// At which terminal; empty if it is not said.
    pub terminal: String,
    /// How: `password`, `publickey`; empty if it is not said.
    pub method: String,
    /// What was asked for: the command of sudo.
    pub command: String,
}

/// The field names that a line of a log answers to, besides those of who wrote it.
pub(crate) const LOG_FIELDS: &[&str] = &["message", "program", "unit", "facility", "vouched"];
/// The same of a line that says who signed in.
pub(crate) const LOGIN_LINE_FIELDS: &[&str] = &[
    "message",
    "program",
    "unit",
    "facility",
    "vouched",
    "LogonResult",
    "TargetUserName",
    "SubjectUserName",
    "SourceIp",
    "SourcePort",
    "Terminal",
    "LogonMethod",
    "Command",
];

impl LogActivity {
    /// The logs, in Sigma's names of services, in which the line would stand; the narrowest first.
    ///
    /// A line in the name of a program that nobody vouches for stands in `syslog` only: whoever may write to the log
    /// could have written it.
    pub fn services(&self) -> &'static [&'static str] {
        const AUTH: [u8; 2] = [4, 10];
        if !self.is_vouched {
            return &["syslog"];
        }
        match self.program.as_str() {
            "sshd" | "sshd-session" | "sshd-auth" => &["sshd", "auth", "syslog"],
            "sudo" => &["sudo", "auth", "syslog"],
            "CRON" | "cron" | "crond" | "crontab" | "anacron" => &["cron", "syslog"],
            "su" | "login" | "systemd-logind" => &["auth", "syslog"],
            _ if self.facility.is_some_and(|f| AUTH.contains(&f)) => &["auth", "syslog"],
            _ => &["syslog"],
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<Value<'_>> {
        let login = self.login.as_ref();
        match name {
            "message" => Some(Value::str(&self.message)),
            "program" => text(&self.program),
            "unit" => text(&self.unit),
            "facility" => self.facility.map(|f| Value::Int(f.into())),
            "vouched" => Some(Value::str(if self.is_vouched { "true" } else { "false" })),
            "LogonResult" => login.map(|login| {
                Value::str(match (login.is_logoff, login.success) {
                    (true, _) => "logoff",
                    (false, true) => "success",
                    (false, false) => "failure",
                })
            }),
            "TargetUserName" => text(&login?.user),
            "SubjectUserName" => text(&login?.by),
            "SourceIp" => text(&login?.source_ip),
            "SourcePort" => login.filter(|l| l.source_port != 0).map(|l| Value::Int(l.source_port.into())),
            "Terminal" => text(&login?.terminal),
            "LogonMethod" => text(&login?.method),
            "Command" => text(&login?.command),
            _ => None,
        }
    }

    /// In a few words, for people: `alice signed in from 192.0.2.7 by publickey`.
    pub fn words(&self) -> String {
        let Some(login) = &self.login else { return format!("{} wrote into the log", self.program) };
        let mut text = match (login.is_logoff, login.success) {
            (true, _) => format!("{} signed out", login.user),
            (false, true) => format!("{} signed in", login.user),
            (false, false) => format!("{} was refused", login.user),
        };
        for (word, what) in [
            (" for ", &login.by),
            (" from ", &login.source_ip),
            (" at ", &login.terminal),
            (" by ", &login.method),
        ] {
            if !what.is_empty() {
                text += word;
                text += what;
            }
        }
        text
    }
}

/// An event as it stands in a further log: a line of sshd is one of the authentication log, too.
#[derive(Clone, Copy, Debug)]
pub struct ServiceView<'e> {
    event: &'e Event,
    service: &'static str,
}

impl<'e> ServiceView<'e> {
    /// The views of an event besides its own.
    pub fn of(event: &'e Event) -> impl Iterator<Item = Self> {
        let services = match &event.body {
            Body::Log(log) => log.services().get(1..).unwrap_or_default(),
            _ => &[],
        };
        services.iter().map(move |service| Self { event, service })
    }
}

impl Fields for ServiceView<'_> {
    fn log_source(&self) -> LogSource<'_> {
        LogSource::new(&self.event.product, "", self.service)
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        self.event.field(name)
    }

    fn each_field(&self, visit: &mut dyn FnMut(&str, Value<'_>)) {
        self.event.each_field(visit);
    }
}

/// Unknown text is a missing field.
fn text(text: &str) -> Option<Value<'_>> {
    (!text.is_empty()).then(|| Value::str(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stands_in_the_logs_of_its_service_only_if_somebody_vouches_for_it() {
        let services = |program: &str, facility, is_vouched| {
            LogActivity { program: program.into(), facility, is_vouched, ..LogActivity::default() }.services()
        };
        assert_eq!(services("sshd", None, true), ["sshd", "auth", "syslog"]);
        assert_eq!(services("sshd", Some(10), false), ["syslog"]);
        assert_eq!(services("gdm-password]", Some(10), true), ["auth", "syslog"]);
        assert_eq!(services("CRON", Some(9), true), ["cron", "syslog"]);
        assert_eq!(services("named", Some(3), true), ["syslog"]);
    }
}
