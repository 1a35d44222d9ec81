/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * System calls that change what a process or the machine may do: other processes' memory, users and capabilities,
 * kernel modules, eBPF programs, namespaces, mounts, the clock. And who uses io_uring for what system calls do, which
 * their end does not see.
 */
#pragma once

#include "calls.h"
#include "files.h"

#define PTRACE_ATTACH 16
#define PTRACE_SEIZE 0x4206
#define AF_PACKET 17
#define SOCK_RAW 3
#define SOCK_TYPE 0xf
#define BPF_PROG_LOAD 5
/* Where union bpf_attr has the name of a program that is loaded, and how long it is. */
#define BPF_ATTR_NAME 48
#define BPF_NAME_LEN 16
#define CALL_IO_URING_ENTER 426

/* A call_record lies directly before the scratch's data. */
static __always_inline struct call_record *call_record(struct scratch *walk)
{
	return (void *)walk->record.data - sizeof(struct call_record);
}

/* Whether a call is worth telling. Reading one's own state and failing attempts at the harmless are not. */
static __always_inline int is_of_interest(struct scratch *walk, __u32 call, __s64 ret)
{
	__u64 *args = walk->args;

	switch (call) {
	case CALL_SOCKET:
		return ret >= 0 && (args[0] == AF_PACKET ||
				    ((args[1] & SOCK_TYPE) == SOCK_RAW && (args[0] == AF_INET || args[0] == AF_INET6)));
	case CALL_PTRACE:
		return args[0] == PTRACE_ATTACH || args[0] == PTRACE_SEIZE;
	case CALL_SYSLOG:
		/* Clears the kernel's log, or keeps it from the console. */
		return args[0] >= 4 && args[0] <= 6;
	case CALL_PERSONALITY:
		return (__u32)args[0] != 0 && (__u32)args[0] != 0xffffffff;
	case CALL_BPF:
		return args[0] == BPF_PROG_LOAD && ret >= 0;
	case CALL_PROCESS_VM_WRITEV:
		return ret > 0;
	case CALL_INIT_MODULE:
	case CALL_FINIT_MODULE:
	case CALL_DELETE_MODULE:
	case CALL_KEXEC_LOAD:
	case CALL_KEXEC_FILE_LOAD:
	case CALL_REBOOT:
		return 1;
	default:
		return ret >= 0;
	}
}

static __always_inline void send_call(struct scratch *walk, struct task_struct *task, __u64 wake)
{
	struct counter *counter = count(KIND_CALL);
	struct call_record *record = call_record(walk);
	__u64 size = sizeof(*record) + walk->at;

	fill_header(&record->header, task, KIND_CALL, size);
	asm volatile("" : "+r"(size));
	if (size > sizeof(*record) + DATA_MAX || bpf_ringbuf_output(&ring, record, size, wake))
		count_lost(counter);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_system, struct pt_regs *regs, long ret)
{
	struct scratch *walk = own_scratch();
	struct task_struct *task = bpf_get_current_task_btf();
	int i;

	if (!walk)
		return 0;

	__u32 call = walk->call & (CALLS - 1);
	const struct shape *shape = shape_of(call);
	struct call_record *record = call_record(walk);

	if (!is_of_interest(walk, call, ret))
		return 0;
	walk->at = 0;
	walk->flags = 0;
	record->text_len = 0;
	record->text_kind = TEXT_STRING;
	if (shape->path >= 0) {
		record->text_len = put_string(walk, argument(walk, shape->path));
	} else if (shape->fd >= 0) {
		struct file *file = file_of(task, walk->args[0]);

		record->text_kind = TEXT_COMPONENTS;
		if (file)
			record->text_len = put_path(walk, __builtin_preserve_access_index(&file->f_path), PATH_BYTES, 0);
	} else if (call == CALL_BPF && walk->args[2] >= BPF_ATTR_NAME + BPF_NAME_LEN) {
		if (!bpf_probe_read_user(walk->record.data, BPF_NAME_LEN, (void *)walk->args[1] + BPF_ATTR_NAME))
			walk->at = record->text_len = BPF_NAME_LEN;
	}
	record->call = call;
	record->compat = walk->call >> 32;
	record->unused = 0;
	record->result = ret;
	for (i = 0; i < 5; i++)
		record->args[i] = walk->args[i];

	int critical = call == CALL_PTRACE || call == CALL_BPF || call == CALL_INIT_MODULE ||
		       call == CALL_FINIT_MODULE || call == CALL_KEXEC_LOAD || call == CALL_KEXEC_FILE_LOAD;

	send_call(walk, task, critical ? wake_now() : wake_if_due());
	return 0;
}

/* Which operations a process was told to have given to io_uring. */
struct uring_use {
	__u32 tgid;
	__u32 opcode;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct uring_use);
	__type(value, __u64);
} uring_uses SEC(".maps");

/* IORING_OP_*, of those that do what is told of system calls: files, names and connections. */
#define URING_OPS ((1ULL << 13) | (1ULL << 16) | (1ULL << 18) | (1ULL << 28) | (1ULL << 35) | (1ULL << 36) | \
		   (1ULL << 38) | (1ULL << 39) | (1ULL << 41) | (1ULL << 42) | (1ULL << 57))

SEC("tp_btf/io_uring_submit_req")
int BPF_PROG(on_uring, struct io_kiocb *request)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct uring_use use = { .tgid = task->tgid, .opcode = request->opcode };
	struct config *told;
	struct scratch *walk;
	__u64 now = bpf_ktime_get_ns();
	__u32 zero = 0;
	int i;

	if (use.opcode > 63 || !((URING_OPS >> use.opcode) & 1))
		return 0;
	told = bpf_map_lookup_elem(&config, &zero);
	if (!told || use.tgid == told->own_tgid || bpf_map_lookup_elem(&uring_uses, &use))
		return 0;
	bpf_map_update_elem(&uring_uses, &use, &now, BPF_ANY);
	walk = own_scratch();
	if (!walk)
		return 0;

	struct call_record *record = call_record(walk);

	walk->at = 0;
	record->call = CALL_IO_URING_ENTER;
	record->compat = 0;
	record->unused = 0;
	record->result = 0;
	record->text_len = 0;
	record->text_kind = TEXT_STRING;
	record->args[0] = use.opcode;
	for (i = 1; i < 5; i++)
		record->args[i] = 0;
	send_call(walk, task, wake_if_due());
	return 0;
}
