/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * The end of system calls: one program sees each, and hands those that are of interest to the program of their kind.
 * At the end the arguments still stand in the registers, and what the call did is known.
 *
 * x86-64 only, where a process may call with the numbers of 32-bit programs, too.
 */
#pragma once

#include "common.h"

/* Places in `handlers`. */
enum { HANDLER_NONE, HANDLER_NETWORK, HANDLER_OPEN, HANDLER_PATH, HANDLER_CALL, HANDLER_TALK, HANDLER_UNIX,
       HANDLERS };

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, HANDLERS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} handlers SEC(".maps");

/* Where a system call's arguments are that name a file. */
struct shape {
	__u8 handler;
	__u8 op;	/* of files: what it does */
	__s8 dir;	/* argument that is the directory of `path`; -1: the current one */
	__s8 path;	/* argument that names the file; -1: none */
	__s8 fd;	/* argument that is the file itself; -1: none */
	__s8 dir2;	/* the same of the second name */
	__s8 path2;
	__s8 value;	/* argument that is told as the value; -1: none */
};

/* System calls by the numbers of x86-64, <asm/unistd_64.h>; these never change. */
enum {
	CALL_OPEN = 2, CALL_SOCKET = 41, CALL_CONNECT = 42, CALL_ACCEPT = 43, CALL_SENDTO = 44,
	CALL_RECVFROM = 45, CALL_SENDMSG = 46, CALL_RECVMSG = 47,
	CALL_LISTEN = 50, CALL_TRUNCATE = 76, CALL_RENAME = 82, CALL_RMDIR = 84, CALL_CREAT = 85, CALL_LINK = 86,
	CALL_UNLINK = 87, CALL_SYMLINK = 88, CALL_CHMOD = 90, CALL_FCHMOD = 91, CALL_CHOWN = 92, CALL_FCHOWN = 93,
	CALL_LCHOWN = 94, CALL_PTRACE = 101, CALL_SYSLOG = 103, CALL_SETUID = 105, CALL_SETGID = 106,
	CALL_SETREUID = 113, CALL_SETREGID = 114, CALL_SETRESUID = 117, CALL_SETRESGID = 119, CALL_CAPSET = 126,
	CALL_UTIME = 132, CALL_MKNOD = 133, CALL_PERSONALITY = 135, CALL_PIVOT_ROOT = 155, CALL_CHROOT = 161,
	CALL_SETTIMEOFDAY = 164, CALL_MOUNT = 165, CALL_UMOUNT2 = 166, CALL_REBOOT = 169, CALL_SETHOSTNAME = 170,
	CALL_INIT_MODULE = 175, CALL_DELETE_MODULE = 176, CALL_SETXATTR = 188, CALL_LSETXATTR = 189,
	CALL_FSETXATTR = 190, CALL_REMOVEXATTR = 197, CALL_LREMOVEXATTR = 198, CALL_FREMOVEXATTR = 199,
	CALL_CLOCK_SETTIME = 227, CALL_UTIMES = 235, CALL_KEXEC_LOAD = 246, CALL_OPENAT = 257, CALL_MKNODAT = 259,
	CALL_FCHOWNAT = 260, CALL_FUTIMESAT = 261, CALL_UNLINKAT = 263, CALL_RENAMEAT = 264, CALL_LINKAT = 265,
	CALL_SYMLINKAT = 266, CALL_FCHMODAT = 268, CALL_UNSHARE = 272, CALL_UTIMENSAT = 280, CALL_ACCEPT4 = 288,
	CALL_OPEN_BY_HANDLE_AT = 304, CALL_SENDMMSG = 307, CALL_SETNS = 308, CALL_PROCESS_VM_WRITEV = 311,
	CALL_FINIT_MODULE = 313, CALL_RENAMEAT2 = 316, CALL_MEMFD_CREATE = 319, CALL_KEXEC_FILE_LOAD = 320,
	CALL_BPF = 321, CALL_IO_URING_SETUP = 425, CALL_MOVE_MOUNT = 429, CALL_OPENAT2 = 437, CALL_FCHMODAT2 = 452,
	CALLS = 512,
};

#define NETWORK { HANDLER_NETWORK, 0, -1, -1, -1, -1, -1, -1 }
/* Looked at for messages of DNS, then as NETWORK. */
#define TALK { HANDLER_TALK, 0, -1, -1, -1, -1, -1, -1 }
#define OTHER { HANDLER_CALL, 0, -1, -1, -1, -1, -1, -1 }
#define AT_CWD(op, path, value) { HANDLER_PATH, op, -1, path, -1, -1, -1, value }
#define AT_DIR(op, dir, path, value) { HANDLER_PATH, op, dir, path, -1, -1, -1, value }
#define OF_FD(op, value) { HANDLER_PATH, op, -1, -1, 0, -1, -1, value }
#define TWO(op, dir, path, dir2, path2) { HANDLER_PATH, op, dir, path, -1, dir2, path2, -1 }

static const struct shape SHAPES[CALLS] = {
	[CALL_CONNECT] = NETWORK,
	[CALL_ACCEPT] = NETWORK,
	[CALL_ACCEPT4] = NETWORK,
	[CALL_LISTEN] = NETWORK,
	[CALL_SENDTO] = TALK,
	[CALL_SENDMSG] = TALK,
	[CALL_SENDMMSG] = TALK,
	[CALL_RECVFROM] = TALK,
	[CALL_RECVMSG] = TALK,

	/* For these, `value` is the argument with the flags; the flags of openat2 lie in memory. */
	[CALL_OPEN] = { HANDLER_OPEN, 0, -1, -1, -1, -1, -1, 1 },
	[CALL_CREAT] = { HANDLER_OPEN, 0, -1, -1, -1, -1, -1, -1 },
	[CALL_OPENAT] = { HANDLER_OPEN, 0, -1, -1, -1, -1, -1, 2 },
	[CALL_OPENAT2] = { HANDLER_OPEN, 0, -1, -1, -1, -1, -1, -1 },
	[CALL_OPEN_BY_HANDLE_AT] = { HANDLER_OPEN, 0, -1, -1, -1, -1, -1, 2 },

	[CALL_UNLINK] = AT_CWD(FILE_DELETE, 0, -1),
	[CALL_UNLINKAT] = AT_DIR(FILE_DELETE, 0, 1, 2),
	[CALL_RMDIR] = AT_CWD(FILE_DELETE, 0, -1),
	[CALL_RENAME] = TWO(FILE_RENAME, -1, 0, -1, 1),
	[CALL_RENAMEAT] = TWO(FILE_RENAME, 0, 1, 2, 3),
	[CALL_RENAMEAT2] = TWO(FILE_RENAME, 0, 1, 2, 3),
	[CALL_LINK] = TWO(FILE_LINK, -1, 0, -1, 1),
	[CALL_LINKAT] = TWO(FILE_LINK, 0, 1, 2, 3),
	/* The text of a symbolic link is carried as the first name, and where it lies as the second. */
	[CALL_SYMLINK] = TWO(FILE_LINK, -1, 0, -1, 1),
	[CALL_SYMLINKAT] = TWO(FILE_LINK, -1, 0, 1, 2),
	[CALL_TRUNCATE] = AT_CWD(FILE_UPDATE, 0, 1),
	[CALL_CHMOD] = AT_CWD(FILE_CHANGE, 0, 1),
	[CALL_FCHMOD] = OF_FD(FILE_CHANGE, 1),
	[CALL_FCHMODAT] = AT_DIR(FILE_CHANGE, 0, 1, 2),
	[CALL_FCHMODAT2] = AT_DIR(FILE_CHANGE, 0, 1, 2),
	[CALL_CHOWN] = AT_CWD(FILE_CHANGE, 0, 1),
	[CALL_LCHOWN] = AT_CWD(FILE_CHANGE, 0, 1),
	[CALL_FCHOWN] = OF_FD(FILE_CHANGE, 1),
	[CALL_FCHOWNAT] = AT_DIR(FILE_CHANGE, 0, 1, 2),
	[CALL_UTIME] = AT_CWD(FILE_CHANGE, 0, -1),
	[CALL_UTIMES] = AT_CWD(FILE_CHANGE, 0, -1),
	[CALL_FUTIMESAT] = AT_DIR(FILE_CHANGE, 0, 1, -1),
	[CALL_UTIMENSAT] = AT_DIR(FILE_CHANGE, 0, 1, -1),
	[CALL_MKNOD] = AT_CWD(FILE_CREATE, 0, 1),
	[CALL_MKNODAT] = AT_DIR(FILE_CREATE, 0, 1, 2),
	/* The attribute's name is the second name. */
	[CALL_SETXATTR] = { HANDLER_PATH, FILE_CHANGE, -1, 0, -1, -1, 1, -1 },
	[CALL_LSETXATTR] = { HANDLER_PATH, FILE_CHANGE, -1, 0, -1, -1, 1, -1 },
	[CALL_FSETXATTR] = { HANDLER_PATH, FILE_CHANGE, -1, -1, 0, -1, 1, -1 },
	[CALL_REMOVEXATTR] = { HANDLER_PATH, FILE_CHANGE, -1, 0, -1, -1, 1, -1 },
	[CALL_LREMOVEXATTR] = { HANDLER_PATH, FILE_CHANGE, -1, 0, -1, -1, 1, -1 },
	[CALL_FREMOVEXATTR] = { HANDLER_PATH, FILE_CHANGE, -1, -1, 0, -1, 1, -1 },

	[CALL_SOCKET] = OTHER,
	[CALL_PTRACE] = OTHER,
	[CALL_SYSLOG] = OTHER,
	[CALL_SETUID] = OTHER,
	[CALL_SETGID] = OTHER,
	[CALL_SETREUID] = OTHER,
	[CALL_SETREGID] = OTHER,
	[CALL_SETRESUID] = OTHER,
	[CALL_SETRESGID] = OTHER,
	[CALL_CAPSET] = OTHER,
	[CALL_PERSONALITY] = OTHER,
	/* The first name is the place of interest: the target of a mount. */
	[CALL_PIVOT_ROOT] = { HANDLER_CALL, 0, -1, 0, -1, -1, -1, -1 },
	[CALL_CHROOT] = { HANDLER_CALL, 0, -1, 0, -1, -1, -1, -1 },
	[CALL_MOUNT] = { HANDLER_CALL, 0, -1, 1, -1, -1, -1, -1 },
	[CALL_UMOUNT2] = { HANDLER_CALL, 0, -1, 0, -1, -1, -1, -1 },
	[CALL_MOVE_MOUNT] = { HANDLER_CALL, 0, -1, 3, -1, -1, -1, -1 },
	[CALL_SETTIMEOFDAY] = OTHER,
	[CALL_CLOCK_SETTIME] = OTHER,
	[CALL_REBOOT] = OTHER,
	[CALL_SETHOSTNAME] = OTHER,
	[CALL_INIT_MODULE] = OTHER,
	[CALL_FINIT_MODULE] = { HANDLER_CALL, 0, -1, -1, 0, -1, -1, -1 },
	[CALL_DELETE_MODULE] = { HANDLER_CALL, 0, -1, 0, -1, -1, -1, -1 },
	[CALL_KEXEC_LOAD] = OTHER,
	[CALL_KEXEC_FILE_LOAD] = { HANDLER_CALL, 0, -1, -1, 0, -1, -1, -1 },
	[CALL_UNSHARE] = OTHER,
	[CALL_SETNS] = OTHER,
	[CALL_PROCESS_VM_WRITEV] = OTHER,
	[CALL_MEMFD_CREATE] = { HANDLER_CALL, 0, -1, 0, -1, -1, -1, -1 },
	[CALL_BPF] = OTHER,
	[CALL_IO_URING_SETUP] = OTHER,
};

/* The same calls by the numbers of 32-bit programs, <asm/unistd_32.h>; 0 is none. */
static const __u16 COMPAT[CALLS] = {
	[5] = CALL_OPEN, [8] = CALL_CREAT, [9] = CALL_LINK, [10] = CALL_UNLINK, [14] = CALL_MKNOD, [15] = CALL_CHMOD,
	[16] = CALL_LCHOWN, [21] = CALL_MOUNT, [23] = CALL_SETUID, [26] = CALL_PTRACE, [30] = CALL_UTIME,
	[38] = CALL_RENAME, [40] = CALL_RMDIR, [46] = CALL_SETGID, [52] = CALL_UMOUNT2, [61] = CALL_CHROOT,
	[70] = CALL_SETREUID, [71] = CALL_SETREGID, [74] = CALL_SETHOSTNAME, [79] = CALL_SETTIMEOFDAY,
	[83] = CALL_SYMLINK, [88] = CALL_REBOOT, [92] = CALL_TRUNCATE, [94] = CALL_FCHMOD, [95] = CALL_FCHOWN,
	[103] = CALL_SYSLOG, [128] = CALL_INIT_MODULE, [129] = CALL_DELETE_MODULE, [136] = CALL_PERSONALITY,
	[164] = CALL_SETRESUID, [170] = CALL_SETRESGID, [182] = CALL_CHOWN, [185] = CALL_CAPSET, [198] = CALL_LCHOWN,
	[203] = CALL_SETREUID, [204] = CALL_SETREGID, [207] = CALL_FCHOWN, [208] = CALL_SETRESUID,
	[210] = CALL_SETRESGID, [212] = CALL_CHOWN, [213] = CALL_SETUID, [214] = CALL_SETGID, [217] = CALL_PIVOT_ROOT,
	[226] = CALL_SETXATTR, [227] = CALL_LSETXATTR, [228] = CALL_FSETXATTR, [235] = CALL_REMOVEXATTR,
	[236] = CALL_LREMOVEXATTR, [237] = CALL_FREMOVEXATTR, [264] = CALL_CLOCK_SETTIME, [271] = CALL_UTIMES,
	[283] = CALL_KEXEC_LOAD, [295] = CALL_OPENAT, [297] = CALL_MKNODAT, [298] = CALL_FCHOWNAT,
	[299] = CALL_FUTIMESAT, [301] = CALL_UNLINKAT, [302] = CALL_RENAMEAT, [303] = CALL_LINKAT,
	[304] = CALL_SYMLINKAT, [306] = CALL_FCHMODAT, [310] = CALL_UNSHARE, [320] = CALL_UTIMENSAT,
	[342] = CALL_OPEN_BY_HANDLE_AT, [346] = CALL_SETNS, [348] = CALL_PROCESS_VM_WRITEV, [350] = CALL_FINIT_MODULE,
	[353] = CALL_RENAMEAT2, [356] = CALL_MEMFD_CREATE, [357] = CALL_BPF, [359] = CALL_SOCKET, [362] = CALL_CONNECT,
	[363] = CALL_LISTEN, [364] = CALL_ACCEPT4, [369] = CALL_SENDTO,
	[370] = CALL_SENDMSG, [371] = CALL_RECVFROM, [372] = CALL_RECVMSG, [345] = CALL_SENDMMSG, [404] = CALL_CLOCK_SETTIME,
	[412] = CALL_UTIMENSAT, [425] = CALL_IO_URING_SETUP, [429] = CALL_MOVE_MOUNT, [437] = CALL_OPENAT2,
	[452] = CALL_FCHMODAT2,
};

/* thread_info.status: the system call came with the numbers of 32-bit programs. */
#define TS_COMPAT 2
/* Set in the numbers of the x32 interface. */
#define X32_BIT 0x40000000

static __always_inline const struct shape *shape_of(__u64 call)
{
	return &SHAPES[call & (CALLS - 1)];
}

/* The argument at a place that a shape names. */
static __always_inline __u64 argument(struct scratch *walk, __s8 place)
{
	return walk->args[place < 0 || place > 5 ? 0 : place];
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_call, struct pt_regs *regs, long ret)
{
	__u64 number = regs->orig_ax & ~(__u64)X32_BIT;
	__u32 zero = 0;

	if (number >= CALLS)
		return 0;

	struct task_struct *task = bpf_get_current_task_btf();
	int compat = task->thread_info.status & TS_COMPAT;
	__u64 call = compat ? COMPAT[number] : number;
	__u32 handler = shape_of(call)->handler;

	if (handler == HANDLER_NONE)
		return 0;

	struct config *told = bpf_map_lookup_elem(&config, &zero);
	struct scratch *walk = own_scratch();

	if (!walk || !told)
		return 0;
	walk->canary = task->pid == told->canary;
	if (task->tgid == told->own_tgid && !walk->canary)
		return 0;
	/* Registers of 32-bit calls hold 32 bits. */
	__u64 mask = compat ? 0xffffffff : ~0ULL;

	walk->call = compat ? call | (1ULL << 32) : call;
	walk->ret = ret;
	walk->args[0] = (compat ? regs->bx : regs->di) & mask;
	walk->args[1] = (compat ? regs->cx : regs->si) & mask;
	walk->args[2] = regs->dx & mask;
	walk->args[3] = (compat ? regs->si : regs->r10) & mask;
	walk->args[4] = (compat ? regs->di : regs->r8) & mask;
	walk->args[5] = (compat ? regs->bp : regs->r9) & mask;
	bpf_tail_call(ctx, &handlers, handler);
	/* No such program here. */
	if (handler == HANDLER_TALK)
		bpf_tail_call(ctx, &handlers, HANDLER_NETWORK);
	return 0;
}

/* The file behind a descriptor of the current process. Read without helpers as far as the types are known. */
static __always_inline struct file *file_of(struct task_struct *task, __u64 fd)
{
	struct files_struct *files = task->files;
	struct file *file = NULL;
	struct fdtable *table;

	if (!files)
		return NULL;
	table = files->fdt;
	if (!table || (__u32)fd >= table->max_fds)
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), table->fd + (__u32)fd);
	return file;
}
