//! Every public rule loads.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod public_rules;

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
