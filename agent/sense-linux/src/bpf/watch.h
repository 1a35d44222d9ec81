/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * Which files are of interest: a path's first components decide, the deepest watch that fits. Everything else is
 * forgotten here, before it costs more.
 */
#pragma once

#include "walk.h"

/* How much of a name that the process wrote is looked at for its first components. */
#define NAME_LOOKED_AT 160

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct watch_key);
	__type(value, struct watch);
} watches SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct watch_name);
	__type(value, __u8);
} names SEC(".maps");

static __always_inline int is_named(struct watch_name *name, __u8 as)
{
	__u8 *what = bpf_map_lookup_elem(&names, name);

	return what && (*what & as);
}

/*
 * Adds the first components of a name that stands at `from` in the scratch's data to the key, behind those of the
 * directory that it is relative to. Returns 1 if it goes upwards: then nobody knows here where it leads.
 *
 * A global function with its state in a map, for the verifier's sake, as with `walk_step`.
 */
__noinline int parse_name(__u32 from)
{
	struct scratch *walk = own_scratch();
	int start = 1, i;
	__u64 first = from;
	__u8 *text;

	/* Keeps the compiler from moving the bound away from where the verifier wants to see it. */
	asm volatile("" : "+r"(first));
	if (!walk || first > DATA_MAX - 256)
		return 1;
	text = walk->record.data + first;
	for (i = 0; i < NAME_LOOKED_AT; i++) {
		char c = text[i], next, second;

		if (!c)
			return 0;
		if (c == '/') {
			if (walk->key_at) {
				walk->key_slot++;
				walk->key_at = 0;
			}
			start = 1;
			continue;
		}
		if (start && c == '.') {
			next = text[i + 1];
			second = text[i + 2];
			if (next == '/' || !next)
				continue;
			if (next == '.' && (second == '/' || !second))
				return 1;
		}
		start = 0;

		__u32 slot = walk->key_slot, at = walk->key_at;

		if (slot < WATCH_KEYED && at < WATCH_NAME - 1) {
			walk->key.name[slot][at] = c;
			walk->key_at = at + 1;
		}
	}
	return 0;
}

/* Puts the first components of the path that was walked last into the key. */
static __always_inline void start_key(struct scratch *walk)
{
	int i;

	__builtin_memset(&walk->key, 0, sizeof(walk->key));
	for (i = 0; i < WATCH_KEYED; i++) {
		__u64 at = walk->top[i];

		if (i < walk->depth && at <= DATA_MAX - NAME_BYTES)
			bpf_probe_read_kernel_str(walk->key.name[i], WATCH_NAME, walk->record.data + at);
	}
	walk->key_slot = walk->depth;
	walk->key_at = 0;
}

/* The operations that are told of the path in the key. */
__noinline int watched(__u32 cpu)
{
	struct scratch *walk = bpf_map_lookup_elem(&scratch, &cpu);
	struct watch_key key = {};
	struct watch *watch, *deepest;
	struct watch_name name = {};
	__u32 at;
	int i;

	if (!walk)
		return 0;
	deepest = bpf_map_lookup_elem(&watches, &key);
	for (i = 0; i < WATCH_KEYED; i++) {
		if (!walk->key.name[i][0])
			break;
		__builtin_memcpy(key.name[i], walk->key.name[i], WATCH_NAME);
		watch = bpf_map_lookup_elem(&watches, &key);
		if (watch)
			deepest = watch;
	}
	if (!deepest)
		return 0;
	at = deepest->named_at;
	if (!deepest->named || at >= WATCH_KEYED)
		return deepest->always;
	__builtin_memcpy(name.name, walk->key.name[at], WATCH_NAME);
	return deepest->always | (is_named(&name, NAMED_FOLDER) ? deepest->named : 0);
}
