//! Where data lives.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

/// The folder given, or `wardline` in the user's data folder (XDG base directory specification).
pub fn folder(given: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.clone());
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    match absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|h| h.join(".local/share"))) {
        Some(base) => Ok(base.join("wardline")),
        None => bail!("no data folder: HOME is not set; name one with --data DIR"),
    }
}

/// The option that names the folder of a hub or an agent.
#[derive(Args)]
pub struct Folder {
    /// Where its data is [default: `hub` or `agent` below the user's data folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Folder {
    /// True if none was given.
    pub fn is_default(&self) -> bool {
        self.data.is_none()
    }

    /// The folder given, or the one of this part below the user's data folder.
    pub fn path(&self, part: &str) -> anyhow::Result<PathBuf> {
        match &self.data {
            Some(path) => Ok(path.clone()),
            None => Ok(folder(None)?.join(part)),
        }
    }
}

/// What this process writes from now on is for its user only, also in a folder that others may look into.
pub fn keep_private() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// 16 random bytes.
pub fn random() -> [u8; 16] {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).expect("the system's random source works");
    bytes
}

/// A runtime for a command that waits more than it works.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the async runtime")
}

/// Ends when the user asks to stop (Ctrl-C, SIGTERM) or, if `watch_stdin`, when whoever started this process has closed
/// its end of the pipe or died. It hears of that from now on, also while nobody waits for it; call it in a runtime.
pub fn stop_asked(watch_stdin: bool) -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("watching for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
    let (closed, mut stdin) = tokio::sync::mpsc::channel::<()>(1);
    let closed = if watch_stdin {
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            drop(closed);
        });
        None
    } else {
        Some(closed)
    };
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = stdin.recv() => {}
        }
        drop(closed);
    })
}
