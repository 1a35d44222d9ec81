//! What must never be killed.

use std::fmt;

use wardline_event::ProcessKey;

use crate::plan::Facts;

/// What must never be killed, besides pid 1 and the kernel's own threads, which never are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protected {
    /// The agent's own processes.
    pub agent: Vec<ProcessKey>,
    /// What the agent's processes run under: killing one of them takes the agent with it.
    pub ancestors: Vec<ProcessKey>,
    /// Executables, as full paths; `*` stands for any characters but `/`. A program named here is spared wherever
    /// it stands in a tree; its children are not. The list must be short: whoever can make a listed program run
    /// code of theirs is spared too.
    pub executables: Vec<String>,
}

/// Why a process is not killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shield {
    /// Pid 1: the machine would stop with it.
    Init,
    /// A thread of the kernel.
    Kernel,
    /// The agent.
    Agent,
    /// What the agent runs under.
    AgentAncestor,
    /// An executable that the policy's allow-list names.
    Listed {
        /// The entry.
        pattern: String,
    },
}

impl fmt::Display for Shield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init => f.write_str("it is the first process, without which the machine stops"),
            Self::Kernel => f.write_str("it is a thread of the kernel"),
            Self::Agent => f.write_str("it is the agent itself"),
            Self::AgentAncestor => f.write_str("the agent runs under it and would end with it"),
            Self::Listed { pattern } => write!(f, "the policy's never_kill entry `{pattern}` names it"),
        }
    }
}

impl Protected {
    /// Why this process may not be killed; none if it may.
    pub fn shield(&self, facts: &Facts) -> Option<Shield> {
        let among = |keys: &[ProcessKey]| {
            keys.iter().any(|k| k.pid == facts.pid && k.start_ticks == facts.start_ticks)
        };
        if facts.pid <= 1 {
            Some(Shield::Init)
        } else if facts.kernel_thread {
            Some(Shield::Kernel)
        } else if among(&self.agent) {
            Some(Shield::Agent)
        } else if among(&self.ancestors) {
            Some(Shield::AgentAncestor)
        } else {
            let exe = facts.exe.as_ref().filter(|exe| exe.genuine)?;
            self.entry_for(&exe.path).map(|p| Shield::Listed { pattern: p.to_owned() })
        }
    }

    /// The entry of the allow-list that names this path.
    pub fn entry_for(&self, path: &str) -> Option<&str> {
        self.executables.iter().map(String::as_str).find(|p| path_matches(p.as_bytes(), path.as_bytes()))
    }
}

/// Matches a path against a pattern in which `*` stands for any characters but `/`.
///
/// Goes back to the last star only: stars never cross a `/`, and within one path component the last star can make
/// up for every earlier one. So the time is at most the product of the two lengths, whatever the pattern.
fn path_matches(pattern: &[u8], path: &[u8]) -> bool {
    let (mut p, mut s) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), path.get(s)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                p += 1;
                retry = Some((p, s));
                continue;
            }
            (Some(a), Some(b)) if a == b => {
                (p, s) = (p + 1, s + 1);
                continue;
            }
            _ => {}
        }
        match retry {
            Some((after_star, from)) if path.get(from).is_some_and(|c| *c != b'/') => {
                retry = Some((after_star, from + 1));
                (p, s) = (after_star, from + 1);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Exe;
    use proptest::prelude::*;
    use wardline_event::BootId;

    #[test]
    fn patterns() {
        for (pattern, path, matches) in [
            ("/usr/sbin/sshd", "/usr/sbin/sshd", true),
            ("/usr/sbin/sshd", "/usr/sbin/sshd2", false),
            ("/usr/sbin/sshd", "/tmp/usr/sbin/sshd", false),
            ("/usr/lib/systemd/*", "/usr/lib/systemd/systemd-logind", true),
            ("/usr/lib/systemd/*", "/usr/lib/systemd/user/x", false),
            ("/usr/lib/systemd/*", "/usr/lib/systemd/", true),
            ("/opt/*/bin/pacs-*", "/opt/acme/bin/pacs-viewer", true),
            ("/opt/*/bin/pacs-*", "/opt/acme/evil/bin/pacs-viewer", false),
            ("/opt/a*b*c", "/opt/aXbXbc", true),
            ("/opt/a*b*c", "/opt/aXcXb", false),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(path_matches(pattern.as_bytes(), path.as_bytes()), matches, "{pattern} {path}");
        }
    }

    /// The obvious, exponential definition.
    fn reference(pattern: &[u8], path: &[u8]) -> bool {
        match (pattern.split_first(), path.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                reference(rest, path)
                    || path.split_first().is_some_and(|(c, s)| *c != b'/' && reference(pattern, s))
            }
            (Some((a, p)), Some((b, s))) => a == b && reference(p, s),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn the_matcher_agrees_with_its_definition(pattern in "[ab/*]{0,10}", path in "[ab/]{0,12}") {
            prop_assert_eq!(
                path_matches(pattern.as_bytes(), path.as_bytes()),
                reference(pattern.as_bytes(), path.as_bytes())
            );
        }
    }

    #[test]
    fn each_shield() {
        let key = |pid, start_ticks| ProcessKey { boot: BootId(1), start_ticks, pid };
        let protected = Protected {
            agent: vec![key(50, 9)],
            ancestors: vec![key(40, 8)],
            executables: vec!["/usr/sbin/sshd".into()],
        };
        let plain = Facts { pid: 77, start_ticks: 9, ppid: 3, ..Facts::default() };
        let exe = |path: &str, genuine| Some(Exe { path: path.into(), genuine });
        let cases = [
            (plain.clone(), None),
            (Facts { pid: 1, ..plain.clone() }, Some(Shield::Init)),
            (Facts { kernel_thread: true, ..plain.clone() }, Some(Shield::Kernel)),
            (Facts { pid: 50, ..plain.clone() }, Some(Shield::Agent)),
            // The pid of an agent that has ended, used again.
            (Facts { pid: 50, start_ticks: 10, ..plain.clone() }, None),
            (Facts { pid: 40, start_ticks: 8, ..plain.clone() }, Some(Shield::AgentAncestor)),
            (
                Facts { exe: exe("/usr/sbin/sshd", true), ..plain.clone() },
                Some(Shield::Listed { pattern: "/usr/sbin/sshd".into() }),
            ),
            // Somebody's own file, mounted over that path in a namespace of theirs.
            (Facts { exe: exe("/usr/sbin/sshd", false), ..plain.clone() }, None),
            (Facts { name: "sshd".into(), ..plain }, None),
        ];
        for (facts, expected) in cases {
            assert_eq!(protected.shield(&facts), expected, "{facts:?}");
        }
    }
}
