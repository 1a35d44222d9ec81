//! Debian's package database: which package a file came with, and how it was then. Pure; whoever reads the files passes
//! their texts in.
//!
//! The formats are those of dpkg(1): `status` holds paragraphs, `info/PACKAGE.list` a path on each line,
//! `info/PACKAGE.md5sums` a digest and a path without its first slash.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hasher};

/// Packages that are taken in; what is beyond is not found.
pub const MAX_PACKAGES: usize = 65_536;
/// Paths that are taken in, at 16 bytes each.
pub const MAX_PATHS: usize = 2_000_000;

/// A package that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What its files in `info` are called, without their endings: `libc6:amd64`, or the name alone.
    pub stems: [String; 2],
}

/// The packages of `status` whose files are there: installed, or unpacked and not configured yet.
pub fn packages(status: &str) -> Vec<Package> {
    let mut found = Vec::new();
    for paragraph in status.split("\n\n") {
        let field = |name: &str| {
            // What continues a field begins with a space.
            paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
        };
        let (Some(name), Some(version)) = (field("Package"), field("Version")) else { continue };
        let state = field("Status").and_then(|status| status.rsplit(' ').next());
        if matches!(state, None | Some("not-installed" | "config-files")) || !is_name(name) {
            continue;
        }
        let architecture = field("Architecture").filter(|a| is_name(a)).unwrap_or_default();
        let stems = [format!("{name}:{architecture}"), name.to_owned()];
        found.push(Package { name: name.to_owned(), version: version.to_owned(), stems });
        if found.len() == MAX_PACKAGES {
            break;
        }
    }
    found
}

/// A name that leads nowhere but into the folder.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._~".contains(&b))
}

/// Whether a package's list has this path.
pub fn lists(list: &str, path: &str) -> bool {
    list.lines().any(|line| line == path)
}

/// The digest that a package's sums have for this path.
pub fn digest(sums: &str, path: &str) -> Option<[u8; 16]> {
    let path = path.strip_prefix('/')?;
    let line = sums.lines().find(|line| line.get(34..) == Some(path) && line.get(32..34) == Some("  "))?;
    wardline_event::unhex(line.get(..32)?)?.try_into().ok()
}

/// The names under which a package may list a file: folders that are links into `/usr` are one with theirs.
pub fn spellings(path: &str) -> Vec<String> {
    const MERGED: [&str; 6] = ["/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/", "/libx32/"];
    let mut all = vec![path.to_owned()];
    match path.strip_prefix("/usr") {
        Some(short) if MERGED.iter().any(|folder| short.starts_with(folder)) => all.push(short.to_owned()),
        None if MERGED.iter().any(|folder| path.starts_with(folder)) => all.push(format!("/usr{path}")),
        _ => {}
    }
    all
}

/// Which packages may have a path: a digest of each path beside the package's number. What it says is to be looked up
/// in the package's list, since two paths may have one digest.
#[derive(Default)]
pub struct Index {
    paths: Vec<(u64, u32)>,
    sorted: bool,
}

fn hash(path: &str) -> u64 {
    let mut hasher = BuildHasherDefault::<DefaultHasher>::default().build_hasher();
    hasher.write(path.as_bytes());
    hasher.finish()
}

impl Index {
    /// Takes in a package's list.
    pub fn add(&mut self, package: usize, list: &str) {
        let package = u32::try_from(package).unwrap_or(u32::MAX);
        let room = MAX_PATHS.saturating_sub(self.paths.len());
        self.paths.extend(list.lines().take(room).map(|path| (hash(path), package)));
        self.sorted = false;
    }

    /// Makes it ready to be asked.
    pub fn finish(&mut self) {
        self.paths.sort_unstable();
        self.paths.dedup();
        self.paths.shrink_to_fit();
        self.sorted = true;
    }

    /// The packages that may have this path; empty before [`Index::finish`].
    pub fn candidates(&self, path: &str) -> impl Iterator<Item = usize> {
        let hash = hash(path);
        let from =
            if self.sorted { self.paths.partition_point(|(h, _)| *h < hash) } else { self.paths.len() };
        self.paths[from..].iter().take_while(move |(h, _)| *h == hash).map(|(_, package)| *package as usize)
    }

    /// How many paths there are.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: coreutils\nStatus: install ok installed\nArchitecture: amd64\nVersion: 9.1-1\n\
        Description: tools\n Package: not this one\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
        Package: ../../etc\nStatus: install ok installed\nVersion: 1\n\nnonsense\n\n\
        Package: half\nStatus: install ok unpacked\nArchitecture: all\nVersion: 2~rc1\n";

    #[test]
    fn packages_with_files_are_found() {
        let found = packages(STATUS);
        let said: Vec<_> = found.iter().map(|p| (p.name.as_str(), p.version.as_str(), &p.stems[0])).collect();
        assert_eq!(
            said,
            [
                ("coreutils", "9.1-1", &"coreutils:amd64".to_owned()),
                ("half", "2~rc1", &"half:all".to_owned())
            ]
        );
    }

    #[test]
    fn a_file_leads_to_its_package_and_its_digest() {
        let list = "/.\n/bin\n/bin/cat\n/usr/share/doc";
        let mut index = Index::default();
        index.add(0, list);
        index.add(1, "/.\n/bin/dog\n");
        index.finish();
        assert_eq!(index.candidates("/bin/cat").collect::<Vec<_>>(), [0]);
        assert_eq!(index.candidates("/.").collect::<Vec<_>>(), [0, 1]);
        assert_eq!(index.candidates("/bin/cow").count(), 0);
        assert_eq!(spellings("/usr/bin/cat"), ["/usr/bin/cat", "/bin/cat"]);
        assert_eq!(spellings("/bin/cat"), ["/bin/cat", "/usr/bin/cat"]);
        assert_eq!(spellings("/usr/share/x"), ["/usr/share/x"]);
        assert!(lists(list, "/bin/cat") && !lists(list, "/bin/ca"));
        let sums =
            "00112233445566778899aabbccddeeff  bin/cat\nshort\n00112233445566778899aabbccddeeff  a b\n";
        assert_eq!(digest(sums, "/bin/cat").map(|d| d[1]), Some(0x11));
        assert!(digest(sums, "/a b").is_some());
        assert_eq!(digest(sums, "/bin/dog"), None);
        assert_eq!(digest("é".repeat(40).as_str(), "/x"), None);
    }
}
