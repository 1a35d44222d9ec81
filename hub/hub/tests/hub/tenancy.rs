//! Organisations: who sees what, what moves, and what an older hub's data becomes.

use std::time::Instant;

use serde_json::{Value, json};
use wardline_event::Timestamp;
use wardline_hub::organisations::{Format, import, plan};
use wardline_hub::{TokenSpec, start};
use wardline_kernel::tree::{self, Facts, OrganisationKind};
use wardline_kernel::{Kernel, ManualClock, OrganisationId, Scope, Store};
use wardline_wire::proto::RecordKind;

use crate::house::{Device, House, config, enrol, events, finding, http, on_postgres, record};

pub async fn add(kernel: &Kernel, parent: &OrganisationId, name: &str, ods: &str) -> OrganisationId {
    let facts = Facts {
        name: name.into(),
        kind: OrganisationKind::Trust,
        ods: Some(ods.into()),
        town: String::new(),
        postcode: String::new(),
    };
    let mut tx = kernel.store().write_everywhere().await.unwrap();
    let id = tree::new_id();
    tree::insert(&mut tx, &id, Some(parent), &facts, kernel.now()).await.unwrap();
    tx.commit().await.unwrap();
    id
}

/// Enrols a device of an organisation.
pub async fn device_of(house: &House, organisation: &OrganisationId) -> Device {
    let kernel = house.hub.kernel();
    let made = wardline_devices::make_token(kernel, organisation, "tester", &TokenSpec::default()).await;
    enrol(&house.hub, &made.unwrap().1.secret_text(), false).await.unwrap()
}

/// Names of what a call lists, sorted.
fn ids(list: &Value) -> Vec<String> {
    let mut ids: Vec<String> =
        list.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn an_older_hub_becomes_the_root_of_a_tree_and_keeps_everything() {
    if on_postgres() {
        // The sample is of SQLite; backup.rs brings it here.
        return;
    }
    let sql = include_str!("../samples/hub_before_the_tree.sql");
    let folder = tempfile::tempdir().unwrap();
    let created = Timestamp(1_795_487_000_000);
    let clock = ManualClock::new(created);
    // A first start makes the keys; then the older database takes the place of the fresh one.
    start(config(folder.path(), &clock)).await.unwrap().stop().await;
    for file in ["hub.db", "hub.db-wal", "hub.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(file));
    }
    let older = Store::open(folder.path(), None, &[], created).await.unwrap();
    let mut tx = older.write_everywhere().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut *tx).await.unwrap();
    let created: i64 =
        sqlx::query_scalar("SELECT created_ms FROM organisation").fetch_one(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    older.close().await;

    let clock = ManualClock::new(Timestamp(created + 60_000));
    let hub = start(config(folder.path(), &clock)).await.unwrap();
    let house = House { hub, clock, folder };
    assert_eq!(house.hub.kernel().organisation(), "St Aldhelm's Trust");
    let bearer = house.bearer().await;
    let organisations = house.call(&bearer, "GET", "/api/v1/organisations", "").await.json();
    let root = &organisations["organisations"][0];
    assert_eq!((&root["name"], &root["devices"]), (&json!("St Aldhelm's Trust"), &json!(1)));
    assert!(root.get("parent").is_none_or(Value::is_null));
    let devices = house.call(&bearer, "GET", "/api/v1/devices?name=lab-", "").await.json();
    let device = &devices["devices"][0];
    assert_eq!(device["organisation"], root["id"]);
    // 1 in the kernel, and the larger of 3 dropped and 4 that never came.
    assert_eq!((&device["class"], &device["lost"]), (&json!("clinical"), &json!(5)));
    let findings = house.call(&bearer, "GET", "/api/v1/findings", "").await.json();
    assert_eq!(findings["findings"][0]["hostname"], "Lab-Analyser-2");
    let actions = house.call(&bearer, "GET", "/api/v1/actions?state=Pending", "").await.json();
    assert_eq!(actions[0]["requested_by"], "administrator");
    let status = house.call(&bearer, "GET", "/api/v1/status", "").await.json();
    assert_eq!(status["events"]["stored"], 1);
    let audit = house.call(&bearer, "GET", "/api/v1/audit/verify", "").await.json();
    assert_eq!(audit["whole"], true, "{audit}");
}

#[tokio::test]
async fn a_device_is_seen_from_above_and_from_nowhere_else() {
    let house = House::open().await;
    let kernel = house.hub.kernel().clone();
    let home = kernel.home().root().clone();
    let north = add(&kernel, &home, "North", "Y1").await;
    let (trust, beside) =
        (add(&kernel, &north, "Trust", "RX1").await, add(&kernel, &north, "Beside", "RX2").await);
    let device = device_of(&house, &trust).await;
    let mut line = device.connect(&house.hub).await;
    line.store(events(1, 5)).await;
    let body = wardline_event::ocsf::finding_to_json(&finding(7, 12)).to_string();
    line.store(wardline_wire::make_batch([9; 16], 6, vec![record(RecordKind::Finding, body)])).await;
    let id = device.id.to_string();
    let finding_id: String = sqlx::query_scalar("SELECT id FROM finding")
        .fetch_one(kernel.store().read().everywhere())
        .await
        .unwrap();

    for (root, sees) in [(&home, true), (&north, true), (&trust, true), (&beside, false)] {
        let bearer = house.bearer_of(root).await;
        for (list, field) in [("devices", "devices"), ("findings", "findings")] {
            let listed = house.call(&bearer, "GET", &format!("/api/v1/{list}"), "").await.json();
            assert_eq!(listed[field].as_array().unwrap().len(), usize::from(sees), "{list} of {root}");
        }
        let status = if sees { 200 } else { 404 };
        for path in [
            format!("/api/v1/devices/{id}"),
            format!("/api/v1/findings/{finding_id}"),
            format!("/api/v1/findings/{finding_id}/tree"),
            format!("/api/v1/events?device={id}"),
            format!("/api/v1/organisations/{trust}"),
            format!("/api/v1/devices?organisation={trust}"),
        ] {
            let answer = house.call(&bearer, "GET", &path, "").await;
            assert_eq!(answer.status, status, "{path} of {root}: {}", answer.body);
        }
        let counts = house.call(&bearer, "GET", "/api/v1/status", "").await.json();
        assert_eq!(counts["events"]["stored"], if sees { 5 } else { 0 });
    }
    // By guessing an id nobody beside it changes anything either.
    let stranger = house.bearer_of(&beside).await;
    let before = house.count("SELECT COUNT(*) FROM audit WHERE actor LIKE 'API token%'").await;
    let reason = r#""reason": "because""#;
    for (method, path, body) in [
        ("PUT", format!("/api/v1/devices/{id}/mode"), format!(r#"{{"mode": "protect", {reason}}}"#)),
        ("POST", format!("/api/v1/devices/{id}/revoke"), format!("{{{reason}}}")),
        (
            "PUT",
            format!("/api/v1/devices/{id}/organisation"),
            format!(r#"{{"organisation": "{beside}", {reason}}}"#),
        ),
        (
            "POST",
            "/api/v1/actions".into(),
            format!(r#"{{"device": "{id}", "kind": "isolate", "for_s": 600, {reason}}}"#),
        ),
        (
            "POST",
            format!("/api/v1/findings/{finding_id}/state"),
            format!(r#"{{"state": "closed", {reason}}}"#),
        ),
        ("PUT", format!("/api/v1/organisations/{trust}"), r#"{"name": "Ours", "kind": "trust"}"#.into()),
        (
            "PUT",
            format!("/api/v1/organisations/{trust}/parent"),
            format!(r#"{{"parent": "{beside}", {reason}}}"#),
        ),
        (
            "POST",
            "/api/v1/organisations".into(),
            format!(r#"{{"parent": "{trust}", "facts": {{"name": "x", "kind": "other"}}}}"#),
        ),
        ("POST", "/api/v1/tokens/enrolment".into(), format!(r#"{{"organisation": "{trust}"}}"#)),
    ] {
        let answer = house.call(&stranger, method, &path, &body).await;
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.body);
    }
    assert_eq!(house.count("SELECT COUNT(*) FROM audit WHERE actor LIKE 'API token%'").await, before);
}

#[tokio::test]
async fn a_moved_device_leaves_its_past_where_it_was() {
    let house = House::open().await;
    let kernel = house.hub.kernel().clone();
    let home = kernel.home().root().clone();
    let (old, new) = (add(&kernel, &home, "Old", "RX1").await, add(&kernel, &home, "New", "RX2").await);
    let device = device_of(&house, &old).await;
    let id = device.id.to_string();
    let mut line = device.connect(&house.hub).await;
    line.store(events(1, 5)).await;
    let bearer = house.bearer().await;
    let path = format!("/api/v1/devices/{id}/organisation");
    let body = format!(r#"{{"organisation": "{new}", "reason": "the ward went over"}}"#);

    // Not while an order of the old organisation is under way.
    let order = format!(r#"{{"device": "{id}", "kind": "release", "reason": "r"}}"#);
    let owner = house.bearer_of(&old).await;
    let order = house.call(&owner, "POST", "/api/v1/actions", &order).await.json();
    assert_eq!(house.call(&bearer, "PUT", &path, &body).await.status, 409);
    line.hear_command().await;
    let cancel = format!("/api/v1/actions/{}/cancel", order["id"].as_str().unwrap());
    assert_eq!(house.call(&bearer, "POST", &cancel, "").await.status, 204);
    assert_eq!(house.call(&bearer, "PUT", &path, &body).await.status, 204);
    assert_eq!(house.call(&bearer, "PUT", &path, &body).await.status, 409);

    // The connection from before ends; nothing more is stored where the device no longer is.
    let ended = line.hear().await.unwrap_err();
    assert!(ended.message().contains("moved to another organisation"), "{ended:?}");
    // Its certificate names the organisation that it left, and it goes on from where it was.
    let mut line = device.connect(&house.hub).await;
    assert_eq!(line.store(events(1, 8)).await, 8);
    let (theirs, ours) = (house.bearer_of(&old).await, house.bearer_of(&new).await);
    for (bearer, stored, listed) in [(&theirs, 5, 0), (&ours, 3, 1)] {
        let status = house.call(bearer, "GET", "/api/v1/status", "").await.json();
        assert_eq!(status["events"]["stored"], stored);
        let devices = house.call(bearer, "GET", "/api/v1/devices", "").await.json();
        assert_eq!(ids(&devices["devices"]).len(), listed);
        let audit = house.call(bearer, "GET", "/api/v1/audit", "").await.body;
        assert!(audit.contains("the ward went over"), "{audit}");
        let verified = house.call(bearer, "GET", "/api/v1/audit/verify", "").await.json();
        assert_eq!(verified["whole"], true);
    }
    // From above it is one device with one past.
    let query = format!("/api/v1/events?device={id}");
    assert_eq!(house.call(&bearer, "GET", &query, "").await.json().as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn a_register_is_imported_once_and_again_without_change() {
    let Ok(text) = std::fs::read_to_string("../../../shared/data/ods/organisations.json") else {
        println!("skipped: no shared data");
        return;
    };
    let house = House::open().await;
    let kernel = house.hub.kernel();
    let plan = plan(&text, Format::guess("organisations.json", &text), &|_| false).unwrap();
    let entries: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(plan.rows.len() + plan.faults.len() + plan.inactive, entries.len());
    assert!(
        plan.faults.iter().all(|fault| fault.what.contains("neither in this file nor on this hub")),
        "{:?}",
        plan.faults
    );
    let (scope, root) = (kernel.home(), kernel.home().root());
    let mut told = 0;
    let first = import(kernel, scope, "tester", root, &plan, |done| told = done).await.unwrap();
    assert_eq!((first.added, first.all(), told), (plan.rows.len(), plan.rows.len(), plan.rows.len()));
    let again = import(kernel, scope, "tester", root, &plan, |_| ()).await.unwrap();
    assert_eq!((again.same, again.added, again.moved), (plan.rows.len(), 0, 0));
    let region = tree::by_ods(kernel.store().read().within(scope), scope, "Y63").await.unwrap().unwrap();
    let below = house.count("SELECT COUNT(*) FROM organisation WHERE parent = (SELECT id FROM organisation WHERE ods = 'Y63')").await;
    let expected = entries.iter().filter(|e| e["region"] == "Y63" && e["status"] == "Active").count();
    assert_eq!(below, expected as i64);
    assert!(
        tree::is_within(kernel.store().read(), &Scope::within(region), root)
            .await
            .is_ok_and(|within| !within)
    );
}

/// 100,000 devices in 1,000 organisations: every page of the list, from the first to the last, is read from an index.
#[tokio::test]
async fn lists_of_a_hundred_thousand_stay_quick() {
    let house = House::open().await;
    let kernel = house.hub.kernel().clone();
    house.device().await;
    let mut tx = kernel.store().write_everywhere().await.unwrap();
    let root = kernel.home().id().to_owned();
    for sql in [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
         INSERT INTO organisation (id, name, created_ms, parent, kind, sort_name) \
         SELECT printf('%032x', i), 'Trust ' || i, 1, $1, 'trust', 'trust ' || i FROM n",
        "INSERT INTO organisation_below SELECT id, id, 0 FROM organisation WHERE parent = $1",
        "INSERT INTO organisation_below SELECT $1, id, 1 FROM organisation WHERE parent = $1",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
         INSERT INTO device (id, organisation, hostname, sort_name, os, kernel, agent_version, role, simulated, \
         enrolled_ms, enrolled_with, certificate_until_ms, class, mode, policy_json, policy_command, policy_signature, \
         policy_digest, last_seen_ms, heard_ms) \
         SELECT printf('%032x', i + 1000000), printf('%032x', 1 + i % 1000), 'PC-' || (i * 7919 % 100003), \
         'pc-' || (i * 7919 % 100003), 'x', 'x', 'x', 'x', 0, 1, (SELECT id FROM enrolment_token), 1, 'workstation', \
         'monitor', '{}', hex(zeroblob(400)), '', '', i, i FROM n WHERE $1 = $1",
    ] {
        let mut sql = sql.to_owned();
        if on_postgres() {
            for (i, exact) in
                ["i", "i + 1000000", "1 + i % 1000"].map(|i| (i, format!("lpad(to_hex({i}), 32, '0')")))
            {
                sql = sql.replace(&format!("printf('%032x', {i})"), &exact);
            }
            sql = sql.replace("hex(zeroblob(400))", "repeat('00', 400)");
        }
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(&root).execute(&mut *tx).await.unwrap();
    }
    if on_postgres() {
        // A server does this by itself in the minutes after; here it does not.
        sqlx::raw_sql("ANALYZE").execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    let bearer = house.bearer().await;
    let auth = [("authorization", bearer.as_str())];
    for order in ["name", "silence"] {
        let (mut after, mut slowest) = (String::new(), 0);
        for _ in 0..10 {
            let began = Instant::now();
            let path = format!("/api/v1/devices?limit=500&order={order}{after}");
            let page = house.call(&bearer, "GET", &path, "").await.json();
            slowest = slowest.max(began.elapsed().as_millis());
            after = format!("&after={}", page["next"].as_str().unwrap());
        }
        println!("by {order}: the slowest of 10 pages of 500 took {slowest} ms");
    }
    // The whole list is made of pages: each device once.
    let csv = http(house.hub.http_addr(), "GET", "/devices.csv", &auth, "").await;
    let mut lines: Vec<&str> = csv.body.lines().skip(1).map(|line| &line[..32]).collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 100_001);
    let one = OrganisationId::stored(format!("{:032x}", 7));
    let bearer = house.bearer_of(&one).await;
    let page = house.call(&bearer, "GET", "/api/v1/devices?limit=500", "").await.json();
    assert_eq!(page["devices"].as_array().unwrap().len(), 100);
    let csv =
        http(house.hub.http_addr(), "GET", "/devices.csv", &[("authorization", bearer.as_str())], "").await;
    assert_eq!(csv.body.lines().filter(|line| line.contains("PC-")).count(), 100);
    if on_postgres() {
        return;
    }
    // No list sorts: the database says how it would go about it.
    for (sql, index) in [
        (
            "SELECT d.id FROM view_device d WHERE (EXISTS (SELECT 1 FROM organisation_below b WHERE b.above = 'x' \
          AND b.below = d.organisation)) IS TRUE ORDER BY d.sort_name, d.id LIMIT 50",
            "device_by_name",
        ),
        (
            "SELECT d.id FROM view_device d WHERE d.organisation = 'x' ORDER BY d.sort_name, d.id LIMIT 50",
            "device_by_organisation",
        ),
        (
            "SELECT d.id FROM view_device d WHERE (EXISTS (SELECT 1 FROM organisation_below b WHERE b.above = 'x' \
          AND b.below = d.organisation)) IS TRUE ORDER BY d.heard_ms, d.id LIMIT 50",
            "device_by_silence",
        ),
    ] {
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
                .fetch_all(kernel.store().read().everywhere())
                .await
                .unwrap();
        let plan: Vec<String> = plan.into_iter().map(|(_, _, _, step)| step).collect();
        let plan = plan.join("; ");
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{sql}: {plan}");
    }
}

/// What the hub's tables are called in SQL that must name an organisation.
const TENANT_TABLES: &[&str] = &[
    "device",
    "device_sensor",
    "spool",
    "unreadable_record",
    "enrolment_token",
    "event",
    "finding",
    "action",
    "action_step",
    "action_agreement",
    "consent",
    "break_glass",
    "audit",
    "audit_head",
    "session",
    "api_token",
    "view_device",
    "view_device_state",
    "view_device_place",
    "view_device_whereabouts",
    "notice",
    "view_finding",
    "view_action",
];

/// Statements that need no organisation, each with its reason.
const EXCEPTIONS: &[&str] = &[
    // How somebody gains a scope.
    "SELECT d.organisation, d.simulated FROM device d WHERE d.id = $2",
];

/// Every statement on a table that belongs to organisations says which.
#[test]
fn no_statement_forgets_the_organisation() {
    let hub = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut statements = 0;
    for room in std::fs::read_dir(hub).unwrap() {
        let mut folders = vec![room.unwrap().path().join("src")];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for path in entries.map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let source = std::fs::read_to_string(&path).unwrap().replace("\\\n", " ");
                // From the verb to where the statement is run: what lies between is its text and what is pushed onto it.
                for verb in ["\"SELECT ", "\"UPDATE ", "\"DELETE ", "\"INSERT "] {
                    for (at, _) in source.match_indices(verb) {
                        let rest = &source[at + 1..];
                        let end = [";\n", "\n}"]
                            .iter()
                            .filter_map(|mark| rest.find(mark))
                            .min()
                            .unwrap_or(rest.len());
                        let text = rest[..end].split_whitespace().collect::<Vec<_>>().join(" ");
                        let own = text.split('"').next().unwrap_or_default();
                        let words: Vec<&str> =
                            own.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
                        let of_tenant = words.windows(2).any(|pair| {
                            ["FROM", "JOIN", "UPDATE", "INTO"].contains(&pair[0])
                                && TENANT_TABLES.contains(&pair[1])
                        });
                        if !of_tenant {
                            continue;
                        }
                        statements += 1;
                        let names = own.contains("organisation")
                            || text.contains("within!")
                            || rest.get(..1500.min(rest.len())).is_some_and(|near| {
                                near.contains(".filter(&mut sql") || near.contains("of_device(&mut sql")
                            });
                        let excepted = EXCEPTIONS.iter().any(|known| own.starts_with(known));
                        assert!(names || excepted, "{}: {own}", path.display());
                    }
                }
            }
        }
    }
    assert!(statements > 40, "only {statements} statements were found");
}

/// Who may ask or write without saying on whose behalf, each with its reason.
const EVERYWHERE: &[(&str, usize, &str)] = &[
    ("devices/src/enrol.rs", 1, "an enrolment token is how a device gains a scope"),
    ("devices/src/store.rs", 1, "so is its certificate"),
    ("kernel/src/auth/store.rs", 3, "so are a sign-in link, a session and an API token"),
    ("kernel/src/kernel.rs", 1, "the first organisation is made before there is any"),
    (
        "kernel/src/tree/store.rs",
        3,
        "the root is found before there is a scope; who is above is no secret to those below",
    ),
];

/// The store's own work: migrations, backup, the meaning of the word.
const UPKEEP: &[&str] = &["kernel/src/store/", "kernel/src/backup/", "kernel/src/db.rs"];

#[test]
fn nobody_leaves_the_scope_without_being_named_here() {
    let hub = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<_> =
        std::fs::read_dir(hub).unwrap().map(|room| room.unwrap().path().join("src")).collect();
    let mut found = std::collections::BTreeMap::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(hub).unwrap().to_str().unwrap().to_owned();
            let times = std::fs::read_to_string(&path).unwrap().matches("everywhere()").count();
            if times > 0 && !UPKEEP.iter().any(|known| name.starts_with(known)) {
                found.insert(name, times);
            }
        }
    }
    let named = EVERYWHERE.iter().map(|(name, times, _)| ((*name).to_owned(), *times)).collect();
    assert_eq!(found, named, "see EVERYWHERE in this test");
}
