//! Orders that others must agree to: by policy, by reach, from above, under broken glass.

use std::net::SocketAddr;

use prost::Message;
use serde_json::{Value, json};
use wardline_devices::TokenSpec;
use wardline_kernel::OrganisationId;
use wardline_kernel::auth::make_link;
use wardline_policy::DeviceClass;
use wardline_policy::Role::{self, Administrator, ClinicalEngineer, OnCallManager, Responder, TrustLead};
use wardline_wire::proto::{Command, SignedCommand};

use crate::house::{Answer, Device, House, enrol, http, until};
use crate::tenancy::{add, device_of};

/// A person who is signed in.
struct Person {
    address: SocketAddr,
    cookie: String,
}

impl Person {
    async fn of(house: &House, organisation: &OrganisationId, name: &str, role: Role) -> Self {
        let (kernel, address) = (house.hub.kernel(), house.hub.http_addr());
        let code = make_link(kernel.store(), organisation, name, role, kernel.now()).await.unwrap();
        let headers = [("sec-fetch-site", "same-origin")];
        let answer = http(address, "POST", &format!("/signin/{code}"), &headers, "").await;
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        Self { address, cookie }
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [("cookie", self.cookie.as_str()), ("sec-fetch-site", "same-origin")];
        http(self.address, method, path, &headers, &body.to_string()).await
    }

    async fn page(&self, method: &str, path: &str, form: &str) -> Answer {
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let headers = [("cookie", self.cookie.as_str()), ("sec-fetch-site", "same-origin"), kind];
        http(self.address, method, path, &headers, form).await
    }

    /// Isolates devices; gives the actions.
    async fn isolate(&self, devices: &[&Device]) -> Vec<Value> {
        let ids: Vec<String> = devices.iter().map(|device| device.id.to_string()).collect();
        let order = json!({"devices": ids, "kind": "isolate", "for_s": 600, "reason": "spreading"});
        let answer = self.call("POST", "/api/v1/actions", &order).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.json()["orders"].as_array().unwrap().clone()
    }

    async fn action(&self, id: &Value) -> Value {
        self.call("GET", &format!("/api/v1/actions/{}", id.as_str().unwrap()), &json!({})).await.json()
    }

    async fn answer(&self, id: &Value, word: &str, body: Value) -> Answer {
        self.call("POST", &format!("/api/v1/actions/{}/{word}", id.as_str().unwrap()), &body).await
    }

    async fn place(&self, device: &Device, site: &str, ward: &str, device_type: &str) {
        let path = format!("/api/v1/devices/{}/whereabouts", device.id);
        let at = json!({"site": site, "ward": ward, "device_type": device_type, "reason": "walked round"});
        let answer = self.call("PUT", &path, &at).await;
        assert_eq!(answer.status, 204, "{}", answer.body);
    }
}

fn needs(action: &Value) -> Vec<String> {
    let all = action["needs"].as_array().unwrap();
    all.iter().map(|need| need["of"].as_str().unwrap().to_owned()).collect()
}

async fn clinical(house: &House) -> Device {
    let spec = TokenSpec { class: DeviceClass::Clinical, ..TokenSpec::default() };
    enrol(&house.hub, &house.token(&spec).await, false).await.unwrap()
}

fn command(device: &Device, signed: &SignedCommand) -> Command {
    device.command_key.verify(signed, device.id, crate::house::real_now()).unwrap();
    Command::decode(signed.command.as_slice()).unwrap()
}

#[tokio::test]
async fn nothing_is_signed_before_a_second_person_agrees() {
    let house = House::open().await;
    let root = house.hub.kernel().home().root().clone();
    let ann = Person::of(&house, &root, "Ann", Responder).await;
    let lee = Person::of(&house, &root, "Lee", TrustLead).await;
    let kim = Person::of(&house, &root, "Kim", ClinicalEngineer).await;
    let device = clinical(&house).await;
    lee.place(&device, "North", "Imaging", "CT scanner").await;
    let other = clinical(&house).await;
    lee.place(&other, "North", "Imaging", "CT scanner").await;
    // Both are heard: neither is the last.
    let (mut line, _other) = (device.connect(&house.hub).await, other.connect(&house.hub).await);
    let order = ann.isolate(&[&device]).await.remove(0);
    assert_eq!(needs(&order), ["second_person"]);
    let id = &order["id"];
    let shown = ann.action(id).await;
    assert_eq!(
        (&shown["state"], &shown["needs"][0]["because"]),
        (&json!("Pending"), &json!("patients depend on this device"))
    );
    assert_eq!(house.count("SELECT COUNT(*) FROM action WHERE command <> '' OR signature <> ''").await, 0);
    // Not by whoever asked, whatever their role and by whatever token; not by a role that may not; not by a program.
    assert_eq!(ann.answer(id, "approve", json!({})).await.status, 403);
    let ann_too = Person::of(&house, &root, "Ann", TrustLead).await;
    let refused = ann_too.answer(id, "approve", json!({})).await;
    assert!(refused.status == 403 && refused.body.contains("cannot approve it as well"), "{}", refused.body);
    let program = house.bearer().await;
    let path = format!("/api/v1/actions/{}/approve", id.as_str().unwrap());
    let refused = house.call(&program, "POST", &path, "{}").await;
    assert!(refused.status == 403 && refused.body.contains("a program cannot approve"), "{}", refused.body);
    // The console shows it first, with what is missing.
    let page = kim.page("GET", "/actions", "").await;
    for part in
        ["Waiting for approval", "a second person", "patients depend on this device", "Approve", "Refuse"]
    {
        assert!(page.body.contains(part), "the page lacks {part}");
    }
    let agreed = kim.answer(id, "approve", json!({"reason": "between two patients"})).await;
    assert_eq!(agreed.status, 200, "{}", agreed.body);
    let sent = command(&device, &line.hear_command().await);
    let authority = sent.authority.unwrap();
    assert_eq!((authority.requester.unwrap().name.as_str(), authority.basis.as_str()), ("Ann", "role"));
    let approval = &authority.approvals[0];
    assert_eq!((approval.name.as_str(), approval.role.as_str()), ("Kim", "clinical_engineer"));
    assert_eq!(sent.requested_by, "Ann");
    let shown = ann.action(id).await;
    assert_eq!((&shown["approved_by"], &shown["needs"]), (&json!("Kim"), &json!([])));
    assert_eq!(shown["agreements"][0]["reason"], "between two patients");
    assert_eq!(kim.answer(id, "approve", json!({})).await.status, 409, "once is enough");
    let acts =
        house.count("SELECT COUNT(*) FROM audit WHERE act IN ('action.asked', 'action.approved')").await;
    assert_eq!(acts, 2);
    // A release waits for nobody.
    let undone = kim.answer(id, "undo", json!({"reason": "over"})).await;
    assert_eq!(undone.status, 200, "{}", undone.body);
}

#[tokio::test]
async fn a_refusal_has_a_reason_and_a_request_expires() {
    let house = House::open().await;
    let root = house.hub.kernel().home().root().clone();
    let ann = Person::of(&house, &root, "Ann", TrustLead).await;
    let lee = Person::of(&house, &root, "Lee", OnCallManager).await;
    let device = house.device().await;
    let ask = || async {
        let order = json!({"device": device.id.to_string(), "kind": "contain", "rung": "logons", "for_s": 600,
            "reason": "stolen password"});
        ann.call("POST", "/api/v1/actions", &order).await.json()["id"].clone()
    };
    let id = ask().await;
    assert_eq!(lee.answer(&id, "refuse", json!({"reason": " "})).await.status, 400);
    assert_eq!(lee.answer(&id, "refuse", json!({"reason": "theatre list is on"})).await.status, 204);
    let shown = ann.action(&id).await;
    assert_eq!(shown["state"], "Cancelled");
    assert_eq!(shown["detail"], "refused by Lee: theatre list is on");
    assert_eq!(lee.answer(&id, "approve", json!({})).await.status, 409);
    let id = ask().await;
    house.clock.advance(60 * 60 * 1000 + 1);
    let cookie = Person::of(&house, &root, "Lee", OnCallManager).await;
    until("the request expires", async || ann.action(&id).await["state"] == "TimedOut").await;
    assert!(ann.action(&id).await["detail"].as_str().unwrap().contains("nobody approved it"));
    assert_eq!(cookie.answer(&id, "approve", json!({})).await.status, 409);
    // The device was never asked: what it hears first is an acknowledgement.
    let mut line = device.connect(&house.hub).await;
    assert_eq!(line.store(crate::house::events(1, 1)).await, 1);
}

#[tokio::test]
async fn many_at_once_are_shown_first_and_need_a_second_person() {
    let house = House::open().await;
    let root = house.hub.kernel().home().root().clone();
    let ann = Person::of(&house, &root, "Ann", Responder).await;
    let lee = Person::of(&house, &root, "Lee", TrustLead).await;
    let mut devices = Vec::new();
    for _ in 0..12 {
        devices.push(house.device().await);
    }
    for device in &devices[..4] {
        lee.place(device, "North", "Ward 7", "").await;
    }
    // One by one: the second of four in the ward is more than its share.
    assert_eq!(needs(&ann.isolate(&[&devices[0]]).await[0]), Vec::<String>::new());
    assert_eq!(
        needs(&ann.isolate(&[&devices[1]]).await[0]),
        ["second_person"; 3],
        "ward, site, organisation"
    );
    let six: Vec<String> = devices[4..10].iter().map(|device| device.id.to_string()).collect();
    let order = json!({"devices": six, "kind": "isolate", "for_s": 600, "reason": "spreading"});
    let preview = ann.call("POST", "/api/v1/actions/preview", &order).await;
    assert_eq!(preview.status, 200, "{}", preview.body);
    let preview = preview.json();
    assert_eq!(preview["by_person"], 7);
    assert_eq!(preview["effects"][0]["of_organisation"], 59, "seven of twelve");
    assert_eq!(house.count("SELECT COUNT(*) FROM action").await, 2, "a preview orders nothing");
    // The page says the same, and its button orders what was shown and nothing else.
    let query = format!("device={}&", six.join("&device="));
    let page = ann.page("GET", &format!("/actions/new?{query}minutes=60"), "").await;
    for part in ["6 devices", "would have contained 7 devices alone", "Ask for approval", "a second person"] {
        assert!(page.body.contains(part), "the page lacks {part}: {}", page.body);
    }
    let form = format!("kind=isolate&minutes=60&reason=spreading&seen=0123456789abcdef&{query}");
    let changed = ann.page("POST", "/actions", &form).await;
    assert!(
        changed.status == 200 && changed.body.contains("has changed since you looked"),
        "{}",
        changed.status
    );
    assert_eq!(house.count("SELECT COUNT(*) FROM action").await, 2);
    let order = json!({"devices": six, "kind": "isolate", "for_s": 600, "reason": "spreading", "seen": preview["seen"]});
    let orders =
        ann.call("POST", "/api/v1/actions", &order).await.json()["orders"].as_array().unwrap().clone();
    assert!(orders.iter().all(|order| needs(order).contains(&"second_person".to_owned())));
    let agreed = lee.answer(&orders[0]["id"], "approve", json!({"together": true})).await;
    assert_eq!(
        (agreed.status, agreed.json()["orders"].as_array().unwrap().len()),
        (200, 6),
        "{}",
        agreed.body
    );
    for device in &devices[4..10] {
        let sent = command(device, &device.connect(&house.hub).await.hear_command().await);
        assert_eq!(sent.authority.unwrap().reach.unwrap().devices, 7);
    }
    // All or none: one that does not exist, and nobody is ordered.
    let order = json!({"devices": [six[0], "0".repeat(32)], "kind": "release", "reason": "over"});
    let before = house.count("SELECT COUNT(*) FROM action").await;
    assert_eq!(ann.call("POST", "/api/v1/actions", &order).await.status, 404);
    assert_eq!(house.count("SELECT COUNT(*) FROM action").await, before);
    let csv = lee.page("GET", "/actions.csv", "").await;
    assert_eq!(csv.body.lines().count(), 1 + usize::try_from(before).unwrap());
}

#[tokio::test]
async fn the_last_of_its_type_needs_a_clinician_even_under_broken_glass() {
    let house = House::open().await;
    let root = house.hub.kernel().home().root().clone();
    let ann = Person::of(&house, &root, "Ann", OnCallManager).await;
    let lee = Person::of(&house, &root, "Lee", TrustLead).await;
    let kim = Person::of(&house, &root, "Kim", ClinicalEngineer).await;
    let device = clinical(&house).await;
    let list = json!({"csv": format!("device,site,ward,type\n{},North,Imaging,CT scanner\n", device.id), "reason": "the register"});
    let taken = lee.call("POST", "/api/v1/devices/whereabouts", &list).await;
    assert_eq!((taken.status, &taken.json()["changed"]), (200, &json!(1)));
    let glass = json!({"minutes": 60, "reason": "nobody answers"});
    assert_eq!(ann.call("POST", "/api/v1/break-glass", &glass).await.status, 201);
    let order = ann.isolate(&[&device]).await.remove(0);
    assert_eq!(needs(&order), ["clinician"]);
    let refused = lee.answer(&order["id"], "approve", json!({})).await;
    assert!(refused.status == 403 && refused.body.contains("a clinical engineer"), "{}", refused.body);
    assert_eq!(kim.answer(&order["id"], "approve", json!({})).await.status, 200);
    assert_eq!(ann.action(&order["id"]).await["basis"], "break_glass");
    command(&device, &device.connect(&house.hub).await.hear_command().await);
}

#[tokio::test]
async fn broken_glass_is_told_to_everybody_ends_and_is_looked_into() {
    let house = House::open().await;
    let kernel = house.hub.kernel().clone();
    let (trust, elsewhere) = (
        add(&kernel, kernel.home().root(), "Trust", "RX1").await,
        add(&kernel, kernel.home().root(), "Elsewhere", "RX2").await,
    );
    let ann = Person::of(&house, &trust, "Ann", OnCallManager).await;
    let lee = Person::of(&house, &trust, "Lee", TrustLead).await;
    let responder = Person::of(&house, &trust, "Ray", Responder).await;
    let device = device_of(&house, &trust).await;
    let glass = json!({"minutes": 60, "reason": "<b>ransom</b> note"});
    assert_eq!(responder.call("POST", "/api/v1/break-glass", &glass).await.status, 403);
    assert_eq!(
        ann.call("POST", "/api/v1/break-glass", &json!({"minutes": 600, "reason": "x"})).await.status,
        400
    );
    let made = ann.call("POST", "/api/v1/break-glass", &glass).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    for (organisation, told) in [(&trust, true), (kernel.home().root(), true), (&elsewhere, false)] {
        let person = Person::of(&house, organisation, "Somebody", Role::Analyst).await;
        let notices = person.page("GET", "/notices", "").await.body;
        assert_eq!(notices.contains("Ann (on-call manager) broke the glass"), told, "{notices}");
        assert!(!notices.contains("<b>ransom"), "{notices}");
    }
    let order = json!({"device": device.id.to_string(), "kind": "contain", "rung": "logons", "for_s": 600, "reason": "note"});
    let given = ann.call("POST", "/api/v1/actions", &order).await.json();
    assert_eq!(given["orders"][0]["needs"], json!([]));
    assert_eq!(ann.action(&given["id"]).await["basis"], "break_glass");
    // What needs nobody does not rest on it.
    let order = ann.isolate(&[&device]).await.remove(0);
    assert_eq!(ann.action(&order["id"]).await["basis"], "role");
    let path = format!("/api/v1/break-glass/{id}");
    assert_eq!(ann.call("POST", &format!("{path}/end"), &json!({})).await.status, 204);
    assert_eq!(ann.call("POST", &format!("{path}/end"), &json!({})).await.status, 404);
    let order = json!({"device": device.id.to_string(), "kind": "contain", "rung": "logons", "for_s": 600, "reason": "note"});
    let given = ann.call("POST", "/api/v1/actions", &order).await.json();
    assert_eq!(given["orders"][0]["needs"][0]["of"], "second_person", "it has ended");
    let own = Person::of(&house, &trust, "Ann", TrustLead).await;
    let found = json!({"review": "The note was real."});
    let refused = own.call("POST", &format!("{path}/review"), &found).await;
    assert!(refused.status == 403 && refused.body.contains("somebody else"), "{}", refused.body);
    assert_eq!(lee.call("POST", &format!("{path}/review"), &found).await.status, 204);
    assert!(!lee.page("GET", "/notices", "").await.body.contains("broke the glass"));
    let listed = lee.call("GET", "/api/v1/break-glass", &json!({})).await.json();
    assert_eq!((&listed[0]["reviewed_by"], &listed[0]["orders"]), (&json!("Lee"), &json!(1)));
    let acts = house.count("SELECT COUNT(*) FROM audit WHERE act LIKE 'break_glass.%'").await;
    assert_eq!(acts, 3);
    // One that nobody ends ends by itself.
    assert_eq!(ann.call("POST", "/api/v1/break-glass", &glass).await.status, 201);
    house.clock.advance(60 * 60 * 1000 + 1);
    let given = ann.call("POST", "/api/v1/actions", &order).await.json();
    assert_eq!(given["orders"][0]["needs"][0]["of"], "second_person");
}

#[tokio::test]
async fn the_centre_proposes_and_the_trust_decides_or_has_consented() {
    let house = House::open().await;
    let kernel = house.hub.kernel().clone();
    let root = kernel.home().root().clone();
    let trust = add(&kernel, &root, "Trust", "RX1").await;
    let centre = Person::of(&house, &root, "Nat", Responder).await;
    let chief = Person::of(&house, &root, "Cas", Administrator).await;
    let lead = Person::of(&house, &trust, "Lee", TrustLead).await;
    let device = device_of(&house, &trust).await;
    let mut line = device.connect(&house.hub).await;
    let order = centre.isolate(&[&device]).await.remove(0);
    assert_eq!(needs(&order), ["own_person"]);
    let refused = chief.answer(&order["id"], "approve", json!({})).await;
    assert!(refused.status == 403 && refused.body.contains("device's own organisation"), "{}", refused.body);
    assert_eq!(lead.answer(&order["id"], "approve", json!({})).await.status, 200);
    let sent = command(&device, &line.hear_command().await).authority.unwrap();
    assert!(sent.requester.unwrap().from_above && !sent.approvals[0].from_above);
    // Consent is the trust's own to give, for what and for how long it says.
    let wish = |days: u16, kinds: &[&str]| {
        json!({"to": root.as_str(), "kinds": kinds, "classes": ["workstation"], "days": days, "reason": "nights",
            "organisation": trust.as_str()})
    };
    let refused = chief.call("POST", "/api/v1/consents", &wish(7, &["isolate"])).await;
    assert!(refused.status == 403 && refused.body.contains("accountable"), "{}", refused.body);
    for bad in [wish(0, &["isolate"]), wish(7, &["fly"]), wish(7, &[])] {
        assert_eq!(lead.call("POST", "/api/v1/consents", &bad).await.status, 400, "{bad}");
    }
    let mut sideways = wish(7, &["isolate"]);
    sideways["to"] = json!(trust.as_str());
    assert_eq!(lead.call("POST", "/api/v1/consents", &sideways).await.status, 400);
    let given = lead.call("POST", "/api/v1/consents", &wish(7, &["isolate"])).await;
    assert_eq!(given.status, 201, "{}", given.body);
    let order = centre.isolate(&[&device]).await.remove(0);
    assert_eq!(needs(&order), Vec::<String>::new());
    let authority = command(&device, &line.hear_command().await).authority.unwrap();
    assert_eq!(authority.basis, "consent");
    assert_eq!(json!(authority.rests_on), given.json()["id"]);
    // It is for isolation, and for what undoes it.
    let other = json!({"device": device.id.to_string(), "kind": "contain", "rung": "east-west", "for_s": 600, "reason": "x"});
    let asked = centre.call("POST", "/api/v1/actions", &other).await.json();
    assert_eq!(asked["orders"][0]["needs"][0]["of"], "own_person");
    let release = json!({"device": device.id.to_string(), "kind": "release", "reason": "over"});
    let released = centre.call("POST", "/api/v1/actions", &release).await.json();
    assert_eq!(released["orders"][0]["needs"], json!([]));
    let page = lead.page("GET", "/consents", "").await.body;
    for part in ["Trust", "Test Trust", "isolate", "Holds", "Give consent"] {
        assert!(page.contains(part), "the page lacks {part}");
    }
    let id = given.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/consents/{id}");
    assert_eq!(chief.call("DELETE", &path, &json!({})).await.status, 403);
    assert_eq!(lead.call("DELETE", &path, &json!({})).await.status, 204);
    assert_eq!(lead.call("DELETE", &path, &json!({})).await.status, 404);
    assert_eq!(needs(&centre.isolate(&[&device]).await[0]), ["own_person"]);
    // One that expires ends by itself.
    assert_eq!(lead.call("POST", "/api/v1/consents", &wish(1, &["isolate"])).await.status, 201);
    assert_eq!(needs(&centre.isolate(&[&device]).await[0]), Vec::<String>::new());
    house.clock.advance(24 * 60 * 60 * 1000 + 1);
    let centre = Person::of(&house, &root, "Nat", Responder).await;
    assert_eq!(needs(&centre.isolate(&[&device]).await[0]), ["own_person"]);
}

#[tokio::test]
async fn one_action_undoes_each_containment() {
    let house = House::open().await;
    let root = house.hub.kernel().home().root().clone();
    let ann = Person::of(&house, &root, "Ann", Responder).await;
    let device = house.device().await;
    let id = device.id.to_string();
    // What the device has not begun is taken back.
    let order = ann.isolate(&[&device]).await.remove(0);
    let undone = ann.answer(&order["id"], "undo", json!({"reason": "over"})).await;
    assert_eq!((undone.status, undone.json()["orders"].clone()), (200, json!([])));
    assert_eq!(ann.action(&order["id"]).await["state"], "Cancelled");
    let mut line = device.connect(&house.hub).await;
    let key = crate::house::process(42, "/tmp/x").key;
    for (n, (wish, detail, undo)) in [
        (json!({"kind": "isolate", "for_s": 600}), "isolated", json!(["release", ""])),
        (json!({"kind": "contain", "rung": "east-west", "for_s": 600}), "done", json!(["lift", "east-west"])),
        (
            json!({"kind": "contain", "rung": format!("process/{key}"), "for_s": 600}),
            "done",
            json!(["lift", format!("process/{key}")]),
        ),
        (
            json!({"kind": "quarantine_file", "path": "/tmp/x"}),
            "/tmp/x (3 bytes) is in quarantine as 0123456789abcdef",
            json!(["restore_file", "0123456789abcdef"]),
        ),
        (json!({"kind": "kill_process", "process_key": key.to_string()}), "killed", Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        let mut order = wish;
        (order["device"], order["reason"]) = (json!(id), json!("spreading"));
        let given = ann.call("POST", "/api/v1/actions", &order).await.json();
        assert_eq!(given["orders"][0]["needs"], json!([]), "{given}");
        line.hear_command().await;
        let update = json!({"action_id": given["id"], "state": "Succeeded", "at": 1_000, "detail": detail});
        let body = update.to_string();
        let record = crate::house::record(wardline_wire::proto::RecordKind::ActionUpdate, body);
        line.store(wardline_wire::make_batch([9; 16], 1 + n as u64, vec![record])).await;
        let undone = ann.answer(&given["id"], "undo", json!({"reason": "over"})).await;
        if undo.is_null() {
            assert!(undone.status == 409 && undone.body.contains("cannot be undone"), "{}", undone.body);
            continue;
        }
        let shown = ann.action(&undone.json()["id"]).await;
        assert_eq!(json!([shown["kind"], shown["target"]]), undo);
        line.hear_command().await;
    }
}
