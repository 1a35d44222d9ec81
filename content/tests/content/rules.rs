//! Every rule does what its test cases say, and keeps the house's form.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{cases, compiled, firing, kills};
use wardline_event::Severity;

#[test]
fn each_case_gives_the_verdict_that_it_expects() {
    let set = compiled();
    let mut scratch = set.scratch();
    let mut faults = Vec::new();
    for (index, file) in wardline_content::rules().iter().enumerate() {
        let (mut matches, mut near_misses) = (0, 0);
        for (n, case) in cases(file.path, file.tests).into_iter().enumerate() {
            if case.expect_match {
                matches += 1;
            } else {
                near_misses += 1;
            }
            let hits = firing(&set, &mut scratch, set.rules()[index].log_source.clone(), &case.fields);
            if hits.contains(&index) != case.expect_match {
                let verb = if case.expect_match { "should match" } else { "should not match" };
                faults.push(format!("{} case {}: {verb}: {}", file.path, n + 1, case.why));
            }
        }
        if matches == 0 || near_misses == 0 {
            faults.push(format!("{}: needs at least one match and one near miss", file.path));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The harmless look-alike of one rule must not be killed by another.
#[test]
fn no_near_miss_is_killed_by_any_rule() {
    let set = compiled();
    let mut scratch = set.scratch();
    let mut faults = Vec::new();
    for (index, file) in wardline_content::rules().iter().enumerate() {
        for case in cases(file.path, file.tests).into_iter().filter(|c| !c.expect_match) {
            for hit in firing(&set, &mut scratch, set.rules()[index].log_source.clone(), &case.fields) {
                if kills(&set.rules()[hit]) {
                    let killer = wardline_content::rules()[hit].path;
                    faults.push(format!("{killer} would kill the near miss of {}: {}", file.path, case.why));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_rule_keeps_the_form() {
    let set = compiled();
    let mut ids = BTreeSet::new();
    let mut titles = BTreeMap::new();
    let mut faults = Vec::new();
    for (rule, file) in set.rules().iter().zip(wardline_content::rules()) {
        let mut need = |holds: bool, what: &str| {
            if !holds {
                faults.push(format!("{}: {what}", file.path));
            }
        };
        need(is_uuid_v4(&rule.id), "`id` is no random UUID (version 4)");
        need(ids.insert(rule.id.clone()), "`id` belongs to another rule");
        let key = (rule.log_source.product.to_string(), rule.title.clone());
        need(titles.insert(key, file.path).is_none(), "`title` belongs to another rule");
        need(
            file.path.split('/').next() == Some(&*rule.log_source.product),
            "lies in another product's folder",
        );
        need(!rule.techniques().is_empty(), "no ATT&CK technique among `tags`");
        need(rule.tags.iter().any(|t| is_tactic(t)), "no ATT&CK tactic among `tags`");
        need(rule.description.len() > 60, "`description` does not say what it means and what to check");
        need(!rule.false_positives.is_empty(), "`falsepositives` is empty");
        need(rule.author == "Wardline", "`author` is not Wardline");
        need(["test", "stable"].contains(&rule.status.as_str()), "`status` is neither test nor stable");
        need(!kills(rule) || rule.level >= Severity::High, "`response: kill` needs level high or critical");
        if let Some(own) = rule.extra.get("wardline") {
            let known = own.as_object().is_some_and(|o| o.keys().eq(["response"]));
            need(known && kills(rule), "`wardline` knows `response: kill` only");
            let reasoned =
                file.text.split("\nwardline:\n").nth(1).is_some_and(|t| t.trim().starts_with("# "));
            need(reasoned, "`response: kill` needs a comment with its reason");
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A misspelt field in a rule and its cases alike would pass them and never fire on a device.
#[test]
fn cases_use_only_fields_that_exist() {
    let set = compiled();
    let mut faults = Vec::new();
    for (rule, file) in set.rules().iter().zip(wardline_content::rules()) {
        let known: &[&str] = match &*rule.log_source.category {
            "process_creation" => &[
                "Image",
                "CommandLine",
                "CurrentDirectory",
                "User",
                "ParentImage",
                "ParentCommandLine",
                "ParentUser",
                // Scanned event logs only.
                "OriginalFileName",
            ],
            "network_connection" => &[
                "Image",
                "CommandLine",
                "User",
                "Initiated",
                "Protocol",
                "SourceIp",
                "SourcePort",
                "DestinationIp",
                "DestinationPort",
                "DestinationHostname",
            ],
            "file_event" => &["Image", "CommandLine", "User", "TargetFilename"],
            "dns_query" => &["Image", "CommandLine", "User", "QueryName", "QueryResults"],
            "system_call" => {
                &["Image", "CommandLine", "User", "SystemCall", "Arguments", "Result", "Details"]
            }
            // Scanned event logs, each with its own fields.
            _ => continue,
        };
        for field in cases(file.path, file.tests).iter().flat_map(|c| c.fields.keys()) {
            if !known.contains(&field.as_str()) {
                faults.push(format!("{}: no sensor gives the field {field}", file.path));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A rule that loses its response by a slip of the pen would go unnoticed otherwise.
#[test]
fn both_systems_have_rules_that_stop_an_attack() {
    let set = compiled();
    for (product, rules, killing) in [("windows", 24, 8), ("linux", 24, 8)] {
        let of = |r: &&wardline_sigma::Rule| r.log_source.product == product;
        assert!(set.rules().iter().filter(of).count() >= rules, "too few rules for {product}");
        let count = set.rules().iter().filter(of).filter(|r| kills(r)).count();
        assert!(count >= killing, "{count} rules with a response for {product}");
    }
}

fn is_uuid_v4(id: &str) -> bool {
    let parts: Vec<&str> = id.split('-').collect();
    parts.iter().map(|p| p.len()).eq([8, 4, 4, 4, 12])
        && id.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        && parts[2].starts_with('4')
        && parts[3].starts_with(['8', '9', 'a', 'b'])
}

/// The tactics of ATT&CK for Enterprise, version 19, in the spelling of Sigma's tags.
fn is_tactic(tag: &str) -> bool {
    const TACTICS: [&str; 15] = [
        "reconnaissance",
        "resource-development",
        "initial-access",
        "execution",
        "persistence",
        "privilege-escalation",
        "stealth",
        "defense-impairment",
        "credential-access",
        "discovery",
        "lateral-movement",
        "collection",
        "command-and-control",
        "exfiltration",
        "impact",
    ];
    tag.strip_prefix("attack.").is_some_and(|t| TACTICS.contains(&t))
}
