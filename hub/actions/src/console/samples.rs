//! The page rendered with sample data, among it text that an attacker chose; and the forms that come in.

use wardline_event::Timestamp;
use wardline_kernel::page::{Frame, Section, Theme};
use wardline_kernel::views::ActionSummary;
use wardline_policy::{Agreement, Need};

use super::list::{Filter, ListPage};
use super::look::{LookPage, OrderForm};
use super::rights::{ConsentRow, ConsentsPage, GlassPage, GlassRow};
use crate::consent::Consent;
use crate::domain::Wish;
use crate::glass::Glass;
use crate::survey::{Effect, Preview};

const NOW: Timestamp = Timestamp(1_795_450_800_000);

fn framed(title: &str, body: &impl askama::Template) -> String {
    let frame = Frame {
        title,
        section: Section::Actions,
        person: Some("administrator"),
        organisation: "Northfield Hospitals",
        theme: Theme::System,
        here: "/actions",
        notice: None,
    };
    let html = frame.render(body).unwrap();
    // For a look without a hub: `WARDLINE_PAGES=DIR cargo test` writes each page there.
    if let Some(folder) = std::env::var_os("WARDLINE_PAGES") {
        std::fs::write(std::path::Path::new(&folder).join(format!("{title}.html")), &html).unwrap();
    }
    html
}

fn action(kind: &str, target: &str, state: &str, detail: &str) -> ActionSummary {
    ActionSummary {
        id: format!("{:032x}", kind.len()),
        device: "00000000000000000000000000000005".into(),
        hostname: "WARD7-PC3".into(),
        kind: kind.into(),
        target: target.into(),
        reason: "Ransomware was stopped here; keep it from spreading".into(),
        requested_by: "administrator".into(),
        state: state.into(),
        detail: detail.into(),
        created_ms: NOW.0 - 61_000,
        expires_ms: NOW.0 + 600_000,
        updated_ms: NOW.0,
        simulated: true,
        basis: "role".into(),
        needs: Vec::new(),
        approved_by: String::new(),
        together: String::new(),
    }
}

#[test]
fn actions_are_told_in_words_with_their_states() {
    let key = "00000000000000000000000000000007-3a98-5304";
    let rows = [
        action("release", "", "Pending", ""),
        action("isolate", "3600", "InProgress", ""),
        action("isolate", "900", "Succeeded", "isolated until 16:40; 1 connection to the hub is kept"),
        action("kill_process", key, "Failed", "the process had ended already"),
        action(
            "kill_process",
            key,
            "TimedOut",
            "the order expired before the device confirmed that it began",
        ),
        action("isolate", "86400", "Cancelled", ""),
        action("contain", "east-west 3600", "Succeeded", ""),
        action("contain", &format!("process/{key} 900"), "Succeeded", ""),
        action("lift", "logons", "Succeeded", ""),
        action("quarantine_file", "/tmp/payload", "Succeeded", ""),
    ];
    let mut page = ListPage::of(&rows, Filter::default(), false, NOW);
    page.may_cancel = true;
    let html = framed("actions", &page);
    for part in [
        "Release from isolation",
        "Isolate for 1 hour",
        "Isolate for 15 minutes",
        "Isolate for 24 hours",
        "Kill process 5304 and what it started",
        "Cut SMB, RDP, SSH and WinRM for 1 hour",
        "Cut the network of process 5304 and what it started for 15 minutes",
        "Let everybody log on again",
        "Quarantine /tmp/payload",
        "Waiting for device",
        "Confirmed by device",
        "No answer in time",
        "Take it back",
    ] {
        assert!(html.contains(part), "the page lacks: {part}");
    }
    let evil = format!("</td><script>alert(1)</script>\u{202e}{}", "C".repeat(10_240));
    let mut hostile = action(&evil, &evil, &evil, &evil);
    (hostile.hostname, hostile.reason, hostile.requested_by) = (evil.clone(), evil.clone(), evil.clone());
    let filter = Filter { state: evil.clone(), after: evil };
    let html = framed("actions-hostile", &ListPage::of(&[hostile], filter, true, NOW));
    assert!(!html.contains("<script>alert") && !html.contains('\u{202e}'));
    assert!(
        framed("actions-empty", &ListPage::of(&[], Filter::default(), false, NOW))
            .contains("Nobody has ordered")
    );
}

fn need(of: Agreement, because: &str) -> Need {
    Need { of, because: because.into() }
}

#[test]
fn what_waits_for_approval_comes_first_and_together() {
    let mut rows = Vec::new();
    for n in 0..11 {
        let mut row = action("isolate", "3600", "Pending", "");
        row.id = format!("{n:032x}");
        row.hostname = format!("WARD7-PC{n}");
        row.together = "t1".into();
        row.requested_by = "R. Patel".into();
        row.needs =
            vec![need(Agreement::SecondPerson, "one person may contain at most 5 devices in an hour alone")];
        rows.push(row);
    }
    let mut own = action("contain", "logons 3600", "Pending", "");
    own.needs = vec![
        need(Agreement::SecondPerson, "nobody could log on any more"),
        need(
            Agreement::OwnPerson,
            "the device's own organisation decides, unless it has given standing consent",
        ),
    ];
    own.approved_by = "K. Clinician".into();
    rows.push(own);
    let mut done = action("isolate", "3600", "Succeeded", "isolated until 16:40");
    (done.approved_by, done.basis) = ("K. Clinician".into(), "break_glass".into());
    let list = [rows.clone(), vec![done]].concat();
    let mut page = ListPage::of(&list, Filter::default(), false, NOW);
    page.put_waiting(&rows, "administrator", NOW);
    (page.may_approve, page.may_cancel) = (true, true);
    assert_eq!(page.waiting.len(), 2);
    let html = framed("actions-waiting", &page);
    for part in [
        "Waiting for approval",
        "and 3 more",
        "All 11 devices are asked at once",
        "at most 5 devices in an hour",
        "You asked for it: somebody else must approve",
        "approved so far by K. Clinician",
        "Void at",
        "Needs approval by a second person (nobody could log on any more) and somebody of the device",
        "Break-glass",
        "action=\"/actions/00000000000000000000000000000007/undo\"",
    ] {
        assert!(html.contains(part), "the page lacks: {part}");
    }
}

fn effect(name: &str, class: &str) -> Effect {
    Effect {
        device: format!("{:032x}", name.len()),
        hostname: name.into(),
        organisation_name: "Northfield Hospitals".into(),
        site: "Northfield General".into(),
        ward: "Imaging".into(),
        device_type: if class == "clinical" { "CT scanner" } else { "" }.into(),
        class: class.into(),
        presence: "live".into(),
        refused: String::new(),
        needs: Vec::new(),
        basis: "role".into(),
        last_of_type: "no".into(),
        of_ward: 0,
        of_site: 0,
        of_organisation: 0,
        of_type: 0,
        kept: Vec::new(),
    }
}

#[test]
fn what_would_be_cut_off_is_shown_before_it_is_ordered() {
    let mut last = effect("CT-CONSOLE-1", "clinical");
    last.last_of_type = "yes".into();
    last.of_ward = 40;
    last.needs = vec![
        need(Agreement::SecondPerson, "patients depend on this device"),
        need(Agreement::Clinician, "no other device of this type would be left at this site"),
    ];
    last.kept = vec!["Images to the archive (10.1.2.3 104)".into()];
    let mut silent = effect("IMAGING-PC-2", "workstation");
    (silent.presence, silent.of_ward, silent.ward) = ("silent".into(), 40, String::new());
    let bare = effect("INFUSION-7", "clinical");
    let form = OrderForm {
        kind: "isolate".into(),
        minutes: "60".into(),
        reason: "<i>spreading".into(),
        ..OrderForm::default()
    };
    let preview = |effects| Preview { effects, by_person: 2, seen: "0123456789abcdef".into() };
    let wish = Wish::Isolate { for_s: 3600 };
    let html = framed("look", &LookPage::of(form.clone(), &wish, preview(vec![last.clone(), silent, bare])));
    for part in [
        "Isolate for 1 hour: 3 devices",
        "Nothing has been ordered yet",
        "2 on which patients depend",
        "Last of its type here",
        "40 % of the ward",
        "Stays open: Images to the archive (10.1.2.3 104)",
        "No clinical flow is kept",
        "ward not known",
        "a clinical engineer: no other device of this type would be left at this site (1 of 3 devices)",
        "cannot be heard now",
        "Ask for approval",
        "name=\"seen\" value=\"0123456789abcdef\"",
    ] {
        assert!(html.contains(part), "the page lacks: {part}");
    }
    assert!(!html.contains("<i>"));
    last.refused = "containment must last at least 60 s".into();
    let html = framed("look-refused", &LookPage::of(form, &wish, preview(vec![last])));
    assert!(html.contains("It cannot be ordered") && !html.contains("Ask for approval"));
}

#[test]
fn consents_and_broken_glass_are_told_in_words() {
    let consent = |revoked_ms, expires_ms| Consent {
        id: "c1".into(),
        organisation: "o1".into(),
        organisation_name: "Northfield Hospitals".into(),
        given_to: "o0".into(),
        given_to_name: "North region".into(),
        kinds: vec!["isolate".into(), "cut_east_west".into()],
        classes: vec!["workstation".into(), "server".into()],
        reason: "Nobody is on call here at night".into(),
        given_by: "L. Lead".into(),
        given_ms: NOW.0 - 86_400_000,
        expires_ms,
        revoked_ms,
        revoked_by: String::new(),
    };
    let rows = [consent(None, NOW.0 + 1), consent(Some(NOW.0), NOW.0 + 1), consent(None, NOW.0)];
    let rows = rows.iter().map(|one| ConsentRow::of(one, NOW)).collect();
    let above = vec![("o0".to_owned(), "North region".to_owned())];
    let html = framed("consents", &ConsentsPage { rows, above, may_give: true });
    for part in
        ["Holds", "Taken back", "Expired", "isolate, cut SMB, RDP, SSH and WinRM", "on workstation, server"]
    {
        assert!(html.contains(part), "the page lacks: {part}");
    }
    let glass = |ended_ms, reviewed_ms| Glass {
        id: "g1".into(),
        organisation: "o1".into(),
        organisation_name: "Northfield Hospitals".into(),
        person: "A. Manager".into(),
        role: "on_call_manager".into(),
        reason: "Ransom note on three wards, nobody answers".into(),
        begun_ms: NOW.0 - 60_000,
        expires_ms: NOW.0 + 3_540_000,
        ended_ms,
        orders: 4,
        reviewed_ms,
        reviewed_by: "L. Lead".into(),
        review: "The note was real.".into(),
    };
    let rows = [glass(None, None), glass(Some(NOW.0), None), glass(Some(NOW.0), Some(NOW.0))];
    let rows = rows.iter().map(|one| GlassRow::of(one, "L. Lead", NOW)).collect();
    let page =
        GlassPage { rows, organisation: "Northfield Hospitals".into(), may_break: true, may_review: true };
    let html = framed("break-glass", &page);
    for part in [
        "Broken now",
        "To be looked into",
        "Looked into",
        "4 orders",
        "What you found",
        "The note was real.",
        "End it now",
    ] {
        assert!(html.contains(part), "the page lacks: {part}");
    }
}

#[test]
fn a_form_becomes_a_wish_or_a_sentence() {
    let form = |kind: &str, minutes: &str, process_key: &str| OrderForm {
        kind: kind.into(),
        process_key: process_key.into(),
        minutes: minutes.into(),
        ..OrderForm::default()
    };
    assert_eq!(form("isolate", "60", "").wish().unwrap(), Wish::Isolate { for_s: 3600 });
    assert_eq!(form("release", "", "").wish().unwrap(), Wish::Release);
    let cut = OrderForm { rung: "east-west".into(), ..form("contain", "60", "") };
    assert_eq!(cut.wish().unwrap(), Wish::Contain { rung: wardline_policy::Rung::EastWest, for_s: 3600 });
    let key = "00000000000000000000000000000007-3a98-5304";
    assert!(matches!(form("kill_process", "", key).wish(), Ok(Wish::KillProcess { .. })));
    for (kind, minutes, key, says) in [
        ("isolate", "", "", "no duration"),
        ("isolate", "99999999999", "", "no duration"),
        ("kill_process", "", "1", "no process"),
        ("contain", "60", "", "no containment"),
        ("lift", "", "", "no containment"),
        ("reboot", "", "", "no order"),
    ] {
        assert!(form(kind, minutes, key).wish().unwrap_err().problem.detail.contains(says), "{kind}");
    }
}
