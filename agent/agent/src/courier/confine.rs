//! Takes from a process all that a courier does not need, before it has read a byte that somebody else wrote.
//!
//! In this order: user, groups and capabilities; no new privileges; nobody may look into its memory; then what files it
//! may read and to which ports it may connect (Landlock), and which system calls it may make (seccomp). The first three
//! always hold or the courier does not start. A kernel without Landlock or seccomp is said to be one.
//!
//! All of it holds for the calling thread and those that it starts: call it before there is another.

use std::collections::BTreeMap;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, geteuid, set_dumpable_behavior, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};
use rustix::thread::{Gid, Uid};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition as Condition,
    SeccompFilter, SeccompRule, apply_filter,
};

/// What a courier is left with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// User and group to become; for a process that is root.
    pub user: Option<(u32, u32)>,
    /// The hub's port. It may connect there and to name servers.
    pub port: Option<u16>,
}

/// The process still has rights that it must not have, and must end.
#[derive(Debug, thiserror::Error)]
#[error("the courier cannot be confined: {0}")]
pub struct Unconfined(String);

fn failed<E: std::fmt::Display>(doing: &'static str) -> impl Fn(E) -> Unconfined {
    move |error| Unconfined(format!("{doing} failed ({error})"))
}

/// Confines the calling thread. Gives what this kernel could not do, a sentence each.
pub fn confine(wish: Wish) -> Result<Vec<String>, Unconfined> {
    leave_root(wish.user)?;
    set_no_new_privs(true).map_err(failed("forbidding new privileges"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed("hiding its memory"))?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(failed("forbidding core dumps"))?;
    let mut missing = Vec::new();
    missing.extend(restrict_files(wish.port)?);
    missing.extend(restrict_calls()?);
    Ok(missing)
}

fn leave_root(user: Option<(u32, u32)>) -> Result<(), Unconfined> {
    if !geteuid().is_root() {
        // What an ordinary user's process may do is not much; it has no capability to give up but by mistake.
        return drop_capabilities();
    }
    let Some((uid, gid)) = user.filter(|(uid, gid)| *uid != 0 && *gid != 0) else {
        return Err(Unconfined("it is root, and no other user was named".to_owned()));
    };
    set_thread_groups(&[]).map_err(failed("leaving root's groups"))?;
    for bit in 0..64 {
        let Some(capability) = CapabilitySet::from_bits(1 << bit) else { break };
        match capability_is_in_bounding_set(capability) {
            Ok(true) => remove_capability_from_bounding_set(capability)
                .map_err(failed("giving up a capability for good"))?,
            Ok(false) => {}
            // The kernel knows no higher one.
            Err(_) => break,
        }
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_res_gid(gid, gid, gid).map_err(failed("changing the group"))?;
    set_thread_res_uid(uid, uid, uid).map_err(failed("changing the user"))?;
    drop_capabilities()
}

fn drop_capabilities() -> Result<(), Unconfined> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    // Kernels before 4.3 have no ambient set.
    let _ = clear_ambient_capability_set();
    set_capabilities(None, none).map_err(failed("giving up capabilities"))?;
    match capabilities(None) {
        Ok(left) if left == none => Ok(()),
        Ok(left) => Err(Unconfined(format!("it still has capabilities: {:?}", left.effective))),
        Err(error) => Err(failed("looking at its capabilities")(error)),
    }
}

/// What the C library reads to find an address by its name. As folders, because these files are replaced, not rewritten.
const READABLE: &[&str] =
    &["/etc", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/run/connman"];
/// Where the C library loads its ways of asking for names from.
const LOADABLE: &[&str] = &["/lib", "/lib64", "/usr/lib", "/usr/lib64"];

fn restrict_files(port: Option<u16>) -> Result<Option<String>, Unconfined> {
    let newest = ABI::V6;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let ports = port
        .into_iter()
        .chain([53])
        .map(|port| Ok::<_, RulesetError>(NetPort::new(port, AccessNet::ConnectTcp)));
    let restrict = || {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(newest))?
            .handle_access(AccessNet::from_all(newest))?
            .scope(Scope::from_all(newest))?
            .create()?
            .add_rules(path_beneath_rules(READABLE, read))?
            .add_rules(path_beneath_rules(LOADABLE, read | AccessFs::Execute))?
            .add_rules(ports)?
            .restrict_self()
    };
    let done: Result<_, RulesetError> = restrict();
    Ok(match done.map_err(failed("restricting files"))?.ruleset {
        RulesetStatus::FullyEnforced => None,
        RulesetStatus::PartiallyEnforced => {
            Some("this kernel's Landlock is older than 6.12's: not all of it is in force".to_owned())
        }
        RulesetStatus::NotEnforced => Some("this kernel has no Landlock".to_owned()),
    })
}

/// What a courier calls: memory, threads, its sockets, the clock, and files to read.
const CALLS: &[i64] = &[
    // Data.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_openat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_pipe2,
    // Memory.
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_membarrier,
    // Threads and signals of its own.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrandom,
    // Time.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    // Waiting.
    libc::SYS_ppoll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    // Sockets; which kinds can be made is said below.
    libc::SYS_connect,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
];

/// The same under the names that only older processors have.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[i64] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_time,
    libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[i64] = &[];

type Made<T> = Result<T, seccompiler::BackendError>;

fn when(conditions: impl IntoIterator<Item = Made<Condition>>) -> Made<SeccompRule> {
    SeccompRule::new(conditions.into_iter().collect::<Made<_>>()?)
}

fn arg(index: u8, op: Op, value: u64) -> Made<Condition> {
    Condition::new(index, Len::Dword, op, value)
}

/// Calls that are allowed with some arguments only.
fn conditional() -> Made<Vec<(i64, Vec<SeccompRule>)>> {
    /// `SOCK_STREAM` and `SOCK_DGRAM` without the flags that come with them.
    const TYPE: u64 = 0xf;
    let thread = (libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND) as u64;
    let (mut socket, mut ioctl) = (Vec::new(), Vec::new());
    for family in [libc::AF_INET, libc::AF_INET6, libc::AF_UNIX] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
            socket.push(when([arg(0, Op::Eq, family as u64), arg(1, Op::MaskedEq(TYPE), kind as u64)])?);
        }
    }
    for request in [libc::FIONBIO, libc::FIONREAD, libc::TCGETS] {
        ioctl.push(when([arg(1, Op::Eq, request)])?);
    }
    Ok(vec![
        (libc::SYS_socket, socket),
        (libc::SYS_socketpair, vec![when([arg(0, Op::Eq, libc::AF_UNIX as u64)])?]),
        (libc::SYS_ioctl, ioctl),
        (libc::SYS_clone, vec![when([arg(0, Op::MaskedEq(thread), thread)])?]),
        (libc::SYS_prctl, vec![when([arg(0, Op::Eq, libc::PR_SET_NAME as u64)])?]),
        // Its own limits, to read them.
        (libc::SYS_prlimit64, vec![when([arg(0, Op::Eq, 0), arg(2, Op::Eq, 0)])?]),
        (libc::SYS_tgkill, vec![when([arg(0, Op::Eq, u64::from(std::process::id()))])?]),
    ])
}

fn filters() -> Result<[BpfProgram; 2], String> {
    let arch = std::env::consts::ARCH.try_into().map_err(|_| "seccomp is not supported on this processor")?;
    let (forbid, absent) =
        (SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Errno(libc::ENOSYS as u32));
    let make = || {
        let mut allowed: BTreeMap<i64, Vec<SeccompRule>> =
            CALLS.iter().chain(OLD_CALLS).map(|call| (*call, Vec::new())).collect();
        allowed.extend(conditional()?);
        // For the other filter to answer: of two refusals the one of the later filter counts.
        allowed.insert(libc::SYS_clone3, Vec::new());
        let first = SeccompFilter::new(allowed, forbid, SeccompAction::Allow, arch)?.try_into()?;
        // What `clone3` is asked to do cannot be looked at; without it the C library uses `clone`.
        let newer = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
        let second = SeccompFilter::new(newer, SeccompAction::Allow, absent, arch)?.try_into()?;
        Ok([first, second])
    };
    let made: Made<_> = make();
    made.map_err(|e| e.to_string())
}

fn restrict_calls() -> Result<Option<String>, Unconfined> {
    let [first, second] = match filters() {
        Ok(filters) => filters,
        Err(why) => return Ok(Some(why)),
    };
    // In this order: the first forbids making filters.
    for filter in [&second, &first] {
        match apply_filter(filter) {
            Ok(()) => {}
            Err(seccompiler::Error::Seccomp(e)) if e.raw_os_error() == Some(libc::EINVAL) => {
                return Ok(Some("this kernel has no seccomp filters".to_owned()));
            }
            Err(error) => return Err(failed("restricting system calls")(error)),
        }
    }
    Ok(None)
}
