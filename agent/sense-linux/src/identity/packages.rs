//! Which package a file came with, from dpkg's own files.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant, SystemTime};

use wardline_event::{Digests, Known, Owner};
use wardline_sense::dpkg::{self, Index, Package};

use super::file;

/// How often it is looked whether the packages have changed, and how long an index lasts at least: while packages are
/// being installed everything changes all the time.
const LOOK: Duration = Duration::from_secs(5);
const LAST: Duration = Duration::from_secs(20);
/// Larger files of the database are not read.
const STATUS_BYTES: u64 = 64 << 20;
const LIST_BYTES: u64 = 16 << 20;

/// Said until it is known better.
const ABSENT: &str = "there is no database of dpkg";

/// The packages of this host.
pub(super) struct Packages {
    folder: String,
    installed: Vec<Package>,
    index: Index,
    /// What the database looked like when it was read.
    seen: Option<(SystemTime, SystemTime)>,
    read: Option<Instant>,
    looked: Option<Instant>,
    /// What it looks like now is not what was read.
    is_stale: bool,
    generation: u64,
    missing: Option<String>,
}

impl Packages {
    pub fn new(folder: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            installed: Vec::new(),
            index: Index::default(),
            seen: None,
            read: None,
            looked: None,
            is_stale: false,
            generation: 0,
            missing: (!fs::exists(format!("{folder}/status")).unwrap_or(false)).then(|| ABSENT.to_owned()),
        }
    }

    /// Grows with each change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Why no package is known.
    pub fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// Reads the database again if it has changed.
    pub fn refresh(&mut self) {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        self.looked = Some(Instant::now());
        let now = self.look();
        self.is_stale = now != self.seen;
        if !self.is_stale && self.read.is_some() {
            return;
        }
        if self.read.is_some_and(|read| read.elapsed() < LAST) {
            return;
        }
        self.read_all();
        // As it was before it was read: what changed meanwhile is noticed.
        self.seen = now;
        self.is_stale = false;
        self.read = Some(Instant::now());
        self.generation += 1;
    }

    fn look(&self) -> Option<(SystemTime, SystemTime)> {
        let modified = |name: &str| fs::metadata(format!("{}/{name}", self.folder)).ok()?.modified().ok();
        Some((modified("status")?, modified("info")?))
    }

    fn read_all(&mut self) {
        (self.installed, self.index, self.missing) = (Vec::new(), Index::default(), None);
        let status = match file::text(&format!("{}/status", self.folder), STATUS_BYTES) {
            Ok(status) => status,
            Err(_)
                if fs::metadata("/var/lib/rpm")
                    .or_else(|_| fs::metadata("/usr/lib/sysimage/rpm"))
                    .is_ok() =>
            {
                self.missing = Some("the database of rpm is not read".to_owned());
                return;
            }
            Err(error) => {
                self.missing = Some(format!("reading {}/status failed ({error})", self.folder));
                return;
            }
        };
        self.installed = dpkg::packages(&status);
        for (n, package) in self.installed.iter().enumerate() {
            if let Some(list) = self.info(package, "list") {
                self.index.add(n, &list);
            }
        }
        self.index.finish();
        tracing::debug!(
            packages = self.installed.len(),
            paths = self.index.len(),
            "read the package database"
        );
    }

    fn info(&self, package: &Package, ending: &str) -> Option<String> {
        let path = |stem: &String| format!("{}/info/{stem}.{ending}", self.folder);
        package.stems.iter().find_map(|stem| file::text(&path(stem), LIST_BYTES).ok())
    }

    /// Whose an open file is that had this path.
    pub fn owner(&mut self, path: Option<&str>, open: &File, digests: Option<&Digests>) -> Known<Owner> {
        if let Some(why) = &self.missing {
            return Known::Not(why.clone().into());
        }
        let Some(path) = path else { return Known::Is(Owner::Nobody) };
        // A file of a container has a name that means another one here.
        let same = fs::symlink_metadata(path).ok().zip(open.metadata().ok());
        if same.is_none_or(|(named, open)| (named.dev(), named.ino()) != (open.dev(), open.ino())) {
            return Known::Not(
                "no file of this host has that name: it is a container's, or was replaced".into(),
            );
        }
        let owner = self.owner_of(path, digests);
        // Whose the file is may be in what was not read yet.
        let is_certain = matches!(&owner, Owner::Package { intact: Some(true), .. });
        if self.is_stale && !is_certain {
            return Known::Not("packages are being installed or removed".into());
        }
        Known::Is(owner)
    }

    fn owner_of(&self, path: &str, digests: Option<&Digests>) -> Owner {
        for path in dpkg::spellings(path) {
            for n in self.index.candidates(&path) {
                let Some(package) = self.installed.get(n) else { continue };
                if !self.info(package, "list").is_some_and(|list| dpkg::lists(&list, &path)) {
                    continue;
                }
                let given = self.info(package, "md5sums").and_then(|sums| dpkg::digest(&sums, &path));
                let intact = given.zip(digests).map(|(given, digests)| given == digests.md5);
                let (name, version) = (package.name.clone(), package.version.clone());
                return Owner::Package { name, version, intact };
            }
        }
        Owner::Nobody
    }
}

#[cfg(test)]
mod tests {
    use super::super::digest::Pace;
    use super::*;

    fn database() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("info")).unwrap();
        folder
    }

    #[test]
    fn a_file_is_known_with_its_package_and_whether_it_was_changed() {
        let (database, files) = (database(), tempfile::tempdir().unwrap());
        let files = files.path().canonicalize().unwrap();
        let path = |name: &str| files.join(name).to_str().unwrap().to_owned();
        let status = "Package: tool\nStatus: install ok installed\nVersion: 1.2\nArchitecture: amd64\n";
        fs::write(database.path().join("status"), status).unwrap();
        let lists = [path("good"), path("changed"), path("unsaid")].join("\n");
        fs::write(database.path().join("info/tool.list"), lists).unwrap();
        let abc = "900150983cd24fb0d6963f7d28e17f72";
        let sums = ["good", "changed"].map(|name| format!("{abc}  {}\n", &path(name)[1..])).concat();
        fs::write(database.path().join("info/tool.md5sums"), sums).unwrap();
        for (name, text) in [("good", "abc"), ("changed", "abd"), ("unsaid", "abc"), ("own", "abc")] {
            fs::write(path(name), text).unwrap();
        }
        let mut packages = Packages::new(database.path().to_str().unwrap());
        packages.refresh();
        let owner = |packages: &mut Packages, name: &str| {
            let open = File::open(path(name)).unwrap();
            let state = file::state(&open).unwrap();
            let digests = super::super::digest::of(&open, &state, &mut Pace::default()).unwrap();
            packages.owner(Some(&path(name)), &open, Some(&digests))
        };
        let tool = |intact| Known::Is(Owner::Package { name: "tool".into(), version: "1.2".into(), intact });
        assert_eq!(owner(&mut packages, "good"), tool(Some(true)));
        assert_eq!(owner(&mut packages, "changed"), tool(Some(false)));
        assert_eq!(owner(&mut packages, "unsaid"), tool(None));
        assert_eq!(owner(&mut packages, "own"), Known::Is(Owner::Nobody));
        // Under its name lies another file now, as where a container has the same path.
        let open = File::open(path("own")).unwrap();
        fs::remove_file(path("own")).unwrap();
        fs::write(path("own"), "x").unwrap();
        let why = packages.owner(Some(&path("own")), &open, None);
        assert!(why.why_not().unwrap().contains("container"), "{why:?}");
        // What was not read yet may say otherwise.
        packages.is_stale = true;
        assert!(owner(&mut packages, "changed").why_not().unwrap().contains("being installed"));
        assert_eq!(owner(&mut packages, "good"), tool(Some(true)));
    }

    #[test]
    fn without_a_database_the_reason_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut packages = Packages::new(folder.path().to_str().unwrap());
        packages.refresh();
        assert!(packages.missing().is_some());
    }
}
