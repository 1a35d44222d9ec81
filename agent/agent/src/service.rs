//! What a service manager is told: ready, alive, how it goes (sd_notify(3), its protocol being datagrams of lines).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The manager, if there is one.
#[derive(Debug, Default)]
pub struct Service {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Service {
    /// Finds it in the variables `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`, as `variable` gives them.
    pub fn find(variable: impl Fn(&str) -> Option<String>) -> io::Result<Self> {
        let Some(path) = variable("NOTIFY_SOCKET") else { return Ok(Self::default()) };
        let address = match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&path)?,
        };
        let own = std::process::id().to_string();
        let watchdog =
            variable("WATCHDOG_USEC").and_then(|text| text.parse().ok()).map(Duration::from_micros);
        let ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == own);
        Ok(Self { to: Some((UnixDatagram::unbound()?, address)), watchdog: watchdog.filter(|_| ours) })
    }

    /// True if a manager watches over this process.
    pub fn is_managed(&self) -> bool {
        self.to.is_some()
    }

    /// How often it wants to hear that the process is alive, at the least; it is told twice as often.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.map(|interval| interval / 2)
    }

    /// Tells it; nobody there is fine.
    pub fn tell(&self, lines: &[&str]) {
        if let Some((socket, to)) = &self.to {
            let _ = socket.send_to_addr(lines.join("\n").as_bytes(), to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_hears_what_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let own = std::process::id().to_string();
        let variable = |pid: String| {
            let path = path.to_str().unwrap().to_owned();
            move |name: &str| match name {
                "NOTIFY_SOCKET" => Some(path.clone()),
                "WATCHDOG_USEC" => Some("30000000".to_owned()),
                "WATCHDOG_PID" => Some(pid.clone()),
                _ => None,
            }
        };
        let service = Service::find(variable(own)).unwrap();
        assert_eq!(service.watchdog(), Some(Duration::from_secs(15)));
        service.tell(&["READY=1", "STATUS=at work"]);
        let mut heard = [0; 100];
        let n = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..n], b"READY=1\nSTATUS=at work");
        assert_eq!(
            Service::find(variable("1".to_owned())).unwrap().watchdog(),
            None,
            "it is meant for another"
        );
        assert!(!Service::find(|_| None).unwrap().is_managed());
    }
}
