//! Batches: whole or not at all, once, and nothing lost.

use tonic::Code;
use wardline_event::{Body, ProcessOp, Timestamp, ocsf};
use wardline_hub::TokenSpec;
use wardline_kernel::EventQuery;
use wardline_wire::make_batch;
use wardline_wire::proto::agent_message::Body as FromAgent;
use wardline_wire::proto::hub_message::Body as FromHub;
use wardline_wire::proto::{Record, RecordKind};

use crate::house::{House, enrol, event, event_record, events, finding, on_postgres, record};

const EVENTS: &str = "SELECT COUNT(*) FROM event";

#[tokio::test]
async fn what_is_sent_again_is_stored_once_and_gaps_are_counted() {
    let house = House::open().await;
    let device = house.device().await;
    let mut line = device.connect(&house.hub).await;
    assert_eq!(line.store(events(1, 10)).await, 10);
    assert_eq!(line.store(events(1, 10)).await, 10);
    // Half old, half new, over another connection.
    let mut again = device.connect(&house.hub).await;
    assert_eq!(again.store(events(6, 10)).await, 15);
    assert_eq!(house.count(EVENTS).await, 15);
    // An old one comes late: what is stored is acknowledged, all of it.
    assert_eq!(line.store(events(2, 3)).await, 15);
    // The device dropped 16 to 19.
    assert_eq!(line.store(events(20, 1)).await, 20);
    assert_eq!(house.count(EVENTS).await, 16);
    assert_eq!(house.count("SELECT missing FROM spool").await, 4);
    assert_eq!(house.count("SELECT stored FROM spool").await, 16);
    let stats = house.hub.agent_stats();
    assert_eq!((stats.stored_records, stats.repeated_records), (16, 18));
}

#[tokio::test]
async fn a_batch_cut_short_is_refused_whole_with_a_message() {
    let house = House::open().await;
    let device = house.device().await;
    let mut line = device.connect(&house.hub).await;
    let mut cut = events(1, 5);
    cut.records.truncate(3);
    line.say(FromAgent::Batch(cut)).await;
    let status = line.hear().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "batch refused: it says 5 records and carries 3; it was cut short, send it again"
    );
    assert_eq!(house.count(EVENTS).await, 0);
    assert_eq!(device.connect(&house.hub).await.store(events(1, 5)).await, 5);
    assert_eq!(house.count(EVENTS).await, 5);
}

#[tokio::test]
async fn an_unreadable_record_is_kept_aside_and_blocks_nothing() {
    let house = House::open().await;
    let device = house.device().await;
    let mut line = device.connect(&house.hub).await;
    let batch = make_batch(
        [9; 16],
        1,
        vec![
            event_record(1, 11, 10),
            record(RecordKind::Event, "{not json"),
            record(RecordKind::Event, r#"{"class_uid": 9999}"#),
            Record { kind: RecordKind::Finding.into(), body: vec![0xff, 0xfe] },
            Record { kind: 77, body: b"{}".to_vec() },
            event_record(6, 16, 15),
        ],
    );
    assert_eq!(line.store(batch.clone()).await, 6);
    assert_eq!(line.store(batch).await, 6);
    assert_eq!(house.count(EVENTS).await, 2);
    assert_eq!(house.count("SELECT COUNT(*) FROM unreadable_record").await, 4);
    assert_eq!(house.count("SELECT unreadable FROM spool").await, 4);
    assert_eq!(house.count("SELECT COUNT(*) FROM unreadable_record WHERE body = 'fffe'").await, 1);
}

#[tokio::test]
async fn a_flood_of_unreadable_records_is_counted_and_not_kept() {
    let house = House::open().await;
    let device = house.device().await;
    let flood = (0..1500).map(|_| record(RecordKind::Event, "{not json")).collect();
    assert_eq!(device.connect(&house.hub).await.store(make_batch([9; 16], 1, flood)).await, 1500);
    assert_eq!(house.count("SELECT unreadable FROM spool").await, 1500);
    assert_eq!(house.count("SELECT COUNT(*) FROM unreadable_record").await, 1000);
}

#[tokio::test]
async fn a_full_disk_puts_the_device_off_and_loses_nothing() {
    let house = House::open().await;
    let device = house.device().await;
    let mut line = device.connect(&house.hub).await;
    assert_eq!(line.store(events(1, 20)).await, 20);
    // A database that may not grow behaves as a disk that is full: SQLITE_FULL. A server says 53100 (disk_full).
    let mut tx = house.hub.kernel().store().write_everywhere().await.unwrap();
    if on_postgres() {
        let full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ \
             BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$; \
             CREATE TRIGGER full_disk AFTER INSERT ON event FOR EACH STATEMENT EXECUTE FUNCTION full_disk()";
        sqlx::raw_sql(full).execute(&mut *tx).await.unwrap();
    } else {
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *tx).await.unwrap();
        let sql = format!("PRAGMA max_page_count = {pages}");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    line.say(FromAgent::Batch(events(21, 900))).await;
    let FromHub::RetryAfter(retry) = line.hear().await.unwrap() else { panic!("no RetryAfter") };
    assert!(retry.after_ms >= 1000 && retry.reason.contains("disk is full"), "{retry:?}");
    assert_eq!(house.count(EVENTS).await, 20);
    assert_eq!(house.hub.agent_stats().put_off_batches, 1);

    let mut tx = house.hub.kernel().store().write_everywhere().await.unwrap();
    let room =
        if on_postgres() { "DROP TRIGGER full_disk ON event" } else { "PRAGMA max_page_count = 1000000" };
    sqlx::raw_sql(room).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(line.store(events(21, 900)).await, 920);
    assert_eq!(house.count(EVENTS).await, 920);
}

#[tokio::test]
async fn a_finding_is_stored_once_and_told_with_its_tree() {
    let house = House::open().await;
    let device = house.device().await;
    let mut line = device.connect(&house.hub).await;
    let bearer = house.bearer().await;
    // Processes 11 to 15, each the child of the one before; the finding is about 12, whose parent 11 it names.
    line.store(events(1, 5)).await;
    let body = ocsf::finding_to_json(&finding(7, 12)).to_string();
    // When 13 ends, 12 is dead already and the kernel names init as its parent.
    let mut end = event(8, 13, 1);
    if let Body::Process(activity) = &mut end.body {
        (activity.op, end.time) = (ProcessOp::Exit, Timestamp(1_500));
    }
    let end = record(RecordKind::Event, ocsf::event_to_json(&end).to_string());
    let records = vec![record(RecordKind::Finding, &body), record(RecordKind::Finding, &body), end];
    line.store(make_batch([9; 16], 6, records)).await;

    let page = house.call(&bearer, "GET", "/api/v1/findings?severity=high&state=new", "").await.json();
    assert_eq!(page["findings"].as_array().unwrap().len(), 1);
    assert_eq!(page["findings"][0]["hostname"], "ward-pc-1");
    let id = page["findings"][0]["id"].as_str().unwrap().to_owned();
    let none = house.call(&bearer, "GET", "/api/v1/findings?severity=critical", "").await.json();
    assert_eq!(none["findings"], serde_json::json!([]));

    let tree = house.call(&bearer, "GET", &format!("/api/v1/findings/{id}/tree"), "").await.json();
    let drawn: Vec<String> = tree
        .as_array()
        .unwrap()
        .iter()
        .map(|n| format!("{} {}", n["depth"], n["image"].as_str().unwrap()))
        .collect();
    assert_eq!(drawn, ["0 /usr/sbin/nginx", "1 /bin/p12", "2 /bin/p13", "3 /bin/p14", "4 /bin/p15"]);
    assert_eq!(tree[2]["ended_ms"], 1_500, "{tree}");
    let timeline = house.call(&bearer, "GET", &format!("/api/v1/findings/{id}/timeline"), "").await.json();
    assert_eq!(timeline.as_array().unwrap().len(), 5);
    let one = house.call(&bearer, "GET", &format!("/api/v1/findings/{id}"), "").await.json();
    assert_eq!(one["ocsf"]["class_uid"], 2004);
    assert_eq!(one["ocsf"]["device"]["uid"], device.id.to_string());

    let path = format!("/api/v1/findings/{id}/state");
    assert_eq!(house.call(&bearer, "POST", &path, r#"{"state": "closed"}"#).await.status, 400);
    let closed = r#"{"state": "closed", "reason": "an exercise"}"#;
    assert_eq!(house.call(&bearer, "POST", &path, closed).await.status, 204);
    assert_eq!(house.call(&bearer, "POST", &path, closed).await.status, 409);
}

#[tokio::test]
async fn findings_are_paged_without_gaps_or_repeats() {
    let house = House::open().await;
    let mut line = house.device().await.connect(&house.hub).await;
    let bearer = house.bearer().await;
    // Three findings share each point in time, so that pages end between equals.
    let body = |i: u32| ocsf::finding_to_json(&finding(u128::from(i), 20 + i / 3)).to_string();
    let records = (0..20).map(|i| record(RecordKind::Finding, body(i))).collect();
    line.store(make_batch([9; 16], 1, records)).await;
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = house.call(&bearer, "GET", &format!("/api/v1/findings?limit=7{after}"), "").await.json();
        seen.extend(
            page["findings"].as_array().unwrap().iter().map(|f| f["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let mut unique = seen.clone();
    unique.sort();
    unique.dedup();
    assert_eq!((seen.len(), unique.len()), (20, 20));
}

#[tokio::test]
async fn everything_of_a_simulated_device_is_marked_as_simulated() {
    let house = House::open().await;
    let secret = house.token(&TokenSpec::default()).await;
    let device = enrol(&house.hub, &secret, true).await.unwrap();
    let mut line = device.connect(&house.hub).await;
    // The records themselves do not say so.
    line.store(events(1, 1)).await;
    let body = ocsf::finding_to_json(&finding(7, 12)).to_string();
    line.store(make_batch([9; 16], 2, vec![record(RecordKind::Finding, body)])).await;
    assert_eq!(house.count("SELECT simulated FROM event").await, 1);
    assert_eq!(house.count("SELECT simulated FROM finding").await, 1);
    let kernel = house.hub.kernel();
    let query = EventQuery { device: device.id.to_string(), limit: 10, ..EventQuery::default() };
    assert!(kernel.events().query(kernel.home(), &query).await.unwrap()[0].simulated);
}

#[tokio::test]
async fn characters_that_not_every_database_keeps_block_nothing() {
    let house = House::open().await;
    let mut line = house.device().await.connect(&house.hub).await;
    let mut odd = finding(8, 13);
    odd.rule.title = "a\0b".into();
    let update = r#"{"action_id": "\u0000", "state": "Succeeded", "at": 1, "detail": "\u0000"}"#;
    let records = vec![
        record(RecordKind::Finding, ocsf::finding_to_json(&odd).to_string()),
        record(RecordKind::ActionUpdate, update),
        record(RecordKind::Event, "\0"),
    ];
    assert_eq!(line.store(make_batch([9; 16], 1, records)).await, 3);
    assert_eq!(house.count("SELECT COUNT(*) FROM finding WHERE rule_title LIKE 'a_b'").await, 1);
    let bearer = house.bearer().await;
    let asked = house.call(&bearer, "GET", "/api/v1/devices?name=%00", "").await;
    assert!(asked.status == 200 || asked.status == 400, "{}", asked.body);
}
