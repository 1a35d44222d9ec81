/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * The few kernel types and fields that the guard reads, written by hand.
 *
 * Only names and nesting matter: `preserve_access_index` makes libbpf look up each field's real offset in the
 * running kernel's BTF when the programs are loaded (CO-RE).
 */
#pragma once

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
/* Named by the declarations of helpers that are not used here. */
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

#define NULL ((void *)0)

/* From the kernel's user-space interface, <linux/bpf.h>; these numbers never change. */
enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
};
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { BPF_F_NO_PREALLOC = 1 };
enum { BPF_RB_FORCE_WAKEUP = 2 };
enum { BPF_LOCAL_STORAGE_GET_F_CREATE = 1 };

/* From <asm-generic/fcntl.h>, <linux/stat.h>, <linux/mman.h>, <asm/signal.h>. */
#define O_APPEND 02000
#define S_IFMT 0170000
#define S_IFREG 0100000
#define PROT_WRITE 2
#define MAP_SHARED 1
#define MAP_TYPE 15
#define MAP_ANONYMOUS 0x20
#define MAP_DENYWRITE 0x800
#define SIGSTOP 19

/* `f_mode`, from <linux/fs.h>: stable since 4.19. */
#define FMODE_CREATED 0x100000

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct super_block {
	__u32 s_dev;
};

struct inode {
	__u16 i_mode;
	unsigned long i_ino;
	struct super_block *i_sb;
	__s64 i_size;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
};

struct path {
	struct dentry *dentry;
};

struct file {
	__u32 f_mode;
	__u32 f_flags;
	__s64 f_pos;
	struct inode *f_inode;
	struct path f_path;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct task_struct {
	int pid;
	int tgid;
	__u64 start_boottime;
	struct task_struct *group_leader;
	struct files_struct *files;
};

/* x86-64: arguments of system calls keep their registers until the call returns. */
struct pt_regs {
	unsigned long r10;
	unsigned long r8;
	unsigned long ax;
	unsigned long dx;
	unsigned long si;
	unsigned long di;
	unsigned long orig_ax;
};

struct linux_binprm {
	struct file *file;
};

#pragma clang attribute pop
