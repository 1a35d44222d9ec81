//! The kernel's promises, against real databases.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

#[path = "../../../tests/postgres.rs"]
mod postgres;

use std::sync::Arc;

use serde_json::json;
use sqlx::AssertSqlSafe;
use tempfile::TempDir;
use wardline_event::Timestamp;
use wardline_kernel::audit::{self, Act};
use wardline_kernel::backup;
use wardline_kernel::store::MIGRATIONS;
use wardline_kernel::tree::{self, Facts, OrganisationKind};
use wardline_kernel::{
    Kernel, KernelConfig, ManualClock, Migration, OrganisationId, Scope, Store, StoreError,
};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// These tests are built twice: `kernel_postgres.rs` is this file by another name.
fn on_postgres() -> bool {
    env!("CARGO_CRATE_NAME").ends_with("_postgres")
}

/// A fresh database on a server, if this is that build.
fn database() -> Option<String> {
    on_postgres().then(postgres::database)
}

async fn kernel() -> (Kernel, ManualClock, TempDir) {
    kernel_on(database()).await
}

async fn kernel_on(database: Option<String>) -> (Kernel, ManualClock, TempDir) {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(NOW));
    let config = KernelConfig {
        database,
        clock: Arc::new(clock.clone()),
        ..KernelConfig::new(folder.path(), MIGRATIONS.to_vec())
    };
    (Kernel::open(config).await.unwrap(), clock, folder)
}

async fn write(kernel: &Kernel, organisation: &OrganisationId, target: &str) {
    let mut tx = kernel.store().write_everywhere().await.unwrap();
    let act = Act { actor: "ann".into(), act: "test.done", target: target.into(), detail: json!({"n": 1}) };
    audit::append(&mut tx, organisation, kernel.now(), act).await.unwrap();
    tx.commit().await.unwrap();
}

/// Changes the audit log as somebody would who has the database in their hands.
async fn tamper(kernel: &Kernel, sql: &str) {
    let mut tx = kernel.store().write_everywhere().await.unwrap();
    let open = if on_postgres() {
        "DROP TRIGGER audit_is_never_changed ON audit"
    } else {
        "DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_never_removed;"
    };
    sqlx::raw_sql(open).execute(&mut *tx).await.unwrap();
    let changed = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *tx).await.unwrap();
    assert!(changed.rows_affected() > 0, "{sql} changed nothing");
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn tampering_with_the_audit_log_is_found_where_it_begins() {
    for (sql, at, because) in [
        ("UPDATE audit SET actor = 'bob' WHERE number = 3", 3, "its content was changed"),
        ("UPDATE audit SET detail = '{\"n\":2}' WHERE number = 5", 5, "its content was changed"),
        ("UPDATE audit SET time_ms = time_ms + 1 WHERE number = 1", 1, "its content was changed"),
        ("DELETE FROM audit WHERE number = 2", 2, "is missing"),
        ("DELETE FROM audit WHERE number = 1", 1, "is missing"),
        ("DELETE FROM audit WHERE number > 3", 4, "the newest entries were removed"),
        ("DELETE FROM audit", 1, "the newest entries were removed"),
        // Two entries change places.
        (
            "UPDATE audit SET number = 99 WHERE number = 2; UPDATE audit SET number = 2 WHERE number = 3; \
             UPDATE audit SET number = 3 WHERE number = 99;",
            2,
            "does not name the entry before it",
        ),
        // One is taken out and the others close up.
        (
            "DELETE FROM audit WHERE number = 4; UPDATE audit SET number = 4 WHERE number = 5;",
            4,
            "does not name the entry before it",
        ),
        // One is added at the end without its head.
        (
            "INSERT INTO audit SELECT organisation, 6, time_ms, actor, act, target, detail, hash, hash FROM audit \
             WHERE number = 5",
            6,
            "its content was changed",
        ),
    ] {
        let (kernel, _, _folder) = kernel().await;
        for n in 0..5 {
            write(&kernel, kernel.home().root(), &n.to_string()).await;
        }
        assert_eq!(
            audit::verify(kernel.store().read(), kernel.home(), Some(&kernel.keys().audit().key()))
                .await
                .unwrap(),
            Ok(5)
        );
        tamper(&kernel, sql).await;
        let broken = audit::verify(kernel.store().read(), kernel.home(), Some(&kernel.keys().audit().key()))
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(broken.at, at, "{sql}: {broken:?}");
        assert!(broken.because.contains(because), "{sql}: {broken:?}");
    }
}

#[tokio::test]
async fn a_log_that_fits_in_itself_is_held_against_what_was_signed() {
    for (sql, at, because) in [
        // The newest entries are cut off, and the head with them.
        (
            "DELETE FROM audit WHERE number > 3; \
             UPDATE audit_head SET number = 3, hash = (SELECT hash FROM audit WHERE number = 3);",
            4,
            "the newest entries were removed",
        ),
        ("UPDATE audit_checkpoint SET hash = previous FROM audit WHERE audit.number = 5", 5, "not signed by"),
        ("UPDATE audit_checkpoint SET signed_by = signature", 5, "not signed by"),
        ("UPDATE audit_checkpoint SET number = 4", 4, "not signed by"),
    ] {
        let (kernel, _, _folder) = kernel().await;
        let (store, home, signer) = (kernel.store(), kernel.home(), kernel.keys().audit());
        for n in 0..5 {
            write(&kernel, home.root(), &n.to_string()).await;
        }
        assert_eq!(audit::seal(store, home, signer, NOW).await.unwrap(), 1);
        assert_eq!(audit::seal(store, home, signer, NOW).await.unwrap(), 0, "nothing has grown");
        assert_eq!(audit::verify(store.read(), home, Some(&signer.key())).await.unwrap(), Ok(5));
        tamper(&kernel, sql).await;
        let broken = audit::verify(store.read(), home, Some(&signer.key())).await.unwrap().unwrap_err();
        assert_eq!(broken.at, at, "{sql}: {broken:?}");
        assert!(broken.because.contains(because), "{sql}: {broken:?}");
    }
}

#[tokio::test]
async fn entries_are_found_by_who_did_what_to_what_and_when() {
    let (kernel, clock, _folder) = kernel().await;
    for target in ["100%", "100_", "x"] {
        write(&kernel, kernel.home().root(), target).await;
        clock.advance(1000);
    }
    let search = audit::Search::default;
    let text = str::to_owned;
    for (search, expected) in [
        (audit::Search { actor: text("AN"), ..search() }, vec!["x", "100_", "100%"]),
        (audit::Search { actor: text("a%"), ..search() }, vec![]),
        (audit::Search { actor: text("a_n"), ..search() }, vec![]),
        (audit::Search { act: text("test."), target: text("100%"), ..search() }, vec!["100%"]),
        (audit::Search { act: text("done"), ..search() }, vec![]),
        (audit::Search { from_ms: Some(NOW.0 + 1000), ..search() }, vec!["x", "100_"]),
        (audit::Search { until_ms: Some(NOW.0 + 1000), ..search() }, vec!["100%"]),
    ] {
        let found = audit::list(kernel.store().read(), kernel.home(), &search, 10).await.unwrap();
        let targets: Vec<_> = found.iter().map(|entry| entry.target.as_str()).collect();
        assert_eq!(targets, expected, "{search:?}");
    }
}

#[tokio::test]
async fn the_audit_log_refuses_to_be_changed() {
    let (kernel, _, _folder) = kernel().await;
    write(&kernel, kernel.home().root(), "x").await;
    for sql in ["UPDATE audit SET actor = 'bob'", "DELETE FROM audit"] {
        let mut tx = kernel.store().write_everywhere().await.unwrap();
        let error = sqlx::raw_sql(sql).execute(&mut *tx).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

#[tokio::test]
async fn an_entry_and_its_act_are_stored_together_or_not_at_all() {
    let (kernel, _, _folder) = kernel().await;
    let mut tx = kernel.store().write_everywhere().await.unwrap();
    let act = Act { actor: "ann".into(), act: "test.done", target: String::new(), detail: json!({}) };
    audit::append(&mut tx, kernel.home().root(), NOW, act).await.unwrap();
    drop(tx);
    write(&kernel, kernel.home().root(), "kept").await;
    let entries =
        audit::list(kernel.store().read(), kernel.home(), &audit::Search::default(), 10).await.unwrap();
    assert_eq!(entries.iter().map(|e| (e.number, e.target.as_str())).collect::<Vec<_>>(), [(1, "kept")]);
}

fn facts(name: &str, ods: Option<&str>) -> Facts {
    Facts {
        name: name.into(),
        kind: OrganisationKind::Trust,
        ods: ods.map(str::to_owned),
        town: String::new(),
        postcode: String::new(),
    }
}

async fn add(kernel: &Kernel, parent: &OrganisationId, name: &str) -> OrganisationId {
    let mut tx = kernel.store().write_everywhere().await.unwrap();
    let id = tree::new_id();
    tree::insert(&mut tx, &id, Some(parent), &facts(name, None), NOW).await.unwrap();
    tx.commit().await.unwrap();
    id
}

#[tokio::test]
async fn organisations_have_chains_of_their_own_and_see_what_is_below_them_only() {
    let (kernel, _, _folder) = kernel().await;
    let home = kernel.home().root().clone();
    let (north, south) = (add(&kernel, &home, "North").await, add(&kernel, &home, "South").await);
    let trust = add(&kernel, &north, "Northfield").await;
    for (organisation, what) in [(&home, "home"), (&north, "north"), (&south, "south"), (&trust, "trust")] {
        write(&kernel, organisation, what).await;
        write(&kernel, organisation, what).await;
    }
    for (organisation, sees) in [
        (&home, &["home", "north", "south", "trust"][..]),
        (&north, &["north", "trust"]),
        (&south, &["south"]),
        (&trust, &["trust"]),
    ] {
        let scope = Scope::within(organisation.clone());
        let pool = kernel.store().read();
        // Page by page, one entry each: nothing twice, nothing left out, newest first.
        let (mut seen, mut place) = (Vec::new(), None);
        loop {
            let page = audit::list(
                pool,
                &scope,
                &audit::Search { after: place.clone(), ..audit::Search::default() },
                1,
            )
            .await
            .unwrap();
            let Some(entry) = page.into_iter().next() else { break };
            place = audit::Place::parse(&audit::Place::of(&entry).to_string());
            assert!(place.is_some());
            seen.push((entry.organisation, entry.number, entry.target));
        }
        let mut targets: Vec<&str> = seen.iter().map(|(_, _, target)| target.as_str()).collect();
        assert_eq!(targets.len(), 2 * sees.len(), "{seen:?}");
        targets.sort_unstable();
        targets.dedup();
        assert_eq!(targets, sees);
        assert_eq!(
            audit::verify(pool, &scope, Some(&kernel.keys().audit().key())).await.unwrap(),
            Ok(2 * sees.len() as i64)
        );
    }
    // A fault is found by everybody above it and by nobody beside it.
    tamper(&kernel, "UPDATE audit SET actor = 'eve' WHERE target = 'trust' AND number = 2").await;
    for (organisation, whole) in [(&home, false), (&north, false), (&trust, false), (&south, true)] {
        let scope = Scope::within(organisation.clone());
        let verdict =
            audit::verify(kernel.store().read(), &scope, Some(&kernel.keys().audit().key())).await.unwrap();
        assert_eq!(verdict.is_ok(), whole);
        if let Err(broken) = verdict {
            assert_eq!((broken.organisation.as_str(), broken.at), (trust.as_str(), 2));
        }
    }
}

#[tokio::test]
async fn the_tree_stays_a_tree() {
    let (kernel, _, _folder) = kernel().await;
    let home = kernel.home().root().clone();
    let (north, south) = (add(&kernel, &home, "North").await, add(&kernel, &home, "South").await);
    let trust = add(&kernel, &north, "Northfield").await;
    let practice = add(&kernel, &trust, "High Street Practice").await;
    let pool = kernel.store().read();
    let sees = async |above: &OrganisationId, below: &OrganisationId| {
        tree::is_within(pool, &Scope::within(above.clone()), below).await.unwrap()
    };
    // Moves take along what is below.
    let mut tx = kernel.store().write_everywhere().await.unwrap();
    assert!(tree::reparent(&mut tx, kernel.home(), &trust, &south).await.unwrap());
    assert!(!tree::reparent(&mut tx, kernel.home(), &trust, &south).await.unwrap());
    tx.commit().await.unwrap();
    for (above, below, expected) in [
        (&home, &practice, true),
        (&south, &practice, true),
        (&trust, &practice, true),
        (&practice, &practice, true),
        (&north, &practice, false),
        (&north, &trust, false),
        (&practice, &trust, false),
    ] {
        assert_eq!(sees(above, below).await, expected);
    }
    let names: Vec<String> = tree::ancestors(pool, kernel.home(), practice.as_str())
        .await
        .unwrap()
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    assert_eq!(names, ["This organisation", "South", "Northfield", "High Street Practice"]);
    // Nobody learns who is above the top of what they may see.
    let below_only = tree::ancestors(pool, &Scope::within(trust.clone()), practice.as_str()).await.unwrap();
    assert_eq!(below_only.len(), 2);

    let mut tx = kernel.store().write_everywhere().await.unwrap();
    let scope = Scope::within(trust.clone());
    for (scope, id, parent, said) in [
        (kernel.home(), &trust, &practice, "below itself"),
        (kernel.home(), &home, &trust, "at the top"),
        (&scope, &trust, &practice, "at the top"),
        (&scope, &practice, &south, "no organisation"),
        (&scope, &south, &trust, "no organisation"),
    ] {
        let text = tree::reparent(&mut tx, scope, id, parent).await.unwrap_err().to_string();
        assert!(text.contains(said), "{text}");
    }
    let mut parent = practice;
    let deepest = loop {
        let id = tree::new_id();
        match tree::insert(&mut tx, &id, Some(&parent), &facts("deeper", None), NOW).await {
            Ok(()) => parent = id,
            Err(error) => break error.to_string(),
        }
    };
    assert!(deepest.contains("deeper than 8 levels"), "{deepest}");
    for (id, said) in [(tree::new_id(), None), (tree::new_id(), Some("has the ODS code RX1 already"))] {
        let added = tree::insert(&mut tx, &id, Some(&home), &facts("Twin", Some("RX1")), NOW).await;
        assert_eq!(
            added.err().map(|e| e.to_string()).is_some_and(|e| e.contains("RX1 already")),
            said.is_some()
        );
    }
}

#[tokio::test]
async fn writers_wait_for_each_other_and_readers_for_nobody() {
    let (kernel, _, _folder) = kernel().await;
    let writers: Vec<_> = (0..20)
        .map(|n| {
            let kernel = kernel.clone();
            tokio::spawn(async move { write(&kernel, kernel.home().root(), &n.to_string()).await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(
        audit::verify(kernel.store().read(), kernel.home(), Some(&kernel.keys().audit().key()))
            .await
            .unwrap(),
        Ok(20)
    );
    // While one transaction is open, reads answer from before it.
    let open = kernel.store().write_everywhere().await.unwrap();
    assert_eq!(
        audit::list(kernel.store().read(), kernel.home(), &audit::Search::default(), 50).await.unwrap().len(),
        20
    );
    drop(open);
    // And what reads cannot write.
    let refused = sqlx::query("DELETE FROM session").execute(kernel.store().read().everywhere()).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_step_that_fails_or_differs_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let step = |version, sql| Migration { capability: "test", version, name: "t", sql };
    let one = [step(1, "CREATE TABLE t (a TEXT)")];
    Store::open(folder.path(), database().as_deref(), &one, NOW).await.unwrap().close().await;

    let broken = [one[0], step(2, "CREATE TABLE u (a TEXT); INSERT INTO nowhere VALUES (1)")];
    let error = Store::open(folder.path(), None, &broken, NOW).await.unwrap_err();
    assert!(matches!(error, StoreError::Migrate { capability: "test", version: 2, .. }), "{error}");
    let differs =
        Store::open(folder.path(), None, &[step(1, "CREATE TABLE t (b TEXT)")], NOW).await.unwrap_err();
    assert!(matches!(differs, StoreError::Differs { version: 1, .. }), "{differs}");

    let two = [one[0], step(2, "CREATE TABLE u (a TEXT)")];
    let store = Store::open(folder.path(), None, &two, NOW).await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM t CROSS JOIN u")
        .fetch_one(store.read().everywhere())
        .await
        .unwrap();
    assert_eq!(rows, 0);
    // This build knows one step: the folder is newer.
    store.close().await;
    let newer = Store::open(folder.path(), None, &one, NOW).await.unwrap_err();
    assert!(matches!(newer, StoreError::Newer { found: 2, known: 1, .. }), "{newer}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_data_is_for_its_owner_only_even_in_a_folder_that_others_may_enter() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let set = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set(folder.path(), 0o755);
    let names: &[&str] = if on_postgres() {
        &["database", "hub.lock"]
    } else {
        &["hub.db", "hub.db-wal", "hub.db-shm", "hub.lock"]
    };
    let url = database();
    // New files; and then files that an earlier version, or a backup, left open.
    for round in 0..2 {
        let store = Store::open(folder.path(), url.as_deref(), MIGRATIONS, NOW).await.unwrap();
        for name in names {
            let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name} in round {round} has mode {mode:o}");
        }
        store.close().await;
        for path in names.iter().map(|name| folder.path().join(name)).filter(|path| path.exists()) {
            set(&path, 0o644);
        }
    }
}

async fn count(kernel: &Kernel, extent: Option<&OrganisationId>, table: &str) -> i64 {
    let pool = kernel.store().read();
    let reader = extent.map_or_else(|| pool.everywhere(), |extent| pool.within(extent));
    // On purpose without an organisation: what the database shows of itself.
    let sql = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(reader).await.unwrap()
}

#[tokio::test]
async fn a_statement_that_forgets_the_organisation_is_fenced_in() {
    if !on_postgres() {
        return;
    }
    let url = postgres::database();
    let (kernel, _, _folder) = kernel_on(Some(url.clone())).await;
    let home = kernel.home().root().clone();
    let (north, south) = (add(&kernel, &home, "North").await, add(&kernel, &home, "South").await);
    let trust = add(&kernel, &north, "Trust").await;
    for organisation in [&home, &north, &south, &trust] {
        write(&kernel, organisation, "x").await;
    }
    for (extent, seen) in
        [(None, 4), (Some(&home), 4), (Some(&north), 2), (Some(&trust), 1), (Some(&south), 1)]
    {
        assert_eq!(count(&kernel, extent, "audit").await, seen);
        assert_eq!(count(&kernel, extent, "audit_head").await, seen);
    }
    // Nothing is written outside, whatever the statement says; and what is not seen is not changed.
    let mut tx = kernel.store().write(&south).await.unwrap();
    let act = Act { actor: "eve".into(), act: "test.done", target: String::new(), detail: json!({}) };
    let refused = audit::append(&mut tx, &trust, NOW, act).await.unwrap_err();
    let told = std::error::Error::source(&refused).unwrap().to_string();
    assert!(told.contains("row-level security"), "{told}");
    drop(tx);
    let mut tx = kernel.store().write(&south).await.unwrap();
    let changed = sqlx::query("UPDATE audit_head SET number = 9").execute(&mut *tx).await.unwrap();
    assert_eq!(changed.rows_affected(), 1);
    drop(tx);

    // Before anybody has said anything, a connection of the tables' owner sees nothing at all.
    let mut bare = <wardline_kernel::db::DbConnection as sqlx::Connection>::connect(&url).await.unwrap();
    for table in ["audit", "audit_head", "session", "sign_in_link", "api_token", "event"] {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        let seen: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut bare).await.unwrap();
        assert_eq!(seen, 0, "{table}");
    }
    let refused = sqlx::raw_sql("TRUNCATE audit").execute(&mut bare).await.unwrap_err().to_string();
    assert!(refused.contains("append-only"), "{refused}");
    assert_eq!(kernel.store().unfenced().await.unwrap(), Vec::<String>::new());
    kernel.store().close().await;

    // Whom the fence does not hold is told so.
    let superuser = postgres::as_role(&url, "postgres");
    let folder = tempfile::tempdir().unwrap();
    let text = Store::open(folder.path(), Some(&superuser), MIGRATIONS, NOW).await.unwrap_err().to_string();
    assert!(text.contains("superuser") && text.contains("createuser"), "{text}");
}

#[tokio::test]
async fn two_hubs_on_one_database_keep_one_chain_and_outlive_lost_connections() {
    if !on_postgres() {
        return;
    }
    let url = postgres::database();
    let (one, _, folder) = kernel_on(Some(url.clone())).await;
    let beside = tempfile::tempdir().unwrap();
    std::fs::create_dir(beside.path().join("keys")).unwrap();
    for file in std::fs::read_dir(folder.path().join("keys")).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), beside.path().join("keys").join(file.file_name())).unwrap();
    }
    let config = KernelConfig {
        database: Some(url.clone()),
        clock: Arc::new(ManualClock::new(NOW)),
        ..KernelConfig::new(beside.path(), MIGRATIONS.to_vec())
    };
    let two = Kernel::open(config).await.unwrap();
    assert_eq!(one.home(), two.home());
    for round in 1..=2_i64 {
        let writers: Vec<_> = (0..30)
            .map(|n| {
                let kernel = if n % 2 == 0 { one.clone() } else { two.clone() };
                tokio::spawn(async move { write(&kernel, kernel.home().root(), &n.to_string()).await })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(audit::verify(two.store().read(), two.home(), None).await.unwrap(), Ok(30 * round));
        // The server restarts, or somebody pulls a cable: every connection is gone.
        let superuser = postgres::as_role(&url, "postgres");
        let mut other =
            <wardline_kernel::db::DbConnection as sqlx::Connection>::connect(&superuser).await.unwrap();
        let ended: i64 = sqlx::query_scalar(
            "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .fetch_one(&mut other)
        .await
        .unwrap();
        assert!(ended >= 2, "{ended}");
    }
    assert_eq!(audit::verify(one.store().read(), one.home(), None).await.unwrap(), Ok(60));
}

#[tokio::test]
async fn a_backup_of_an_older_version_becomes_one_of_this() {
    let clock = ManualClock::new(NOW);
    let folder = tempfile::tempdir().unwrap();
    // Before there were roles.
    let older = MIGRATIONS[..3].to_vec();
    let config = KernelConfig {
        database: database(),
        clock: Arc::new(clock.clone()),
        ..KernelConfig::new(folder.path(), older.clone())
    };
    let kernel = Kernel::open(config).await.unwrap();
    let trust = add(&kernel, kernel.home().root(), "Trust").await;
    write(&kernel, &trust, "x").await;
    let passphrase = "a passphrase for a test";
    let (bytes, made) =
        backup::write(kernel.store(), Some(passphrase), NOW, Vec::new(), |_| {}).await.unwrap();
    assert_eq!((made.tables["organisation"], made.tables["audit"]), (2, 1));

    let (folder, url) = (tempfile::tempdir().unwrap(), database());
    let target = |migrations| backup::Target { folder: folder.path(), database: url.as_deref(), migrations };
    // A build that knows less leaves it alone.
    let file = || std::io::Cursor::new(bytes.clone());
    let error = backup::restore(file(), Some(passphrase), target(&older[..2]), NOW).await.unwrap_err();
    assert!(error.to_string().contains("newer version"), "{error}");
    let found = backup::restore(file(), Some(passphrase), target(MIGRATIONS), NOW).await.unwrap();
    assert_eq!(found, made);
    let config =
        KernelConfig { clock: Arc::new(clock), ..KernelConfig::new(folder.path(), MIGRATIONS.to_vec()) };
    let kernel = Kernel::open(config).await.unwrap();
    assert_eq!(audit::verify(kernel.store().read(), kernel.home(), None).await.unwrap(), Ok(1));
    // And the step that it lacked was taken.
    kernel.make_link().await.unwrap();
}
