//! The demonstration's script against the rules: what must be found is found, and nothing else.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use wardline_event::{ActionState, Body, Finding};
use wardline_kernel::views::{FindingQuery, findings};
use wardline_kernel::{Kernel, random_bytes};
use wardline_range::estate::{DEVICES, ordinary};
use wardline_range::exercise::Exercise;
use wardline_range::script::{RANSOMWARE, Step, parse};
use wardline_range::summary::Outcome;

/// All findings of a device.
async fn found(kernel: &Kernel, device: &str) -> Vec<Finding> {
    let (pool, scope) = (kernel.store().read(), kernel.home());
    let query = FindingQuery { device: Some(device.to_owned()), limit: 500, ..FindingQuery::default() };
    let mut all = Vec::new();
    for summary in findings(pool, scope, &query).await.unwrap() {
        all.push(wardline_incidents::record(pool, scope, &summary.id).await.unwrap().unwrap().finding);
    }
    all
}

/// Whether a finding's event is the one that a step made.
fn is_about(finding: &Finding, step: &Step) -> bool {
    match (&finding.event.body, step) {
        (Body::Process(p), Step::Start { cmd, .. }) => p.process.command_line == *cmd,
        (Body::Network(n), Step::Connect { to, port, .. }) => n.dst_ip == *to && n.dst_port == *port,
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_expected_step_leads_to_a_finding_and_ordinary_work_to_none() {
    let dir = tempfile::tempdir().unwrap();
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut exercise = Exercise::prepare(dir.path(), free, random_bytes::<16>, |_| ()).await.unwrap();
    let steps = parse(RANSOMWARE).unwrap();
    for step in &steps {
        let outcome = exercise.play(step).await.unwrap();
        let expects = matches!(step, Step::Start { expect: true, .. } | Step::Connect { expect: true, .. });
        if expects {
            assert!(matches!(outcome, Outcome::Happened { expected: true, .. }), "{step:?}: {outcome:?}");
        }
        if let Outcome::Ordered { what, state, .. } = outcome {
            assert_eq!(*state, ActionState::Succeeded, "{what}");
        }
    }
    // Waits until all is at the hub.
    let summary = exercise.summary().await.unwrap();
    assert!(summary.accounts() && summary.dropped == 0, "{}", summary.to_text());

    let kernel = exercise.hub.kernel().clone();
    let of = |host: &str| exercise.device_id(host).unwrap().to_owned();
    for step in &steps {
        let (Step::Start { on, expect: true, .. } | Step::Connect { on, expect: true, .. }) = step else {
            continue;
        };
        let all = found(&kernel, &of(on)).await;
        assert!(all.iter().any(|f| is_about(f, step)), "no finding on {on} for {step:?}");
        assert!(all.iter().all(|f| f.simulated), "what the range makes is marked");
    }

    let quiet: BTreeSet<&str> =
        DEVICES.iter().flat_map(|d| ordinary(d.product)).map(|(_, _, cmd)| *cmd).collect();
    let attacked: BTreeSet<&str> = steps.iter().filter_map(Step::device).collect();
    for device in &DEVICES {
        for finding in found(&kernel, &of(device.host)).await {
            let process = finding.event.process();
            let title = &finding.rule.title;
            assert!(attacked.contains(device.host), "{title} fired on {}: {process:?}", device.host);
            assert!(!quiet.contains(process.command_line.as_str()), "{title} fired on {process:?}");
        }
    }
    exercise.stop().await;
}
