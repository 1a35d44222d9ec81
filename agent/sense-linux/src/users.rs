//! Names of users, from `/etc/passwd`. Users that only a directory service knows stay numbers.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use wardline_event::User;

/// Names by uid, read again when the file changes.
pub(crate) struct Users {
    file: PathBuf,
    modified: Option<SystemTime>,
    names: HashMap<u32, String>,
}

impl Users {
    pub(crate) fn new(file: impl Into<PathBuf>) -> Self {
        let mut users = Self { file: file.into(), modified: None, names: HashMap::new() };
        users.refresh();
        users
    }

    /// Reads the file again if it changed. One `stat`; called between events, not for each.
    pub(crate) fn refresh(&mut self) {
        let modified = fs::metadata(&self.file).and_then(|m| m.modified()).ok();
        if modified.is_none() || modified == self.modified {
            return;
        }
        if let Ok(text) = fs::read(&self.file) {
            self.modified = modified;
            self.names = parse(&String::from_utf8_lossy(&text));
        }
    }

    /// The user with this uid; without a name if it has none.
    pub(crate) fn user(&mut self, uid: u32) -> User {
        if !self.names.contains_key(&uid) {
            self.refresh();
        }
        User { uid: uid.to_string(), name: self.names.get(&uid).cloned().unwrap_or_default() }
    }
}

/// `name:password:uid:…`, see passwd(5). The first name of a uid is the one that programs show.
fn parse(text: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        let (name, uid) = (fields.next(), fields.nth(1).and_then(|uid| uid.parse().ok()));
        if let (Some(name), Some(uid)) = (name, uid)
            && !name.is_empty()
        {
            names.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passwd");
        fs::write(&file, "root:x:0:0::/root:/bin/sh\ntoor:x:0:0:::\n# no\nalice:x:10\n::7:\nbad:x:y:0\n")
            .unwrap();
        let mut users = Users::new(&file);
        assert_eq!(users.user(0), User { uid: "0".into(), name: "root".into() });
        assert_eq!(users.user(10).name, "alice");
        assert_eq!(users.user(11), User { uid: "11".into(), name: String::new() });

        fs::write(&file, "bob:x:11:0:::\n").unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        assert_eq!(users.user(11).name, "bob");

        fs::remove_file(&file).unwrap();
        assert_eq!(users.user(11).name, "bob", "what was known stays known");
    }
}
