//! What rules need from outside: the same options for every command that puts rules together.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest::{self, SHA256};
use wardline_sigma::sources::Sources;
use wardline_sigma::{LinkOptions, Pipeline, Placeholders};

use super::kept::{Place, hash_of_program};
use crate::printable::printable;

/// Options that rules are put together with.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ContextArgs {
    /// Values for the placeholders in rules (`|expand`): a YAML file of `name: [value, value]`
    #[arg(long, value_name = "FILE")]
    pub placeholders: Option<PathBuf>,
    /// A pipeline that makes the rules fit other names of fields: ours or pySigma's YAML; may be given several times
    #[arg(long, value_name = "FILE")]
    pub pipeline: Vec<PathBuf>,
    /// Log sources beside the built-in ones: how records are known and what their fields are called; may be given several
    /// times
    #[arg(long, value_name = "FILE")]
    pub sources: Vec<PathBuf>,
}

/// What the options say.
pub struct Context {
    /// Placeholders and pipelines.
    pub options: LinkOptions,
    /// The built-in log sources and those that were named; none if these are none.
    sources: Option<Arc<Sources>>,
}

impl ContextArgs {
    /// Reads the files. What in them has no effect is told on standard error, by the command of this name.
    ///
    /// # Errors
    /// The first file that cannot be read, and why.
    pub fn read(&self, command: &str) -> Result<Context, String> {
        let mut options = LinkOptions::default();
        let mut notices = Vec::new();
        if let Some(path) = &self.placeholders {
            let (text, origin) = read(path)?;
            options.placeholders = Placeholders::parse(&text, &origin).map_err(|e| e.to_string())?;
        }
        for path in &self.pipeline {
            let (text, origin) = read(path)?;
            let pipeline = Pipeline::parse(&text, &origin).map_err(|e| e.to_string())?;
            notices.extend(pipeline.notices.iter().map(|notice| format!("{origin}: {notice}")));
            options.pipelines.add(pipeline);
        }
        let sources = self.sources()?;
        for notice in &notices {
            eprintln!("wardline {command}: {}", printable(notice));
        }
        Ok(Context { options, sources })
    }

    fn sources(&self) -> Result<Option<Arc<Sources>>, String> {
        if self.sources.is_empty() {
            return Ok(None);
        }
        let mut all = Sources::clone(Sources::builtin());
        for path in &self.sources {
            let (text, origin) = read(path)?;
            all.extend(&text, &origin).map_err(|e| e.to_string())?;
        }
        Ok(Some(Arc::new(all)))
    }
}

impl Context {
    /// What records are told by.
    pub fn sources(&self) -> &Arc<Sources> {
        self.sources.as_ref().unwrap_or_else(|| Sources::builtin())
    }
}

/// Reads the built-in log sources, from what an earlier run kept of them if it did. What is to be kept for the next one,
/// and where.
pub fn builtin_sources() -> Option<(Place, Vec<u8>)> {
    let mut hash = digest::Context::new(&SHA256);
    hash_of_program(&mut hash)?;
    let place = Place::of(*hash.finish().as_ref().first_chunk()?, ".sources")?;
    let (_, new) = Sources::builtin_kept(|| Some(Arc::new(place.open().ok()?)));
    Some((place, new?))
}

fn read(path: &Path) -> Result<(String, String), String> {
    let origin = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|e| format!("{origin}: cannot be read: {e}"))?;
    Ok((text, origin))
}
