//! The processes of one device, so that an event can name its parent and whoever came before.
//!
//! A kernel tells of an exec what the process is, and of its parent no more than the pid. Rules ask for the
//! parent's image, command line and user, so a sensor passes each process activity through this table: it takes in
//! what the event says and fills in what the event leaves empty.
//!
//! Pure: time comes in with the events. Bounded: see [`Limits`].

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

// A dozen look-ups for each program that starts: its speed counts, and it is seeded by chance as the standard one is.
use foldhash::fast::RandomState;
use wardline_event::{Process, ProcessActivity, ProcessKey, ProcessOp, Timestamp, User};

type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;

/// How much a table holds. Past a limit the longest ended are forgotten first, then the longest known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Processes, ended ones included.
    pub processes: usize,
    /// Bytes of text: images, command lines, users, directories. Forks share their parent's.
    pub bytes: usize,
    /// How long an ended process is kept, so that events which come late still find it. One that has live descendants is
    /// kept as long as they live.
    pub keep_ended: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { processes: 65_536, bytes: 64 << 20, keep_ended: Duration::from_secs(30) }
    }
}

/// What a fork shares with the process that forked.
#[derive(Default, Clone)]
struct Program {
    image: String,
    command_line: String,
    cwd: String,
    user: User,
    container: Option<String>,
}

impl Program {
    fn of(process: &Process) -> Self {
        Self {
            image: process.image.clone(),
            command_line: process.command_line.clone(),
            cwd: process.cwd.clone(),
            user: process.user.clone(),
            container: process.container.clone(),
        }
    }

    /// True if the process is said to run this very program.
    fn is_of(&self, process: &Process) -> bool {
        self.image == process.image
            && self.command_line == process.command_line
            && self.cwd == process.cwd
            && self.user == process.user
            && self.container == process.container
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.image.len()
            + self.command_line.len()
            + self.cwd.len()
            + self.user.uid.len()
            + self.user.name.len()
            + self.container.as_ref().map_or(0, String::len)
    }
}

struct Entry {
    program: Arc<Program>,
    cgroup_id: u64,
    started: Timestamp,
    parent: Option<ProcessKey>,
    /// Position among all entries by age.
    sequence: u64,
    /// Nanoseconds since boot.
    ended: Option<u64>,
}

impl Entry {
    fn process(&self, key: ProcessKey) -> Process {
        let program = &*self.program;
        Process {
            key,
            image: program.image.clone(),
            command_line: program.command_line.clone(),
            cwd: program.cwd.clone(),
            user: program.user.clone(),
            container: program.container.clone(),
            cgroup_id: self.cgroup_id,
            started: self.started,
        }
    }
}

/// The live processes of one device, those that ended a short while ago, and those between a live one and its roots.
pub struct ProcessTable {
    limits: Limits,
    entries: HashMap<ProcessKey, Entry>,
    /// At most one live process has a pid.
    live_by_pid: HashMap<u32, ProcessKey>,
    /// Live ones by age.
    live: BTreeMap<u64, ProcessKey>,
    /// Ended ones by (when, age).
    ended: BTreeMap<(u64, u64), ProcessKey>,
    /// Those that ended longer ago and are kept for their children's sake: without them an orphan could not be traced to
    /// whoever started it all.
    links: BTreeMap<(u64, u64), ProcessKey>,
    /// How many entries name a process as their parent.
    children: HashMap<ProcessKey, usize>,
    /// Bytes of all programs, shared ones counted once.
    bytes: usize,
    next_sequence: u64,
    forgotten: u64,
}

impl Default for ProcessTable {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl ProcessTable {
    /// An empty table.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: HashMap::default(),
            live_by_pid: HashMap::default(),
            live: BTreeMap::new(),
            ended: BTreeMap::new(),
            links: BTreeMap::new(),
            children: HashMap::default(),
            bytes: 0,
            next_sequence: 0,
            forgotten: 0,
        }
    }

    /// Takes in what the activity says and completes it: the process, and its parent if the activity names one
    /// by its key or an earlier event did.
    ///
    /// `creator` is the process that called fork, if it is not the parent (`CLONE_PARENT`). `boot_ns` is when it
    /// happened, in nanoseconds since boot. What the activity says is never changed: only what it leaves empty is
    /// filled in, and never with the program that ran before an exec.
    pub fn observe(&mut self, activity: &mut ProcessActivity, creator: Option<&ProcessKey>, boot_ns: u64) {
        self.forget_ended(boot_ns);
        let key = activity.process.key;
        let told_parent = activity.parent.as_ref().map(|p| p.key);
        if activity.op != ProcessOp::Exit {
            self.end_other_with_pid(&key, boot_ns);
        }
        // The parent that created it stays the parent: a daemon's ancestry does not end at init.
        let parent = self.parent(&key).or(told_parent);
        let process = &mut activity.process;
        let known = self.entries.get(&key);
        match activity.op {
            ProcessOp::Fork => {
                let origin = creator.copied().or(told_parent).and_then(|k| self.entries.get(&k));
                let mut program = Arc::default();
                if let Some(same) = known.or(origin) {
                    fill(process, &same.program, true);
                    fill_facts(process, same.cgroup_id, known.map_or(process.started, |e| e.started));
                    program = Arc::clone(&same.program);
                }
                // Shared, unless the event itself knew better.
                if !program.is_of(process) {
                    program = Arc::new(Program::of(process));
                }
                self.put(key, program, process, parent);
            }
            ProcessOp::Exec | ProcessOp::Found => {
                if let Some(known) = known {
                    fill(process, &known.program, activity.op == ProcessOp::Found);
                    fill_facts(process, known.cgroup_id, known.started);
                }
                self.put(key, Arc::new(Program::of(process)), process, parent);
            }
            ProcessOp::Exit => {
                if let Some(known) = known {
                    fill(process, &known.program, true);
                    fill_facts(process, known.cgroup_id, known.started);
                    self.end(&key, boot_ns);
                }
            }
        }
        if activity.parent.is_none() {
            activity.parent = parent.map(|key| Process { key, ..Process::default() });
        }
        if let Some(parent) = &mut activity.parent
            && let Some(entry) = self.entries.get_mut(&parent.key)
        {
            fill(parent, &entry.program, true);
            fill_facts(parent, entry.cgroup_id, entry.started);
            // A server changes its user without an exec; whoever comes next must not see the old one.
            if parent.user != entry.program.user {
                let changed = Program { user: parent.user.clone(), ..Program::clone(&entry.program) };
                self.bytes += changed.bytes();
                let before = std::mem::replace(&mut entry.program, Arc::new(changed));
                self.bytes -= Arc::into_inner(before).map_or(0, |program| program.bytes());
            }
        }
        self.keep_limits(&key);
    }

    /// A process, if it is known.
    pub fn get(&self, key: &ProcessKey) -> Option<Process> {
        self.entries.get(key).map(|e| e.process(*key))
    }

    /// The process that created this one.
    pub fn parent(&self, key: &ProcessKey) -> Option<ProcessKey> {
        self.entries.get(key)?.parent
    }

    /// The live process with this pid.
    pub fn live_with_pid(&self, pid: u32) -> Option<ProcessKey> {
        self.live_by_pid.get(&pid).copied()
    }

    /// Those who came before, nearest first: parent, grandparent, … as far as they are known.
    pub fn ancestors(&self, key: &ProcessKey) -> Vec<Process> {
        let mut seen = HashSet::from([*key]);
        let mut found = Vec::new();
        let mut at = self.parent(key);
        // `seen`, because keys come from outside and might go round in a circle.
        while let Some(key) = at.filter(|k| seen.insert(*k)) {
            let Some(entry) = self.entries.get(&key) else { break };
            found.push(entry.process(key));
            at = entry.parent;
        }
        found
    }

    /// All live processes that descend from this one, also those whose parents have ended since.
    pub fn live_descendants(&self, key: &ProcessKey) -> Vec<ProcessKey> {
        // Children by parent, ended ones included: they are the links to orphans.
        let mut children: HashMap<ProcessKey, Vec<ProcessKey>> = HashMap::default();
        for (child, entry) in &self.entries {
            if let Some(parent) = entry.parent {
                children.entry(parent).or_default().push(*child);
            }
        }
        let (mut found, mut seen, mut queue) = (Vec::new(), HashSet::from([*key]), vec![*key]);
        while let Some(at) = queue.pop() {
            for child in children.get(&at).into_iter().flatten().filter(|c| seen.insert(**c)) {
                queue.push(*child);
                if self.entries.get(child).is_some_and(|e| e.ended.is_none()) {
                    found.push(*child);
                }
            }
        }
        found
    }

    /// How many processes are known, ended ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if none is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many live processes were forgotten because the table was full.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn put(&mut self, key: ProcessKey, program: Arc<Program>, process: &Process, parent: Option<ProcessKey>) {
        if Arc::strong_count(&program) == 1 {
            self.bytes += program.bytes();
        }
        let parent = parent.filter(|p| *p != key);
        // Before the entry it replaces goes: the parent must not look childless in between.
        if let Some(parent) = parent {
            *self.children.entry(parent).or_default() += 1;
        }
        self.remove(&key);
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.live.insert(sequence, key);
        self.live_by_pid.insert(key.pid, key);
        let entry = Entry {
            program,
            cgroup_id: process.cgroup_id,
            started: process.started,
            parent,
            sequence,
            ended: None,
        };
        self.entries.insert(key, entry);
    }

    /// Removes an entry, and the links that were kept only for it.
    fn remove(&mut self, key: &ProcessKey) {
        let mut next = Some(*key);
        while let Some(key) = next {
            next = self.remove_one(&key).filter(|parent| {
                !self.children.contains_key(parent)
                    && self
                        .entries
                        .get(parent)
                        .is_some_and(|e| e.ended.is_some_and(|at| self.links.contains_key(&(at, e.sequence))))
            });
        }
    }

    /// Removes an entry; gives its parent.
    fn remove_one(&mut self, key: &ProcessKey) -> Option<ProcessKey> {
        let entry = self.entries.remove(key)?;
        if let Some(when) = entry.ended {
            self.ended.remove(&(when, entry.sequence));
            self.links.remove(&(when, entry.sequence));
        } else {
            self.live.remove(&entry.sequence);
            self.live_by_pid.remove(&key.pid);
        }
        if let Some(program) = Arc::into_inner(entry.program) {
            self.bytes -= program.bytes();
        }
        let parent = entry.parent?;
        if let Some(count) = self.children.get_mut(&parent) {
            *count -= 1;
            if *count == 0 {
                self.children.remove(&parent);
            }
        }
        Some(parent)
    }

    fn end(&mut self, key: &ProcessKey, boot_ns: u64) {
        let Some(entry) = self.entries.get_mut(key).filter(|e| e.ended.is_none()) else { return };
        entry.ended = Some(boot_ns);
        self.live.remove(&entry.sequence);
        self.live_by_pid.remove(&key.pid);
        self.ended.insert((boot_ns, entry.sequence), *key);
    }

    /// A pid that is used again says that its last user is gone, even if nobody told.
    fn end_other_with_pid(&mut self, key: &ProcessKey, boot_ns: u64) {
        if let Some(other) = self.live_with_pid(key.pid).filter(|other| other != key) {
            self.end(&other, boot_ns);
        }
    }

    fn forget_ended(&mut self, boot_ns: u64) {
        let keep = u64::try_from(self.limits.keep_ended.as_nanos()).unwrap_or(u64::MAX);
        while let Some((&at, &key)) = self.ended.first_key_value()
            && at.0.saturating_add(keep) < boot_ns
        {
            if self.children.contains_key(&key) {
                self.ended.remove(&at);
                self.links.insert(at, key);
            } else {
                self.remove(&key);
            }
        }
    }

    fn keep_limits(&mut self, newest: &ProcessKey) {
        while self.entries.len() > self.limits.processes || self.bytes > self.limits.bytes {
            if let Some((_, &key)) = self.ended.first_key_value().or_else(|| self.links.first_key_value()) {
                self.remove(&key);
            } else if let Some((_, &key)) = self.live.first_key_value().filter(|(_, key)| *key != newest) {
                self.remove(&key);
                self.forgotten += 1;
            } else {
                break;
            }
        }
    }
}

/// Fills in what is empty; the program itself only if it is still the same one.
fn fill(process: &mut Process, from: &Program, same_program: bool) {
    let set = |to: &mut String, from: &String| {
        if to.is_empty() {
            to.clone_from(from);
        }
    };
    if same_program {
        set(&mut process.image, &from.image);
        set(&mut process.command_line, &from.command_line);
    }
    set(&mut process.cwd, &from.cwd);
    if process.user.uid.is_empty() {
        process.user.clone_from(&from.user);
    }
    if process.container.is_none() {
        process.container.clone_from(&from.container);
    }
}

fn fill_facts(process: &mut Process, cgroup_id: u64, started: Timestamp) {
    if process.cgroup_id == 0 {
        process.cgroup_id = cgroup_id;
    }
    if process.started == Timestamp::default() {
        process.started = started;
    }
}

#[cfg(test)]
mod tests;
