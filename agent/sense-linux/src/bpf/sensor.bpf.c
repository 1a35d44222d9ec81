// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause
/*
 * The sensor's kernel half: process fork, exec and exit, from the scheduler's tracepoints.
 *
 * It only looks: every program returns without changing anything. Each event is counted before it is written, and
 * again if it could not be written, so that user space can check produced = delivered + lost.
 */
#include "kernel.h"
#include "record.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

/* The kernel lets only programs that name a GPL-compatible licence call its tracing helpers. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Steps of a path walk: components and mounts crossed. Bounded, because the verifier follows every step. */
#define WALK_STEPS 512
/* Between two wake-ups for events that nobody acts upon at once. */
#define QUIET_NS (2 * 1000 * 1000)
/* A backlog that is worth a wake-up by itself, if the ring is large enough. */
#define BACKLOG_BYTES (1 << 20)
/* A host's CPUs, at most; user space lowers it to those there are. */
#define MAX_CPUS 1024

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KINDS);
	__type(key, __u32);
	__type(value, struct counter);
} counters SEC(".maps");

/* Where a path walk is, and what it writes to. */
struct scratch {
	struct dentry *dentry;
	struct mount *mount;
	__u64 last; /* no component begins behind this */
	__u64 at;   /* where the next component goes */
	struct exec_record record;
};

/* One slot per CPU. Not a per-CPU map, because the kernel limits a value of those to 32 KiB. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

/* Processes whose end was told: two last threads that exit together both see that no thread lives. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct process_id);
	__type(value, __u8);
} ended SEC(".maps");

/* Races between CPUs cost one wake-up more or less. */
static __u64 last_wake;

static __always_inline struct counter *count(__u32 kind)
{
	struct counter *counter = bpf_map_lookup_elem(&counters, &kind);
	if (counter)
		counter->produced++;
	return counter;
}

static __always_inline void count_lost(struct counter *counter)
{
	if (counter)
		counter->lost++;
}

/* Wakes the reader for an event that is acted upon at once. */
static __always_inline __u64 wake_now(void)
{
	last_wake = bpf_ktime_get_ns();
	return BPF_RB_FORCE_WAKEUP;
}

/*
 * Wake-ups cost more than the programs. A quiet event wakes the reader only if nothing did for 2 ms or much waits;
 * the reader looks again 3 ms after each delivery, so that the last quiet event never waits for the next one.
 */
static __always_inline __u64 wake_if_due(void)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 backlog = bpf_ringbuf_query(&ring, BPF_RB_RING_SIZE) / 4;

	if (backlog > BACKLOG_BYTES)
		backlog = BACKLOG_BYTES;
	if (now - last_wake <= QUIET_NS && bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) < backlog)
		return BPF_RB_NO_WAKEUP;
	last_wake = now;
	return BPF_RB_FORCE_WAKEUP;
}

static __always_inline void identify(struct process_id *id, struct task_struct *task)
{
	id->start = task->group_leader->start_boottime;
	id->tgid = task->tgid;
	id->unused = 0;
}

static __always_inline void fill_header(struct header *header, struct task_struct *task, __u32 kind, __u32 size)
{
	header->kind = kind;
	header->size = size;
	header->time = bpf_ktime_get_boot_ns();
	identify(&header->process, task);
	identify(&header->parent, task->real_parent);
}

enum { WALK_ON, WALK_DONE, WALK_CUT };

/*
 * One step of a path walk: appends a component or crosses a mount.
 *
 * A global function whose state is in a map, because the verifier then looks at it once, and not once for every
 * way of getting through 512 steps.
 */
__noinline int walk_step(__u32 cpu)
{
	struct scratch *walk = bpf_map_lookup_elem(&scratch, &cpu);

	if (!walk)
		return WALK_CUT;

	struct dentry *dentry = walk->dentry, *parent;
	struct mount *mount = walk->mount;
	__u64 at = walk->at;

	if (dentry == BPF_CORE_READ(mount, mnt.mnt_root)) {
		struct mount *up = BPF_CORE_READ(mount, mnt_parent);

		/* The top of the mount tree: past any chroot. */
		if (up == mount)
			return WALK_DONE;
		walk->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		walk->mount = up;
		return WALK_ON;
	}
	if (at > walk->last || at > CWD_LAST)
		return WALK_CUT;

	long len = bpf_probe_read_kernel_str(walk->record.data + at, NAME_BYTES, BPF_CORE_READ(dentry, d_name.name));

	if (len < 1 || len > NAME_BYTES)
		return WALK_CUT;
	walk->at = at + len;
	parent = BPF_CORE_READ(dentry, d_parent);
	/* Not under any root: a memfd has a name and no place. */
	if (parent == dentry)
		return WALK_DONE;
	walk->dentry = parent;
	return WALK_ON;
}

/* Appends a path's components, leaf first; returns their length. */
static __always_inline __u32 put_path(struct scratch *walk, __u32 cpu, struct path *path, __u64 last, __u32 cut)
{
	struct vfsmount *vfsmount = BPF_CORE_READ(path, mnt);
	__u64 start = walk->at;
	int step, result = WALK_CUT;

	walk->dentry = BPF_CORE_READ(path, dentry);
	walk->mount = (void *)vfsmount - bpf_core_field_offset(struct mount, mnt);
	walk->last = last;
	for (step = 0; step < WALK_STEPS; step++) {
		result = walk_step(cpu);
		if (result != WALK_ON)
			break;
	}
	if (result != WALK_DONE)
		walk->record.flags |= cut;
	return walk->at - start;
}

/* Reads the command line; returns its length. Pages not in memory cannot be read here: then what precedes them. */
static __always_inline __u32 put_args(struct scratch *walk, struct mm_struct *mm)
{
	struct exec_record *record = &walk->record;
	__u64 from = mm->arg_start;
	__u64 total = mm->arg_end - from;
	__u64 len = total > ARGS_MAX ? ARGS_MAX : total;
	__u64 at = walk->at;

	record->args_total = total;
	if (total > ARGS_MAX)
		record->flags |= ARGS_CUT;
	if (at > CWD_END)
		return 0;
	/* Keeps the compiler from proving the bound away that the verifier wants to see. */
	asm volatile("" : "+r"(len));
	if (len <= ARGS_MAX && bpf_probe_read_user(record->data + at, len, (void *)from) == 0)
		return len;

	record->flags |= ARGS_CUT;
	for (len = 0; len < ARGS_MAX; len += ARGS_PIECE) {
		if (len + ARGS_PIECE > total ||
		    bpf_probe_read_user(record->data + at + len, ARGS_PIECE, (void *)(from + len)))
			break;
	}
	return len;
}

static __always_inline __u64 cgroup_v1(struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	void *slot = __builtin_preserve_access_index(&set->subsys);
	struct cgroup_subsys_state *state = NULL;

	if (bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id))
		slot += bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id) * sizeof(state);
	else if (bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		slot += bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id) * sizeof(state);
	else
		return 0;
	if (bpf_probe_read_kernel(&state, sizeof(state), slot))
		return 0;
	return BPF_CORE_READ(state, cgroup, kn, id);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	struct counter *counter = count(KIND_EXEC);
	__u32 cpu = bpf_get_smp_processor_id();
	struct scratch *walk = bpf_map_lookup_elem(&scratch, &cpu);
	struct mm_struct *mm = task->mm;

	if (!walk || !mm) {
		count_lost(counter);
		return 0;
	}

	struct exec_record *record = &walk->record;
	/* `exe_file` is what /proc/PID/exe names: of a script, the interpreter. */
	struct file *exe = mm->exe_file;
	struct fs_struct *fs = task->fs;

	walk->at = 0;
	record->flags = 0;
	record->euid = task->cred->euid.val;
	record->parent_euid = task->real_parent->cred->euid.val;
	record->cgroup = task->cgroups->dfl_cgrp->kn->id;
	record->cgroup_v1 = cgroup_v1(task);
	record->exe_len = 0;
	record->cwd_len = 0;

	if (!exe)
		exe = bprm->file;
	if (exe) {
		record->exe_len = put_path(walk, cpu, __builtin_preserve_access_index(&exe->f_path), EXE_LAST, EXE_CUT);
		if (BPF_CORE_READ(exe, f_path.dentry, d_inode, i_nlink) == 0)
			record->flags |= EXE_GONE;
	}
	if (fs)
		record->cwd_len = put_path(walk, cpu, __builtin_preserve_access_index(&fs->pwd), CWD_LAST, CWD_CUT);
	record->args_len = put_args(walk, mm);

	__u64 size = __builtin_offsetof(struct exec_record, data) + walk->at + record->args_len;

	fill_header(&record->header, task, KIND_EXEC, size);
	asm volatile("" : "+r"(size));
	if (size > sizeof(*record) || bpf_ringbuf_output(&ring, record, size, wake_now()))
		count_lost(counter);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *creator, struct task_struct *child)
{
	/* A new thread is not a new process. */
	if (child->pid != child->tgid)
		return 0;

	struct counter *counter = count(KIND_FORK);
	struct fork_record *record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);

	if (!record) {
		count_lost(counter);
		return 0;
	}
	fill_header(&record->header, child, KIND_FORK, sizeof(*record));
	identify(&record->creator, creator);
	record->euid = child->cred->euid.val;
	record->unused = 0;
	bpf_ringbuf_submit(record, wake_if_due());
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	struct signal_struct *signal = task->signal;
	struct process_id id;
	__u8 one = 1;

	/* A process ends with its last thread, which need not be the one it started with. */
	if (signal->live.counter != 0)
		return 0;
	identify(&id, task);
	if (bpf_map_update_elem(&ended, &id, &one, BPF_NOEXIST) == -EEXIST)
		return 0;

	struct counter *counter = count(KIND_EXIT);
	struct exit_record *record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);

	if (!record) {
		count_lost(counter);
		return 0;
	}
	fill_header(&record->header, task, KIND_EXIT, sizeof(*record));
	record->unused = 0;
	record->status = signal->flags & SIGNAL_GROUP_EXIT ? signal->group_exit_code : task->group_leader->exit_code;
	bpf_ringbuf_submit(record, wake_if_due());
	return 0;
}
