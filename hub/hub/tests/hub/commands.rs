//! Orders: signed, sent until answered, tracked until confirmed.

use prost::Message;
use wardline_event::{ActionState, ActionUpdate, Timestamp};
use wardline_wire::make_batch;
use wardline_wire::proto::command::Kind;
use wardline_wire::proto::{Command, Heartbeat, RecordKind};

use crate::house::{Device, House, Line, process, real_now, record, until};

async fn order(house: &House, bearer: &str, device: &Device, wish: &str) -> String {
    let body = format!(r#"{{"device": "{}", {wish}, "reason": "spreading"}}"#, device.id);
    let made = house.call(bearer, "POST", "/api/v1/actions", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.json()["id"].as_str().unwrap().to_owned()
}

async fn state(house: &House, bearer: &str, id: &str) -> String {
    let action = house.call(bearer, "GET", &format!("/api/v1/actions/{id}"), "").await.json();
    action["state"].as_str().unwrap().to_owned()
}

/// Tells the hub a state, as record `seq`.
async fn tell(line: &mut Line, seq: u64, id: &str, state: ActionState) {
    let update = ActionUpdate {
        action_id: id.into(),
        state,
        at: Timestamp(1_000),
        detail: format!("now {}", state.as_str()),
    };
    let body = serde_json::to_string(&update).unwrap();
    line.store(make_batch([9; 16], seq, vec![record(RecordKind::ActionUpdate, body)])).await;
}

#[tokio::test]
async fn an_order_goes_to_its_device_and_comes_back_confirmed() {
    let house = House::open().await;
    let (device, bearer) = (house.device().await, house.bearer().await);
    let mut line = device.connect(&house.hub).await;
    let key = process(42, "/tmp/x").key;
    let id =
        order(&house, &bearer, &device, &format!(r#""kind": "kill_process", "process_key": "{key}""#)).await;
    let signed = line.hear_command().await;
    let command = device.command_key.verify(&signed, device.id, real_now()).unwrap();
    assert_eq!(command.get().action_id, id);
    assert_eq!(command.get().reason, "spreading");
    assert!(matches!(&command.get().kind, Some(Kind::KillProcess(k)) if k.process_key == key.to_string()));

    assert_eq!(state(&house, &bearer, &id).await, "Pending");
    tell(&mut line, 1, &id, ActionState::InProgress).await;
    assert_eq!(state(&house, &bearer, &id).await, "InProgress");
    tell(&mut line, 2, &id, ActionState::Succeeded).await;
    // Told again, and told otherwise: what is proved stays.
    tell(&mut line, 3, &id, ActionState::Succeeded).await;
    tell(&mut line, 4, &id, ActionState::Failed).await;
    let shown = house.call(&bearer, "GET", &format!("/api/v1/actions/{id}"), "").await.json();
    assert_eq!(shown["state"], "Succeeded");
    let steps: Vec<&str> =
        shown["history"].as_array().unwrap().iter().map(|s| s["state"].as_str().unwrap()).collect();
    assert_eq!(steps, ["Pending", "InProgress", "Succeeded"]);
    let verified = house.call(&bearer, "GET", "/api/v1/audit/verify", "").await.json();
    assert_eq!(verified["whole"], true);
}

#[tokio::test]
async fn an_order_waits_for_its_device_and_is_sent_until_it_is_answered() {
    let house = House::open().await;
    let (device, bearer) = (house.device().await, house.bearer().await);
    let id = order(&house, &bearer, &device, r#""kind": "isolate", "for_s": 600"#).await;
    for _ in 0..2 {
        let signed = device.connect(&house.hub).await.hear_command().await;
        assert_eq!(Command::decode(signed.command.as_slice()).unwrap().action_id, id);
    }
    let mut line = device.connect(&house.hub).await;
    line.hear_command().await;
    tell(&mut line, 1, &id, ActionState::InProgress).await;
    // Nothing waits now: the next thing that a fresh connection hears is the acknowledgement.
    let mut line = device.connect(&house.hub).await;
    tell(&mut line, 2, &id, ActionState::Succeeded).await;
}

#[tokio::test]
async fn no_device_speaks_for_another() {
    let house = House::open().await;
    let (device, other, bearer) = (house.device().await, house.device().await, house.bearer().await);
    let id = order(&house, &bearer, &device, r#""kind": "release""#).await;
    let mut line = other.connect(&house.hub).await;
    tell(&mut line, 1, &id, ActionState::Succeeded).await;
    assert_eq!(state(&house, &bearer, &id).await, "Pending");
    let signed = device.connect(&house.hub).await.hear_command().await;
    assert!(other.command_key.verify(&signed, other.id, real_now()).is_err());
}

#[tokio::test]
async fn an_order_expires_and_late_proof_still_counts() {
    let house = House::open().await;
    let (device, bearer) = (house.device().await, house.bearer().await);
    let id = order(&house, &bearer, &device, r#""kind": "isolate", "for_s": 600"#).await;
    house.clock.advance(61 * 60 * 1000);
    until("the order times out", async || state(&house, &bearer, &id).await == "TimedOut").await;
    let mut line = device.connect(&house.hub).await;
    tell(&mut line, 1, &id, ActionState::Succeeded).await;
    assert_eq!(state(&house, &bearer, &id).await, "Succeeded");
}

#[tokio::test]
async fn a_cancelled_order_is_not_sent_and_a_device_that_had_begun_is_heard() {
    let house = House::open().await;
    let (device, bearer) = (house.device().await, house.bearer().await);
    let id = order(&house, &bearer, &device, r#""kind": "isolate", "for_s": 600"#).await;
    let path = format!("/api/v1/actions/{id}/cancel");
    assert_eq!(house.call(&bearer, "POST", &path, "").await.status, 204);
    assert_eq!(house.call(&bearer, "POST", &path, "").await.status, 409);
    let mut line = device.connect(&house.hub).await;
    // The acknowledgement, and no command before it.
    tell(&mut line, 1, &id, ActionState::Succeeded).await;
    let shown = house.call(&bearer, "GET", &format!("/api/v1/actions/{id}"), "").await.json();
    assert_eq!(shown["state"], "Cancelled");
    assert!(shown["detail"].as_str().unwrap().contains("cancelled too late"), "{shown}");
}

#[tokio::test]
async fn what_policy_forbids_is_not_signed() {
    let house = House::open().await;
    let (device, bearer) = (house.device().await, house.bearer().await);
    for (wish, reason, status) in [
        (r#""kind": "isolate", "for_s": 10"#, "spreading", 400),
        (r#""kind": "contain", "rung": "east-west", "for_s": 10"#, "spreading", 400),
        (r#""kind": "contain", "rung": "logons", "for_s": 90000"#, "spreading", 400),
        (r#""kind": "quarantine_file", "path": "no/full/path""#, "spreading", 400),
        (r#""kind": "restore_file", "id": "../x""#, "spreading", 400),
        (r#""kind": "isolate", "for_s": 90000"#, "spreading", 400),
        (r#""kind": "release""#, " ", 400),
        (r#""kind": "explode""#, "spreading", 422),
    ] {
        let body = format!(r#"{{"device": "{}", {wish}, "reason": "{reason}"}}"#, device.id);
        assert_eq!(house.call(&bearer, "POST", "/api/v1/actions", &body).await.status, status, "{body}");
    }
    let body = r#"{"device": "0", "kind": "release", "reason": "x"}"#;
    assert_eq!(house.call(&bearer, "POST", "/api/v1/actions", body).await.status, 404);
    assert_eq!(house.count("SELECT COUNT(*) FROM action").await, 0);
}

#[tokio::test]
async fn a_reason_too_long_to_be_kept_is_refused_and_changes_nothing() {
    let house = House::open().await;
    let (device, bearer) = (house.device().await, house.bearer().await);
    let path = format!("/api/v1/devices/{}", device.id);
    let body = |n: usize| {
        let reason = "r".repeat(n);
        [
            ("PUT", format!("{path}/mode"), format!(r#"{{"mode": "protect", "reason": "{reason}"}}"#)),
            (
                "POST",
                "/api/v1/actions".to_owned(),
                format!(r#"{{"device": "{}", "kind": "release", "reason": "{reason}"}}"#, device.id),
            ),
            ("POST", format!("{path}/revoke"), format!(r#"{{"reason": "{reason}"}}"#)),
        ]
    };
    let entries = house.count("SELECT COUNT(*) FROM audit").await;
    for (method, path, body) in body(1001) {
        let answer = house.call(&bearer, method, &path, &body).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.body);
        assert!(answer.json()["detail"].as_str().unwrap().contains("1001 characters"), "{}", answer.body);
    }
    assert_eq!(house.count("SELECT COUNT(*) FROM audit").await, entries);
    for (method, path, body) in body(1000) {
        let answer = house.call(&bearer, method, &path, &body).await;
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.body);
    }
    // A reason of nothing but control characters is none.
    let body = r#"{"mode": "monitor", "reason": "\u0007"}"#;
    assert_eq!(house.call(&bearer, "PUT", &format!("{path}/mode"), body).await.status, 400);
}

#[tokio::test]
async fn a_policy_is_offered_with_every_heartbeat_until_the_device_names_it() {
    let house = House::open().await;
    let (device, bearer) = (house.device().await, house.bearer().await);
    let mut line = device.connect(&house.hub).await;
    let path = format!("/api/v1/devices/{}/mode", device.id);
    let body = r#"{"mode": "protect", "reason": "trained"}"#;
    assert_eq!(house.call(&bearer, "PUT", &path, body).await.status, 204);
    let signed = line.hear_command().await;
    let digest = |bytes: &[u8]| ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().to_vec();
    let beat = |policy_digest| Heartbeat { policy_digest, ..Heartbeat::default() };
    // The device keeps its old one: it refused the new one, and may accept it later.
    for _ in 0..2 {
        line.beat(beat(digest(&device.policy.command))).await;
        assert_eq!(line.hear_command().await, signed);
    }
    // Between heartbeats it is not sent again, whatever else gives a reason to look for commands.
    let id = order(&house, &bearer, &device, r#""kind": "isolate", "for_s": 600"#).await;
    let next = line.hear_command().await;
    assert_eq!(Command::decode(next.command.as_slice()).unwrap().action_id, id);
    tell(&mut line, 1, &id, ActionState::Succeeded).await;
    line.beat(beat(digest(&signed.command))).await;
    // Named: the next thing to be heard is an acknowledgement.
    assert_eq!(line.store(crate::house::events(2, 1)).await, 2);
}

#[tokio::test]
async fn a_new_policy_goes_to_the_device_once_and_is_shown_when_it_is_in_force() {
    let house = House::open().await;
    let (device, bearer) = (house.device().await, house.bearer().await);
    let mut line = device.connect(&house.hub).await;
    let path = format!("/api/v1/devices/{}", device.id);
    let body = r#"{"mode": "protect", "reason": "trained"}"#;
    assert_eq!(house.call(&bearer, "PUT", &format!("{path}/mode"), body).await.status, 204);
    let signed = line.hear_command().await;
    let command = device.command_key.verify(&signed, device.id, real_now()).unwrap();
    assert!(matches!(&command.get().kind, Some(Kind::SetPolicy(_))));
    let digest = ring::digest::digest(&ring::digest::SHA256, &signed.command).as_ref().to_vec();
    line.beat(Heartbeat { mode: "protect".into(), policy_digest: digest, ..Heartbeat::default() }).await;
    until("the policy is confirmed", async || {
        house.call(&bearer, "GET", &path, "").await.json()["policy_confirmed"] == true
    })
    .await;
    // It is not sent again: the next thing to be heard is an acknowledgement.
    assert_eq!(line.store(crate::house::events(1, 1)).await, 1);
    // A device that still has the old one gets it when it connects.
    assert_eq!(device.connect(&house.hub).await.hear_command().await, signed);
}
