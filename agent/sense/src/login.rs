//! What programs write into the log about who signs in: OpenSSH, sudo, su, login, systemd-logind and what uses PAM.
//!
//! Names in such lines may have been chosen by whoever is outside. They are cut out so that no name can stand for the
//! address behind it.

use std::net::IpAddr;

use wardline_event::Login;

/// Longer names and commands are cut.
const MAX_TEXT: usize = 4096;

/// Reads a line of this program. `None` if it tells of nobody who signs in or out.
pub fn read(program: &str, message: &str) -> Option<Login> {
    if let Some(rest) = message.strip_prefix("pam_unix(").or_else(|| message.strip_prefix("pam_sss(")) {
        return pam(rest);
    }
    let login = match program {
        "sshd" | "sshd-session" | "sshd-auth" => sshd(message),
        "sudo" => sudo(message),
        "su" => su(message),
        "login" => console(message),
        "systemd-logind" => logind(message),
        _ => None,
    }?;
    Some(login)
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn sshd(message: &str) -> Option<Login> {
    let (success, rest) = match message.strip_prefix("Accepted ") {
        Some(rest) => (true, rest),
        None => (false, message.strip_prefix("Failed ")?),
    };
    let (method, rest) = rest.split_once(" for ")?;
    // An account that exists has no spaces in its name; a name that was only tried may hold anything.
    let (user, from) = if success { rest.split_once(" from ")? } else { rest.rsplit_once(" from ")? };
    let user = user.strip_prefix("invalid user ").unwrap_or(user);
    let mut words = from.split(' ');
    let ip: IpAddr = words.next()?.parse().ok()?;
    let source_port = if words.next() == Some("port") { words.next()?.parse().ok()? } else { 0 };
    Some(Login {
        success,
        user: cut(user),
        source_ip: ip.to_string(),
        source_port,
        method: cut(method),
        ..Login::default()
    })
}

/// `alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/ls`, a complaint before `TTY` if it was refused.
fn sudo(message: &str) -> Option<Login> {
    let (by, rest) = message.trim_start().split_once(" : ")?;
    let (before, command) = rest.split_once("COMMAND=")?;
    let field = |name: &str| before.split(" ; ").find_map(|part| part.trim().strip_prefix(name));
    let complaint = before.split(" ; ").next().map(str::trim).filter(|first| !first.contains('='));
    Some(Login {
        success: complaint.is_none(),
        user: cut(field("USER=").unwrap_or("root")),
        by: cut(by),
        terminal: cut(field("TTY=").filter(|tty| *tty != "unknown").unwrap_or_default()),
        command: cut(command),
        ..Login::default()
    })
}

/// `(to root) alice on pts/0`, with `FAILED SU ` before it if it was refused.
fn su(message: &str) -> Option<Login> {
    let (success, rest) = match message.strip_prefix("FAILED SU ") {
        Some(rest) => (false, rest),
        None => (true, message),
    };
    let (user, rest) = rest.strip_prefix("(to ")?.split_once(") ")?;
    let (by, terminal) = rest.rsplit_once(" on ")?;
    let terminal = if terminal == "none" { "" } else { terminal };
    Some(Login { success, user: cut(user), by: cut(by), terminal: cut(terminal), ..Login::default() })
}

/// Of util-linux and of shadow.
fn console(message: &str) -> Option<Login> {
    let quoted = |text: &str| text.trim_matches('\'').trim_start_matches("/dev/").to_owned();
    if let Some(rest) = message.strip_prefix("FAILED LOGIN ") {
        let (_, rest) = rest.split_once(" on ").or_else(|| rest.split_once(" FROM "))?;
        let (terminal, rest) = rest.split_once(" FOR ")?;
        let user = rest.rsplit_once(", ").map_or(rest, |(user, _)| user);
        let terminal = quoted(terminal.split(' ').next()?);
        return Some(Login { user: cut(user.trim_matches('\'')), terminal, ..Login::default() });
    }
    if let Some(rest) = message.strip_prefix("ROOT LOGIN ") {
        let terminal = rest.trim_start().get(3..)?.split(' ').next()?;
        let (success, user) = (true, "root".to_owned());
        return Some(Login { success, user, terminal: quoted(terminal), ..Login::default() });
    }
    let rest = message.strip_prefix("LOGIN ON ")?;
    let (terminal, user) = rest.split_once(" BY ")?;
    let (user, from) = user.split_once(" FROM ").map_or((user, ""), |(user, from)| (user, from));
    let source_ip = from.parse::<IpAddr>().map(|ip| ip.to_string()).unwrap_or_default();
    Some(Login { success: true, user: cut(user), terminal: quoted(terminal), source_ip, ..Login::default() })
}

fn logind(message: &str) -> Option<Login> {
    let rest = message.strip_prefix("New session ")?;
    let (_, user) = rest.split_once(" of user ")?;
    Some(Login { success: true, user: cut(user.strip_suffix('.').unwrap_or(user)), ..Login::default() })
}

/// Behind the name of the module: `sshd:session): session closed for user alice`. What programs say themselves more
/// fully is left to them.
fn pam(rest: &str) -> Option<Login> {
    const SPEAK_THEMSELVES: [&str; 7] = ["sshd", "sudo", "sudo-i", "su", "su-l", "login", "remote"];
    // Nobody signs in there: the system starts what is due.
    const NOBODY: [&str; 5] = ["cron", "crond", "systemd-user", "atd", "anacron"];
    let (place, message) = rest.split_once("): ")?;
    let (service, kind) = place.split_once(':')?;
    if NOBODY.contains(&service) {
        return None;
    }
    let user = |text: &str| cut(text.split(['(', ' ']).next().unwrap_or_default());
    if kind == "session"
        && let Some(rest) = message.strip_prefix("session closed for user ")
    {
        return Some(Login { is_logoff: true, success: true, user: user(rest), ..Login::default() });
    }
    if SPEAK_THEMSELVES.contains(&service) {
        return None;
    }
    if kind == "session"
        && let Some(rest) = message.strip_prefix("session opened for user ")
    {
        return Some(Login { success: true, user: user(rest), ..Login::default() });
    }
    let rest = message.strip_prefix("authentication failure; ").filter(|_| kind == "auth")?;
    // `logname= uid=0 euid=0 tty=/dev/tty1 ruser= rhost=  user=alice`: the user's name stands last.
    let (facts, name) = rest.rsplit_once(" user=")?;
    let field = |name: &str| facts.split(' ').find_map(|word| word.strip_prefix(name)).unwrap_or_default();
    let source_ip = field("rhost=").parse::<IpAddr>().map(|ip| ip.to_string()).unwrap_or_default();
    let terminal = cut(field("tty=").trim_start_matches("/dev/"));
    Some(Login { user: cut(name), by: cut(field("ruser=")), terminal, source_ip, ..Login::default() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Result, user, by, from, terminal, method or command.
    fn told(program: &str, message: &str) -> String {
        let Some(l) = read(program, message) else { return "nothing".to_owned() };
        let result = match (l.is_logoff, l.success) {
            (true, _) => "out",
            (false, true) => "in",
            (false, false) => "refused",
        };
        let from =
            if l.source_port == 0 { l.source_ip } else { format!("{}:{}", l.source_ip, l.source_port) };
        [result, &l.user, &l.by, &from, &l.terminal, &l.method, &l.command].join("|")
    }

    #[test]
    fn what_programs_write_is_understood() {
        let cases = [
            (
                "sshd",
                "Accepted publickey for alice from 192.0.2.7 port 50022 ssh2: ED25519 SHA256:abc from x",
                "in|alice||192.0.2.7:50022||publickey|",
            ),
            (
                "sshd",
                "Failed password for root from 2001:db8::1 port 22 ssh2",
                "refused|root||2001:db8::1:22||password|",
            ),
            (
                "sshd-session",
                "Failed password for invalid user x from 9.9.9.9 port 1 ssh2 from 192.0.2.7 port 2 ssh2",
                "refused|x from 9.9.9.9 port 1 ssh2||192.0.2.7:2||password|",
            ),
            ("sshd", "Failed password for invalid user  from UNKNOWN port 2", "nothing"),
            ("sshd", "Server listening on 0.0.0.0 port 22.", "nothing"),
            ("sshd", "pam_unix(sshd:session): session closed for user alice", "out|alice|||||"),
            ("sshd", "pam_unix(sshd:session): session opened for user alice(uid=1000) by (uid=0)", "nothing"),
            (
                "sudo",
                "   alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/sh -c x ; USER=bob",
                "in|root|alice||pts/0||/bin/sh -c x ; USER=bob",
            ),
            (
                "sudo",
                "eve : user NOT in sudoers ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/id",
                "refused|root|eve||pts/1||/bin/id",
            ),
            (
                "sudo",
                "eve : 3 incorrect password attempts ; TTY=unknown ; PWD=/ ; USER=bob ; COMMAND=/bin/id",
                "refused|bob|eve||||/bin/id",
            ),
            ("su", "(to root) alice on pts/0", "in|root|alice||pts/0||"),
            ("su", "FAILED SU (to root) alice on none", "refused|root|alice||||"),
            ("login", "LOGIN ON tty1 BY alice", "in|alice|||tty1||"),
            ("login", "ROOT LOGIN  on '/dev/tty1'", "in|root|||tty1||"),
            (
                "login",
                "FAILED LOGIN (2) on '/dev/tty1' FOR 'root', Authentication failure",
                "refused|root|||tty1||",
            ),
            ("systemd-logind", "New session 3 of user alice.", "in|alice|||||"),
            (
                "gdm-password]",
                "pam_unix(gdm-password:auth): authentication failure; logname= uid=0 euid=0 tty=/dev/tty1 ruser= rhost=  user=alice",
                "refused|alice|||tty1||",
            ),
            ("CRON", "pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)", "nothing"),
            ("evil", "Accepted password for root from 192.0.2.7 port 1 ssh2", "nothing"),
        ];
        for (program, message, expected) in cases {
            assert_eq!(told(program, message), expected, "{program}: {message}");
        }
    }

    proptest! {
        #[test]
        fn hostile_lines_never_panic(
            program in "(sshd|sudo|su|login|systemd-logind)",
            line in "(Failed |Accepted |FAILED LOGIN |ROOT LOGIN |LOGIN ON |\\(to |pam_unix\\()?\\PC{0,60}( from | for |: |COMMAND=| on )?\\PC{0,20}",
        ) {
            let _ = read(&program, &line);
        }

        /// Whatever name somebody tries, the address told is the one that the server saw.
        #[test]
        fn no_name_stands_for_an_address(name in "\\PC{0,40}") {
            let line = format!("Failed password for invalid user {name} from 192.0.2.7 port 2 ssh2");
            if let Some(login) = read("sshd", &line) {
                prop_assert_eq!(login.source_ip, "192.0.2.7");
            }
        }
    }
}
