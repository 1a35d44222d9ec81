/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * The few kernel types and fields that the guard reads, written by hand.
 *
 * Only names and nesting matter: `preserve_access_index` makes libbpf look up each field's real offset in the
 * running kernel's BTF when the programs are loaded (CO-RE).
 */
#pragma once

#include <wardline/types.h>

/* From <asm-generic/fcntl.h>, <linux/stat.h>, <linux/mman.h>, <asm/signal.h>. */
#define O_APPEND 02000
#define O_TRUNC 01000
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

struct inode;

/* The page cache: files' contents in memory, by their number in the file. */
struct xarray {
	void *xa_head;
};

struct xa_node {
	unsigned char shift;
	void *slots[64];
};

struct address_space {
	struct inode *host;
	struct xarray i_pages;
};

struct folio {
	struct address_space *mapping;
	unsigned long index;
};

struct page {
	unsigned long compound_head;
};

enum pageflags {
	PG_uptodate = 3,
};

typedef struct {
	__u32 val;
} kuid_t;

typedef struct {
	__u32 val;
} kgid_t;

struct timespec64 {
	__s64 tv_sec;
	long tv_nsec;
};

struct inode {
	__u16 i_mode;
	kuid_t i_uid;
	kgid_t i_gid;
	unsigned long i_ino;
	unsigned int i_nlink;
	struct super_block *i_sb;
	__s64 i_size;
	__s64 i_mtime_sec;
	__u32 i_mtime_nsec;
};

/* The time of change before 6.11, and before 6.6. */
struct inode___6_6 {
	struct timespec64 __i_mtime;
};

struct inode___5 {
	struct timespec64 i_mtime;
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
	struct address_space *f_mapping;
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
