//! A backup of a hub that runs, restored elsewhere: into a file, and into a server.

use std::path::Path;

use wardline_event::Timestamp;
use wardline_hub::{TokenSpec, back_up, check_backup, restore, start};
use wardline_kernel::{ManualClock, Store};
use wardline_wire::proto::RecordKind;

use crate::house::{House, config, enrol, events, finding, on_postgres, real_now, record};

const PASSPHRASE: &str = "nine of these words are too many";

async fn reopened(folder: tempfile::TempDir) -> House {
    let clock = ManualClock::new(real_now());
    let hub = start(config(folder.path(), &clock)).await.unwrap();
    House { hub, clock, folder }
}

/// Everything that a table holds, in an order that both databases know.
async fn contents(house: &House) -> Vec<(String, i64)> {
    let mut found = Vec::new();
    for table in [
        "organisation",
        "organisation_below",
        "device",
        "event",
        "finding",
        "action",
        "spool",
        "audit",
        "audit_head",
    ] {
        let sql = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}");
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(house.hub.kernel().store().read().everywhere());
        found.push((table.to_owned(), rows.await.unwrap()));
    }
    found
}

#[tokio::test]
async fn a_hub_is_restored_whole_and_its_devices_come_back() {
    let house = House::open().await;
    let device = house.device().await;
    let mut line = device.connect(&house.hub).await;
    assert_eq!(line.store(events(1, 700)).await, 700);
    let body = wardline_event::ocsf::finding_to_json(&finding(7, 12)).to_string();
    line.store(wardline_wire::make_batch([9; 16], 701, vec![record(RecordKind::Finding, body)])).await;
    let bearer = house.bearer().await;
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("hub.backup");
    // While it runs, and a device speaks to it.
    let made = back_up(house.folder.path(), &file, Some(PASSPHRASE), |_| {}).await.unwrap();
    assert_eq!(made.tables["event"], 700);
    assert_eq!(check_backup(&file).unwrap(), made);
    let twice = back_up(house.folder.path(), &file, None, |_| {}).await.unwrap_err().to_string();
    assert!(twice.contains("exists already"), "{twice}");
    let before = contents(&house).await;
    let whole = house.call(&bearer, "GET", "/api/v1/audit/verify", "").await.json();
    house.hub.stop().await;

    let folder = tempfile::tempdir().unwrap();
    let url = on_postgres().then(crate::postgres::database);
    for (passphrase, said) in [(None, "--passphrase-file"), (Some("nine of these words"), "does not open")] {
        let error = restore(&file, folder.path(), url.as_deref(), passphrase).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(!folder.path().join("keys").exists() && !folder.path().join("hub.db").exists());
    }
    let (restored, audit) = restore(&file, folder.path(), url.as_deref(), Some(PASSPHRASE)).await.unwrap();
    assert_eq!((restored, audit.as_ref().unwrap()), (made, &whole["entries"].as_i64().unwrap()));
    let refused =
        restore(&file, folder.path(), url.as_deref(), Some(PASSPHRASE)).await.unwrap_err().to_string();
    assert!(refused.contains("already holds a hub"), "{refused}");

    let again = reopened(folder).await;
    assert_eq!(contents(&again).await, before);
    // The same token still opens it, and the same device goes on where it was.
    let devices = again.call(&bearer, "GET", "/api/v1/devices", "").await.json();
    assert_eq!(devices["devices"][0]["id"], device.id.to_string());
    assert_eq!(device.connect(&again.hub).await.store(events(702, 5)).await, 706);
    assert_eq!(again.count("SELECT COUNT(*) FROM event").await, 705);
    let whole = again.call(&bearer, "GET", "/api/v1/audit/verify", "").await.json();
    assert_eq!(whole["whole"], true, "{whole}");
    // And new ones are enrolled.
    enrol(&again.hub, &again.token(&TokenSpec::default()).await, false).await.unwrap();
}

#[tokio::test]
async fn a_damaged_backup_changes_nothing() {
    let house = House::open().await;
    house.device().await.connect(&house.hub).await.store(events(1, 50)).await;
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("hub.backup");
    back_up(house.folder.path(), &file, Some(PASSPHRASE), |_| {}).await.unwrap();
    let whole = std::fs::read(&file).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = on_postgres().then(crate::postgres::database);
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    for (bytes, said) in [
        (&changed[..], "damaged in piece"),
        (&whole[..whole.len() - 100], "the copy was cut off"),
        (b"PRAGMA foreign_keys=OFF;", "no backup of a hub"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let error =
            restore(&file, folder.path(), url.as_deref(), Some(PASSPHRASE)).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // The same place takes the whole file.
    std::fs::write(&file, whole).unwrap();
    restore(&file, folder.path(), url.as_deref(), Some(PASSPHRASE)).await.unwrap().1.unwrap();
}

/// Writes the sample of an older hub into a folder on SQLite; gives when it was made.
async fn older_hub(folder: &Path) -> Timestamp {
    let sql = include_str!("../samples/hub_before_the_tree.sql");
    let store = Store::open(folder, None, &[], Timestamp(1)).await.unwrap();
    let mut tx = store.write_everywhere().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut *tx).await.unwrap();
    let created =
        sqlx::query_scalar("SELECT created_ms FROM organisation").fetch_one(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    store.close().await;
    Timestamp(created)
}

#[tokio::test]
async fn an_older_hub_on_sqlite_moves_to_this_database() {
    let (older, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Its keys are those of some hub: the sample has none.
    let (keys, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(real_now()));
    start(config(keys.path(), &clock)).await.unwrap().stop().await;
    std::fs::rename(keys.path().join("keys"), older.path().join("keys")).unwrap();
    let created = older_hub(older.path()).await;
    // The older version had no backup; its tables are saved as they are, without the steps of this build.
    let file = files.path().join("older.backup");
    let error = back_up(older.path(), &file, Some(PASSPHRASE), |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("wardline hub migrate"), "{error}");
    wardline_hub::migrate(older.path(), None).await.unwrap();
    assert!(wardline_hub::lacking(older.path()).await.unwrap().is_empty());
    back_up(older.path(), &file, Some(PASSPHRASE), |_| {}).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let url = on_postgres().then(crate::postgres::database);
    restore(&file, folder.path(), url.as_deref(), Some(PASSPHRASE)).await.unwrap().1.unwrap();
    let clock = ManualClock::new(Timestamp(created.0 + 60_000));
    let hub = start(config(folder.path(), &clock)).await.unwrap();
    let house = House { hub, clock, folder };
    assert_eq!(house.hub.kernel().organisation(), "St Aldhelm's Trust");
    let bearer = house.bearer().await;
    let device = house.call(&bearer, "GET", "/api/v1/devices", "").await.json()["devices"][0].clone();
    assert_eq!((&device["class"], &device["lost"]), (&"clinical".into(), &5.into()));
    assert_eq!(house.call(&bearer, "GET", "/api/v1/audit/verify", "").await.json()["whole"], true);
}
