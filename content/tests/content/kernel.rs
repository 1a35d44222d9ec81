//! Rules with a response that the kernel follows itself.

use wardline_event::Fields;
use wardline_sigma::verdict::{Coverage, Terms, Verdict, Verdicts};

use crate::support::{cases, compiled, firing, kills};

/// The tables say of every case of every rule what the engine says; and whoever writes a rule that only the agent can
/// act on learns of it here.
#[test]
fn tables_say_of_each_case_what_the_engine_says() {
    let set = compiled();
    let asking = set.rules().iter().enumerate().filter(|(_, r)| kills(r) && r.log_source.product == "linux");
    let (verdicts, told) = Verdicts::of(asking, &Terms::linux_program(&[]));
    println!("branches, machines, cells: {:?}", verdicts.used());
    let not_whole: Vec<(&str, String)> = told
        .iter()
        .filter_map(|(rule, result)| match result {
            Ok(decided) => match &decided.coverage {
                Coverage::Whole => None,
                Coverage::Part { without } => Some((&*set.rules()[*rule].title, without.join(", "))),
            },
            Err(why) => Some((&*set.rules()[*rule].title, why.to_string())),
        })
        .collect();
    assert_eq!(
        not_whole,
        [(
            "Program in memory that poses as a part of the kernel or comes from a web server",
            "ParentImage".to_owned()
        )]
    );
    let whole: Vec<usize> = told
        .iter()
        .filter(|(_, r)| r.as_ref().is_ok_and(|d| d.coverage == Coverage::Whole))
        .map(|(n, _)| *n)
        .collect();

    let mut scratch = set.scratch();
    let (mut matched, mut faults) = (0, Vec::new());
    for (index, file) in wardline_content::rules().iter().enumerate() {
        let source = set.rules()[index].log_source.clone();
        if source.product != "linux" || source.category != "process_creation" {
            continue;
        }
        for case in cases(file.path, file.tests) {
            let hits = firing(&set, &mut scratch, source.clone(), &case.fields);
            let record = wardline_event::LogRecord::from_json(source.clone(), &case.fields);
            let text = |field: &str| {
                record
                    .field(field)
                    .and_then(|v| v.as_text().map(std::borrow::Cow::into_owned))
                    .unwrap_or_default()
            };
            let (image, line) = (text("Image"), text("CommandLine"));
            let asked = |n: &usize| told.iter().any(|(rule, _)| rule == n);
            let right = match verdicts.decide(&[image.as_bytes(), line.as_bytes()]) {
                Verdict::Matches(rule) => {
                    matched += 1;
                    hits.contains(&rule) && asked(&rule)
                }
                Verdict::Nothing => !hits.iter().any(|hit| whole.contains(hit)),
                Verdict::Silent => {
                    image.is_empty() || line.is_empty() || !line.is_ascii() || line.len() > 4096
                }
            };
            if !right {
                faults.push(format!("{}: {}", file.path, case.why));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(matched > 30, "{matched}");
}
