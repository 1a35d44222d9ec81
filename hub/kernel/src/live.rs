//! Live updates: what the bus says, as server-sent events.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Session;
use crate::bus::{Notice, Topic};
use crate::error::Problem;
use crate::kernel::Kernel;
use crate::scope::{OrganisationId, Scope};
use crate::tree;

/// Changes within this time become one event: a burst of findings redraws the list once.
const GATHER: Duration = Duration::from_millis(200);

/// A stream ends after this time; the browser connects again, and its session is looked at again.
const STREAM_LIFE: Duration = Duration::from_mins(10);

/// `GET /live`: for the console. Named events `findings`, `devices`, `actions`, `organisations`, each saying only that something
/// changed; the page then fetches what it shows.
pub fn console() -> Router<Kernel> {
    Router::new().route("/live", get(live))
}

/// `GET /api/v1/stream`: for programs. Every change as JSON.
pub fn api() -> OpenApiRouter<Kernel> {
    OpenApiRouter::new().routes(routes!(stream))
}

type Out = Result<Event, Infallible>;

/// What one stream hears: the notices of the organisations within its scope.
struct Ear {
    kernel: Kernel,
    scope: Scope,
    receiver: Receiver<Notice>,
    /// Whether an organisation that was met lies within the scope; forgotten when the tree changes.
    met: HashMap<OrganisationId, bool>,
}

/// Organisations that a stream remembers at most.
const MOST_MET: usize = 10_000;

impl Ear {
    fn of(kernel: &Kernel, session: &Session) -> Self {
        let receiver = kernel.bus().listen();
        Self { kernel: kernel.clone(), scope: session.scope.clone(), receiver, met: HashMap::new() }
    }

    async fn is_ours(&mut self, organisation: &OrganisationId) -> bool {
        if let Some(ours) = self.met.get(organisation) {
            return *ours;
        }
        // A store that cannot answer lets nothing through; the next notice asks again.
        let Ok(ours) = tree::is_within(self.kernel.store().read(), &self.scope, organisation).await else {
            return false;
        };
        if self.met.len() >= MOST_MET {
            self.met.clear();
        }
        self.met.insert(organisation.clone(), ours);
        ours
    }

    /// Waits for a notice within the scope. `Ok(None)`: some were missed.
    async fn next(&mut self) -> Result<Option<Topic>, ()> {
        loop {
            match self.receiver.recv().await {
                Ok(notice) => {
                    if notice.topic == Topic::OrganisationsChanged {
                        self.met.clear();
                    }
                    if self.is_ours(&notice.organisation).await {
                        return Ok(Some(notice.topic));
                    }
                }
                Err(RecvError::Lagged(_)) => {
                    self.met.clear();
                    return Ok(None);
                }
                Err(RecvError::Closed) => return Err(()),
            }
        }
    }
}

fn run<F>(kernel: Kernel, work: impl FnOnce(mpsc::Sender<Out>) -> F) -> Sse<impl Stream<Item = Out>>
where
    F: Future<Output = Result<(), ()>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(16);
    let gone = sender.clone();
    let work = work(sender);
    tokio::spawn(async move {
        tokio::select! {
            _ = work => {}
            () = kernel.stopped() => {}
            () = gone.closed() => {}
            () = tokio::time::sleep(STREAM_LIFE) => {}
        }
    });
    Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::default())
}

async fn live(State(kernel): State<Kernel>, session: Session) -> Sse<impl Stream<Item = Out>> {
    let mut ear = Ear::of(&kernel, &session);
    run(kernel, |sender| async move {
        // Tells the page that it is connected, so that it can show when it is not.
        sender.send(Ok(Event::default().event("connected").data("1"))).await.map_err(|_| ())?;
        loop {
            let mut names = BTreeSet::new();
            let mut note = |topic: Option<Topic>| match topic {
                Some(topic) => names.extend(topic.live_name()),
                None => names.extend(["findings", "devices", "actions", "organisations"]),
            };
            note(ear.next().await?);
            let gather = tokio::time::sleep(GATHER);
            tokio::pin!(gather);
            loop {
                tokio::select! {
                    () = &mut gather => break,
                    topic = ear.next() => note(topic?),
                }
            }
            for name in names {
                sender.send(Ok(Event::default().event(name).data("changed"))).await.map_err(|_| ())?;
            }
        }
    })
}

/// Every change, as server-sent events: `event` is the topic, `data` its JSON. `missed` says that this client was
/// too slow and must read the lists again.
#[utoipa::path(get, path = "/api/v1/stream", tag = "hub",
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 401, body = Problem)))]
async fn stream(State(kernel): State<Kernel>, session: Session) -> Sse<impl Stream<Item = Out>> {
    let mut ear = Ear::of(&kernel, &session);
    run(kernel, |sender| async move {
        sender.send(Ok(Event::default().comment("connected"))).await.map_err(|_| ())?;
        loop {
            let event = match ear.next().await? {
                None => Event::default().event("missed").data("{}"),
                // What only the hub itself listens to.
                Some(topic) if topic.live_name().is_none() => continue,
                Some(topic) => {
                    let json = serde_json::to_value(&topic).map_err(|_| ())?;
                    let name = json.get("topic").and_then(|t| t.as_str()).unwrap_or("changed");
                    Event::default().event(name).data(json.to_string())
                }
            };
            sender.send(Ok(event)).await.map_err(|_| ())?;
        }
    })
}
