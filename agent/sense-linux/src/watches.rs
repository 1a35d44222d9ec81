//! Which files the sensor tells of.

use wardline_event::FileOp;

use crate::context::Refused;
use crate::record::OPS;

/// As the kernel half has it: how many components decide, how long each may be (its NUL included), and how many
/// entries the map takes.
const COMPONENTS: usize = 3;
const NAME: usize = 24;
const ENTRIES: usize = 256;
/// `NAMED_READ` and `NAMED_FOLDER`.
const NAMED_READ: u8 = 1;
const NAMED_FOLDER: u8 = 2;

/// `struct watch_key` and `struct watch`.
type Entry = ([u8; COMPONENTS * NAME], [u8; 8]);

/// What is told of the files below a folder. Of several that fit, the deepest counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watch {
    /// The folder: at most three components of at most 23 bytes, without a slash at the end. Empty is the root.
    pub folder: String,
    /// What is told.
    pub ops: Vec<FileOp>,
    /// What is told, too, if the path's component at this place (0 is next to the root) is one of
    /// [`Watches::in_homes`].
    pub in_homes: Option<(usize, Vec<FileOp>)>,
}

/// Which files the sensor tells of. What no watch fits is forgotten in the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watches {
    /// Folders.
    pub folders: Vec<Watch>,
    /// Names of files and folders that are watched in every home.
    pub in_homes: Vec<String>,
    /// Names of files of which it is told that they were read.
    pub reads: Vec<String>,
}

impl Watches {
    /// No files at all.
    pub fn none() -> Self {
        Self { folders: Vec::new(), in_homes: Vec::new(), reads: Vec::new() }
    }

    /// Keys and values of the kernel half's map of folders.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, Refused> {
        check(self.folders.len() <= ENTRIES, || format!("more than {ENTRIES} watched folders"))?;
        self.folders
            .iter()
            .map(|watch| {
                let mut key = [0; COMPONENTS * NAME];
                let components: Vec<&str> = watch.folder.split('/').filter(|c| !c.is_empty()).collect();
                check(components.len() <= COMPONENTS, || {
                    format!("the watched folder {:?} is deeper than {COMPONENTS}", watch.folder)
                })?;
                for (slot, component) in key.chunks_exact_mut(NAME).zip(components) {
                    slot.copy_from_slice(&name(component)?);
                }
                let (at, named) = watch.in_homes.as_ref().map_or((0, 0), |(at, ops)| (*at, bits(ops)));
                check(at < COMPONENTS, || {
                    format!("the watched folder {:?} asks for names deeper than {COMPONENTS}", watch.folder)
                })?;
                // Which files' reading is told is decided by their names.
                let always = bits(&watch.ops) | bits(&[FileOp::Read]);
                let mut value = [0; 8];
                for (part, number) in value.chunks_exact_mut(2).zip([always, named, at as u16]) {
                    part.copy_from_slice(&number.to_ne_bytes());
                }
                Ok((key, value))
            })
            .collect()
    }

    /// Keys and values of the kernel half's map of names.
    pub(crate) fn names(&self) -> Result<Vec<([u8; NAME], u8)>, Refused> {
        let mut names: Vec<([u8; NAME], u8)> = Vec::new();
        let both = [(&self.reads, NAMED_READ), (&self.in_homes, NAMED_FOLDER)];
        for (list, meaning) in both {
            for text in list {
                let key = name(text)?;
                match names.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, meanings)) => *meanings |= meaning,
                    None => names.push((key, meaning)),
                }
            }
        }
        check(names.len() <= ENTRIES, || format!("more than {ENTRIES} watched names"))?;
        Ok(names)
    }
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), Refused> {
    if holds { Ok(()) } else { Err(Refused(format!("{}: the kernel half takes no more", what()))) }
}

fn name(text: &str) -> Result<[u8; NAME], Refused> {
    let mut name = [0; NAME];
    check(text.len() < NAME, || format!("the watched name {text:?} is longer than {} bytes", NAME - 1))?;
    name[..text.len()].copy_from_slice(text.as_bytes());
    Ok(name)
}

fn bits(ops: &[FileOp]) -> u16 {
    let bit = |op: &FileOp| OPS.iter().position(|known| known == op).map_or(0, |at| 1 << at);
    ops.iter().map(bit).fold(0, |all, bit| all | bit)
}

impl Default for Watches {
    /// Where what an attacker writes takes effect: the system's settings and programs, what starts by itself, web roots,
    /// what tells of whoever signs in, credentials; and every new file, since its name may betray it. Not: what is
    /// written again in homes and in data, which is the day's work.
    fn default() -> Self {
        use FileOp::{Change, Create, Delete, Link, Rename, Update};
        let watch = |folder: &str, ops: &[FileOp]| Watch {
            folder: folder.to_owned(),
            ops: ops.to_vec(),
            in_homes: None,
        };
        let all = [Create, Update, Delete, Rename, Link, Change];
        let home =
            |folder: &str, at| Watch { in_homes: Some((at, all.to_vec())), ..watch(folder, &[Create]) };
        let mut folders: Vec<Watch> = ["etc", "boot", "usr", "lib", "lib64", "bin", "sbin", "opt"]
            .into_iter()
            .chain(["var/spool", "var/www", "srv/www", "srv/http", "proc/sys", "proc/sysrq-trigger"])
            .map(|folder| watch(folder, &all))
            .collect();
        folders.extend([
            watch("", &[Create]),
            watch("proc", &[]),
            watch("sys", &[]),
            watch("sys/kernel", &[Update]),
            watch("dev", &[]),
            watch("dev/shm", &[Create, Rename, Link, Change]),
            watch("tmp", &[Create, Link, Change]),
            watch("var/tmp", &[Create, Link, Change]),
            watch("var/log", &[Create, Delete, Rename, Change]),
            home("home", 2),
            home("root", 1),
        ]);
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            folders,
            in_homes: list(&[
                ".ssh",
                ".bashrc",
                ".bash_profile",
                ".bash_login",
                ".bash_logout",
                ".bash_history",
                ".profile",
                ".zshrc",
                ".zprofile",
                ".zlogin",
                ".zlogout",
                ".zshenv",
                ".zsh_history",
                ".xinitrc",
                ".xprofile",
                ".pam_environment",
                ".forward",
                ".rhosts",
                ".netrc",
                ".gnupg",
                ".aws",
                ".kube",
                ".gitconfig",
                ".vimrc",
            ]),
            reads: list(&[
                "shadow",
                "gshadow",
                "sudoers",
                "opasswd",
                "id_rsa",
                "id_dsa",
                "id_ecdsa",
                "id_ed25519",
                ".netrc",
                ".pgpass",
                ".my.cnf",
                "krb5.keytab",
                "login.defs",
                "pwquality.conf",
                "common-password",
                "lsb-release",
                "redhat-release",
                "issue",
                "bios_version",
                "product_name",
                "chassis_vendor",
            ]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_fits_into_the_kernel() {
        let watches = Watches::default();
        let entries = watches.entries().unwrap();
        let mut keys: Vec<_> = entries.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), entries.len(), "no folder is watched twice");
        assert!(watches.names().unwrap().iter().any(|(_, meaning)| *meaning == NAMED_READ | NAMED_FOLDER));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let watch = |folder: &str| Watches {
            folders: vec![Watch { folder: folder.into(), ops: vec![FileOp::Create], in_homes: None }],
            ..Watches::none()
        };
        let (key, value) = watch("/srv/www").entries().unwrap()[0];
        assert_eq!((&key[..4], &key[24..28], key[48]), (b"srv\0".as_slice(), b"www\0".as_slice(), 0));
        assert_eq!(
            value[..2],
            (1u16 | 1 << 6).to_ne_bytes(),
            "creation, and reading where a name asks for it"
        );
        for (folder, why) in [("a/b/c/d", "deeper"), ("srv/a-name-of-twenty-four-by", "longer than 23 bytes")]
        {
            let refused = watch(folder).entries().unwrap_err().to_string();
            assert!(
                refused.contains(why) && refused.contains(folder.rsplit('/').next().unwrap()),
                "{refused}"
            );
        }
    }
}
