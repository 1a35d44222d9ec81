//! `wardline rules fmt`.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use console::Style;
use wardline_sigma::format;

use super::load::{Source, sources};
use super::{nothing, parallel};
use crate::printable::printable;
use crate::scan::counted;

const EXAMPLES: &str = "\
Examples:
  wardline rules fmt my-rules/
      Formats the files in place: order of attributes, indentation, quotes, dates. Comments stay.
  wardline rules fmt my-rules/ --check
      For a build: changes nothing and fails if a file is not formatted.
  wardline rules fmt my-rules/ --diff
      Shows what would be changed.
  wardline rules fmt - < my-rule.yml
      Formats standard input to standard output, for editors.

A file that cannot be formatted without changing what it says is left as it is and named.
Exit code: 0 done; 1 a file is not formatted (--check, --diff) or could not be; 2 wrong usage, or no rule file.";

/// Format rules.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct FmtArgs {
    /// Rule files or folders; - is standard input, of which the result goes to standard output
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Change nothing; name the files that are not formatted
    #[arg(long)]
    check: bool,
    /// Change nothing; show what would be changed
    #[arg(long)]
    diff: bool,
}

pub fn run(args: &FmtArgs) -> ExitCode {
    if args.paths.iter().any(|path| path.as_os_str() == "-") {
        return match (args.paths.len(), of_stdin(args)) {
            (1, Ok(code)) => code,
            (1, Err(why)) => {
                eprintln!("wardline rules fmt: {}", printable(&why));
                ExitCode::FAILURE
            }
            _ => {
                eprintln!("wardline rules fmt: - stands for itself: name no other paths with it");
                ExitCode::from(2)
            }
        };
    }
    let (sources, mut faults) = sources(&args.paths);
    if sources.is_empty() && faults.is_empty() {
        return nothing("fmt");
    }
    let formatted = parallel::map(&sources, |source: &Source| match &source.text {
        Ok(text) => format(text, &source.origin).map_err(|e| e.to_string()),
        Err(e) => Err(e.clone()),
    });
    let (mut changed, mut out) = (0, String::new());
    for (source, formatted) in sources.iter().zip(formatted) {
        let text = source.text.as_deref().unwrap_or_default();
        match formatted {
            Err(e) => faults.push(format!("left as it is: {e}")),
            Ok(new) if new == text => {}
            Ok(new) => {
                changed += 1;
                if args.diff {
                    out.push_str(&diff(&source.origin, text, &new));
                } else if args.check {
                    let _ = writeln!(out, "{}", printable(&source.origin));
                } else if let Err(e) = replace(Path::new(&source.origin), &new) {
                    faults.push(format!("{}: cannot be written: {e}", source.origin));
                }
            }
        }
    }
    let look_only = args.check || args.diff;
    if let Err(e) = io::stdout().write_all(out.as_bytes())
        && e.kind() != io::ErrorKind::BrokenPipe
    {
        faults.push(format!("the result could not be written: {e}"));
    }
    for fault in &faults {
        eprintln!("wardline rules fmt: {}", printable(fault));
    }
    let what = if look_only { "not formatted" } else { "formatted anew" };
    eprintln!(
        "{}: {changed} {what}, {} left as they are",
        counted(sources.len() as u64, "file"),
        faults.len()
    );
    if faults.is_empty() && !(look_only && changed > 0) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Formats what comes from standard input. What cannot be formatted is not written, so that whoever puts the output in the
/// place of the input loses nothing.
fn of_stdin(args: &FmtArgs) -> Result<ExitCode, String> {
    const NAME: &str = "standard input";
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(|e| format!("{NAME}: cannot be read: {e}"))?;
    let text = String::from_utf8(bytes)
        .map_err(|e| format!("{NAME}: it is not UTF-8 from byte {} on", e.utf8_error().valid_up_to()))?;
    let new = format(&text, NAME).map_err(|e| e.to_string())?;
    let out = match (args.check || args.diff, new == text) {
        (false, _) => new,
        (true, true) => String::new(),
        (true, false) if args.diff => diff(NAME, &text, &new),
        (true, false) => format!("{NAME}\n"),
    };
    match io::stdout().write_all(out.as_bytes()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("the result could not be written: {e}"))
        }
        _ if (args.check || args.diff) && !out.is_empty() => Ok(ExitCode::FAILURE),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Puts the new text in the place of the file in one step, its permissions kept.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A link stays a link.
    let path = fs::canonicalize(path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(fs::metadata(&path)?.permissions())?;
    file.persist(&path).map_err(|e| e.error)?;
    Ok(())
}

/// Lines of a file that are compared with each other one by one.
const COMPARED: usize = 3000;

/// The lines that go and come.
fn diff(name: &str, before: &str, after: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let (minus, plus) = (Style::new().red(), Style::new().green());
    let mut out = format!("--- {0}\n+++ {0}\n", printable(name));
    if a.len() > COMPARED || b.len() > COMPARED {
        let _ = writeln!(out, "@@ too long to compare line by line @@");
        return out;
    }
    // The longest common part of what follows each pair of lines.
    let mut common = vec![vec![0_u16; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] =
                if a[i] == b[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut quiet) = (0, 0, true);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            (i, j, quiet) = (i + 1, j + 1, true);
            continue;
        }
        if quiet {
            let _ = writeln!(out, "@@ -{} +{} @@", i + 1, j + 1);
            quiet = false;
        }
        if j >= b.len() || i < a.len() && common[i + 1][j] >= common[i][j + 1] {
            let _ = writeln!(out, "{}", minus.apply_to(format!("-{}", printable(a[i]))));
            i += 1;
        } else {
            let _ = writeln!(out, "{}", plus.apply_to(format!("+{}", printable(b[j]))));
            j += 1;
        }
    }
    out
}
