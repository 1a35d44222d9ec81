//! Every public rule loads.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod public_rules;

use std::collections::BTreeSet;
use std::path::Path;

use public_rules::public_rules;
use wardline_sigma::{Collection, LinkOptions};

/// The placeholders that public rules ask for. Each gets a value here; without one its rules are refused.
const PLACEHOLDERS: &[&str] = &[
    "Administrators",
    "Admins_Workstations",
    "ApprovedUserUpn",
    "Approved_Inviters",
    "DC-MACHINE-NAME",
    "DomainControllers",
    "HomeTenantID",
    "Important_AppIds",
    "KNOWN_LOCATION",
    "Known_Location",
    "Legitimate_Countries",
    "Legitimate_IP_Ranges",
    "ServerSystems",
    "UnApprovedDevice",
    "UnApprovedIp",
    "UnLegitCountries",
    "Workstations",
    "dc_ip_addresses",
    "dc_machine_accounts",
    "domain_controller_hostnames",
    "internal_domains",
    "known_cdcs",
    "legit_ips",
    "legtimate_identifiers",
    "userdomain",
];

#[test]
fn every_public_rule_loads() {
    let Some(files) = public_rules() else { return };
    let mut all = Collection::default();
    for (origin, text) in &files {
        all.extend(Collection::parse(text, origin).unwrap_or_else(|e| panic!("{e}")));
    }
    let count = all.rules.len();
    assert!(count >= files.len(), "{count} rules in {} files", files.len());

    let bare = all.clone().link(&LinkOptions::default());
    assert!(bare.faults.iter().all(|f| f.code == "S033"), "{:?}", bare.faults);
    assert_eq!(bare.rules.rules().len() + bare.faults.len(), count);
    // The list for people, with the reason.
    let listed: BTreeSet<&str> = include_str!("../../../docs/sigma.md")
        .split("## Public rules that do not load by themselves")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once(" | "))
        .flat_map(|(_, rules)| rules.split('`').filter(|name| name.contains('_')))
        .collect();
    let refused: BTreeSet<&str> = bare
        .faults
        .iter()
        .map(|fault| Path::new(&fault.origin).file_stem().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(refused, listed, "docs/sigma.md lists what does not load by itself");
    for name in PLACEHOLDERS {
        let asked = all.rules.iter().any(|rule| rule.source.contains(&format!("%{name}%")));
        assert!(asked, "no rule asks for {name}: take it off");
    }

    let mut options = LinkOptions::default();
    for name in PLACEHOLDERS {
        options.placeholders.insert(name, ["10.0.0.1".to_owned()]);
    }
    let linked = all.link(&options);
    assert_eq!(linked.faults, []);
    assert_eq!(linked.rules.rules().len(), count);
}
