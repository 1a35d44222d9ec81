//! The rules that tests name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use wardline_sigma::{Collection, Correlation, LinkOptions, RuleSet};

use super::{TestArgs, is_info};
use crate::rules::correlated::Correlated;
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
    pub correlations: Vec<(Correlation, Correlated)>,
    by_id: BTreeMap<String, Tested>,
    /// Why a rule that was found cannot be used, by its id.
    faults: HashMap<String, String>,
}

impl Rules {
    /// The rules named on the command line, or those in the nearest folder above the tests that has some of them.
    pub fn find(args: &TestArgs, options: &LinkOptions, wanted: &BTreeSet<&str>) -> Self {
        if !args.rules.is_empty() {
            return Self::load(&args.rules, options, wanted);
        }
        for path in &args.paths {
            let Ok(path) = fs::canonicalize(path) else { continue };
            for folder in path.ancestors() {
                let folders = rule_folders(folder);
                if folders.is_empty() {
                    continue;
                }
                let rules = Self::load(&folders, options, wanted);
                if !rules.by_id.is_empty() || !rules.faults.is_empty() {
                    return rules;
                }
            }
        }
        Self::load(&[], options, &BTreeSet::new())
    }

    /// What has this id.
    pub fn tested(&self, id: &str) -> Option<Tested> {
        self.by_id.get(id).copied()
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

    fn load(paths: &[PathBuf], options: &LinkOptions, wanted: &BTreeSet<&str>) -> Self {
        let (sources, _) = if wanted.is_empty() { Default::default() } else { sources(paths) };
        let parse = |source: &Source| match &source.text {
            Ok(text) if !is_info(Path::new(&source.origin)) => {
                Collection::parse(text, &source.origin).map_err(|e| e.to_string())
            }
            Ok(_) => Ok(Collection::default()),
            Err(e) => Err(e.clone()),
        };
        let (mut all, mut faults) = (Collection::default(), HashMap::new());
        for (parsed, source) in parallel::map(&sources, parse).into_iter().zip(&sources) {
            match parsed {
                Ok(parsed) => all.extend(parsed),
                Err(fault) => {
                    // A rule that does not load still says which rule it is.
                    let text = source.text.as_deref().unwrap_or_default();
                    let id = text.lines().filter_map(|l| l.strip_prefix("id:")).map(str::trim).next();
                    faults.extend(id.filter(|id| wanted.contains(id)).map(|id| (id.to_owned(), fault)));
                }
            }
        }
        let is_wanted = |id: &str| wanted.contains(id);
        if !all.correlations.iter().any(|c| is_wanted(&c.attributes.id)) {
            // Only a correlation looks at other rules than those that are named.
            all.rules.retain(|rule| is_wanted(&rule.id));
            all.correlations.clear();
        }
        let of_rules = all.rules.iter().map(|rule| &*rule.attributes);
        let of_correlations = all.correlations.iter().map(|c| &c.attributes);
        let ids: Vec<(String, String)> = of_rules
            .chain(of_correlations)
            .filter(|a| is_wanted(&a.id))
            .map(|a| (a.id.clone(), a.origin.clone()))
            .collect();
        let linked = all.link(options);
        let rules = linked.rules.rules();
        let is_rule = |id: &str| rules.iter().any(|rule| rule.id == id);
        let is_correlation =
            |id: &str| linked.correlations.correlations().iter().any(|c| c.attributes.id == id);
        for fault in linked.faults.iter().filter(|f| !f.is_warning()) {
            let of = ids
                .iter()
                .filter(|(id, origin)| *origin == fault.origin && !is_rule(id) && !is_correlation(id));
            faults.extend(of.map(|(id, _)| (id.clone(), fault.to_string())));
        }
        let set =
            RuleSet::compile_lossy(rules.iter().filter(|rule| is_wanted(&rule.id)).cloned().collect()).0;
        let mut by_id: BTreeMap<String, Tested> =
            set.rules().iter().enumerate().map(|(i, rule)| (rule.id.clone(), Tested::Rule(i))).collect();
        let mut correlations = Vec::new();
        for correlation in linked.correlations.correlations() {
            let id = &correlation.attributes.id;
            if is_wanted(id) {
                by_id.insert(id.clone(), Tested::Correlation(correlations.len()));
                let under = Correlated::of(rules, &linked.correlations, |c| c.attributes.id == *id);
                correlations.push((correlation.clone(), under));
            }
        }
        Self { set, correlations, by_id, faults }
    }
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
