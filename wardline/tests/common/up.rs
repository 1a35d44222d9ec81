//! A part of Wardline that runs: `up`, `hub run` or `agent run`, with what it has said so far.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::http::Client;
use super::process::{Known, children, signal};
use super::{WARDLINE, until};

/// A running `wardline`. Dropped, it is ended.
pub struct Running {
    pub child: Child,
    said: Arc<Mutex<String>>,
    enter: Vec<String>,
}

fn listen(from: impl Read + Send + 'static, into: &Arc<Mutex<String>>) {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            // Captured by the test harness, shown when the test fails.
            let mut said = into.lock().unwrap();
            said.push_str(&line);
            said.push('\n');
        }
    });
}

impl Running {
    /// Starts `wardline` with these arguments, after the words in `enter` (how to get into a namespace).
    pub fn start(enter: &[String], args: &[&str]) -> Self {
        let mut words = enter.iter().map(String::as_str).chain([WARDLINE]).chain(args.iter().copied());
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::default();
        listen(child.stdout.take().unwrap(), &said);
        listen(child.stderr.take().unwrap(), &said);
        Self { child, said, enter: enter.to_vec() }
    }

    /// All that it has said.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said all these words in one line; gives the line.
    #[track_caller]
    pub fn says(&mut self, words: &[&str]) -> String {
        until(&format!("it says {words:?}"), || {
            let said = self.said();
            let line = said.lines().find(|l| words.iter().all(|w| l.contains(w))).map(str::to_owned);
            let ended = self.child.try_wait().unwrap();
            assert!(line.is_some() || ended.is_none(), "ended ({ended:?}) without saying {words:?}: {said}");
            line
        })
    }

    /// The word after `key` in a line.
    fn word(line: &str, key: &str) -> String {
        let rest = line.split_once(key).unwrap_or_else(|| panic!("no `{key}` in {line}")).1;
        rest.split_whitespace().next().unwrap().to_owned()
    }

    /// Ctrl-C for this process only; gives how it ended.
    #[track_caller]
    pub fn interrupt(&mut self) -> ExitStatus {
        signal(&self.child, Signal::INT);
        until("it ends after Ctrl-C", || self.child.try_wait().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Asked first: its parts write to their folders until they have ended.
        let deadline = Instant::now() + Duration::from_secs(15);
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(&self.child, Signal::INT);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        eprintln!("--- wardline said:\n{}", self.said());
    }
}

/// A hub on its own, on free ports.
pub struct Hub {
    pub running: Running,
    /// Where agents connect.
    pub agents: String,
    pub folder: PathBuf,
}

impl Hub {
    /// Starts one; `agents` is its address for agents.
    pub fn start(folder: &Path, agents: &str) -> Self {
        let path = folder.to_str().unwrap();
        let mut running =
            Running::start(&[], &["hub", "run", "--data", path, "--http", "127.0.0.1:0", "--agents", agents]);
        let line = running.says(&["agents connect to "]);
        running.says(&["the console is at "]);
        let agents = Running::word(&line, "agents connect to ");
        Self { running, agents, folder: folder.to_owned() }
    }

    /// A token for one device in monitor mode.
    pub fn token(&self) -> String {
        let said = super::wardline(&["hub", "token", "--data", self.folder.to_str().unwrap()]);
        said.succeeds().trim().to_owned()
    }

    /// A signed-in client.
    pub fn client(&mut self) -> Client {
        let base = Running::word(&self.running.says(&["the console is at "]), "the console is at ");
        let address = base.strip_prefix("http://").unwrap();
        let folder = self.folder.to_str().unwrap();
        let said = super::wardline(&["hub", "link", "--data", folder, "--http", address]);
        let path = said.succeeds().trim().strip_prefix(&base).unwrap().to_owned();
        let client = Client::new(&base, self.folder.join("test-cookies"), &[]);
        client.sign_in(&path);
        client
    }
}

/// A running `wardline up`, ready, with its one-time link.
pub struct Up {
    pub running: Running,
    /// `http://address:port`.
    pub base: String,
    /// Path of the one-time link.
    pub link: String,
    /// Where agents connect, `address:port`.
    pub agents: String,
    folder: PathBuf,
}

impl Up {
    /// Starts `up` on free ports; `enter` are the words before it.
    pub fn start(folder: &Path, enter: &[String], more: &[&str]) -> Self {
        let mut args = vec!["up", "--data", folder.to_str().unwrap(), "--http", "127.0.0.1:0"];
        args.extend(["--agents", "127.0.0.1:0"]);
        args.extend(more);
        let mut running = Running::start(enter, &args);
        let line = running.says(&["/signin/"]);
        let link = line.trim();
        let (base, path) = link.split_at(link.find("/signin/").unwrap());
        let (base, link) = (base.to_owned(), path.to_owned());
        running.says(&["Ctrl-C ends everything"]);
        let agents = Running::word(&running.says(&["the hub serves"]), "agents=");
        running.says(&["connected to the hub"]);
        Self { running, base, link, agents, folder: folder.to_owned() }
    }

    /// A client without a session.
    pub fn stranger(&self, name: &str) -> Client {
        Client::new(&self.base, self.folder.join(name), &self.running.enter)
    }

    /// A client that has signed in with the link.
    #[track_caller]
    pub fn client(&self) -> Client {
        let client = self.stranger("test-cookies");
        client.sign_in(&self.link);
        client
    }

    /// Its hub and its agent.
    #[track_caller]
    pub fn parts(&self) -> Vec<Known> {
        let parts = children(self.running.child.id());
        assert_eq!(parts.len(), 2, "a hub and an agent: {parts:?}");
        parts
    }

    /// Waits until these have ended by themselves.
    #[track_caller]
    pub fn have_ended(parts: &[Known]) {
        until("hub and agent end", || (!parts.iter().any(|p| p.lives())).then_some(()));
    }
}
