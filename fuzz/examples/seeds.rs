//! Writes the seeds whose formats are binary: `cargo run -p wardline-fuzz --example seeds`.
#![allow(clippy::unwrap_used, reason = "a tool for developers stops where it fails")]

use std::fs;
use std::path::Path;

use prost::Message;
use wardline_agent::link::{Enrolled, ToCourier, ToGuard, VERSION};
use wardline_agent::outbox::Lane;
use wardline_agent::spool::Spool;
use wardline_event::DeviceId;
use wardline_fuzz::classes_seed;
use wardline_wire::make_batch;
use wardline_wire::proto::command::Kind;
use wardline_wire::proto::{
    AgentMessage, Batch, Command, Isolate, KillProcess, Record, RecordKind, Release, SetPolicy,
    SignedCommand, agent_message,
};

fn main() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let put = |path: &str, bytes: &[u8]| fs::write(corpus.join(path), bytes).unwrap();

    let body = |path: &str| fs::read(corpus.join(path)).unwrap();
    let record = |kind: RecordKind, body| Record { kind: kind.into(), body };
    let batch = make_batch(
        [9; 16],
        1,
        vec![
            record(RecordKind::Event, body("ocsf/exec.json")),
            record(RecordKind::ActionUpdate, body("action_update/succeeded.json")),
        ],
    );
    put("wire_batch/whole", &batch.encode_to_vec());
    put("wire_batch/cut_short", &Batch { count: 3, ..batch.clone() }.encode_to_vec());
    let message = AgentMessage { body: Some(agent_message::Body::Batch(batch)) };
    put("wire_batch/message", &message.encode_to_vec());
    let last = make_batch([9; 16], i64::MAX as u64, vec![record(RecordKind::Unspecified, Vec::new())]);
    put("wire_batch/last_number", &last.encode_to_vec());

    let key = "3f0c9b526f0e4b7e9d1f0a2b3c4d5e6f-1a2b-4242".to_owned();
    let policy = body("policy/default.json");
    let kinds = [
        ("kill", Kind::KillProcess(KillProcess { process_key: key })),
        ("isolate", Kind::Isolate(Isolate { for_s: 3600 })),
        ("release", Kind::Release(Release {})),
        ("policy", Kind::SetPolicy(SetPolicy { policy_json: policy })),
    ];
    for (name, kind) in kinds {
        let command = Command {
            action_id: "a1".into(),
            // The device and the clock of the target `command`.
            device_id: DeviceId(77).0.to_be_bytes().to_vec(),
            issued_ms: 999_999_990,
            expires_ms: if name == "policy" { 0 } else { 1_000_060_000 },
            requested_by: "analyst".into(),
            reason: "test".into(),
            kind: Some(kind),
            authority: None,
        };
        put(&format!("command/{name}"), &command.encode_to_vec());
    }

    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(folder.path(), 1 << 20, [9; 16]).unwrap();
    for (kind, body) in [(1, &b"first"[..]), (2, b""), (3, &[0xFF; 40])] {
        spool.append(kind, body).unwrap();
    }
    spool.sync().unwrap();
    let segment = fs::read(folder.path().join("0000000000000001.seg")).unwrap();
    put("spool/whole", &segment);
    put("spool/two", &[&segment[..], &segment].concat());
    put("spool/torn", &segment[..segment.len() - 7]);
    put("spool/older_torn", &[&segment[..segment.len() - 7], &segment].concat());
    let mut damaged = segment.clone();
    damaged[20] ^= 1;
    put("spool/damaged", &damaged);
    put("spool/empty", b"WLSPOOL1");
    put("sigma_classes/whole", &classes_seed());

    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03org\0\0\x01\0\x01";
    put("dns/question", question);
    let mut answer = question.to_vec();
    answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 4]);
    let records: [(u8, &[u8]); 4] =
        [(5, b"\x03cdn\xc0\x10"), (1, &[192, 0, 2, 7]), (16, b"\x04text"), (15, b"\0\x0a\x04mail\xc0\x10")];
    for (kind, data) in records {
        answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 1, 44, 0, data.len() as u8]);
        answer.extend(data);
    }
    put("dns/answer", &answer);
    put("dns/cut", &answer[..answer.len() - 3]);

    let signed = SignedCommand { command: vec![1, 2, 3], signature: vec![4; 64] };
    let words = [
        ToGuard::Hello { version: VERSION, unconfined: "no Landlock".into() },
        ToGuard::Beat,
        ToGuard::Read { lane: Lane::Telemetry, from: 7 },
        ToGuard::Ack { spool: [9; 16], up_to: 7 },
        ToGuard::Command(signed.clone()),
        ToGuard::Hubs(vec!["10.0.0.1:8701".parse().unwrap(), "[fd00::1]:8701".parse().unwrap()]),
        ToGuard::Certificate { key_der: vec![1; 9], certificate_der: vec![2; 9] },
        ToGuard::Connected(true),
        ToGuard::NotEnrolled("no".into()),
    ];
    put("link/conversation", &words.iter().flat_map(ToGuard::encode).collect::<Vec<u8>>());
    let enrolled = Enrolled {
        device: DeviceId(77),
        command_key: [3; 32],
        key_der: vec![1; 9],
        certificate_der: vec![2; 9],
        authority_der: vec![3; 9],
        policy: signed,
    };
    put("link/enrolled", &ToGuard::Enrolled(Box::new(enrolled)).encode());
    put("link/to_courier", &ToCourier::Stored(true).encode()[4..]);
    put("link/longest", &[0xff; 4]);
}
