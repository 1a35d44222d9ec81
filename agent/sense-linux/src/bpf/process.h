/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * Processes: fork, exec and exit, from the scheduler's tracepoints, and verdicts about what is about to run.
 */
#pragma once

#include "facts.h"
#include "verdict.h"

/* Processes whose end was told: two last threads that exit together both see that no thread lives. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct process_id);
	__type(value, __u8);
} ended SEC(".maps");

/* Appends the name of a script as it was asked for; returns its length. An interpreter's line has changed `interp`. */
static __always_inline __u64 put_script(struct scratch *walk, struct linux_binprm *bprm)
{
	struct exec_record *record = &walk->record;
	__u64 at = walk->at;

	if (bprm->interp == bprm->filename || at > CWD_END)
		return 0;

	long len = bpf_probe_read_kernel_str(record->data + at, PATH_BYTES, bprm->filename);

	if (len < 1 || len > PATH_BYTES)
		return 0;
	walk->flags |= SCRIPT;
	walk->at = at + len;
	return len;
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
		walk->flags |= ARGS_CUT;
	if (at > SCRIPT_END)
		return 0;
	/* Keeps the compiler from proving the bound away that the verifier wants to see. */
	asm volatile("" : "+r"(len));
	if (len <= ARGS_MAX && bpf_probe_read_user(record->data + at, len, (void *)from) == 0)
		return len;

	walk->flags |= ARGS_CUT;
	for (len = 0; len < ARGS_MAX; len += ARGS_PIECE) {
		if (len + ARGS_PIECE > total ||
		    bpf_probe_read_user(record->data + at + len, ARGS_PIECE, (void *)(from + len)))
			break;
	}
	return len;
}

/* Appends the environment behind a command line of this length; returns its length. Which of it is told, user space
 * decides. */
static __always_inline __u32 put_env(struct scratch *walk, struct mm_struct *mm, __u64 args_len)
{
	struct exec_record *record = &walk->record;
	__u64 from = mm->env_start;
	__u64 total = mm->env_end - from;
	__u64 len = total > ENV_MAX ? ENV_MAX : total;
	__u64 at = walk->at + args_len;

	if (total > ENV_MAX)
		walk->flags |= ENV_CUT;
	if (at > ARGS_END)
		return 0;
	asm volatile("" : "+r"(len));
	if (len <= ENV_MAX && bpf_probe_read_user(record->data + at, len, (void *)from) == 0)
		return len;
	walk->flags |= ENV_CUT;
	return 0;
}

/* The number plus one of the rule for which this process must not run what it is about to run; else 0. */
static __always_inline __u32 judge(struct scratch *walk, struct task_struct *task)
{
	if (!tables() || is_spared(task) || !put_image(walk->slot))
		return 0;
	point_to_line(walk);
	return decide(walk->slot);
}

static __always_inline int exec(struct task_struct *task, struct linux_binprm *bprm, int decides)
{
	__u64 began = bpf_ktime_get_boot_ns();
	struct counter *counter = count(KIND_EXEC);
	struct scratch *walk = own_scratch();
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
	walk->flags = 0;
	put_facts(walk, task);
	record->exe_len = 0;
	record->cwd_len = 0;
	record->unused = 0;
	record->verdict = 0;
	record->verdict_ns = 0;
	put_no_identity(record);

	if (!exe)
		exe = bprm->file;
	if (exe) {
		put_identity(record, exe);
		record->exe_len = put_path(walk, __builtin_preserve_access_index(&exe->f_path), EXE_LAST, EXE_CUT);
		if (BPF_CORE_READ(exe, f_path.dentry, d_inode, i_nlink) == 0)
			walk->flags |= EXE_GONE;
	}
	if (fs)
		record->cwd_len = put_path(walk, __builtin_preserve_access_index(&fs->pwd), CWD_LAST, CWD_CUT);
	record->script_len = put_script(walk, bprm);
	record->args_len = put_args(walk, mm);
	record->env_len = put_env(walk, mm, record->args_len);
	record->flags = walk->flags;
	if (decides)
		record->verdict = judge(walk, task);

	__u64 size = __builtin_offsetof(struct exec_record, data) + walk->at + record->args_len + record->env_len;

	fill_header(&record->header, task, KIND_EXEC, size);
	if (record->verdict) {
		record->verdict_ns = record->header.time - began;
		record->header.time = began;
	}
	asm volatile("" : "+r"(size));
	if (size > sizeof(*record) ||
	    bpf_ringbuf_output(&ring, record, size, record->verdict ? wake_now() : wake_soon()))
		count_lost(counter);
	/* None of it has run yet, and none of it will: the signal is looked at on the way to user space. What nobody would
	 * be told of is not killed here. */
	else if (record->verdict)
		bpf_send_signal(SIGKILL);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	return exec(task, bprm, 0);
}

/* In the place of `on_exec` where the kernel takes it. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec_decides, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	return exec(task, bprm, 1);
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
	id.euid = 0;
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
