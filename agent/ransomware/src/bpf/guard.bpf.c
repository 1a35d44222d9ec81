// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause
/*
 * The ransomware guard's kernel half: counts, for each family of processes, the files that it destroys in the way of an
 * encryptor, and stops the family by itself when there are too many.
 *
 * One file is evidence if a family has read it, what it read did not look random, and then
 * - what looks random is written over its beginning, or into its middle; or
 * - a random-looking file that the family made is renamed over it; or
 * - it is unlinked, and the family has made a random-looking file beside it whose name begins with its own.
 * "Random" is what has nearly as many different bytes as chance gives, and does not begin like a known compressed
 * format. So what copies, packs, builds, checks out, backs up or compresses gives no evidence, however many files
 * it writes.
 *
 * A family is a program and what it forks. What it executes is a family of its own, and evidence against that counts
 * against all families above it too, so that neither a script with a tool per file nor a chain of programs escapes.
 */
#include "calls.h"

/* The kernel lets only programs that name a GPL-compatible licence call its tracing helpers. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* x86-64's numbers of system calls. */
enum {
	NR_read = 0, NR_write = 1, NR_open = 2, NR_mmap = 9, NR_munmap = 11, NR_pread64 = 17, NR_pwrite64 = 18,
	NR_readv = 19, NR_writev = 20, NR_msync = 26, NR_rename = 82, NR_creat = 85, NR_unlink = 87, NR_openat = 257,
	NR_unlinkat = 263, NR_renameat = 264, NR_preadv = 295, NR_pwritev = 296, NR_renameat2 = 316, NR_openat2 = 437,
	NR_sendfile = 40, NR_copy_file_range = 326, NR_truncate = 76, NR_ftruncate = 77,
};

SEC("tp_btf/sys_enter")
int BPF_PROG(on_enter, struct pt_regs *regs, long nr)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (stopping) {
		__u32 index = CONTROL_SETTLED, *done = bpf_map_lookup_elem(&control, &index);

		if (done && *done != stopping)
			stop_if_told(task);
	}
	switch (nr) {
	case NR_write:
		on_write(task, regs->di, (void *)regs->si, regs->dx, -1, regs->dx);
		break;
	case NR_pwrite64:
		on_write(task, regs->di, (void *)regs->si, regs->dx, regs->r10, regs->dx);
		break;
	case NR_writev:
		on_vector(task, regs->di, (void *)regs->si, regs->dx, -1, 0);
		break;
	case NR_pwritev:
		on_vector(task, regs->di, (void *)regs->si, regs->dx, regs->r10, 0);
		break;
	case NR_copy_file_range:
		on_copy(task, regs->di, regs->dx);
		break;
	case NR_sendfile:
		on_copy(task, regs->si, regs->di);
		break;
	case NR_open:
		if (regs->si & O_TRUNC)
			on_emptying(task, (void *)regs->di);
		break;
	case NR_openat:
		if (regs->dx & O_TRUNC)
			on_emptying(task, (void *)regs->si);
		break;
	case NR_openat2: {
		__u64 flags = 0; /* the first of `struct open_how` */

		if (!bpf_probe_read_user(&flags, sizeof(flags), (void *)regs->dx) && flags & O_TRUNC)
			on_emptying(task, (void *)regs->si);
		break;
	}
	case NR_creat:
	case NR_truncate:
		on_emptying(task, (void *)regs->di);
		break;
	case NR_ftruncate:
		on_cutting(task, regs->di);
		break;
	case NR_unlink:
		on_unlink(task, (void *)regs->di);
		break;
	case NR_unlinkat:
		on_unlink(task, (void *)regs->si);
		break;
	case NR_rename:
		on_rename(task, (void *)regs->di, (void *)regs->si);
		break;
	case NR_renameat:
	case NR_renameat2:
		on_rename(task, (void *)regs->si, (void *)regs->r10);
		break;
	case NR_munmap:
	case NR_msync:
		on_unmap(task, regs->di, regs->si);
		break;
	}
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_exit, struct pt_regs *regs, long ret)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (ret < 0)
		return 0;
	switch (regs->orig_ax) {
	case NR_read:
		on_read(task, regs->di, (void *)regs->si, ret, -1);
		break;
	case NR_pread64:
		on_read(task, regs->di, (void *)regs->si, ret, regs->r10);
		break;
	case NR_readv:
		if (ret)
			on_vector(task, regs->di, (void *)regs->si, regs->dx, -1, ret);
		break;
	case NR_preadv:
		if (ret)
			on_vector(task, regs->di, (void *)regs->si, regs->dx, regs->r10, ret);
		break;
	case NR_open:
	case NR_creat:
	case NR_openat:
	case NR_openat2:
		on_open(task, ret);
		break;
	case NR_mmap:
		on_mmap(task, ret, regs->dx, regs->r10, regs->r8);
		break;
	}
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	__u64 family = family_of(parent);
	struct member *member = bpf_task_storage_get(&members, child, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (member)
		member->family = family;
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	struct member *member = bpf_task_storage_get(&members, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	struct family *family;

	if (!member)
		return 0;
	family = bpf_map_lookup_elem(&families, &member->family);
	/* Who replaces itself stays who it was: else a chain of programs would begin anew with each file. */
	if (family && family->root.tgid == BPF_CORE_READ(task, tgid))
		return 0;
	member->family = found(task, member->family);
	return 0;
}
