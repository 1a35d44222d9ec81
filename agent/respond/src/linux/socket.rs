//! The netlink socket to the kernel's packet filter, and the two ways of talking over it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::netlink::{DONE, Malformed, Message, Writer, messages};
use crate::measure::ContainError;

/// How long to wait for an answer. The kernel answers before the send returns; this only bounds a fault.
const ANSWER: Duration = Duration::from_secs(2);
/// The most datagrams to read for one answer.
const MOST_DATAGRAMS: usize = 256;
/// `ENOENT`.
const NOT_THERE: i32 = 2;

/// Carries datagrams to the kernel and back.
pub trait Wire {
    /// Sends one.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Receives one, whole.
    fn receive(&mut self) -> io::Result<Vec<u8>>;
}

/// The real one.
pub struct Kernel {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Kernel {
    /// Opens a socket in the network namespace of this thread.
    pub fn open() -> Result<Self, ContainError> {
        let doing = "opening a netlink socket";
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::NETFILTER),
        )
        .map_err(|e| classify(doing, e.raw_os_error()))?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 0))
            .map_err(|e| classify(doing, e.raw_os_error()))?;
        Ok(Self { fd, buffer: vec![0; 64 * 1024] })
    }
}

impl Wire for Kernel {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let to_kernel = SocketAddrNetlink::new(0, 0);
        let sent = rustix::net::sendto(&self.fd, bytes, SendFlags::empty(), &to_kernel)?;
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        for _ in 0..MOST_DATAGRAMS {
            let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
            let wait = Timespec { tv_sec: ANSWER.as_secs() as i64, tv_nsec: 0 };
            if rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&wait)))? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            // TRUNC makes the length the true one, so that a cut datagram is noticed.
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            let (_, length, from) = rustix::net::recvfrom(&self.fd, &mut self.buffer[..], flags)?;
            // Other programs may send to this socket too. Only the kernel's port is 0.
            let from_kernel =
                from.and_then(|a| SocketAddrNetlink::try_from(a).ok()).is_some_and(|a| a.pid() == 0);
            if !from_kernel {
                continue;
            }
            return match self.buffer.get(..length) {
                Some(datagram) => Ok(datagram.to_vec()),
                None => Err(io::Error::new(io::ErrorKind::InvalidData, "a datagram longer than 64 KiB")),
            };
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "datagrams that are not the kernel's"))
    }
}

/// Sends a batch, the message `acknowledged` of which asks for an acknowledgement, and waits for that or for the
/// first error. On an error the kernel has undone the whole batch.
pub fn commit(
    wire: &mut dyn Wire,
    batch: &Writer,
    acknowledged: u32,
    doing: &'static str,
) -> Result<(), ContainError> {
    exchange(wire, batch, doing, |message, error| match error {
        Some(0) if message.sequence == acknowledged => Ok(Some(())),
        Some(0) | None => Ok(None),
        Some(number) => Err(classify(doing, number)),
    })
}

/// Asks for one object, and hands the attributes of the answer to `read`; none if there is no such object.
pub fn query<T>(
    wire: &mut dyn Wire,
    request: &Writer,
    doing: &'static str,
    read: impl Fn(&Message<'_>) -> Result<T, Malformed>,
) -> Result<Option<T>, ContainError> {
    exchange(wire, request, doing, |message, error| match error {
        Some(NOT_THERE) => Ok(Some(None)),
        Some(0) => Ok(None),
        Some(number) => Err(classify(doing, number)),
        None if message.sequence == request.sequence() => {
            read(message).map(|t| Some(Some(t))).map_err(|e| malformed(doing, e))
        }
        None => Ok(None),
    })
}

/// Asks for all objects of a kind, and hands the attributes of each to `read`; none if what they belong to is not there.
pub fn dump<T>(
    wire: &mut dyn Wire,
    request: &Writer,
    doing: &'static str,
    read: impl Fn(&Message<'_>) -> Result<T, Malformed>,
) -> Result<Vec<T>, ContainError> {
    let mut found = Vec::new();
    exchange(wire, request, doing, |message, error| match error {
        Some(NOT_THERE) => Ok(Some(())),
        Some(0) => Ok(None),
        Some(number) => Err(classify(doing, number)),
        None if message.sequence != request.sequence() => Ok(None),
        None if message.kind == DONE => Ok(Some(())),
        None => {
            found.push(read(message).map_err(|e| malformed(doing, e))?);
            Ok(None)
        }
    })?;
    Ok(found)
}

/// Sends, and offers every message that comes back, with its error number if it is one, until `judge` is content.
fn exchange<T>(
    wire: &mut dyn Wire,
    request: &Writer,
    doing: &'static str,
    mut judge: impl FnMut(&Message<'_>, Option<i32>) -> Result<Option<T>, ContainError>,
) -> Result<T, ContainError> {
    let os = |e: io::Error| match e.raw_os_error() {
        Some(number) => classify(doing, number),
        None => ContainError::Os { doing, source: e },
    };
    wire.send(request.bytes()).map_err(os)?;
    for _ in 0..MOST_DATAGRAMS {
        let datagram = wire.receive().map_err(os)?;
        for message in messages(&datagram) {
            let message = message.map_err(|e| malformed(doing, e))?;
            // An answer to something else than we asked.
            if message.sequence == 0 || message.sequence > request.sequence() {
                continue;
            }
            let error = message.error().transpose().map_err(|e| malformed(doing, e))?;
            if let Some(answer) = judge(&message, error)? {
                return Ok(answer);
            }
        }
    }
    Err(ContainError::Answer { doing, what: "it never ends" })
}

fn malformed(doing: &'static str, error: Malformed) -> ContainError {
    let what = match error {
        Malformed::Short => "it is cut short",
        Malformed::Length => "it claims an impossible length",
    };
    ContainError::Answer { doing, what }
}

/// What a person can do about an error number of the kernel.
fn classify(doing: &'static str, number: i32) -> ContainError {
    use rustix::io::Errno;
    // Compared as numbers: an `Errno` made of a number that is none panics, and the number comes from outside.
    let is = |known: &[Errno]| known.iter().any(|e| e.raw_os_error() == number);
    if is(&[Errno::PERM, Errno::ACCESS]) {
        ContainError::NotPermitted
    } else if is(&[Errno::OPNOTSUPP, Errno::AFNOSUPPORT, Errno::PROTONOSUPPORT, Errno::CONNREFUSED]) {
        ContainError::NoNfTables
    } else {
        ContainError::Os { doing, source: io::Error::from_raw_os_error(number) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Answers with prepared datagrams, the last one for ever.
    struct Script(Vec<Vec<u8>>, usize);

    impl Wire for Script {
        fn send(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }

        fn receive(&mut self) -> io::Result<Vec<u8>> {
            self.1 += 1;
            Ok(self.0[(self.1 - 1).min(self.0.len() - 1)].clone())
        }
    }

    fn request() -> Writer {
        let mut w = Writer::default();
        for _ in 0..3 {
            w.message(0xa00, 0, 1, 0, |_| {});
        }
        w
    }

    fn answer(sequence: u32, kind: u16, body: &[u8]) -> Vec<u8> {
        let mut m = (16 + body.len() as u32).to_ne_bytes().to_vec();
        m.extend(kind.to_ne_bytes());
        m.extend([0; 2]);
        m.extend(sequence.to_ne_bytes());
        m.extend([0; 4]);
        m.extend(body);
        m
    }

    fn try_commit(answers: Vec<Vec<u8>>) -> Result<(), ContainError> {
        commit(&mut Script(answers, 0), &request(), 2, "testing")
    }

    #[test]
    fn a_batch_ends_with_its_acknowledgement_or_its_first_error() {
        let error = |sequence, number: i32| answer(sequence, 2, &(-number).to_ne_bytes());
        try_commit(vec![error(2, 0)]).unwrap();
        try_commit(vec![error(1, 0), error(99, 1), [answer(1, 3, &[]), error(2, 0)].concat()]).unwrap();
        let said = |a| try_commit(a).unwrap_err().to_string();
        assert!(said(vec![error(1, 1), error(2, 0)]).contains("CAP_NET_ADMIN"));
        assert!(said(vec![error(1, 95)]).contains("no nf_tables"));
        assert_eq!(said(vec![error(3, 22)]), "testing failed");
        assert!(
            said(vec![error(1, 0)]).contains("never ends"),
            "an acknowledgement of something else, for ever"
        );
        assert!(said(vec![vec![]]).contains("never ends"));
        assert!(said(vec![answer(2, 2, &[0, 0])]).contains("cut short"));
        assert!(said(vec![vec![0; 16]]).contains("impossible length"));
        assert!(said(vec![error(2, 0)[..18].to_vec()]).contains("cut short"));
        // The most negative number has no positive.
        assert!(try_commit(vec![answer(2, 2, &i32::MIN.to_ne_bytes())]).is_err());
    }

    proptest! {
        #[test]
        fn hostile_answers_end(answers in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 1..5)) {
            let _ = try_commit(answers.clone());
            let _ = query(&mut Script(answers, 0), &request(), "testing", |m| m.attributes().try_for_each(|a| a.map(|_| ())));
        }
    }
}
