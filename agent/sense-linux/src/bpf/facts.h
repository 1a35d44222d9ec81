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
