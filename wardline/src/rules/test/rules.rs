//! The rules that tests name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use wardline_sigma::{Collection, Correlation, LinkOptions, Rule, RuleSet};

use super::TestArgs;
use super::infos::is_info;
use crate::rules::correlated::Correlated;
use crate::rules::files::Files;
use crate::rules::load::{Source, sources};
use crate::rules::parallel;

/// Something that can be tested.
#[derive(Clone, Copy)]
pub enum Tested {
    /// A detection rule, by its index in the set.
    Rule(usize),
    /// A correlation, by its place.
    Correlation(usize),
}

/// The rules that the tests name.
pub struct Rules {
    /// The detection rules.
    pub set: RuleSet,
    /// The correlations, each with what it counts.
    correlations: Vec<(Correlation, Correlated)>,
    /// By their ids in small letters.
    by_id: BTreeMap<String, Tested>,
    /// Why a rule that was found cannot be used, by its id.
    faults: HashMap<String, String>,
    /// What was read of them, to be put together in another way.
    read: Collection,
}

impl Rules {
    /// The rules named on the command line, or the nearest ones to the tests. The ids are in small letters.
    pub fn find(args: &TestArgs, options: &LinkOptions, wanted: &BTreeSet<String>) -> Self {
        let mut found = Found::default();
        if args.rules.is_empty() {
            let mut missing = wanted.clone();
            for place in places(&args.paths) {
                let mut more = Found::at(&place.paths, &missing);
                if !place.is_of_rules {
                    // They may be those of single tests.
                    more.read.filters.clear();
                }
                found.extend(more);
                missing.retain(|id| !found.has(id));
                if missing.is_empty() {
                    break;
                }
            }
        } else {
            found = Found::at(&args.rules, wanted);
        }
        found.link(options, wanted)
    }

    /// The rules with these ids, put together with more pipelines and filters.
    pub fn again(&self, options: &LinkOptions, filters: &Collection, wanted: &BTreeSet<String>) -> Self {
        let mut found = Found { read: self.read.clone(), faults: self.faults.clone() };
        found.leave_out_others(wanted);
        found.read.filters.extend(filters.filters.iter().cloned());
        found.link(options, wanted)
    }

    /// What has this id.
    pub fn tested(&self, id: &str) -> Option<Tested> {
        self.by_id.get(id).copied()
    }

    /// The detection rule that has this id.
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        match self.tested(id)? {
            Tested::Rule(index) => self.set.rules().get(index),
            Tested::Correlation(_) => None,
        }
    }

    /// What the correlation that has this id counts.
    pub fn correlation(&self, id: &str) -> Option<&Correlated> {
        match self.tested(id)? {
            Tested::Rule(_) => None,
            Tested::Correlation(place) => Some(&self.correlations[place].1),
        }
    }

    /// Why what has this id cannot be used.
    pub fn fault(&self, id: &str) -> Option<&str> {
        self.faults.get(id).map(String::as_str)
    }

    /// What a rule is called.
    pub fn title(&self, tested: Tested) -> &str {
        match tested {
            Tested::Rule(index) => &self.set.rules()[index].title,
            Tested::Correlation(place) => &self.correlations[place].0.attributes.title,
        }
    }
}

/// What was found of the rules that are wanted.
#[derive(Default)]
struct Found {
    read: Collection,
    /// Why a rule cannot be read, by its id.
    faults: HashMap<String, String>,
}

impl Found {
    /// Reads what is at the paths. Of the rules only those that are wanted are kept, unless a correlation is.
    fn at(paths: &[PathBuf], wanted: &BTreeSet<String>) -> Self {
        let files: Vec<PathBuf> = Files::collect(paths)
            .list
            .into_iter()
            .map(|file| file.path)
            .filter(|path| !is_info(path))
            .collect();
        // Without a path `sources` gives our own rules.
        let sources = if wanted.is_empty() || files.is_empty() { Vec::new() } else { sources(&files).0 };
        let parse = |source: &Source| match &source.text {
            Ok(text) => Collection::parse(text, &source.origin).map_err(|e| e.to_string()),
            Err(e) => Err(e.clone()),
        };
        let mut found = Self::default();
        for (parsed, source) in parallel::map(&sources, parse).into_iter().zip(&sources) {
            match parsed {
                Ok(parsed) => found.read.extend(parsed),
                Err(fault) => {
                    // A rule that does not load still says which rule it is.
                    let text = source.text.as_deref().unwrap_or_default();
                    let ids = text.lines().filter_map(|l| l.strip_prefix("id:"));
                    let id = ids.map(|id| id.trim().to_ascii_lowercase()).next();
                    found.faults.extend(id.filter(|id| wanted.contains(id)).map(|id| (id, fault)));
                }
            }
        }
        found.leave_out_others(wanted);
        found
    }

    fn leave_out_others(&mut self, wanted: &BTreeSet<String>) {
        let is_wanted = |id: &str| wanted.contains(&id.to_ascii_lowercase());
        if !self.read.correlations.iter().any(|c| is_wanted(&c.attributes.id)) {
            // Only a correlation looks at other rules than those that are named.
            self.read.rules.retain(|rule| is_wanted(&rule.id));
            self.read.correlations.clear();
        }
    }

    fn has(&self, id: &str) -> bool {
        self.faults.contains_key(id)
            || self.read.rules.iter().any(|rule| rule.id.eq_ignore_ascii_case(id))
            || self.read.correlations.iter().any(|c| c.attributes.id.eq_ignore_ascii_case(id))
    }

    fn extend(&mut self, other: Self) {
        self.read.extend(other.read);
        self.faults.extend(other.faults);
    }

    fn link(self, options: &LinkOptions, wanted: &BTreeSet<String>) -> Rules {
        let Self { read, mut faults } = self;
        let wanted_id = |id: &str| Some(id.to_ascii_lowercase()).filter(|id| wanted.contains(id));
        let of_rules = read.rules.iter().map(|rule| &*rule.attributes);
        let of_correlations = read.correlations.iter().map(|c| &c.attributes);
        let ids: Vec<(String, String)> = of_rules
            .chain(of_correlations)
            .filter_map(|a| Some((wanted_id(&a.id)?, a.origin.clone())))
            .collect();
        let linked = read.clone().link(options);
        let rules = linked.rules.rules();
        let is_rule = |id: &str| rules.iter().any(|rule| rule.id.eq_ignore_ascii_case(id));
        let all = linked.correlations.correlations();
        let is_correlation = |id: &str| all.iter().any(|c| c.attributes.id.eq_ignore_ascii_case(id));
        for fault in linked.faults.iter().filter(|f| !f.is_warning()) {
            let of = ids
                .iter()
                .filter(|(id, origin)| *origin == fault.origin && !is_rule(id) && !is_correlation(id));
            faults.extend(of.map(|(id, _)| (id.clone(), fault.to_string())));
        }
        let named = rules.iter().filter(|rule| wanted_id(&rule.id).is_some());
        let set = RuleSet::compile_lossy(named.cloned().collect()).0;
        let place = |(i, rule): (usize, &Rule)| (rule.id.to_ascii_lowercase(), Tested::Rule(i));
        let mut by_id: BTreeMap<String, Tested> = set.rules().iter().enumerate().map(place).collect();
        let mut correlations = Vec::new();
        for correlation in all {
            if let Some(id) = wanted_id(&correlation.attributes.id) {
                by_id.insert(id, Tested::Correlation(correlations.len()));
                let id = &correlation.attributes.id;
                let under = Correlated::of(rules, &linked.correlations, |c| c.attributes.id == *id);
                correlations.push((correlation.clone(), under));
            }
        }
        Rules { set, correlations, by_id, faults, read }
    }
}

/// Where rules may lie.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone)]
struct Place {
    paths: Vec<PathBuf>,
    /// It is a folder `rules…`.
    is_of_rules: bool,
}

/// Where rules may lie if nobody says where, the nearest first: in a folder of rules below the tests or beside or above
/// them, among the tests, anywhere in the repository.
fn places(paths: &[PathBuf]) -> Vec<Place> {
    let whole: Vec<PathBuf> = paths.iter().filter_map(|path| fs::canonicalize(path).ok()).collect();
    let folders = whole.iter().filter_map(|path| if path.is_dir() { Some(&**path) } else { path.parent() });
    let rules = |folder| Place { paths: rule_folders(folder), is_of_rules: true };
    let any = |folder: &Path| Place { paths: vec![folder.to_owned()], is_of_rules: false };
    let mut places = Vec::new();
    for folder in folders {
        places.extend([rules(folder), any(folder)]);
        places.extend(folder.ancestors().skip(1).map(rules));
        places.extend(folder.ancestors().find(|folder| folder.join(".git").exists()).map(any));
    }
    let mut seen = BTreeSet::new();
    places.retain(|place| !place.paths.is_empty() && seen.insert(place.clone()));
    places
}

/// The folders of rules in a repository: `rules`, `rules-emerging-threats`, …
fn rule_folders(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|e| e.file_name().as_encoded_bytes().starts_with(b"rules"))
        .map(|e| e.path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}
