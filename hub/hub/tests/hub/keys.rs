//! The key that signs commands is replaced beside a running hub.

use prost::Message;
use wardline_hub::rotate_command_key;
use wardline_wire::proto::command::Kind;
use wardline_wire::proto::{Command, Heartbeat};
use wardline_wire::{KeyRing, Learnt};

use crate::house::{House, real_now, until};

#[tokio::test]
async fn a_device_is_led_to_the_new_key_whenever_it_comes() {
    let house = House::open().await;
    let (present, away, bearer) = (house.device().await, house.device().await, house.bearer().await);
    let mut line = present.connect(&house.hub).await;
    let path = "/api/v1/actions";
    let order = |id: &dyn ToString| {
        format!(r#"{{"device": "{}", "kind": "release", "reason": "r"}}"#, id.to_string())
    };
    // Ordered, and so signed, before.
    assert_eq!(house.call(&bearer, "POST", path, &order(&away.id)).await.status, 201);
    let first = present.command_key;
    rotate_command_key(house.folder.path(), 60_000).await.unwrap();
    until("the hub takes it up", async || house.hub.kernel().keys().signer().key() != first).await;
    let second = house.hub.kernel().keys().signer().key();

    let beat = |key: &[u8]| Heartbeat {
        command_key: key.to_vec(),
        policy_digest: present.hello(1).policy_digest,
        ..Heartbeat::default()
    };
    let mut ring = KeyRing::new(first);
    line.beat(beat(&first.0)).await;
    let told = line.hear_command().await;
    assert_eq!(ring.learn(&told, real_now()), Ok(Learnt::New));
    assert_eq!(ring.current, second);
    line.beat(beat(&second.0)).await;
    assert_eq!(house.call(&bearer, "POST", path, &order(&present.id)).await.status, 201);
    let signed = line.hear_command().await;
    assert!(
        second.verify(&signed, present.id, real_now()).is_ok(),
        "not told again, and signed with the new key"
    );

    // The one that was away is told first, and what was signed before is signed anew, its policy too.
    let mut line = away.connect(&house.hub).await;
    let mut ring = KeyRing::new(first);
    assert_eq!(ring.learn(&line.hear_command().await, real_now()), Ok(Learnt::New));
    let signed = line.hear_command().await;
    assert!(second.verify(&signed, away.id, real_now()).is_ok());
    // A second rotation at once: a device of before is led over both.
    rotate_command_key(house.folder.path(), 0).await.unwrap();
    until("the hub takes it up", async || house.hub.kernel().keys().signer().key() != second).await;
    let third = house.hub.kernel().keys().signer().key();
    let mut line = away.connect(&house.hub).await;
    let mut ring = KeyRing::new(first);
    for _ in 0..2 {
        assert_eq!(ring.learn(&line.hear_command().await, real_now()), Ok(Learnt::New));
    }
    assert_eq!(ring.current, third);
    let signed = line.hear_command().await;
    assert!(ring.verify(&signed, away.id, real_now()).is_ok());
    assert_eq!(house.count("SELECT COUNT(*) FROM audit WHERE act = 'command_key.rotated'").await, 2);
    // Who enrols now knows no other key.
    assert_eq!(house.device().await.command_key, third);
}

#[tokio::test]
async fn an_agent_that_cannot_learn_is_sent_both_signatures_until_the_overlap_ends() {
    let house = House::open().await;
    let (device, bearer) = (house.device().await, house.bearer().await);
    let first = device.command_key;
    rotate_command_key(house.folder.path(), 60_000).await.unwrap();
    until("the hub takes it up", async || house.hub.kernel().keys().signer().key() != first).await;
    let order = format!(r#"{{"device": "{}", "kind": "release", "reason": "r"}}"#, device.id);
    assert_eq!(house.call(&bearer, "POST", "/api/v1/actions", &order).await.status, 201);
    let old_agent = async || {
        let mut line = device.dial(&house.hub).await.unwrap();
        let hello = wardline_wire::proto::Hello { command_key: Vec::new(), ..device.hello(1) };
        line.say(wardline_wire::proto::agent_message::Body::Hello(hello)).await;
        line.hear().await.unwrap();
        line
    };
    let mut line = old_agent().await;
    let (one, two) = (line.hear_command().await, line.hear_command().await);
    assert_eq!(one.command, two.command);
    assert!(
        first.verify(&one, device.id, real_now()).is_ok()
            && first.verify(&two, device.id, real_now()).is_err()
    );
    let command = Command::decode(one.command.as_slice()).unwrap();
    assert!(matches!(command.kind, Some(Kind::Release(_))));
    // By the machine's clock it was rotated, by the house's it expires.
    house.clock.advance(600_000);
    until("the old key is gone", async || !house.folder.path().join("keys/command.seed").exists()).await;
    let mut line = old_agent().await;
    assert!(first.verify(&line.hear_command().await, device.id, real_now()).is_err());
}
