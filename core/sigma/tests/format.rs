//! Formatting: `format/NAME.before.yml` becomes `format/NAME.after.yml`, and that stays as it is.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod public_rules;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use public_rules::public_rules;
use wardline_sigma::{Rule, format};

#[test]
fn files_are_formatted_as_written_beside_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Some(base) = path.to_str().unwrap().strip_suffix(".before.yml") else { continue };
        let wanted = fs::read_to_string(format!("{base}.after.yml")).unwrap();
        let got = format(&fs::read_to_string(&path).unwrap(), base).unwrap();
        assert_eq!(got, wanted, "{base}");
        assert_eq!(format(&got, base).unwrap(), got, "{base}: not at rest");
        seen += 1;
    }
    assert!(seen >= 3);
}

#[test]
fn public_rules_mean_the_same_afterwards_and_stay_at_rest() {
    let Some(files) = public_rules() else { return };
    let mut left = Vec::new();
    for (name, text) in &files {
        let formatted = match format(text, name) {
            Ok(formatted) => formatted,
            Err(e) => {
                left.push(e.to_string());
                continue;
            }
        };
        assert_eq!(format(&formatted, name).unwrap(), formatted, "{name}");
        // Besides the comparison of the YAML: the rules themselves.
        let rules = |text: &str| {
            let rules = Rule::parse(text, "").map_err(|e| (e.code, e.message))?;
            Ok::<_, (&str, String)>(
                rules
                    .into_iter()
                    .map(|mut r| {
                        (r.source, r.line) = (String::new(), 0);
                        (
                            r.id.clone(),
                            r.title.clone(),
                            r.description.clone(),
                            r.tags.clone(),
                            r.field_names().len(),
                        )
                    })
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(rules(text), rules(&formatted), "{name}");
    }
    println!("{} files, {} left as they are", files.len(), left.len());
    assert!(
        left.len() * 100 < files.len(),
        "{} left: {:#?}",
        left.len(),
        left.iter().take(5).collect::<Vec<_>>()
    );
}

proptest! {
    /// Whatever is given: an error, or something that is at rest.
    #[test]
    fn any_text_is_formatted_once_or_refused(text in "(title|date|a|- |  |: |#|'|\"|\\||\\[|\\]|\\{|\\}|---|\n|\n  |x|2026/01/31){0,40}") {
        if let Ok(once) = format(&text, "x") {
            prop_assert_eq!(format(&once, "x").map_err(|e| e.to_string()), Ok(once));
        }
    }
}
