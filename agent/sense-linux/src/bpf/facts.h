/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * What is known of a process whatever it runs: users, capabilities, control groups.
 */
#pragma once

#include "common.h"

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

/* Effective capabilities; two halves before 6.3, of which the first is the low one. */
static __always_inline __u64 capabilities(struct task_struct *task)
{
	__u64 caps = 0;

	bpf_probe_read_kernel(&caps, sizeof(caps), __builtin_preserve_access_index(&task->cred->cap_effective));
	return caps;
}

/* What is known of a process whatever it runs. */
static __always_inline void put_facts(struct scratch *walk, struct task_struct *task)
{
	struct exec_record *record = &walk->record;

	record->uid = task->cred->uid.val;
	record->login_uid = -1;
	if (bpf_core_field_exists(task->loginuid))
		record->login_uid = task->loginuid.val;
	record->caps = capabilities(task);
	record->cgroup = task->cgroups->dfl_cgrp->kn->id;
	record->cgroup_v1 = cgroup_v1(task);
}

/* The highest bit of a change's nanoseconds says that somebody has asked for them (6.13). */
#define NS_MASK 0x7fffffff

/* Which file it is, and which state of it. */
static __always_inline void put_identity(struct exec_record *record, struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	struct inode___plain *plain = (void *)inode;
	struct inode___hidden *hidden = (void *)inode;
	struct inode___split *split = (void *)inode;

	record->exe_inode = BPF_CORE_READ(inode, i_ino);
	record->exe_size = BPF_CORE_READ(inode, i_size);
	record->exe_device = BPF_CORE_READ(inode, i_sb, s_dev);
	record->exe_magic = BPF_CORE_READ(inode, i_sb, s_magic);
	if (bpf_core_field_exists(split->i_mtime_sec)) {
		record->exe_mtime = BPF_CORE_READ(split, i_mtime_sec);
		record->exe_mtime_ns = BPF_CORE_READ(split, i_mtime_nsec);
	} else if (bpf_core_field_exists(hidden->__i_mtime)) {
		record->exe_mtime = BPF_CORE_READ(hidden, __i_mtime.tv_sec);
		record->exe_mtime_ns = BPF_CORE_READ(hidden, __i_mtime.tv_nsec);
	} else {
		record->exe_mtime = BPF_CORE_READ(plain, i_mtime.tv_sec);
		record->exe_mtime_ns = BPF_CORE_READ(plain, i_mtime.tv_nsec);
	}
	if (bpf_core_field_exists(split->i_ctime_sec)) {
		record->exe_ctime = BPF_CORE_READ(split, i_ctime_sec);
		record->exe_ctime_ns = BPF_CORE_READ(split, i_ctime_nsec) & NS_MASK;
	} else if (bpf_core_field_exists(hidden->__i_ctime)) {
		record->exe_ctime = BPF_CORE_READ(hidden, __i_ctime.tv_sec);
		record->exe_ctime_ns = BPF_CORE_READ(hidden, __i_ctime.tv_nsec);
	} else {
		record->exe_ctime = BPF_CORE_READ(plain, i_ctime.tv_sec);
		record->exe_ctime_ns = BPF_CORE_READ(plain, i_ctime.tv_nsec);
	}
}

static __always_inline void put_no_identity(struct exec_record *record)
{
	record->exe_inode = record->exe_size = 0;
	record->exe_mtime = record->exe_ctime = 0;
	record->exe_mtime_ns = record->exe_ctime_ns = 0;
	record->exe_device = record->exe_magic = 0;
}
