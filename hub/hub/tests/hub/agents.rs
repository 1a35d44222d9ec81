//! Who may talk, and what hostile talk does: nothing.

use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use wardline_devices::link;
use wardline_wire::proto::agent_message::Body as FromAgent;
use wardline_wire::proto::{Counters, Heartbeat, RecordKind, Sensor};
use wardline_wire::{HUB_TLS_NAME, PROTOCOL};

use crate::house::{DEADLINE, Device, House, answers_to, events, record, stranger, until};

/// A certificate for this device's name, of an authority and a time of the test's choosing.
fn certificate(
    device: &Device,
    organisation: &str,
    issuer: &Issuer<'_, KeyPair>,
    days: (i64, i64),
) -> Device {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, device.id.to_string());
    params.distinguished_name.push(DnType::OrganizationName, organisation);
    let at = |days| OffsetDateTime::now_utc() + time::Duration::days(days);
    (params.not_before, params.not_after) = (at(days.0), at(days.1));
    let certificate = params.signed_by(&key, issuer).unwrap().der().to_vec();
    Device { chain: vec![certificate], key: key.serialize_der(), ..device.clone() }
}

#[tokio::test]
async fn foreign_and_expired_certificates_end_at_the_handshake() {
    let house = House::open().await;
    let device = house.device().await;
    let organisation = house.hub.kernel().home().id().to_owned();

    // The hub's own authority, so that only the date is wrong.
    let folder = house.folder.path().join("keys");
    let key = KeyPair::from_pem(&std::fs::read_to_string(folder.join("authority.key")).unwrap()).unwrap();
    let authority = std::fs::read(folder.join("authority.der")).unwrap();
    let ours = Issuer::from_ca_cert_der(&authority.as_slice().into(), key).unwrap();
    // And an authority of the same name with another key.
    let foreign =
        Issuer::from_ca_cert_der(&authority.as_slice().into(), KeyPair::generate().unwrap()).unwrap();

    // First of all that this way of making certificates makes good ones.
    certificate(&device, &organisation, &ours, (-1, 1)).connect(&house.hub).await;
    let expired = certificate(&device, &organisation, &ours, (-10, -1));
    let forged = certificate(&device, &organisation, &foreign, (-1, 1));
    for (n, bad) in [expired, forged].iter().enumerate() {
        assert!(bad.dial(&house.hub).await.is_err());
        let refused = n as u64 + 1;
        until("the refusal is counted", async || house.hub.agent_stats().refused_handshakes == refused).await;
    }
    // A good certificate of an organisation that the device does not belong to opens nothing.
    let stranger = certificate(&device, "another", &ours, (-1, 1));
    assert_eq!(stranger.dial(&house.hub).await.err().unwrap().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn the_certificate_of_the_hub_carries_one_name() {
    let house = House::open().await;
    for (name, carried) in [(HUB_TLS_NAME, true), ("localhost", false), ("127.0.0.1", false), ("::1", false)]
    {
        assert_eq!(answers_to(&house.hub, name).await, carried, "{name}");
    }
}

#[tokio::test]
async fn a_revoked_device_is_cut_off_and_stays_out() {
    let house = House::open().await;
    let device = house.device().await;
    let mut line = device.connect(&house.hub).await;
    let (kernel, id) = (house.hub.kernel(), device.id.to_string());
    assert!(link::revoke(kernel, kernel.home(), "tester", &id, "stolen").await.unwrap());
    assert_eq!(line.hear().await.unwrap_err().code(), Code::PermissionDenied);
    let status = device.dial(&house.hub).await.err().unwrap();
    assert!(status.message().contains("enrol it again"), "{status:?}");
}

#[tokio::test]
async fn the_conversation_begins_with_a_hello_of_a_known_version() {
    let house = House::open().await;
    let device = house.device().await;
    for (first, said) in [
        (FromAgent::Hello(device.hello(PROTOCOL + 1)), "update the hub first"),
        (FromAgent::Hello(device.hello(0)), "update this device's agent"),
        (FromAgent::Heartbeat(Heartbeat::default()), "must be Hello"),
    ] {
        let mut line = device.dial(&house.hub).await.unwrap();
        line.say(first).await;
        let status = line.hear().await.unwrap_err();
        assert!(status.message().contains(said), "{status:?}");
    }
}

#[tokio::test]
async fn a_heartbeat_shows_sensors_losses_and_silence() {
    let house = House::open().await;
    let device = house.device().await;
    let line = device.connect(&house.hub).await;
    let bearer = house.bearer().await;
    let path = format!("/api/v1/devices/{}", device.id);
    line.beat(Heartbeat {
        time_ms: house.hub.kernel().now().0 + 5_000,
        sensors: vec![
            Sensor {
                kind: "linux_ebpf".into(),
                state: "off".into(),
                reason: "no BTF".into(),
                ..Sensor::default()
            },
            Sensor { kind: "linux_proc".into(), state: "splendid".into(), ..Sensor::default() },
        ],
        counters: Some(Counters {
            produced: 100,
            kernel_lost: 3,
            decode_lost: 2,
            spool_dropped: 1,
            correlation_lost: 4,
            ..Counters::default()
        }),
        mode: "protect".into(),
        ..Heartbeat::default()
    })
    .await;
    until("the heartbeat is stored", async || {
        house.call(&bearer, "GET", &path, "").await.json()["mode_in_force"] == "protect"
    })
    .await;
    let shown = house.call(&bearer, "GET", &path, "").await.json();
    assert_eq!((&shown["lost"], &shown["clock_ahead_ms"]), (&6.into(), &5000.into()));
    assert_eq!(shown["accounting"]["correlation_lost"], 4);
    assert_eq!(shown["sensors"][0]["reason"], "no BTF");
    assert_eq!(shown["sensors"][1]["state"], "unknown");
    // The policy that the device named is not the one laid down: it named none.
    assert_eq!(shown["policy_confirmed"], false);
    assert_eq!(shown["presence"], "live");
    house.clock.advance(31_000);
    assert_eq!(house.call(&bearer, "GET", &path, "").await.json()["presence"], "silent");
}

#[tokio::test]
async fn hostile_talk_leaves_the_hub_up() {
    let house = House::open().await;
    let device = house.device().await;

    // No TLS at all, and TLS' first byte followed by nonsense.
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), [&[0x16, 3, 1, 0xff, 0xff][..], &[0xAA; 4096]].concat()]
    {
        let mut stream = TcpStream::connect(house.hub.agents_addr()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
    }
    until("both are refused", async || house.hub.agent_stats().refused_handshakes == 2).await;

    // TLS, and then no HTTP/2; or HTTP/2's greeting, and then frames of nonsense.
    for bytes in [vec![0; 4096], [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0xEE; 4096]].concat()] {
        let mut stream = stranger(&house.hub).await;
        // The hub may hang up before all is written.
        let _ = stream.write_all(&bytes).await;
        let mut answer = Vec::new();
        let _ =
            tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("the hub hangs up");
    }

    // A message larger than any that is read.
    let mut line = device.connect(&house.hub).await;
    let huge = wardline_wire::make_batch([9; 16], 1, vec![record(RecordKind::Event, "x".repeat(5 << 20))]);
    line.say(FromAgent::Batch(huge)).await;
    assert_eq!(line.hear().await.unwrap_err().code(), Code::OutOfRange);

    // A message that is read, with a record that is too large.
    let mut line = device.connect(&house.hub).await;
    let large = wardline_wire::make_batch([9; 16], 1, vec![record(RecordKind::Event, "x".repeat(1 << 20))]);
    line.say(FromAgent::Batch(large)).await;
    assert!(line.hear().await.unwrap_err().message().contains("more than"));

    // Hello twice.
    let mut line = device.connect(&house.hub).await;
    line.say(FromAgent::Hello(device.hello(PROTOCOL))).await;
    assert_eq!(line.hear().await.unwrap_err().code(), Code::FailedPrecondition);

    assert_eq!(device.connect(&house.hub).await.store(events(1, 3)).await, 3);
}

#[tokio::test]
async fn strangers_cannot_crowd_out_devices() {
    let house = House::open().await;
    let device = house.device().await;
    let mut crowd = Vec::new();
    // As many as the hub lets in without a certificate, and some more.
    for _ in 0..140 {
        crowd.push(stranger(&house.hub).await);
    }
    until("some are refused", async || house.hub.agent_stats().refused_handshakes >= 12).await;
    assert_eq!(device.connect(&house.hub).await.store(events(1, 3)).await, 3);
    drop(crowd);
}
