//! Live updates: what the bus says, as server-sent events.

use std::collections::BTreeSet;
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
use crate::scope::Scope;

/// Changes within this time become one event: a burst of findings redraws the list once.
const GATHER: Duration = Duration::from_millis(200);

/// A stream ends after this time; the browser connects again, and its session is looked at again.
const STREAM_LIFE: Duration = Duration::from_mins(10);

/// `GET /live`: for the console. Named events `findings`, `devices`, `actions`, each saying only that something
/// changed; the page then fetches what it shows.
pub fn console() -> Router<Kernel> {
    Router::new().route("/live", get(live))
}

/// `GET /api/v1/stream`: for programs. Every change as JSON.
pub fn api() -> OpenApiRouter<Kernel> {
    OpenApiRouter::new().routes(routes!(stream))
}

type Out = Result<Event, Infallible>;

/// Waits for a notice of this organisation. `Ok(None)`: some were missed.
async fn next(listener: &mut Receiver<Notice>, scope: &Scope) -> Result<Option<Topic>, ()> {
    loop {
        match listener.recv().await {
            Ok(notice) if notice.scope == *scope => return Ok(Some(notice.topic)),
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return Ok(None),
            Err(RecvError::Closed) => return Err(()),
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
    let mut listener = kernel.bus().listen();
    run(kernel, |sender| async move {
        // Tells the page that it is connected, so that it can show when it is not.
        sender.send(Ok(Event::default().event("connected").data("1"))).await.map_err(|_| ())?;
        loop {
            let mut names = BTreeSet::new();
            let mut note = |topic: Option<Topic>| match topic {
                Some(topic) => names.extend(topic.live_name()),
                None => names.extend(["findings", "devices", "actions"]),
            };
            note(next(&mut listener, &session.scope).await?);
            let gather = tokio::time::sleep(GATHER);
            tokio::pin!(gather);
            loop {
                tokio::select! {
                    () = &mut gather => break,
                    topic = next(&mut listener, &session.scope) => note(topic?),
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
    let mut listener = kernel.bus().listen();
    run(kernel, |sender| async move {
        sender.send(Ok(Event::default().comment("connected"))).await.map_err(|_| ())?;
        loop {
            let event = match next(&mut listener, &session.scope).await? {
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
