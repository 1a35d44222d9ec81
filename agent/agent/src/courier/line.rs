//! The courier's end of the line to the guard.

use std::io;
use std::os::unix::net::UnixStream as StdStream;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};

use crate::link::{Frames, MOST_TO_COURIER, ToCourier, ToGuard};

/// What became of the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is there.
    Alive,
    /// It said that the agent stops.
    Stop,
    /// It is gone, and did not say that it would.
    Gone,
}

/// The line. What the guard says is read at once, so that its fate is known however busy the courier is.
pub struct Line {
    to_guard: OwnedWriteHalf,
    from_guard: mpsc::UnboundedReceiver<ToCourier>,
    fate: watch::Receiver<Fate>,
}

impl Line {
    /// Takes up the line; needs a runtime.
    pub fn new(socket: StdStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (reader, to_guard) = UnixStream::from_std(socket)?.into_split();
        // Its length is bounded by what this side asks for.
        let (heard, from_guard) = mpsc::unbounded_channel();
        let (tell, fate) = watch::channel(Fate::Alive);
        tokio::spawn(async move {
            let fate = listen(reader, &heard).await;
            let _ = tell.send(fate);
        });
        Ok(Self { to_guard, from_guard, fate })
    }

    /// Says something. A guard that is gone is known by its [`Fate`].
    pub async fn say(&mut self, message: ToGuard) {
        let _ = self.to_guard.write_all(&message.encode()).await;
    }

    /// The next word; `None` once there will be none.
    pub async fn hear(&mut self) -> Option<ToCourier> {
        self.from_guard.recv().await
    }

    /// To watch what becomes of the guard.
    pub fn fate(&self) -> watch::Receiver<Fate> {
        self.fate.clone()
    }
}

async fn listen(mut reader: OwnedReadHalf, heard: &mpsc::UnboundedSender<ToCourier>) -> Fate {
    let (mut frames, mut buffer) = (Frames::new(MOST_TO_COURIER), vec![0; 64 << 10]);
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => return Fate::Gone,
            Ok(n) => frames.push(&buffer[..n]),
        }
        loop {
            match frames.cut().map(|frame| frame.map(ToCourier::decode)) {
                Ok(None) => break,
                Ok(Some(Ok(ToCourier::Stop))) => return Fate::Stop,
                Ok(Some(Ok(message))) => {
                    if heard.send(message).is_err() {
                        return Fate::Stop;
                    }
                }
                // Whoever speaks so is not the guard of this build.
                Ok(Some(Err(_))) | Err(_) => return Fate::Gone,
            }
        }
    }
}
