//! The fall-back: the kernel's process connector tells who forked, executed and ended; `/proc` tells the rest.
//!
//! The connector carries pids only, so what a process is must be read from `/proc` before it is gone. For short-lived
//! ones that often fails: their details stay empty, and how many is part of the sensor's status.
//!
//! The messages are those of the kernel's <linux/netlink.h>, <linux/connector.h> and <linux/cn_proc.h>.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink, recvfrom, send, socket_with,
    sockopt,
};
use wardline_event::{
    Process, ProcessActivity, ProcessKey, ProcessOp, SensorKind, SensorState, SensorStatus,
};
use wardline_sense::{Sensed, Sensor, SensorError};

use crate::context::{Context, Refused, SharedTable, chain, check_pid_namespace, off};
use crate::procfs::{Details, Stat};

/// Index and value of the process connector, and the operation that subscribes.
const CN_IDX_PROC: u32 = 1;
const CN_VAL_PROC: u32 = 1;
const PROC_CN_MCAST_LISTEN: u32 = 1;
/// `struct nlmsghdr`, `struct cn_msg`, and `struct proc_event` before its data.
const NLMSG: usize = 16;
const CN_MSG: usize = 20;
const PROC_EVENT: usize = 16;
const NLMSG_DONE: u16 = 3;
/// How long the kernel may take to answer the subscription.
const ANSWER: Duration = Duration::from_secs(2);
/// Messages handed over before `poll` returns.
const BATCH: usize = 256;

/// One message, as far as it is of interest.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Message {
    /// Counted per CPU by the kernel: a gap is a loss.
    sequence: u32,
    ack: u32,
    cpu: u32,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    monotonic_ns: u64,
    what: What,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum What {
    /// The answer to a subscription: 0 or an error number.
    Answer(u32),
    Fork {
        parent: u32,
        child_pid: u32,
        child: u32,
    },
    Exec {
        process: u32,
    },
    Exit {
        pid: u32,
        process: u32,
        status: i32,
    },
    /// Changes of user, session, name and so on.
    Other,
}

/// Decodes one netlink datagram; `None` if it is not a process event.
fn decode(bytes: &[u8]) -> Option<Message> {
    let u16_at = |at: usize| bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes);
    let u32_at = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let length = u32_at(0)? as usize;
    let proc_connector = u32_at(NLMSG)? == CN_IDX_PROC && u32_at(NLMSG + 4)? == CN_VAL_PROC;
    if length > bytes.len() || u16_at(4)? != NLMSG_DONE || !proc_connector {
        return None;
    }
    let event = NLMSG + CN_MSG;
    let data = |index: usize| u32_at(event + PROC_EVENT + 4 * index);
    let what = match u32_at(event)? {
        0 => What::Answer(data(0)?),
        // parent pid, parent tgid, child pid, child tgid
        0x1 => What::Fork { parent: data(1)?, child_pid: data(2)?, child: data(3)? },
        0x2 => What::Exec { process: data(1)? },
        0x8000_0000 => What::Exit { pid: data(0)?, process: data(1)?, status: data(2)?.cast_signed() },
        _ => What::Other,
    };
    let low = u64::from(u32_at(event + 8)?);
    let high = u64::from(u32_at(event + 12)?);
    let monotonic_ns = if cfg!(target_endian = "little") { high << 32 | low } else { low << 32 | high };
    let (sequence, ack, cpu) = (u32_at(NLMSG + 8)?, u32_at(NLMSG + 12)?, u32_at(event + 4)?);
    Some(Message { sequence, ack, cpu, monotonic_ns, what })
}

/// Notices lost messages by the kernel's numbers.
#[derive(Default)]
struct Sequences(HashMap<u32, u32>);

impl Sequences {
    /// How many messages of this CPU are missing before this one.
    fn missing(&mut self, message: &Message) -> u64 {
        // Old kernels answer subscriptions outside of the count.
        if message.cpu == u32::MAX {
            return 0;
        }
        match self.0.insert(message.cpu, message.sequence) {
            Some(last) => {
                let gap = message.sequence.wrapping_sub(last).wrapping_sub(1);
                // Half of all numbers ahead is behind: a message out of order is no loss.
                if gap < u32::MAX / 2 { u64::from(gap) } else { 0 }
            }
            None => 0,
        }
    }
}

/// The live sensor.
pub struct ConnectorSensor {
    socket: OwnedFd,
    context: Context,
    sequences: Sequences,
    delivered: u64,
    lost: u64,
    execs: u64,
    incomplete: u64,
    /// Processes whose first thread ended while others run on, with its wait status.
    leaderless: Vec<(ProcessKey, i32)>,
    /// Why nothing better is live.
    instead_of: String,
    /// Why it does not work any more.
    failed: Option<String>,
}

impl ConnectorSensor {
    /// Subscribes. `buffer_bytes` is what the socket may hold; `instead_of` says why nothing better is live, for the
    /// status.
    pub fn open(buffer_bytes: u32, table: SharedTable, instead_of: String) -> Result<Self, Refused> {
        check_pid_namespace()?;
        let context = Context::new(table).map_err(|e| Refused(chain(&e)))?;
        let socket = subscribe(buffer_bytes as usize).map_err(|(doing, error)| {
            Refused(format!(
                "{doing} failed ({error}): the process connector needs CAP_NET_ADMIN, the host's own network \
                 namespace, and a kernel with CONFIG_PROC_EVENTS"
            ))
        })?;
        Ok(Self {
            socket,
            context,
            sequences: Sequences::default(),
            delivered: 0,
            lost: 0,
            execs: 0,
            incomplete: 0,
            leaderless: Vec::new(),
            instead_of,
            failed: None,
        })
    }

    fn handle(&mut self, message: &Message, sink: &mut dyn FnMut(Sensed)) {
        let boot_ns = self.context.boot_ns(message.monotonic_ns);
        match message.what {
            What::Fork { parent, child_pid, child } if child_pid == child => {
                let key = self.key_now(child).unwrap_or_else(|| self.context.key(boot_ns, child));
                let process = Process { key, started: self.context.utc(boot_ns), ..Process::default() };
                self.deliver(ProcessOp::Fork, process, self.parent(parent), None, boot_ns, sink);
            }
            What::Exec { process } => self.exec(process, boot_ns, sink),
            What::Exit { pid, process, status } if pid == process => {
                let Some(key) = self.context.live_with_pid(process).or_else(|| self.key_now(process)) else {
                    // Neither known nor to be found out: it ended, and that cannot be told of anyone.
                    self.lost += 1;
                    return;
                };
                if Stat::read(process).is_ok_and(|s| s.threads > 1 && s.start_ticks == key.start_ticks) {
                    self.leaderless.push((key, status));
                } else {
                    self.exit(key, status, boot_ns, sink);
                }
            }
            // Threads that are not the first, and what is no process event.
            What::Answer(_) | What::Other | What::Fork { .. } | What::Exit { .. } => {}
        }
    }

    fn exec(&mut self, pid: u32, boot_ns: u64, sink: &mut dyn FnMut(Sensed)) {
        let stat = Stat::read(pid).ok();
        let key = stat.as_ref().map(|s| s.key(self.context.boot, pid));
        let key = key.or_else(|| self.context.live_with_pid(pid));
        let key = key.unwrap_or_else(|| self.context.key(boot_ns, pid));
        // A thread that executes takes the place of its leader, which ended for it.
        self.leaderless.retain(|(other, _)| *other != key);
        let details = Details::read(pid, stat.as_ref());
        self.execs += 1;
        if stat.is_none() || details.incomplete() {
            self.incomplete += 1;
        }
        let parent = stat.and_then(|s| self.parent(s.ppid));
        let process = self.context.process(key, details);
        self.deliver(ProcessOp::Exec, process, parent, None, boot_ns, sink);
    }

    fn exit(&mut self, key: ProcessKey, status: i32, boot_ns: u64, sink: &mut dyn FnMut(Sensed)) {
        let process = Process { key, ..Process::default() };
        self.deliver(ProcessOp::Exit, process, None, Some(status), boot_ns, sink);
    }

    /// Tells the end of processes whose first thread ended before the others.
    fn follow_leaderless(&mut self, sink: &mut dyn FnMut(Sensed)) {
        for (key, status) in std::mem::take(&mut self.leaderless) {
            if Stat::read(key.pid).is_ok_and(|s| s.threads > 1 && s.start_ticks == key.start_ticks) {
                self.leaderless.push((key, status));
            } else {
                self.exit(key, status, crate::context::boot_now(), sink);
            }
        }
    }

    fn deliver(
        &mut self,
        op: ProcessOp,
        process: Process,
        parent: Option<Process>,
        exit_code: Option<i32>,
        boot_ns: u64,
        sink: &mut dyn FnMut(Sensed),
    ) {
        self.delivered += 1;
        sink(self.context.sense(
            ProcessActivity { op, process, parent, exit_code, launch: None },
            None,
            boot_ns,
        ));
    }

    fn key_now(&self, pid: u32) -> Option<ProcessKey> {
        Some(Stat::read(pid).ok()?.key(self.context.boot, pid))
    }

    fn parent(&self, pid: u32) -> Option<Process> {
        let key = self.context.live_with_pid(pid).or_else(|| self.key_now(pid))?;
        Some(Process { key, ..Process::default() })
    }

    /// One message, if one waits.
    fn receive(&mut self) -> Result<Option<Message>, SensorError> {
        loop {
            match receive(&self.socket) {
                Ok(Some(message)) => {
                    self.lost += self.sequences.missing(&message);
                    return Ok(Some(message));
                }
                // NOBUFS: the socket was full. How many were lost shows in the numbers of the next messages.
                Ok(None) | Err(Errno::INTR | Errno::NOBUFS) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(e) => {
                    return Err(SensorError::Os { doing: "reading the process connector", source: e.into() });
                }
            }
        }
    }

    fn poll_socket(&mut self, timeout: Duration, sink: &mut dyn FnMut(Sensed)) -> Result<(), SensorError> {
        self.context.refresh();
        let before = self.delivered;
        let until = Instant::now().checked_add(timeout);
        loop {
            for _ in 0..BATCH {
                let Some(message) = self.receive()? else { break };
                self.handle(&message, sink);
            }
            self.follow_leaderless(sink);
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            if self.delivered > before || left.is_zero() {
                return Ok(());
            }
            wait(&self.socket, left).map_err(|e| SensorError::Os {
                doing: "waiting for the process connector",
                source: e.into(),
            })?;
        }
    }
}

impl Sensor for ConnectorSensor {
    fn poll(&mut self, timeout: Duration, sink: &mut dyn FnMut(Sensed)) -> Result<(), SensorError> {
        let polled = self.poll_socket(timeout, sink);
        if let Err(error) = &polled {
            self.failed = Some(chain(error));
        }
        polled
    }

    fn statuses(&self) -> Vec<SensorStatus> {
        let reason = format!(
            "details are read from /proc after the fact and are missing for {} of {} programs started so far; \
             instead of eBPF: {}",
            self.incomplete, self.execs, self.instead_of
        );
        vec![SensorStatus {
            kind: SensorKind::LinuxProcConnector,
            state: self
                .failed
                .as_ref()
                .map_or(SensorState::Degraded { reason }, |reason| off(reason.as_str())),
            produced: self.delivered + self.lost,
            lost: self.lost,
            undecoded: 0,
        }]
    }
}

/// Opens the socket, subscribes and waits for the kernel's consent.
fn subscribe(buffer_bytes: usize) -> Result<OwnedFd, (&'static str, io::Error)> {
    let doing = |what: &'static str| move |e: Errno| (what, io::Error::from(e));
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::CONNECTOR))
        .map_err(doing("opening a netlink socket"))?;
    // Without CAP_NET_ADMIN the kernel's default size has to do.
    if sockopt::set_socket_recv_buffer_size_force(&socket, buffer_bytes).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(&socket, buffer_bytes);
    }
    bind(&socket, &SocketAddrNetlink::new(0, CN_IDX_PROC))
        .map_err(doing("joining the process connector's group"))?;

    let mut mark = [0; 4];
    rustix::rand::getrandom(&mut mark, rustix::rand::GetRandomFlags::empty())
        .map_err(doing("asking the kernel for random bytes"))?;
    let mark = u32::from_ne_bytes(mark) | 1;
    send(&socket, &subscription(mark), SendFlags::empty()).map_err(doing("subscribing to process events"))?;

    let until = Instant::now() + ANSWER;
    loop {
        match receive(&socket) {
            // Answers go to all listeners; ours bears our mark.
            Ok(Some(Message { what: What::Answer(error), ack, .. })) if ack == mark.wrapping_add(1) => {
                return match i32::try_from(error) {
                    Ok(0) => Ok(socket),
                    number => Err((
                        "subscribing to process events",
                        io::Error::from_raw_os_error(number.unwrap_or(0)),
                    )),
                };
            }
            Ok(_) | Err(Errno::INTR | Errno::NOBUFS) => {}
            Err(Errno::AGAIN) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(("subscribing to process events", io::ErrorKind::TimedOut.into()));
                }
                wait(&socket, left).map_err(doing("waiting for the process connector"))?;
            }
            Err(e) => return Err(("reading the process connector", e.into())),
        }
    }
}

fn subscription(mark: u32) -> Vec<u8> {
    let operation = PROC_CN_MCAST_LISTEN.to_ne_bytes();
    let mut out = Vec::with_capacity(NLMSG + CN_MSG + operation.len());
    out.extend(((NLMSG + CN_MSG + operation.len()) as u32).to_ne_bytes());
    out.extend(NLMSG_DONE.to_ne_bytes());
    // No flags, no sequence, no port: the kernel fills the port in.
    out.extend([0; 10]);
    for number in [CN_IDX_PROC, CN_VAL_PROC, 0, mark] {
        out.extend(number.to_ne_bytes());
    }
    out.extend((operation.len() as u16).to_ne_bytes());
    out.extend([0; 2]);
    out.extend(operation);
    out
}

/// One datagram; `None` if it is not a process event of the kernel's.
fn receive(socket: &OwnedFd) -> Result<Option<Message>, Errno> {
    let mut buffer = [0u8; 1024];
    let (_, length, from) = recvfrom(socket, &mut buffer[..], RecvFlags::DONTWAIT)?;
    // Port 0 is the kernel: nobody else may make up processes.
    let from_kernel = from.and_then(|a| SocketAddrNetlink::try_from(a).ok()).is_some_and(|a| a.pid() == 0);
    Ok(buffer.get(..length).filter(|_| from_kernel).and_then(decode))
}

fn wait(socket: &OwnedFd, timeout: Duration) -> Result<(), Errno> {
    let timeout = Timespec::try_from(timeout).ok();
    match poll(&mut [PollFd::new(socket, PollFlags::IN)], timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn datagram(sequence: u32, what: u32, data: [u32; 4]) -> Vec<u8> {
        let mut out = subscription(9);
        out.truncate(NLMSG + CN_MSG);
        out[NLMSG + 8..NLMSG + 12].copy_from_slice(&sequence.to_ne_bytes());
        out.extend(what.to_ne_bytes());
        out.extend(1u32.to_ne_bytes());
        out.extend(123_456_789_012u64.to_ne_bytes());
        for number in data {
            out.extend(number.to_ne_bytes());
        }
        let length = out.len() as u32;
        out[..4].copy_from_slice(&length.to_ne_bytes());
        out
    }

    #[test]
    fn messages_are_read_and_gaps_are_counted() {
        let fork = decode(&datagram(5, 1, [1, 2, 3, 4])).unwrap();
        assert_eq!(fork.what, What::Fork { parent: 2, child_pid: 3, child: 4 });
        assert_eq!((fork.sequence, fork.ack, fork.cpu, fork.monotonic_ns), (5, 9, 1, 123_456_789_012));
        let exit = decode(&datagram(6, 0x8000_0000, [7, 8, 256, 17])).unwrap();
        assert_eq!(exit.what, What::Exit { pid: 7, process: 8, status: 256 });

        let mut sequences = Sequences::default();
        let missing: Vec<u64> = [u32::MAX - 1, u32::MAX, 0, 4, 5, 3]
            .into_iter()
            .map(|sequence| sequences.missing(&Message { sequence, ..fork }))
            .collect();
        assert_eq!(missing, [0, 0, 0, 3, 0, 0]);
    }

    proptest! {
        #[test]
        fn hostile_datagrams_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), cut in 0usize..70) {
            let _ = decode(&bytes);
            let whole = datagram(1, 2, [1, 2, 3, 4]);
            prop_assert!(cut >= whole.len() || decode(&whole[..cut]).is_none());
        }
    }
}
