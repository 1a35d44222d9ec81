//! Refuses new logons of people, by the file for which `pam_nologin` looks; nobody's account is touched.
//!
//! What that covers is the machine's own PAM configuration's to say: every service whose `account` or `auth` stack has
//! `pam_nologin.so`, as Debian's `sshd` and `login` do, whatever somebody logs on with (a key too). Root is let in by
//! that module. Sessions that are open go on; so do `su` and `sudo` within them, cron and services.
//!
//! Break-glass accounts are let in where the service has this line before the one of `pam_nologin`:
//! `account [success=1 default=ignore] pam_listfile.so item=user sense=allow file=/run/wardline/break-glass onerr=fail`

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::measure::{ContainError, Contained, LogonSpec};

/// What our file begins with, and by which it is known as ours. Whoever tries to log on reads it.
const MARK: &str = "Logons are suspended by Wardline.";
/// Services over which people log on from afar and at the machine.
const SERVICES: [&str; 2] = ["sshd", "login"];

/// Where this machine looks.
#[derive(Clone, Debug)]
pub struct Logons {
    /// The file whose being there refuses logons.
    pub nologin: PathBuf,
    /// The names of those who are let in, one a line.
    pub break_glass: PathBuf,
    /// The folder of PAM's services.
    pub pam: PathBuf,
}

impl Default for Logons {
    fn default() -> Self {
        Self {
            nologin: "/run/nologin".into(),
            break_glass: "/run/wardline/break-glass".into(),
            pam: "/etc/pam.d".into(),
        }
    }
}

fn text() -> String {
    format!(
        "{MARK} Ask your service desk. At the machine, root can undo it: wardline agent release --local\n"
    )
}

fn names(spec: &LogonSpec) -> String {
    spec.except.iter().flat_map(|name| [name, "\n"]).collect()
}

fn os(doing: &'static str) -> impl Fn(io::Error) -> ContainError {
    move |source| ContainError::Os { doing, source }
}

/// A file, if it is there; no more of it than ours could have. A link is an error.
fn read(path: &Path) -> io::Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut text = String::new();
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd).take(64 * 1024).read_to_string(&mut text).map(|_| Some(text)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

impl Logons {
    /// Refuses new logons but those of root and of the accounts in `spec`.
    pub fn suspend(&self, spec: &LogonSpec) -> Result<Contained, ContainError> {
        let began = Instant::now();
        let services = self.services();
        if services.iter().all(|service| !service.refuses) {
            return Err(ContainError::Unsupported(format!(
                "logons cannot be suspended here: none of the services {} in {} asks pam_nologin",
                SERVICES.join(", "),
                self.pam.display()
            )));
        }
        // Those who are let in first, so that there is no moment in which they are not.
        self.write_names(spec)?;
        let there = read(&self.nologin).map_err(os("reading the nologin file"))?;
        let replaced = match &there {
            Some(text) if !text.starts_with(MARK) => {
                return Err(ContainError::Unsupported(format!(
                    "{} is there already and is somebody else's (a shutdown, perhaps): logons are refused by it, and it was left as it is",
                    self.nologin.display()
                )));
            }
            there => there.is_some(),
        };
        if !replaced {
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o644)
                .open(&self.nologin)
                .map_err(os("making the nologin file"))?;
            file.set_permissions(Permissions::from_mode(0o644))
                .map_err(os("opening the nologin file to all"))?;
            file.write_all(text().as_bytes()).map_err(os("writing the nologin file"))?;
        }
        Ok(Contained { replaced, took: began.elapsed(), notes: notes(&services, spec) })
    }

    fn write_names(&self, spec: &LogonSpec) -> Result<(), ContainError> {
        let doing = "writing the list of break-glass accounts";
        if let Some(folder) = self.break_glass.parent() {
            fs::create_dir_all(folder).map_err(os(doing))?;
        }
        // A file that others could write to pam_listfile refuses.
        let new = self.break_glass.with_extension("new");
        let write = || {
            let _ = fs::remove_file(&new);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(names(spec).as_bytes())?;
            fs::rename(&new, &self.break_glass)
        };
        write().map_err(os(doing))
    }

    /// Lets everybody log on again; true if they could not. Somebody else's file stays.
    pub fn restore(&self) -> Result<bool, ContainError> {
        let ours = read(&self.nologin).map_err(os("reading the nologin file"))?;
        let was = ours.is_some_and(|text| text.starts_with(MARK));
        if was {
            fs::remove_file(&self.nologin).map_err(os("removing the nologin file"))?;
        }
        match fs::remove_file(&self.break_glass) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(os("removing the list of break-glass accounts")(e))
            }
            _ => Ok(was),
        }
    }

    /// True if logons are suspended as `spec` says.
    pub fn are_suspended(&self, spec: &LogonSpec) -> bool {
        let is = |path: &Path, expected: &str| matches!(read(path), Ok(Some(text)) if text == expected);
        is(&self.nologin, &text()) && is(&self.break_glass, &names(spec))
    }

    fn services(&self) -> Vec<Service> {
        let of = |name: &'static str| {
            let lines = read(&self.pam.join(name)).ok()??;
            Some(Service::read(name, &lines, &self.break_glass))
        };
        SERVICES.into_iter().filter_map(of).collect()
    }
}

/// What a service's PAM configuration makes of the two files.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    name: &'static str,
    /// It asks `pam_nologin`.
    refuses: bool,
    /// Before that it asks for the list of break-glass accounts.
    lets_in: bool,
}

impl Service {
    fn read(name: &'static str, lines: &str, break_glass: &Path) -> Self {
        let lines: Vec<&str> = lines.lines().map(str::trim).filter(|l| !l.starts_with('#')).collect();
        let nologin = lines.iter().position(|l| l.contains("pam_nologin.so"));
        let list = format!("file={}", break_glass.display());
        let asks = |l: &&str| l.contains("pam_listfile.so") && l.split_whitespace().any(|word| word == list);
        let lets_in = nologin.is_some_and(|at| lines[..at].iter().any(asks));
        Self { name, refuses: nologin.is_some(), lets_in }
    }
}

fn notes(services: &[Service], spec: &LogonSpec) -> Vec<String> {
    let mut notes = Vec::new();
    let list = |pick: &dyn Fn(&&Service) -> bool| {
        services.iter().filter(pick).map(|s| s.name).collect::<Vec<_>>().join(" and ")
    };
    let open = list(&|s| !s.refuses);
    if !open.is_empty() {
        notes.push(format!("{open} does not ask pam_nologin and still lets everybody in"));
    }
    let closed = list(&|s| s.refuses && !s.lets_in);
    if !spec.except.is_empty() && !closed.is_empty() {
        notes.push(format!(
            "{closed} refuses the break-glass accounts too: its PAM configuration does not ask for them"
        ));
    }
    notes.push("root can log on; sessions that are open go on".to_owned());
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKS: &str =
        "account [success=1 default=ignore] pam_listfile.so item=user sense=allow file=/b onerr=fail";

    #[test]
    fn what_a_service_makes_of_the_files() {
        for (lines, refuses, lets_in) in [
            ("account required pam_nologin.so", true, false),
            ("#account required pam_nologin.so", false, false),
            (&format!("{ASKS}\naccount required pam_nologin.so"), true, true),
            (&format!("account required pam_nologin.so\n{ASKS}"), true, false),
            (&format!("{}\naccount required pam_nologin.so", ASKS.replace("/b", "/c")), true, false),
            ("", false, false),
        ] {
            let read = Service::read("sshd", lines, Path::new("/b"));
            assert_eq!((read.refuses, read.lets_in), (refuses, lets_in), "{lines}");
        }
    }

    /// A machine of its own folder.
    fn machine(sshd: &str) -> (tempfile::TempDir, Logons) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("pam.d")).unwrap();
        fs::write(dir.path().join("pam.d/sshd"), sshd).unwrap();
        let at = |name: &str| dir.path().join(name);
        let logons = Logons { nologin: at("nologin"), break_glass: at("run/break-glass"), pam: at("pam.d") };
        (dir, logons)
    }

    #[test]
    fn logons_are_suspended_and_restored_and_nothing_else_changes() {
        let (dir, logons) = machine("account required pam_nologin.so");
        let spec = LogonSpec { except: vec!["oncall".into()] };
        assert!(!logons.are_suspended(&spec));
        let first = logons.suspend(&spec).unwrap();
        assert!(!first.replaced);
        assert!(first.notes.iter().any(|n| n.contains("refuses the break-glass accounts too")), "{first:?}");
        assert!(logons.are_suspended(&spec));
        assert_eq!(fs::read_to_string(&logons.break_glass).unwrap(), "oncall\n");
        assert!(!logons.are_suspended(&LogonSpec::default()), "somebody else is let in");
        assert!(logons.suspend(&spec).unwrap().replaced);
        assert!(logons.restore().unwrap());
        assert!(!logons.restore().unwrap(), "once more is fine");
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn what_is_somebody_elses_stays() {
        let (_dir, logons) = machine("account required pam_nologin.so");
        fs::write(&logons.nologin, "System is going down.").unwrap();
        let said = logons.suspend(&LogonSpec::default()).unwrap_err().to_string();
        assert!(said.contains("somebody else's"), "{said}");
        assert!(!logons.restore().unwrap());
        assert_eq!(fs::read_to_string(&logons.nologin).unwrap(), "System is going down.");
        fs::remove_file(&logons.nologin).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &logons.nologin).unwrap();
        assert!(logons.suspend(&LogonSpec::default()).is_err());
    }

    #[test]
    fn a_machine_that_asks_nothing_says_so() {
        let (_dir, logons) = machine("account required pam_unix.so");
        let said = logons.suspend(&LogonSpec::default()).unwrap_err().to_string();
        assert!(said.contains("asks pam_nologin"), "{said}");
        assert!(!logons.nologin.exists());
    }
}
