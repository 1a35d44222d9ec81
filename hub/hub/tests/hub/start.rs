//! Starting: data folders, ports, and what a second start finds.

use std::error::Error;
use std::net::{SocketAddr, TcpListener};

use wardline_hub::{Invited, make_link, migrations, start};
use wardline_kernel::{ManualClock, Store};

use crate::house::{House, config, events, http, on_postgres, real_now};

/// An error as a person reads it, with its causes.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

#[tokio::test]
async fn a_second_start_finds_the_same_data() {
    let house = House::open().await;
    let device = house.device().await;
    device.connect(&house.hub).await.store(events(1, 7)).await;
    let (folder, clock) = (house.folder, house.clock);
    house.hub.stop().await;
    let hub = start(config(folder.path(), &clock)).await.unwrap();
    let again = House { hub, clock, folder };
    assert_eq!(again.hub.kernel().organisation(), "Test Trust");
    // The same authority, the same device, the same place in its spool.
    assert_eq!(device.connect(&again.hub).await.store(events(1, 8)).await, 8);
    assert_eq!(again.count("SELECT COUNT(*) FROM event").await, 8);
}

#[tokio::test]
async fn two_hubs_do_not_share_a_folder() {
    let house = House::open().await;
    let error = start(config(house.folder.path(), &house.clock)).await.err().unwrap();
    assert!(told(&error).contains("another hub is already using"), "{}", told(&error));
    // A link can be made beside a running hub.
    let code = make_link(house.folder.path(), &Invited::default()).await.unwrap();
    let headers = [("sec-fetch-site", "same-origin")];
    let answer = http(house.hub.http_addr(), "POST", &format!("/signin/{code}"), &headers, "").await;
    assert!(answer.header("set-cookie").is_some());
    let nowhere = tempfile::tempdir().unwrap();
    let text = told(&make_link(nowhere.path(), &Invited::default()).await.unwrap_err());
    assert!(text.contains("there is no hub in"), "{text}");
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_option_that_changes_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = taken.local_addr().unwrap();
    for agents in [false, true] {
        let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(real_now()));
        let mut config = config(folder.path(), &clock);
        let flag = if agents { "--agents" } else { "--http" };
        *(if agents { &mut config.agents } else { &mut config.http }) = address;
        let text = told(&start(config.clone()).await.err().unwrap());
        assert!(text.contains(&format!("port {}", address.port())) && text.contains(flag), "{text}");
        // The folder was let go of.
        *(if agents { &mut config.agents } else { &mut config.http }) = SocketAddr::from(([127, 0, 0, 1], 0));
        start(config).await.unwrap().stop().await;
    }
}

#[tokio::test]
async fn a_folder_of_a_newer_version_is_left_as_it_is() {
    let house = House::open().await;
    house.device().await;
    let (folder, clock) = (house.folder, house.clock);
    house.hub.stop().await;
    // A build that knows one more step of the devices.
    let mut newer = migrations();
    let known =
        newer.iter().filter(|step| step.capability == "devices").map(|step| step.version).max().unwrap();
    newer.push(wardline_kernel::Migration {
        capability: "devices",
        version: known + 1,
        name: "of the future",
        sql: "ALTER TABLE device ADD COLUMN mood TEXT",
    });
    let store = Store::open(folder.path(), None, &newer, real_now()).await.unwrap();
    let place = store.place();
    store.close().await;
    let file = || std::fs::read(folder.path().join("hub.db")).unwrap_or_default();
    let before = file();

    let text = told(&start(config(folder.path(), &clock)).await.err().unwrap());
    for part in [
        place.to_str().unwrap(),
        "newer version of Wardline",
        &format!("`devices` tables have version {}, this build knows {known}", known + 1),
        "nothing was changed",
        "--data DIR",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(file(), before);
    // And the newer build still finds its data.
    let store = Store::open(folder.path(), None, &newer, real_now()).await.unwrap();
    let devices: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM device").fetch_one(store.read().everywhere()).await.unwrap();
    assert_eq!(devices, 1);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_and_kept() {
    if on_postgres() {
        return;
    }
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(real_now()));
    let file = folder.path().join("hub.db");
    std::fs::write(&file, "my shopping list\n".repeat(100)).unwrap();
    let text = told(&start(config(folder.path(), &clock)).await.err().unwrap());
    assert!(text.contains("hub.db cannot be opened as a database"), "{text}");
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("my shopping list"));
}
