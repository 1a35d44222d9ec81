/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * The path of a file, walked from its directory entry to the root: no string of user space is believed, and no lock
 * is needed. A path is written as its components, each with a NUL, leaf first.
 */
#pragma once

#include "common.h"

/* Steps of a path walk: components and mounts crossed. Bounded, because the verifier follows every step. */
#define WALK_STEPS 512

enum { WALK_ON, WALK_DONE, WALK_CUT };

/*
 * One step of a path walk: appends a component or crosses a mount.
 *
 * A global function whose state is in a map, because the verifier then looks at it once, and not once for every
 * way of getting through 512 steps.
 */
__noinline int walk_step(__u32 slot)
{
	struct scratch *walk = bpf_map_lookup_elem(&scratch, &slot);

	if (!walk)
		return WALK_CUT;

	struct dentry *dentry = walk->dentry, *parent;
	struct mount *mount = walk->mount;
	__u64 at = walk->at;

	if (dentry == BPF_CORE_READ(mount, mnt.mnt_root)) {
		struct mount *up = BPF_CORE_READ(mount, mnt_parent);

		/* The top of the mount tree: past any chroot. */
		if (up == mount)
			return WALK_DONE;
		walk->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		walk->mount = up;
		return WALK_ON;
	}
	if (at > walk->last || at > DATA_MAX - NAME_BYTES)
		return WALK_CUT;

	long len = bpf_probe_read_kernel_str(walk->record.data + at, NAME_BYTES, BPF_CORE_READ(dentry, d_name.name));

	if (len < 1 || len > NAME_BYTES)
		return WALK_CUT;
	parent = BPF_CORE_READ(dentry, d_parent);
	/* Not under any root: a memfd has a name and no place. */
	if (parent == dentry) {
		walk->at = at + len;
		return WALK_DONE;
	}
	walk->depth++;
	walk->top[3] = walk->top[2];
	walk->top[2] = walk->top[1];
	walk->top[1] = walk->top[0];
	walk->top[0] = at;
	walk->at = at + len;
	walk->dentry = parent;
	return WALK_ON;
}

/* Appends the components of what `vfsmount` and `dentry` name; returns their length. */
static __always_inline __u64 put_walk(struct scratch *walk, struct vfsmount *vfsmount, struct dentry *dentry)
{
	__u32 slot = walk->slot;
	__u64 start = walk->at;
	int step, result = WALK_CUT;

	walk->dentry = dentry;
	walk->mount = (void *)vfsmount - bpf_core_field_offset(struct mount, mnt);
	walk->depth = 0;
	for (step = 0; step < WALK_STEPS; step++) {
		result = walk_step(slot);
		if (result != WALK_ON)
			break;
	}
	if (result != WALK_DONE)
		walk->flags |= walk->cut;
	return walk->at - start;
}

/* Appends a path's components, leaf first; returns their length. */
static __always_inline __u64 put_path(struct scratch *walk, struct path *path, __u64 last, __u32 cut)
{
	walk->last = last;
	walk->cut = cut;
	return put_walk(walk, BPF_CORE_READ(path, mnt), BPF_CORE_READ(path, dentry));
}
