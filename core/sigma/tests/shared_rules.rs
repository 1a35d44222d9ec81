//! Every public rule loads.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fs;
use std::path::{Path, PathBuf};

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

fn shared() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/sigma");
    root.is_dir().then_some(root)
}

fn rule_files(dir: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rule_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "yml") {
            out.push(path);
        }
    }
}

#[test]
fn every_public_rule_loads() {
    let Some(root) = shared() else {
        println!("skipped: no shared data");
        return;
    };
    let mut files = Vec::new();
    rule_files(&root, &mut files);
    assert!(files.len() > 3000, "only {} rule files in {}", files.len(), root.display());
    let mut all = Collection::default();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let origin = file.strip_prefix(&root).unwrap().display().to_string();
        all.extend(Collection::parse(&text, &origin).unwrap_or_else(|e| panic!("{e}")));
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
