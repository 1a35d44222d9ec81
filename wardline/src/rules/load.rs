//! Rule files to a compiled set: what `scan` and `rules` share.

use std::borrow::Cow;
use std::path::PathBuf;
use std::thread;

use wardline_event::Severity;
use wardline_sigma::{Collection, Correlations, LinkOptions, RuleSet};

use super::cache::{Cache, PIECE_FILES, Parsed};
use super::classes::Classes;
use super::files::{Files, RuleFile};
use super::parallel;

/// Fewer rules are not kept compiled.
const FEWEST_RULES: usize = 100;

/// Rules that loaded, and what is wrong with the others.
pub struct Loaded {
    /// The rules of the wanted level and above, with the filters in them.
    pub rules: RuleSet,
    /// Correlations over their matches.
    pub correlations: Correlations,
    /// What did not load, one line each: file, line, what, what to do.
    pub faults: Vec<String>,
    /// What is doubtful in what loaded, likewise.
    pub warnings: Vec<String>,
    /// Where they are kept compiled.
    classes: Option<Classes>,
}

impl Loaded {
    /// Keeps for the next run what was compiled in this one.
    pub fn keep_compiled(&self) {
        if let Some(classes) = &self.classes {
            classes.write(&self.rules);
        }
    }
}

/// A rule file's text and the name that stands for it in messages.
pub struct Source {
    /// The text, or why it could not be read.
    pub text: Result<Cow<'static, str>, String>,
    /// The path, or `built-in …`.
    pub origin: String,
}

/// Wardline's own rules, as files.
pub fn own() -> Vec<Source> {
    let source = |file: &wardline_content::RuleFile| Source {
        text: Ok(Cow::Borrowed(file.text)),
        origin: format!("built-in {}", file.path),
    };
    wardline_content::rules().iter().map(source).collect()
}

/// Reads the rule files at `paths`, or takes Wardline's own if there are none; and what could not be looked at.
pub fn sources(paths: &[PathBuf]) -> (Vec<Source>, Vec<String>) {
    if paths.is_empty() {
        return (own(), Vec::new());
    }
    let files = Files::collect(paths);
    (parallel::map(&files.list, read), files.faults)
}

fn read(file: &RuleFile) -> Source {
    let origin = file.path.display().to_string();
    let text = match std::fs::read(&file.path).map(String::from_utf8) {
        Ok(Ok(text)) => Ok(Cow::Owned(text)),
        Ok(Err(e)) => Err(format!(
            "{origin}: cannot be read: it is not UTF-8 from byte {} on; save it as UTF-8",
            e.utf8_error().valid_up_to()
        )),
        Err(e) => Err(format!("{origin}: cannot be read: {e}")),
    };
    Source { text, origin }
}

fn parse(source: &Source) -> Result<Collection, String> {
    match &source.text {
        Ok(text) => Collection::parse(text, &source.origin).map_err(|e| e.to_string()),
        Err(e) => Err(e.clone()),
    }
}

/// What each file gave, in pieces.
fn pieces(parsed: Vec<Result<Collection, String>>) -> Parsed {
    let mut out = Parsed { pieces: Vec::new(), faults: Vec::new() };
    for (i, parsed) in parsed.into_iter().enumerate() {
        if i % PIECE_FILES == 0 {
            out.pieces.push(Collection::default());
        }
        match (parsed, out.pieces.last_mut()) {
            (Ok(parsed), Some(piece)) => piece.extend(parsed),
            (Ok(_), None) => {}
            (Err(e), _) => out.faults.push(e),
        }
    }
    out
}

/// What is done with the rules that earlier runs parsed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum UseOfCache {
    /// They are neither used nor kept.
    None,
    /// They are taken whole.
    Whole,
    /// They are taken as far as they are needed; whether they were sound is known only in the end.
    AsNeeded,
}

impl UseOfCache {
    /// For commands that look at every rule.
    pub fn whole(no_cache: bool) -> Self {
        if no_cache { Self::None } else { Self::Whole }
    }
}

/// Everything that the files at `paths` hold, or Wardline's own rules if there are none; and what does not load.
pub fn collection(paths: &[PathBuf], use_of_cache: UseOfCache) -> (Collection, Vec<String>) {
    let mut faults = Vec::new();
    let parsed = if paths.is_empty() {
        pieces(parallel::map(&own(), parse))
    } else {
        let cache = if use_of_cache == UseOfCache::None { None } else { Cache::of(paths) };
        // What was kept is read while the files are looked at.
        let (files, kept) = thread::scope(|scope| {
            let kept = scope.spawn(|| cache.as_ref()?.read(use_of_cache == UseOfCache::AsNeeded));
            let files = Files::collect(paths);
            (files, kept.join().ok().flatten())
        });
        faults = files.faults;
        kept.and_then(|kept| kept.of_files(&files.list)).unwrap_or_else(|| {
            let parsed = pieces(parallel::map(&files.list, |file| parse(&read(file))));
            if let Some(cache) = &cache {
                cache.write(&files.list, &parsed);
            }
            parsed
        })
    };
    let mut pieces = parsed.pieces.into_iter();
    let mut all = pieces.next().unwrap_or_default();
    pieces.for_each(|piece| all.extend(piece));
    faults.extend(parsed.faults);
    (all, faults)
}

/// Removes what was kept of the rules at `paths`, since it turned out to be damaged.
pub fn set_aside(paths: &[PathBuf]) {
    if let Some(cache) = Cache::of(paths) {
        cache.set_aside();
    }
}

/// Loads the rules at `paths`, or Wardline's own if there are none, of this level and above. Where there are
/// correlations all rules are kept, since a correlation may count what is harmless alone.
pub fn load(paths: &[PathBuf], use_of_cache: UseOfCache, level: Severity, options: &LinkOptions) -> Loaded {
    let (mut all, mut faults) = collection(paths, use_of_cache);
    if all.correlations.is_empty() && level > Severity::Informational {
        all.rules.retain(|r| r.level >= level);
    }
    let linked = all.link(options);
    let (warnings, refused): (Vec<_>, Vec<_>) = linked.faults.iter().partition(|fault| fault.is_warning());
    faults.extend(refused.into_iter().map(ToString::to_string));
    let warnings = warnings.into_iter().map(ToString::to_string).collect();
    // Few rules are compiled sooner than it is worth to keep them; other commands match one event or none.
    let kept = use_of_cache == UseOfCache::AsNeeded && linked.rules.rules().len() >= FEWEST_RULES;
    let classes = if kept { Classes::of(&linked.rules) } else { None };
    Loaded { rules: linked.rules, correlations: linked.correlations, faults, warnings, classes }
}
