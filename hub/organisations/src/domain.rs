//! What people send to be imported: read, checked line by line, and put in an order in which parents come first. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use wardline_kernel::csv;
use wardline_kernel::tree::{Facts, OrganisationKind};

/// Bytes of a file at most.
pub const MOST_BYTES: usize = 64 << 20;
/// Organisations in one file at most.
pub const MOST_ROWS: usize = 200_000;
/// How a file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A JSON array of objects.
    Json,
    /// Comma-separated values with a header.
    Csv,
}

impl Format {
    /// By a file's name; by its first character if the name does not say.
    pub fn guess(name: &str, text: &str) -> Self {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        match ending.as_deref() {
            Some("json") => Self::Json,
            Some("csv") => Self::Csv,
            _ if text.trim_start().starts_with(['[', '{']) => Self::Json,
            _ => Self::Csv,
        }
    }
}

/// One organisation to be imported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Where it stands: the line of a CSV file, the number of the entry in a JSON file. From 1.
    pub at: usize,
    /// What is known of it, made fit. The code is always there.
    pub facts: Facts,
    /// The code of the organisation above it, if one is named.
    pub parent: Option<String>,
}

/// Something wrong with one entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Where.
    pub at: usize,
    /// What, and what to do.
    pub what: String,
}

/// What a file comes to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// The organisations, parents before what is below them.
    pub rows: Vec<Row>,
    /// What is wrong, in the order of the file.
    pub faults: Vec<Fault>,
    /// Entries that say that they are not active (closed, applied for, …): left out.
    pub inactive: usize,
}

/// The file as a whole cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Too long.
    #[error("the file has {0} bytes; at most {MOST_BYTES} are read: split it")]
    TooLong(usize),
    /// Too many.
    #[error("the file has {0} organisations; at most {MOST_ROWS} are read at once: split it")]
    TooMany(usize),
    /// Not JSON.
    #[error("the file is not the JSON array that was expected: {0}")]
    Json(#[source] serde_json::Error),
    /// Not CSV.
    #[error(transparent)]
    Csv(#[from] csv::Unclosed),
    /// A column is missing.
    #[error(
        "the CSV file's first line has no column `{0}`; needed are ods, name and kind, known are also parent (or region), town, postcode and status"
    )]
    Column(&'static str),
}

/// An entry as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Written {
    ods: String,
    name: String,
    kind: String,
    #[serde(alias = "region")]
    parent: Option<String>,
    town: Option<String>,
    postcode: Option<String>,
    status: Option<String>,
}

/// Reads a kind as registers write it.
pub fn kind(text: &str) -> Option<OrganisationKind> {
    let word = text.trim().to_lowercase().replace(['-', '_'], " ");
    Some(match word.as_str() {
        "nation" | "country" => OrganisationKind::Nation,
        "region" | "nhs region" | "commissioning region" => OrganisationKind::Region,
        "trust" | "nhs trust" | "nhs foundation trust" | "foundation trust" => OrganisationKind::Trust,
        "gp practice" | "gp surgery" | "general practice" => OrganisationKind::GpPractice,
        "supplier" => OrganisationKind::Supplier,
        "other" => OrganisationKind::Other,
        word if word.contains("pharmacy") => OrganisationKind::Pharmacy,
        _ => return None,
    })
}

/// Reads a file. `known` says whether the hub has an organisation with a code already, to which others can be added.
pub fn plan(text: &str, format: Format, known: &dyn Fn(&str) -> bool) -> Result<Plan, PlanError> {
    if text.len() > MOST_BYTES {
        return Err(PlanError::TooLong(text.len()));
    }
    let written = match format {
        Format::Json => read_json(text)?,
        Format::Csv => read_csv(text)?,
    };
    if written.len() > MOST_ROWS {
        return Err(PlanError::TooMany(written.len()));
    }
    let mut plan = Plan::default();
    let mut rows: Vec<Row> = Vec::with_capacity(written.len());
    let mut by_code: BTreeMap<String, usize> = BTreeMap::new();
    for (at, entry) in written {
        let entry = match entry {
            Ok(entry) => entry,
            Err(what) => {
                plan.faults.push(Fault { at, what });
                continue;
            }
        };
        if entry.status.as_deref().is_some_and(|status| !status.trim().eq_ignore_ascii_case("active")) {
            plan.inactive += 1;
            continue;
        }
        match checked(at, entry) {
            Ok(row) => {
                let code = row.facts.ods.clone().unwrap_or_default();
                if let Some(first) = by_code.get(&code) {
                    let what = format!(
                        "the code {code} stands at {first} already; each code names one organisation"
                    );
                    plan.faults.push(Fault { at, what });
                    continue;
                }
                by_code.insert(code, at);
                rows.push(row);
            }
            Err(what) => plan.faults.push(Fault { at, what }),
        }
    }
    in_order(rows, known, &mut plan);
    plan.faults.sort_by_key(|fault| fault.at);
    Ok(plan)
}

fn checked(at: usize, entry: Written) -> Result<Row, String> {
    let kind = kind(&entry.kind).ok_or_else(|| {
        let short: String = entry.kind.chars().filter(|c| !c.is_control()).take(40).collect();
        format!("`{short}` is no kind of organisation; use nation, region, trust, gp_practice, pharmacy, supplier or other")
    })?;
    let facts = Facts {
        name: entry.name,
        kind,
        ods: Some(entry.ods),
        town: entry.town.unwrap_or_default(),
        postcode: entry.postcode.unwrap_or_default(),
    };
    let facts = facts.fit().map_err(|error| error.to_string())?;
    if facts.ods.is_none() {
        return Err("the ODS code is missing; an import finds organisations again by it".to_owned());
    }
    let parent = entry.parent.map(|code| code.trim().to_ascii_uppercase()).filter(|code| !code.is_empty());
    if parent.is_some() && parent == facts.ods {
        return Err("it names itself as the organisation above it".to_owned());
    }
    Ok(Row { at, facts, parent })
}

/// Puts parents first; what hangs on nothing, or on a loop, becomes a fault.
fn in_order(rows: Vec<Row>, known: &dyn Fn(&str) -> bool, plan: &mut Plan) {
    let codes: BTreeSet<String> = rows.iter().filter_map(|row| row.facts.ods.clone()).collect();
    let mut below: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let mut ready = Vec::new();
    for row in rows {
        match &row.parent {
            Some(parent) if codes.contains(parent) => below.entry(parent.clone()).or_default().push(row),
            Some(parent) if !known(parent) => {
                let what = format!(
                    "the organisation above it, {parent}, is neither in this file nor on this hub; add it first"
                );
                plan.faults.push(Fault { at: row.at, what });
            }
            _ => ready.push(row),
        }
    }
    ready.reverse();
    while let Some(row) = ready.pop() {
        if let Some(code) = &row.facts.ods
            && let Some(children) = below.remove(code)
        {
            ready.extend(children.into_iter().rev());
        }
        plan.rows.push(row);
    }
    // What is left hangs on an entry with a fault, or on itself.
    for row in below.into_values().flatten() {
        let parent = row.parent.unwrap_or_default();
        let what = format!("the organisation above it, {parent}, cannot be imported, or lies below it");
        plan.faults.push(Fault { at: row.at, what });
    }
}

type Entries = Vec<(usize, Result<Written, String>)>;

fn read_json(text: &str) -> Result<Entries, PlanError> {
    let entries: Vec<Value> =
        serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(text)).map_err(PlanError::Json)?;
    let read = |entry: Value| serde_json::from_value(entry).map_err(|error| error.to_string());
    Ok(entries.into_iter().enumerate().map(|(i, entry)| (i + 1, read(entry))).collect())
}

fn read_csv(text: &str) -> Result<Entries, PlanError> {
    let mut records = csv::read(text)?.into_iter();
    let header = records.next().map(|record| record.fields).unwrap_or_default();
    let column = |name: &str| header.iter().position(|field| field.trim().eq_ignore_ascii_case(name));
    let needed = |name: &'static str| column(name).ok_or(PlanError::Column(name));
    let (ods, name, kind) = (needed("ods")?, needed("name")?, needed("kind")?);
    let parent = column("parent").or_else(|| column("region"));
    let (town, postcode, status) = (column("town"), column("postcode"), column("status"));
    Ok(records
        .map(|record| {
            if record.fields.len() != header.len() {
                let what = format!(
                    "it has {} fields and the first line {}; a name with a comma needs quotation marks",
                    record.fields.len(),
                    header.len()
                );
                return (record.line, Err(what));
            }
            let text = |column: usize| record.fields[column].clone();
            let optional = |column: Option<usize>| column.map(text).filter(|text| !text.trim().is_empty());
            let entry = Written {
                ods: text(ods),
                name: text(name),
                kind: text(kind),
                parent: optional(parent),
                town: optional(town),
                postcode: optional(postcode),
                status: optional(status),
            };
            (record.line, Ok(entry))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use proptest::prelude::*;

    fn codes(plan: &Plan) -> Vec<&str> {
        plan.rows.iter().map(|row| row.facts.ods.as_deref().unwrap()).collect()
    }

    #[test]
    fn parents_come_first_and_every_fault_names_its_line() {
        let text = "ods,name,kind,parent,status\n\
                    RX1,Northfield Trust,NHS Trust,Y1,Active\n\
                    Y1,North,Region,E,\n\
                    A81,High Street,GP Surgery,RX1,active\n\
                    RX2,Closed Trust,Trust,Y1,Closed\n\
                    RX3,Lost Trust,Trust,Y9,Active\n\
                    RX1,Twin,Trust,Y1,Active\n\
                    RX4,Odd,Castle,Y1,Active\n\
                    ,No code,Trust,Y1,Active\n\
                    L1,Loop one,Trust,L2,Active\n\
                    L2,Loop two,Trust,L1,Active\n\
                    RX5,Short\n\
                    RX6,,Trust,Y1,Active\n\
                    RX7,Self,Trust,RX7,Active\n";
        let plan = plan(text, Format::Csv, &|code| code == "E").unwrap();
        assert_eq!(codes(&plan), ["Y1", "RX1", "A81"]);
        assert_eq!(plan.inactive, 1);
        let told: Vec<(usize, &str)> = plan.faults.iter().map(|f| (f.at, f.what.as_str())).collect();
        for ((at, what), (line, said)) in told.iter().zip([
            (6, "Y9, is neither in this file nor on this hub"),
            (7, "RX1 stands at 2 already"),
            (8, "`Castle` is no kind"),
            (9, "the ODS code is missing"),
            (10, "lies below it"),
            (11, "lies below it"),
            (12, "2 fields and the first line 5"),
            (13, "the name is missing"),
            (14, "names itself"),
        ]) {
            assert!(*at == line && what.contains(said), "{at}: {what} / {line}: {said}");
        }
        assert_eq!(told.len(), 9, "{told:?}");
    }

    #[test]
    fn json_is_read_as_registers_write_it() {
        let text = r#"[{"ods":"rcf","name":"Airy","kind":"NHS Trust","region":"Y63","town":"K","status":"Active"},
                       {"ods":"Y63","name":"North","kind":"Region","town":"leeds","postcode":"LS2"},
                       {"ods":5,"name":"x","kind":"Trust"}]"#;
        let plan = plan(text, Format::Json, &|_| false).unwrap();
        assert_eq!(codes(&plan), ["Y63", "RCF"]);
        assert_eq!(plan.rows[1].parent.as_deref(), Some("Y63"));
        assert!(
            plan.faults.len() == 1 && plan.faults[0].what.contains("expected a string"),
            "{:?}",
            plan.faults
        );
    }

    #[test]
    fn a_file_that_is_none_is_refused_with_what_was_expected() {
        for (text, format, said) in [
            ("{}", Format::Json, "not the JSON array"),
            ("name,kind\n", Format::Csv, "no column `ods`"),
            ("", Format::Csv, "no column `ods`"),
            ("ods,name,kind\n\"x", Format::Csv, "line 2: a quoted field"),
        ] {
            let error = plan(text, format, &|_| false).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_parents_always_come_first(parents in prop::collection::vec(0usize..12, 0..12)) {
            let mut text = String::from("ods,name,kind,parent\n");
            for (i, parent) in parents.iter().enumerate() {
                writeln!(text, "C{i:02},N{i},trust,C{parent:02}").unwrap();
            }
            let plan = plan(&text, Format::Csv, &|_| false).unwrap();
            prop_assert_eq!(plan.rows.len() + plan.faults.len() + plan.inactive, parents.len());
            let mut seen = BTreeSet::new();
            for row in &plan.rows {
                if let Some(parent) = &row.parent {
                    prop_assert!(seen.contains(parent), "{} before its parent {}", row.at, parent);
                }
                seen.insert(row.facts.ods.clone().unwrap());
            }
        }

        #[test]
        fn no_bytes_break_it(text in ".{0,200}") {
            for format in [Format::Json, Format::Csv] {
                let _ = plan(&text, format, &|_| true);
            }
        }
    }
}
