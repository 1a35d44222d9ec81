//! The command line of `wardline scan`.

use std::path::{Path, PathBuf};

use wardline_event::{LogSource, Severity, Timestamp};

use super::filter::{Name, RecordFilter, RuleFilter, Tag, parse_time};
use super::lines::Format;
use crate::rules::context::ContextArgs;

const EXAMPLES: &str = "\
Examples:
  wardline scan /evidence/ward-pc-7
      Every log in the folder, against Wardline's own rules.
  wardline scan C:/logs/Security.evtx --rules sigma/rules --level high
      One event log, against rules of yours, from level high up.
  wardline scan /evidence --from 2024-11-03 --to 2024-11-04T06:00 --computer 'ward-*' --html report.html
      A night on some computers, as one page to hand on.
  wardline scan /evidence --tag T1003 --tag credential-access --csv -o matches.csv
      Matches of a technique and a tactic for a spreadsheet.
  wardline scan /evidence --sources badge-reader.yml --rules my-rules
      Logs of your own, once a file says how they are known and what their fields are called.
  wardline scan /evidence --timesketch -o matches.jsonl
      Matches to import into Timesketch.
  wardline scan /var/log/audit/audit.log --json | jq -r .rule_title | sort | uniq -c
      Linux audit records; one JSON object for each match.

Reads EVTX, JSON lines and arrays (flat, winlogbeat, EvtxECmd, evtx dumps), Windows events as XML, Sysmon for \
Linux (syslog or XML) and auditd text. All of these also packed: .gz, .zst, .zip. The format is told by the content, not by the name.

Exit code: 0 everything was read; 1 something could not be read (it is named on standard error, the rest was \
scanned) or written; 2 wrong usage, or nothing to read, or no rule to read it with (none loaded, or the filters leave \
none); 130 ended by Ctrl-C, after what was found so far. Matches do not change the exit code, nor do rules that did not \
load where others did: they are named on standard error.";

/// Match Sigma rules against log files.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "a flag is a bool")]
pub struct ScanArgs {
    /// Log files, or folders that are searched for them; - is standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Rules: a file or a folder of .yml files; may be given several times [default: Wardline's own rules]
    #[arg(short, long, value_name = "PATH")]
    pub rules: Vec<PathBuf>,
    /// Parse the rules anew: neither use nor keep what was parsed before (in ~/.cache/wardline)
    #[arg(long)]
    pub no_cache: bool,
    #[command(flatten)]
    pub context: ContextArgs,
    /// Look for deleted records in the unused space of EVTX files, too; those that are found have the field Recovered
    #[arg(long)]
    pub recover: bool,
    /// What a record is whose log source cannot be told, in Sigma's terms: PRODUCT/CATEGORY/SERVICE (each may be
    /// empty), for example linux/process_creation/
    #[arg(long, value_name = "SOURCE", value_parser = parse_source)]
    pub log_source: Option<LogSource<'static>>,
    /// Threads that read and match [default: as many as there are cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// No progress and no summary: only the table, or what was asked for instead, and what could not be read or loaded
    #[arg(short, long)]
    pub quiet: bool,
    /// All of the report, every unreadable record and every rule that did not load, not only the first of a kind
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Records of each log source, rules of each, and how long each step took
    #[arg(long)]
    pub stats: bool,

    /// Only rules of this level and above: informational, low, medium, high, critical
    #[arg(short, long, value_name = "LEVEL", value_parser = parse_level, help_heading = "Filters")]
    pub level: Option<Severity>,
    /// Only records from this time on: 2024-11-03, 2024-11-03T10:00, 2024-11-03T10:00:05+01:00; UTC if not said
    #[arg(long, value_name = "TIME", value_parser = from_time, help_heading = "Filters")]
    pub from: Option<Timestamp>,
    /// Only records up to this time; a date is meant to its end
    #[arg(long, value_name = "TIME", value_parser = to_time, help_heading = "Filters")]
    pub to: Option<Timestamp>,
    /// Only rules with this tag, or one below it: T1059 takes attack.t1059.001; TA0002 and execution are the same; may be
    /// repeated
    #[arg(long, value_name = "TAG", value_parser = parse_tag, help_heading = "Filters")]
    pub tag: Vec<Tag>,
    /// No rules with this tag, or one below it
    #[arg(long, value_name = "TAG", value_parser = parse_tag, help_heading = "Filters")]
    pub exclude_tag: Vec<Tag>,
    /// Only records of this computer; `*` stands for anything; may be repeated
    #[arg(long, value_name = "NAME", help_heading = "Filters")]
    pub computer: Vec<String>,
    /// No records of this computer
    #[arg(long, value_name = "NAME", help_heading = "Filters")]
    pub exclude_computer: Vec<String>,
    /// Only the rule with this id, or with these words in its title; may be repeated
    #[arg(long, value_name = "ID|WORDS", help_heading = "Filters")]
    pub rule: Vec<String>,
    /// No rule with this id, or with these words in its title
    #[arg(long, value_name = "ID|WORDS", help_heading = "Filters")]
    pub exclude_rule: Vec<String>,

    /// One JSON object for each match, one a line
    #[arg(short, long, group = "form", help_heading = "Output")]
    pub json: bool,
    /// Comma-separated values, one row for each match
    #[arg(long, group = "form", help_heading = "Output")]
    pub csv: bool,
    /// One row for each match as Timesketch imports it
    #[arg(long, group = "form", value_enum, value_name = "FORM", num_args = 0..=1, require_equals = true,
          default_missing_value = "jsonl", help_heading = "Output")]
    pub timesketch: Option<TimesketchForm>,
    /// Where the matches are written; without a form it is told by the name: .jsonl, .json or .csv
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// A report with charts and tables, as one page that needs nothing else
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub html: Option<PathBuf>,
}

/// How Timesketch is served.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum TimesketchForm {
    Jsonl,
    Csv,
}

fn parse_level(text: &str) -> Result<Severity, String> {
    Severity::parse(&text.to_lowercase()).ok_or_else(|| {
        let all: Vec<_> = Severity::ALL.iter().map(|s| s.as_str()).collect();
        format!("expected one of {}", all.join(", "))
    })
}

fn parse_source(text: &str) -> Result<LogSource<'static>, String> {
    let parts: Vec<String> = text.split('/').map(str::to_owned).collect();
    let Ok([product, category, service]) = <[String; 3]>::try_from(parts) else {
        return Err("expected PRODUCT/CATEGORY/SERVICE, for example linux/process_creation/".to_owned());
    };
    Ok(LogSource { product: product.into(), category: category.into(), service: service.into() })
}

fn parse_tag(text: &str) -> Result<Tag, String> {
    if text.trim().is_empty() {
        Err("expected a tag, as T1059 or attack.execution".to_owned())
    } else {
        Ok(Tag::new(text))
    }
}

fn from_time(text: &str) -> Result<Timestamp, String> {
    parse_time(text, false)
}

fn to_time(text: &str) -> Result<Timestamp, String> {
    parse_time(text, true)
}

impl ScanArgs {
    /// The form in which each match is written, if any.
    ///
    /// # Errors
    /// A file to write to, and nothing says in which form.
    pub fn format(&self) -> Result<Option<Format>, String> {
        Ok(Some(match (self.json, self.csv, self.timesketch, &self.output) {
            (true, ..) => Format::Json,
            (_, true, ..) => Format::Csv,
            (_, _, Some(TimesketchForm::Jsonl), _) => Format::TimesketchJsonl,
            (_, _, Some(TimesketchForm::Csv), _) => Format::TimesketchCsv,
            (.., None) => return Ok(None),
            (.., Some(path)) => by_name(path)?,
        }))
    }

    /// Which rules are reported.
    pub fn rule_filter(&self) -> RuleFilter {
        RuleFilter {
            level: self.level,
            tags: self.tag.clone(),
            not_tags: self.exclude_tag.clone(),
            rules: self.rule.clone(),
            not_rules: self.exclude_rule.clone(),
        }
    }

    /// Which records are looked at.
    pub fn record_filter(&self) -> RecordFilter {
        let names = |texts: &[String]| texts.iter().map(|t| Name::new(t)).collect();
        RecordFilter {
            from: self.from,
            to: self.to,
            computers: names(&self.computer),
            not_computers: names(&self.exclude_computer),
        }
    }
}

fn by_name(path: &Path) -> Result<Format, String> {
    match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("json" | "jsonl" | "ndjson") => Ok(Format::Json),
        Some("csv") => Ok(Format::Csv),
        _ => Err(format!(
            "{}: its name does not say what to write; add --json, --csv or --timesketch (a page is written with --html)",
            path.display()
        )),
    }
}
