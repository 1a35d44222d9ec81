/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * Files: what was created, opened for writing, deleted, renamed, linked, or given another mode, owner or attribute.
 * Only calls that succeeded. An open file is named by a walk, so no name of user space is believed; what was only
 * named is told as it was named, with the directory that the name is relative to.
 */
#pragma once

#include "calls.h"
#include "watch.h"

#define O_WRITES 3 /* O_WRONLY, O_RDWR */
#define O_CREAT 0100
#define FMODE_WRITE 2
#define FMODE_CREATED (1 << 20)
#define S_IFREG 0100000
#define S_IFBLK 0060000
#define S_ISUGID 06000
#define AT_FDCWD -100

/* A file_record lies directly before the scratch's data. */
static __always_inline struct file_record *file_record(struct scratch *walk)
{
	return (void *)walk->record.data - sizeof(struct file_record);
}

static __always_inline void send_file(struct scratch *walk, struct task_struct *task, __u32 op)
{
	struct counter *counter = count(KIND_FILE);
	struct file_record *record = file_record(walk);
	__u64 size = sizeof(*record) + walk->at;

	fill_header(&record->header, task, KIND_FILE, size);
	record->op = op;
	record->call = walk->call;
	record->flags = walk->flags;
	asm volatile("" : "+r"(size));
	if (size > sizeof(*record) + DATA_MAX || crowded() || bpf_ringbuf_output(&ring, record, size, wake_if_due()))
		count_lost(counter);
}

/* The name of an open file is that of one whose reading is told. */
static __always_inline int is_read_name(struct file *file)
{
	struct watch_name name = {};

	bpf_probe_read_kernel_str(name.name, sizeof(name.name), BPF_CORE_READ(file, f_path.dentry, d_name.name));
	return is_named(&name, NAMED_READ);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_open, struct pt_regs *regs, long ret)
{
	struct scratch *walk = own_scratch();
	struct task_struct *task = bpf_get_current_task_btf();

	if (!walk || ret < 0)
		return 0;

	struct file *file = file_of(task, ret);

	if (!file)
		return 0;

	__u32 mode = BPF_CORE_READ(file, f_mode), op = FILE_READ;
	__u16 type = BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT;

	if (mode & FMODE_WRITE)
		op = mode & FMODE_CREATED ? FILE_CREATE : FILE_UPDATE;
	else if (mode & FMODE_CREATED)
		op = FILE_CREATE;
	else if (!is_read_name(file))
		return 0;
	if (type != S_IFREG && type != S_IFBLK)
		return 0;
	/* Made without a name. */
	if (BPF_CORE_READ(file, f_inode, i_nlink) == 0)
		return 0;

	struct file_record *record = file_record(walk);

	walk->at = 0;
	walk->flags = 0;
	record->base_len = put_path(walk, __builtin_preserve_access_index(&file->f_path), PATH_BYTES, PATH_CUT);
	start_key(walk);
	/* Of what lies too deep nobody knows below which folder. */
	if (!walk->canary && !(walk->flags & PATH_CUT) && !(watched(bpf_get_smp_processor_id()) & (1 << op)))
		return 0;
	record->path_len = 0;
	record->base2_len = 0;
	record->path2_len = 0;
	record->value = BPF_CORE_READ(file, f_flags);
	send_file(walk, task, op);
	return 0;
}

/* Appends a string of the process; returns its length with its NUL. */
static __always_inline __u32 put_string(struct scratch *walk, __u64 from)
{
	__u64 at = walk->at;
	long len;

	if (at > DATA_MAX - PATH_BYTES)
		return 0;
	len = bpf_probe_read_user_str(walk->record.data + at, PATH_BYTES, (void *)from);
	if (len < 1 || len > PATH_BYTES) {
		walk->flags |= PATH_UNREAD;
		return 0;
	}
	walk->at = at + len;
	return len;
}

/*
 * Appends where a name leads: the directory that it is relative to, then the name. Returns whether `op` is told of
 * it. A name of nobody means the descriptor itself.
 */
static __always_inline int put_name(struct scratch *walk, struct task_struct *task, __s64 dir, __u64 name, __u32 cut,
				    __u32 *base_len, __u32 *path_len)
{
	struct fs_struct *fs = task->fs;
	struct path *base;
	__u32 from;
	char first = 0;
	int upwards = 0;

	if (!fs)
		return 0;
	if (name)
		bpf_probe_read_user(&first, 1, (void *)name);
	if (first == '/') {
		/* Nothing, but for a process that lives in a chroot. */
		base = __builtin_preserve_access_index(&fs->root);
	} else if ((__s32)dir == AT_FDCWD) {
		base = __builtin_preserve_access_index(&fs->pwd);
	} else {
		struct file *file = file_of(task, dir);

		if (!file)
			return 0;
		base = __builtin_preserve_access_index(&file->f_path);
	}
	*base_len = put_path(walk, base, walk->at + PATH_BYTES, cut);
	start_key(walk);
	from = walk->at;
	*path_len = 0;
	if (name) {
		*path_len = put_string(walk, name);
		upwards = parse_name(from);
	}
	return upwards || (walk->flags & cut) ? 0xffff : watched(bpf_get_smp_processor_id());
}

/* The name of an attribute that gives a program rights. */
static __always_inline int is_security(struct scratch *walk, __u64 name)
{
	char start[9] = {};

	bpf_probe_read_user(start, sizeof(start), (void *)name);
	return __builtin_memcmp(start, "security.", 9) == 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_path, struct pt_regs *regs, long ret)
{
	struct scratch *walk = own_scratch();
	struct task_struct *task = bpf_get_current_task_btf();

	if (!walk || ret != 0)
		return 0;

	__u32 call = walk->call & (CALLS - 1);
	const struct shape *shape = shape_of(call);
	struct file_record *record = file_record(walk);
	__s64 dir = AT_FDCWD;
	__u64 name = 0;
	int told = 0, is_symlink = call == CALL_SYMLINK || call == CALL_SYMLINKAT;

	walk->at = 0;
	walk->flags = 0;
	record->base_len = 0;
	record->path_len = 0;
	record->base2_len = 0;
	record->path2_len = 0;
	record->value = shape->value < 0 ? 0 : argument(walk, shape->value);
	if (is_symlink) {
		/* What it says, which need not be anything's name. */
		record->path_len = put_string(walk, walk->args[0]);
	} else {
		if (shape->fd >= 0)
			dir = argument(walk, shape->fd);
		else if (shape->dir >= 0)
			dir = argument(walk, shape->dir);
		if (shape->path >= 0)
			name = argument(walk, shape->path);
		told = put_name(walk, task, dir, name, PATH_CUT, &record->base_len, &record->path_len);
	}
	if (shape->op == FILE_CHANGE && shape->path2 >= 0) {
		name = argument(walk, shape->path2);
		record->path2_len = put_string(walk, name);
		if (is_security(walk, name))
			told |= 1 << FILE_CHANGE;
	} else if (shape->path2 >= 0) {
		dir = shape->dir2 < 0 ? AT_FDCWD : argument(walk, shape->dir2);
		name = argument(walk, shape->path2);
		told |= put_name(walk, task, dir, name, PATH2_CUT, &record->base2_len, &record->path2_len);
	}
	/* A program that runs with the rights of its owner is told wherever it is made. */
	if ((call == CALL_CHMOD || call == CALL_FCHMOD || call == CALL_FCHMODAT || call == CALL_FCHMODAT2) &&
	    (record->value & S_ISUGID))
		told |= 1 << FILE_CHANGE;
	if (told & (1 << shape->op))
		send_file(walk, task, shape->op);
	return 0;
}
