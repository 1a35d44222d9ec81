/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * What the guard remembers: its limits, the maps, and what a program works with.
 */
#pragma once
#include "kernel.h"
#include "record.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

/* Set by user space before the programs are loaded. */
const volatile __u32 limit_own = 4;   /* files destroyed by one program within window_own */
const volatile __u32 limit_below = 6; /* by what it executed, and itself, within window_below */
const volatile __u32 only_below = 0;  /* a process: nobody counts but those below it, for drills and tests */
const volatile __u32 reserved = 0;
const volatile __u64 window_own = 600ULL * 1000 * 1000 * 1000;
const volatile __u64 window_below = 30ULL * 1000 * 1000 * 1000;

/* Generations of programs that evidence counts against. */
#define GENERATIONS 8
/* Bytes of data looked at. */
#define SAMPLE 256
/* Dots of a name that are heeded. */
#define BEGINNINGS 8
/* Less cannot be judged. */
#define SAMPLE_LEAST 64

/* What a family did with a file. */
enum {
	CREATED = 1,
	READ_PLAIN = 2,  /* something that does not look random */
	READ_RANDOM = 4, /* its beginning, which does */
	MAPPED = 8,
	HEAD_SHORT = 16, /* has written a beginning too short to judge */
	WROTE_RANDOM = 32,
	EVIDENT = 64,
	HEAD_KNOWN = 128, /* has written the beginning of a known format */
};

struct family {
	__u64 parent;
	struct process_id root;
	__u32 own;
	__u32 below;
	__u64 own_since;
	__u64 below_since;
	__u32 stopped;
	__u32 grace; /* how often it was let go: each time doubles its limits */
	__u64 kept_since;
	__u32 kept; /* pages copied since then */
	__u32 unused;
};

struct member {
	__u64 family;
};

struct file_key {
	__u64 family;
	__u64 ino;
	__u32 dev;
	__u32 unused;
};

struct name_key {
	__u64 family;
	__u64 hash;
};

/* A file that was read, by the name that it will be unlinked by; or a random-looking one that was made. */
struct named {
	__u64 ino;
	__u64 folder;
	__u64 stem; /* hash of the name up to its last dot, or 0 */
	__u32 dev;
	__u32 random; /* made by the family, and random */
	/* What it was when it was read; proven to be the same before use. */
	struct dentry *dentry;
	struct address_space *mapping;
};

/* Which pages of a file have been copied. */
#define KEPT_WORDS 64
struct kept {
	__u64 since;
	__u64 is_short; /* nothing more is copied, and user space knows */
	__u64 pages[KEPT_WORDS];
};

struct mapping_key {
	__u64 addr;
	__u32 tgid;
	__u32 unused;
};

struct mapping {
	struct file_key file;
};

struct canary_key {
	__u64 ino;
	__u32 dev;
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 << 10);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct member);
} members SEC(".maps");

#define LRU(name, key_type, value_type, entries)                                                                       \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_LRU_HASH);                                                                   \
		__uint(max_entries, entries);                                                                          \
		__type(key, key_type);                                                                                 \
		__type(value, value_type);                                                                             \
	} name SEC(".maps")

LRU(families, __u64, struct family, 16384);
LRU(files, struct file_key, __u32, 32768);
LRU(names, struct name_key, struct named, 32768);
/* Random-looking files that were made, under the hash of folder and each beginning of their name. */
LRU(twins, struct name_key, __u32, 16384);
LRU(mappings, struct mapping_key, struct mapping, 1024);
LRU(kept_files, struct file_key, struct kept, 256);

/* An array and not a ring buffer, which user space would have to map: 8 MiB that count for nothing while nothing burns. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BEARINGS);
	__type(key, __u32);
	__type(value, __u64);
} bearings SEC(".maps");

/* Processes that are never stopped, with all that they are the root of: the agent and what it runs under. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u64);
} spared SEC(".maps");

/* By the hash of their name: their number is given to the next file when they are deleted. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct canary_key);
	__type(value, __u64);
} canaries SEC(".maps");

/* What user space says, and it alone: see `CONTROL_*`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CONTROLS);
	__type(key, __u32);
	__type(value, __u32);
} control SEC(".maps");

/* What a family is accused of. */
struct charge {
	struct file_key file; /* its family is the accused */
	struct dentry *dentry; /* none: the name is in the scratch, if `named` */
	__u32 how;
	__u32 weight;
	__u32 named;
	__u32 unused;
};

/* The file that is being copied. */
struct keeping {
	struct file_key file; /* its family is who destroys it */
	struct address_space *mapping;
	struct folio *folio; /* of the page last looked at */
	__u64 pages;         /* as BEARING_PAGES and BEARING_MEMORY */
	__u64 memory;
};

/* What a program works with, one slot per CPU: it cannot be interrupted by another. */
struct scratch {
	struct charge charge;
	__u8 bytes[SAMPLE];
	__u64 seen[4];
	char name[NAME_BYTES];
	__u64 hash;
	__u64 stem; /* hash of the name up to its last dot, or 0 */
	__u64 beginnings[BEGINNINGS]; /* hashes of the name up to each dot */
	__u32 dots;
	struct dentry *dentry;
	__u64 at;
	struct keeping keeping;
	struct kept none; /* never written */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

/* How many families were stopped. Unless more were than `CONTROL_SETTLED` says, no call looks for them. */
__u32 stopping;
/* Records that did not fit. */
__u64 lost;

enum { UNKNOWN = 0, PLAIN = 1, KNOWN = 2, RANDOM = 3 };

static __always_inline struct scratch *slot(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}
