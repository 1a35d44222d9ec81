//! The key that signs commands is replaced while real agents are connected.
#![allow(clippy::unwrap_used)] // Helpers of tests, which clippy takes for code.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wardline_event::ActionState;
use wardline_hub::rotate_command_key;
use wardline_kernel::random_bytes;
use wardline_range::exercise::Exercise;
use wardline_range::script::parse;
use wardline_range::summary::Outcome;

/// One order to a device that confirms it.
async fn order(exercise: &mut Exercise) {
    let line = r#"{"do":"order","isolate_s":600,"on":"ward7-pc03","by":"R. Patel","reason":"a drill"}"#;
    let step = parse(line).unwrap().remove(0);
    let outcome = exercise.play(&step).await.unwrap();
    assert!(matches!(outcome, Outcome::Ordered { state: ActionState::Succeeded, .. }), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_obey_the_key_that_the_one_before_named() {
    let dir = tempfile::tempdir().unwrap();
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut exercise = Exercise::prepare(dir.path(), free, random_bytes::<16>, |_| ()).await.unwrap();
    order(&mut exercise).await;
    let first = exercise.hub.kernel().keys().signer().key();
    let folder = exercise.hub.kernel().store().folder().to_owned();
    rotate_command_key(&folder, 1000).await.unwrap();
    // The hub takes it up by itself; what it signs from then on is obeyed, whether or not a heartbeat came in between.
    let until = Instant::now() + Duration::from_mins(2);
    while folder.join("keys/command.seed").exists() {
        assert!(Instant::now() < until, "the overlap never ended");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_ne!(exercise.hub.kernel().keys().signer().key(), first);
    order(&mut exercise).await;
    exercise.stop().await;
}
