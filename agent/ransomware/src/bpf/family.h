/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * Families of processes: who belongs to one, what it is accused of, and how it is stopped.
 */
#pragma once
#include "state.h"

static __always_inline void identify(struct process_id *id, struct task_struct *task)
{
	id->start = BPF_CORE_READ(task, group_leader, start_boottime);
	id->tgid = BPF_CORE_READ(task, tgid);
	id->unused = 0;
}

/* Founds a family. */
static __always_inline __u64 found(struct task_struct *task, __u64 parent)
{
	struct family family = { .parent = parent };
	__u64 id = bpf_ktime_get_ns() << 6 | (bpf_get_smp_processor_id() & 63);

	identify(&family.root, task);
	bpf_map_update_elem(&families, &id, &family, BPF_ANY);
	return id;
}

/* The family of a process; one that was there before us is the root of its own. */
static __always_inline __u64 family_of(struct task_struct *task)
{
	struct member *member = bpf_task_storage_get(&members, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!member)
		return 0;
	if (!member->family)
		member->family = found(task, 0);
	return member->family;
}

/* One step of a path walk: appends a component. Global, so that the verifier looks at it once. */
__noinline int walk_step(struct path_bytes *path)
{
	struct scratch *s = slot();

	if (!s || !path)
		return 0;

	struct dentry *dentry = s->dentry, *parent = BPF_CORE_READ(dentry, d_parent);
	__u64 at = s->at;

	if (parent == dentry || at > PATH_BYTES)
		return 0;

	long len = bpf_probe_read_kernel_str(path->bytes + at, NAME_BYTES, BPF_CORE_READ(dentry, d_name.name));

	if (len < 1 || len > NAME_BYTES)
		return 0;
	s->at = at + len;
	s->dentry = parent;
	return 1;
}

/* Tells user space; of evidence also which file. */
static __always_inline void tell(__u32 kind, __u64 id, struct process_id *root, __u32 count)
{
	struct record *record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	struct scratch *s = slot();
	struct charge *charge;
	int step;

	if (!record || !s) {
		__sync_fetch_and_add(&lost, 1);
		if (record)
			bpf_ringbuf_discard(record, 0);
		return;
	}
	charge = &s->charge;
	record->kind = kind;
	record->how = charge->how;
	record->time = bpf_ktime_get_boot_ns();
	record->family = id;
	record->root = *root;
	identify(&record->process, (void *)bpf_get_current_task());
	record->ino = charge->file.ino;
	record->dev = charge->file.dev;
	record->count = count;
	record->unused = 0;
	record->path_len = 0;
	if (kind == KIND_EVIDENCE && charge->dentry) {
		s->dentry = charge->dentry;
		s->at = 0;
		for (step = 0; step < 32; step++)
			if (!walk_step(&record->path))
				break;
		record->path_len = s->at;
	} else if (kind == KIND_EVIDENCE && charge->named) {
		long len = bpf_probe_read_kernel_str(record->path.bytes, NAME_BYTES, s->name);

		record->path_len = len > 0 ? len : 0;
	}
	bpf_ringbuf_submit(record, BPF_RB_FORCE_WAKEUP);
}

static __always_inline void stop_current(__u64 id, struct process_id *root)
{
	__u32 index = CONTROL_STOPS, *stops = bpf_map_lookup_elem(&control, &index);

	if (!stops || !*stops)
		return;
	tell(KIND_STOPPED, id, root, 0);
	/*
	 * To this thread: when it takes the signal, the whole process stops. Sent to the process, it would wait for the one
	 * thread that the kernel chose, and a second one would be dropped, while the others go on.
	 */
	bpf_send_signal_thread(SIGSTOP);
}

/* True if the process with this family is below the one that alone counts. */
static __always_inline int counts(__u64 id)
{
	int generation;

	if (!only_below)
		return 1;
	for (generation = 0; generation < GENERATIONS; generation++) {
		struct family *family = bpf_map_lookup_elem(&families, &id);

		if (!family)
			return 0;
		if (family->root.tgid == only_below)
			return 1;
		id = family->parent;
	}
	return 0;
}

/* One more piece of evidence, as the scratch has it. The lowest family that is at its limit is stopped. */
__noinline int accuse_charged(void)
{
	struct scratch *s = slot();

	if (!s)
		return 0;

	struct charge *charge = &s->charge;
	__u64 now = bpf_ktime_get_boot_ns(), id = charge->file.family, at = id;
	__u32 weight = charge->weight;
	struct process_id root = {};
	__u32 count = 0;
	int generation;

	if (!counts(id))
		return 0;
	for (generation = 0; generation < GENERATIONS; generation++) {
		struct family *family = bpf_map_lookup_elem(&families, &at);

		if (!family || family->root.tgid == 1 || bpf_map_lookup_elem(&spared, &family->root.tgid))
			break;
		if (generation == 0) {
			if (now - family->own_since > window_own) {
				family->own_since = now;
				family->own = 0;
			}
			__sync_fetch_and_add(&family->own, weight);
			count = family->own;
			root = family->root;
		}
		if (now - family->below_since > window_below) {
			family->below_since = now;
			family->below = 0;
		}
		__sync_fetch_and_add(&family->below, weight);
		__u32 grace = family->grace < 8 ? family->grace : 8;

		if (family->own >= limit_own << grace || family->below >= limit_below << grace) {
			struct process_id culprit = family->root;

			tell(KIND_EVIDENCE, at, &root, count);
			if (!__sync_lock_test_and_set(&family->stopped, 1)) {
				__sync_fetch_and_add(&stopping, 1);
				tell(KIND_ALARM, at, &culprit, family->below);
			}
			stop_current(at, &culprit);
			return 1;
		}
		at = family->parent;
		/* Databases patch a file or two each; many of them are no encryptor. */
		if (!at || charge->how == HOW_PATCHED)
			break;
	}
	tell(KIND_EVIDENCE, id, &root, count);
	return 0;
}

static __always_inline void accuse(__u64 id, __u32 how, __u32 weight, struct file_key *key, struct dentry *dentry)
{
	struct scratch *s = slot();

	if (!s)
		return;
	s->charge.file = *key;
	s->charge.file.family = id;
	s->charge.dentry = dentry;
	s->charge.how = how;
	s->charge.weight = weight;
	s->charge.named = how == HOW_REMOVED || how == HOW_REPLACED;
	accuse_charged();
}

/* Members of a stopped family stop at their next call, wherever they are. */
static __always_inline void stop_if_told(struct task_struct *task)
{
	struct member *member = bpf_task_storage_get(&members, task, NULL, 0);
	int generation;
	__u64 at;

	if (!member)
		return;
	at = member->family;
	for (generation = 0; generation < GENERATIONS; generation++) {
		struct family *family = bpf_map_lookup_elem(&families, &at);

		if (!family)
			return;
		if (family->stopped) {
			struct process_id root = family->root;

			stop_current(at, &root);
			return;
		}
		at = family->parent;
		if (!at)
			return;
	}
}
