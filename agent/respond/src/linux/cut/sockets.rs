//! The sockets that a process holds.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};

/// How long an accept may wait that somebody else was faster at. Without it, that would be for ever.
const ACCEPT: Duration = Duration::from_millis(1);
/// The most connections of one queue that are looked at.
const MOST_WAITING: usize = 8192;

/// What was found in a process.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The kernel's numbers for its sockets of IPv4 and IPv6.
    pub cookies: Vec<u64>,
    /// Connections taken from the queues of its listening sockets, where nobody holds them yet: they must be closed
    /// only once their cookies are in the list.
    pub waiting: Vec<OwnedFd>,
    /// Sockets that could not be looked at.
    pub unread: usize,
}

/// Looks at every file that the process behind `pidfd` has open. `drain` also empties its listening sockets' queues: the
/// process must stand still, or would miss what it was just told about.
pub(super) fn of(pid: u32, pidfd: BorrowedFd<'_>, drain: bool) -> Found {
    let mut found = Found::default();
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    for file in files {
        let is_socket = fs::read_link(file.path())
            .is_ok_and(|to| to.as_os_str().to_string_lossy().starts_with("socket:["));
        let Some(number) = file.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        if !is_socket {
            continue;
        }
        match pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty()) {
            Ok(socket) => look(&socket, drain, &mut found),
            // Closed meanwhile, or the process has ended.
            Err(Errno::BADF | Errno::SRCH) => {}
            Err(_) => found.unread += 1,
        }
    }
    found
}

fn look(socket: &OwnedFd, drain: bool, found: &mut Found) {
    let internet = sockopt::socket_domain(socket)
        .is_ok_and(|family| matches!(family, AddressFamily::INET | AddressFamily::INET6));
    if !internet {
        return;
    }
    match sockopt::socket_cookie(socket) {
        Ok(cookie) => found.cookies.push(cookie),
        Err(_) => found.unread += 1,
    }
    let listens = sockopt::socket_acceptconn(socket).unwrap_or(false)
        && sockopt::socket_type(socket) == Ok(SocketType::STREAM);
    if listens && drain {
        empty_queue(socket, found);
    }
}

/// Takes the connections that wait to be accepted. They are sockets of their own, which nobody holds.
fn empty_queue(listener: &OwnedFd, found: &mut Found) {
    let Ok(before) = sockopt::socket_timeout(listener, sockopt::Timeout::Recv) else { return };
    // The socket is the process' own: its blocking mode must not change, which others who share it would see.
    if sockopt::set_socket_timeout(listener, sockopt::Timeout::Recv, Some(ACCEPT)).is_err() {
        return;
    }
    for _ in 0..MOST_WAITING {
        let mut fds = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if !matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(n) if n > 0) {
            break;
        }
        let Ok(waiting) = rustix::net::accept_with(listener, SocketFlags::CLOEXEC) else { break };
        found.cookies.extend(sockopt::socket_cookie(&waiting));
        found.waiting.push(waiting);
    }
    let _ = sockopt::set_socket_timeout(listener, sockopt::Timeout::Recv, before);
}
