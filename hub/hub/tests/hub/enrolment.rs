//! Tokens, certificates, and who is turned away.

use rcgen::KeyPair;
use tonic::Code;
use wardline_hub::TokenSpec;
use wardline_policy::{DeviceClass, DevicePolicy, Mode};
use wardline_wire::proto::command::Kind;
use wardline_wire::proto::hub_client::HubClient;
use wardline_wire::proto::{EnrolRequest, RenewRequest};

use crate::house::{House, channel, csr, enrol, real_now};

#[tokio::test]
async fn a_token_makes_a_device_with_the_tokens_policy() {
    let house = House::open().await;
    let spec = TokenSpec {
        role: "pathology analyser's PC".into(),
        class: DeviceClass::Clinical,
        mode: Mode::Protect,
        ..TokenSpec::default()
    };
    let device = enrol(&house.hub, &house.token(&spec).await, false).await.unwrap();
    let command = device.command_key.verify(&device.policy, device.id, real_now()).unwrap();
    let Some(Kind::SetPolicy(policy)) = &command.get().kind else { panic!("{command:?}") };
    let policy = DevicePolicy::from_json(&policy.policy_json).unwrap();
    assert_eq!((policy.mode, policy.class), (Mode::Protect, DeviceClass::Clinical));

    let bearer = house.bearer().await;
    let shown = house.call(&bearer, "GET", &format!("/api/v1/devices/{}", device.id), "").await.json();
    assert_eq!(shown["presence"], "never_connected");
    assert_eq!(shown["role"], "pathology analyser's PC");
    // Unknown is not zero.
    assert!(shown["accounting"].is_null() && shown["lost"].is_null() && shown["mode_in_force"].is_null());
    let audit = house.call(&bearer, "GET", "/api/v1/audit", "").await.json();
    assert!(audit.as_array().unwrap().iter().any(|e| e["act"] == "device.enrolled"));
}

#[tokio::test]
async fn a_wrong_used_expired_or_revoked_token_says_which_it_is() {
    let house = House::open().await;
    let refused = async |secret: &str| {
        let status = enrol(&house.hub, secret, false).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
        status.message().to_owned()
    };
    assert!(refused("00").await.contains("does not know the token"));

    let used = house.token(&TokenSpec::default()).await;
    enrol(&house.hub, &used, false).await.unwrap();
    assert!(refused(&used).await.contains("has been used already"));

    let old = house.token(&TokenSpec { life_s: 60, ..TokenSpec::default() }).await;
    let bearer = house.bearer().await;
    house.clock.advance(60_000);
    assert!(refused(&old).await.contains("expired at"));

    let made = house.call(&bearer, "POST", "/api/v1/tokens/enrolment", r#"{"uses": 3}"#).await.json();
    let secret = made["token"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
    enrol(&house.hub, &secret, false).await.unwrap();
    let path = format!("/api/v1/tokens/enrolment/{}", made["id"].as_str().unwrap());
    assert_eq!(house.call(&bearer, "DELETE", &path, "").await.status, 204);
    assert!(refused(&secret).await.contains("was revoked"));
    assert_eq!(house.count("SELECT COUNT(*) FROM device").await, 2);
}

#[tokio::test]
async fn a_request_without_the_key_is_refused_and_uses_no_token_up() {
    let house = House::open().await;
    let secret = house.token(&TokenSpec::default()).await;
    let mut forged = csr(&KeyPair::generate().unwrap());
    *forged.last_mut().unwrap() ^= 1;
    for csr_der in [forged, Vec::new(), vec![0x30; 5000]] {
        let request = EnrolRequest { secret: secret.clone(), csr_der, facts: None };
        let mut client = HubClient::new(channel(&house.hub, None).await.unwrap());
        let status = client.enrol(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains("signed with the device's own key"), "{status:?}");
    }
    enrol(&house.hub, &secret, false).await.unwrap();
}

#[tokio::test]
async fn a_certificate_is_renewed_by_its_holder_only() {
    let house = House::open().await;
    let device = house.device().await;
    let key = KeyPair::generate().unwrap();
    let request = RenewRequest { csr_der: csr(&key) };
    let mut stranger = HubClient::new(channel(&house.hub, None).await.unwrap());
    assert_eq!(stranger.renew(request.clone()).await.unwrap_err().code(), Code::Unauthenticated);

    house.clock.advance(1000);
    let mut holder = HubClient::new(channel(&house.hub, Some(device.identity())).await.unwrap());
    let chain = holder.renew(request).await.unwrap().into_inner().certificate_chain;
    let renewed = crate::house::Device { chain, key: key.serialize_der(), ..device };
    renewed.connect(&house.hub).await;
}
