//! What a scan was asked to do, for whoever reads its results without the command line.

use std::path::{Path, PathBuf};

use super::args::ScanArgs;
use super::filter::Tag;

/// The inputs, rules and filters, in lines of name and text.
pub fn asked(args: &ScanArgs) -> Vec<(&'static str, String)> {
    let mut lines = vec![("Read from", paths(&args.paths))];
    let rules = if args.rules.is_empty() { "Wardline's own".to_owned() } else { paths(&args.rules) };
    lines.push(("Rules from", rules));
    let file = |path: &Option<PathBuf>| path.as_deref().map(one).unwrap_or_default();
    let tags = |tags: &[Tag]| tags.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let time = |time: Option<wardline_event::Timestamp>| time.map(|t| t.to_string()).unwrap_or_default();
    let context = &args.context;
    let source = args.log_source.as_ref();
    let source = source.map(|s| format!("{}/{}/{}", s.product, s.category, s.service)).unwrap_or_default();
    let optional = [
        ("Placeholders", file(&context.placeholders)),
        ("Pipelines", paths(&context.pipeline)),
        ("Log sources", paths(&context.sources)),
        ("Unknown records are", source),
        ("Deleted records", if args.recover { "looked for".to_owned() } else { String::new() }),
        ("Level", args.level.map(|level| format!("{} and above", level.as_str())).unwrap_or_default()),
        ("From", time(args.from)),
        ("To", time(args.to)),
        ("Tags", tags(&args.tag)),
        ("Without tags", tags(&args.exclude_tag)),
        ("Computers", args.computer.join(", ")),
        ("Without computers", args.exclude_computer.join(", ")),
        ("Only rules", args.rule.join(", ")),
        ("Without rules", args.exclude_rule.join(", ")),
    ];
    lines.extend(optional.into_iter().filter(|(_, text)| !text.is_empty()));
    lines
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| one(path)).collect::<Vec<_>>().join(", ")
}

fn one(path: &Path) -> String {
    if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() }
}
