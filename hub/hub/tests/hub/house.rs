//! A hub in a temporary folder, and clients for both of its ports.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Status, Streaming};
use wardline_event::{
    ActionTaken, Body, BootId, DeviceId, Disposition, Event, EventId, Finding, Process, ProcessActivity,
    ProcessKey, ProcessOp, RuleRef, Severity, Technique, Timestamp, User, ocsf,
};
use wardline_hub::{HubConfig, RunningHub, TokenSpec, start};
use wardline_kernel::auth::make_link;
use wardline_kernel::{ManualClock, OrganisationId};
use wardline_policy::Role;
use wardline_wire::proto::agent_message::Body as FromAgent;
use wardline_wire::proto::hub_client::HubClient;
use wardline_wire::proto::hub_message::Body as FromHub;
use wardline_wire::proto::{
    AgentMessage, Batch, DeviceFacts, EnrolRequest, Heartbeat, Hello, HubMessage, Record, RecordKind,
    SignedCommand,
};
use wardline_wire::{CommandKey, HUB_TLS_NAME, PROTOCOL, make_batch};

/// Nothing in these tests takes this long; what does is lost.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// A hub with a clock that the test moves.
pub struct House {
    pub hub: RunningHub,
    pub clock: ManualClock,
    pub folder: TempDir,
}

pub fn real_now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64)
}

/// These tests are built twice: `hub_postgres` is this folder by another name.
pub fn on_postgres() -> bool {
    env!("CARGO_CRATE_NAME").ends_with("_postgres")
}

/// The database of a hub in this folder: a fresh one on a server, if this is that build and the folder knows none yet.
fn database(folder: &std::path::Path) -> Option<String> {
    (on_postgres() && !folder.join("database").exists()).then(crate::postgres::database)
}

pub fn config(folder: &std::path::Path, clock: &ManualClock) -> HubConfig {
    HubConfig {
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        agents: SocketAddr::from(([127, 0, 0, 1], 0)),
        organisation: "Test Trust".into(),
        clock: Arc::new(clock.clone()),
        database: database(folder),
        ..HubConfig::new(folder)
    }
}

impl House {
    pub async fn open() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(real_now()));
        let hub = start(config(folder.path(), &clock)).await.unwrap();
        Self { hub, clock, folder }
    }

    pub async fn token(&self, spec: &TokenSpec) -> String {
        self.hub.make_enrolment_token(spec).await.unwrap().secret_text()
    }

    /// Enrols a device with a fresh token.
    pub async fn device(&self) -> Device {
        let secret = self.token(&TokenSpec::default()).await;
        enrol(&self.hub, &secret, false).await.unwrap()
    }

    /// Counts rows.
    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.hub.kernel().store().read().everywhere()).await.unwrap()
    }

    /// An API token's `Authorization` header.
    pub async fn bearer(&self) -> String {
        let link = self.hub.make_link().await.unwrap();
        self.bearer_by(link.split_once(&self.hub.http_addr().to_string()).unwrap().1).await
    }

    /// A session's cookie, of a person with this role in this organisation.
    pub async fn session_as(&self, organisation: &OrganisationId, role: Role) -> String {
        let kernel = self.hub.kernel();
        let code = make_link(kernel.store(), organisation, "tester", role, kernel.now()).await.unwrap();
        let headers = [("sec-fetch-site", "same-origin")];
        let answer = http(self.hub.http_addr(), "POST", &format!("/signin/{code}"), &headers, "").await;
        answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    }

    async fn bearer_by(&self, path: &str) -> String {
        let answer = http(self.hub.http_addr(), "POST", path, &[("sec-fetch-site", "same-origin")], "").await;
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let body = r#"{"name": "test", "role": "administrator", "days": 1}"#;
        let headers = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
        let made = http(self.hub.http_addr(), "POST", "/api/v1/tokens/api", &headers, body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        format!("Bearer {}", made.json()["secret"].as_str().unwrap())
    }

    /// An API token's `Authorization` header, of a program of this organisation.
    pub async fn bearer_of(&self, organisation: &OrganisationId) -> String {
        let kernel = self.hub.kernel();
        let code = make_link(kernel.store(), organisation, "tester", Role::Administrator, kernel.now())
            .await
            .unwrap();
        self.bearer_by(&format!("/signin/{code}")).await
    }

    /// Calls the API as a program.
    pub async fn call(&self, bearer: &str, method: &str, path: &str, body: &str) -> Answer {
        http(self.hub.http_addr(), method, path, &[("authorization", bearer)], body).await
    }
}

/// An enrolled device's identity.
#[derive(Clone, Debug)]
pub struct Device {
    pub id: DeviceId,
    pub chain: Vec<Vec<u8>>,
    pub key: Vec<u8>,
    pub command_key: CommandKey,
    pub policy: SignedCommand,
}

pub fn csr(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
}

/// A client's TLS: trusts the hub's authority, shows `identity` (chain and key) if there is one.
fn connector(hub: &RunningHub, identity: Option<(&[Vec<u8>], &[u8])>) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(hub.kernel().keys().authority().to_vec())).unwrap();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = chain.iter().cloned().map(CertificateDer::from).collect();
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec()));
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

async fn secure(connector: TlsConnector, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    connector.connect(ServerName::try_from(HUB_TLS_NAME).unwrap(), tcp).await
}

/// Whether the hub's certificate is accepted as one of this name or address.
pub async fn answers_to(hub: &RunningHub, name: &'static str) -> bool {
    let tcp = TcpStream::connect(hub.agents_addr()).await.unwrap();
    connector(hub, None).connect(ServerName::try_from(name).unwrap(), tcp).await.is_ok()
}

/// A connection to the agent port, without a certificate and without gRPC.
pub async fn stranger(hub: &RunningHub) -> TlsStream<TcpStream> {
    secure(connector(hub, None), hub.agents_addr()).await.unwrap()
}

/// A channel to the agent port.
pub async fn channel(
    hub: &RunningHub,
    identity: Option<(&[Vec<u8>], &[u8])>,
) -> Result<Channel, tonic::transport::Error> {
    let (connector, address) = (connector(hub, identity), hub.agents_addr());
    let dial = tower::service_fn(move |_: Uri| {
        let connector = connector.clone();
        async move { Ok::<_, std::io::Error>(TokioIo::new(secure(connector, address).await?)) }
    });
    Endpoint::from_static("http://hub").connect_with_connector(dial).await
}

/// Enrols as an agent does.
pub async fn enrol(hub: &RunningHub, secret: &str, simulated: bool) -> Result<Device, Status> {
    let key = KeyPair::generate().unwrap();
    let request = EnrolRequest {
        secret: secret.to_owned(),
        csr_der: csr(&key),
        facts: Some(DeviceFacts {
            hostname: "ward-pc-1".into(),
            os: "Debian GNU/Linux 12 (bookworm)".into(),
            simulated,
            ..DeviceFacts::default()
        }),
    };
    let reply = HubClient::new(channel(hub, None).await.unwrap()).enrol(request).await?.into_inner();
    Ok(Device {
        id: DeviceId::from_bytes(reply.device_id.try_into().unwrap()),
        chain: reply.certificate_chain,
        key: key.serialize_der(),
        command_key: CommandKey(reply.command_key.try_into().unwrap()),
        policy: reply.policy.unwrap(),
    })
}

/// An agent's side of a conversation.
pub struct Line {
    pub up: mpsc::Sender<AgentMessage>,
    pub down: Streaming<HubMessage>,
}

impl Device {
    pub fn identity(&self) -> (&[Vec<u8>], &[u8]) {
        (&self.chain, &self.key)
    }

    /// Opens a conversation and says nothing yet.
    pub async fn dial(&self, hub: &RunningHub) -> Result<Line, Status> {
        let channel =
            channel(hub, Some(self.identity())).await.map_err(|e| Status::unknown(format!("{e:?}")))?;
        let (up, messages) = mpsc::channel(16);
        let down = HubClient::new(channel).connect(ReceiverStream::new(messages)).await?.into_inner();
        Ok(Line { up, down })
    }

    /// Connects as an agent that has the policy of its enrolment.
    pub async fn connect(&self, hub: &RunningHub) -> Line {
        let mut line = self.dial(hub).await.unwrap();
        line.say(FromAgent::Hello(self.hello(PROTOCOL))).await;
        let welcome = line.hear().await.unwrap();
        assert!(matches!(welcome, FromHub::Welcome(_)), "{welcome:?}");
        line
    }

    pub fn hello(&self, protocol: u32) -> Hello {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.policy.command);
        Hello {
            protocol,
            facts: Some(DeviceFacts { hostname: "ward-pc-1".into(), ..DeviceFacts::default() }),
            boot_id: vec![7; 16],
            policy_digest: digest.as_ref().to_vec(),
            command_key: self.command_key.0.to_vec(),
        }
    }
}

impl Line {
    pub async fn say(&self, body: FromAgent) {
        self.up.send(AgentMessage { body: Some(body) }).await.unwrap();
    }

    pub async fn hear(&mut self) -> Result<FromHub, Status> {
        let message = tokio::time::timeout(DEADLINE, self.down.message()).await.expect("the hub answers")?;
        Ok(message.expect("the hub does not hang up").body.unwrap())
    }

    /// Sends a batch and gives what it is acknowledged up to.
    pub async fn store(&mut self, batch: Batch) -> u64 {
        self.say(FromAgent::Batch(batch)).await;
        match self.hear().await.unwrap() {
            FromHub::Ack(ack) => ack.up_to_seq,
            other => panic!("{other:?} instead of an acknowledgement"),
        }
    }

    pub async fn hear_command(&mut self) -> SignedCommand {
        match self.hear().await.unwrap() {
            FromHub::Command(command) => command,
            other => panic!("{other:?} instead of a command"),
        }
    }

    pub async fn beat(&self, beat: Heartbeat) {
        self.say(FromAgent::Heartbeat(beat)).await;
    }
}

pub fn process(pid: u32, image: &str) -> Process {
    Process {
        key: ProcessKey { boot: BootId(1), start_ticks: u64::from(pid), pid },
        image: image.into(),
        command_line: format!("{image} -x"),
        user: User { uid: "0".into(), name: "root".into() },
        started: Timestamp(i64::from(pid)),
        ..Process::default()
    }
}

pub fn event(id: u128, pid: u32, parent: u32) -> Event {
    Event {
        id: EventId(id),
        time: Timestamp(1_000 + i64::from(pid)),
        product: "linux".into(),
        simulated: false,
        body: Body::Process(ProcessActivity {
            op: ProcessOp::Exec,
            process: process(pid, &format!("/bin/p{pid}")),
            parent: Some(process(parent, &format!("/bin/p{parent}"))),
            exit_code: None,
            launch: None,
        }),
    }
}

pub fn finding(id: u128, pid: u32) -> Finding {
    Finding {
        id: EventId(id),
        time: Timestamp(1_000 + i64::from(pid)),
        simulated: false,
        severity: Severity::High,
        rule: RuleRef {
            id: "2f1e".into(),
            title: "A shell of a web server".into(),
            description: "…".into(),
            source: "title: …".into(),
        },
        techniques: vec![Technique("T1059.004".into())],
        matched: Vec::new(),
        event: event(id + 1000, pid, pid - 1),
        ancestors: vec![process(pid - 1, "/usr/sbin/nginx")],
        action: ActionTaken {
            disposition: Disposition::Recorded,
            action: String::new(),
            by: "rule".into(),
            detail: String::new(),
            decided_after_us: 10,
            done_after_us: None,
        },
    }
}

pub fn record(kind: RecordKind, body: impl AsRef<str>) -> Record {
    Record { kind: kind.into(), body: body.as_ref().as_bytes().to_vec() }
}

pub fn event_record(id: u128, pid: u32, parent: u32) -> Record {
    record(RecordKind::Event, ocsf::event_to_json(&event(id, pid, parent)).to_string())
}

/// A batch of events `first..first + n` of spool 9; event `i` is of process `i + 10`, child of `i + 9`.
pub fn events(first: u64, n: u64) -> Batch {
    let records = (first..first + n).map(|i| event_record(u128::from(i), i as u32 + 10, i as u32 + 9));
    make_batch([9; 16], first, records.collect())
}

/// What the HTTP port answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// One request over a connection of its own.
pub async fn http(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut request =
        format!("{method} {path} HTTP/1.0\r\nhost: {address}\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request.push_str("content-type: application/json\r\n");
    }
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n").unwrap();
    }
    request.push_str("\r\n");
    request.push_str(body);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("an answer").unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Answer { status, headers, body: body.to_owned() }
}

/// Looks until it is so.
pub async fn until<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    let end = tokio::time::Instant::now() + DEADLINE;
    while !look().await {
        assert!(tokio::time::Instant::now() < end, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
