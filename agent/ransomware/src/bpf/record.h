/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * What the programs tell user space, and what user space sets. Read by `src/record.rs`, which has the same offsets.
 * Byte order is the machine's own.
 */
#pragma once

enum {
	KIND_EVIDENCE = 0, /* a file was destroyed as an encryptor does it */
	KIND_ALARM = 1,    /* a family has reached its limit and is being stopped */
	KIND_STOPPED = 2,  /* a process of such a family was sent SIGSTOP */
};

/* How a file was destroyed. */
enum {
	HOW_OVERWRITTEN = 0, /* from its beginning, by what looks random */
	HOW_PATCHED = 1,     /* in its middle, where it did not look random before */
	HOW_REPLACED = 2,    /* by a random-looking file that was renamed over it */
	HOW_REMOVED = 3,     /* unlinked, with a random-looking file made beside it */
	HOW_MAPPED = 4,      /* through shared memory */
	HOW_CANARY = 5,      /* a file that nobody has reason to touch */
};

/* Indices of the map `control`. */
enum {
	CONTROL_SETTLED = 0, /* how many of the families that were stopped have been killed or let go */
	CONTROL_STOPS = 1,   /* 1: stop families; 0: only tell of them */
	CONTROLS = 2,
};

/* Indices of the map `bearings`. */
enum {
	BEARING_PAGES = 0,  /* where the kernel's descriptions of pages begin; 0: nothing is copied */
	BEARING_MEMORY = 1, /* where it sees all of memory */
	BEARING_TAKEN = 2,  /* slots taken so far */
	BEARING_GIVEN = 3,  /* slots that user space has read */
	BEARING_LOST = 4,   /* pages for which there was no slot */
	BEARING_PAGE = 5,   /* found by `find_memory`: the description of a page, and a task */
	BEARING_TASK = 6,
	BEARINGS = 7,
};

/* A path is carried as its components within its file system, each with a NUL, leaf first. */
#define NAME_BYTES 256
#define PATH_BYTES 1024

struct path_bytes {
	char bytes[PATH_BYTES + NAME_BYTES];
};

struct process_id {
	__u64 start; /* of the thread group leader, ns of CLOCK_BOOTTIME */
	__u32 tgid;
	__u32 unused;
};

struct record {
	__u32 kind;
	__u32 how;
	__u64 time; /* ns of CLOCK_BOOTTIME */
	__u64 family;
	struct process_id root; /* what the family descends from */
	struct process_id process;
	__u64 ino;
	__u32 dev;
	__u32 count; /* of evidence against the family, this included */
	__u32 path_len;
	__u32 unused;
	struct path_bytes path;
};

/*
 * Copies of what is about to be destroyed, read by `src/slots.rs`: a slot for each file, followed by one for each of its
 * pages.
 */
#define PAGE_BYTES 4096
#define SLOTS 2048

enum {
	SLOT_MISSING = 0, /* a page that was not there to be copied */
	SLOT_FILE = 1,
	SLOT_PAGE = 2,
	SLOT_SHORT = 3, /* from this page on nothing more of the file is copied */
};

struct slot {
	__u64 number; /* counted from 1; written last */
	__u64 family;
	__u64 ino;
	__u32 dev;
	__u32 kind;
	__u64 index; /* of the page in the file */
	__u64 time;  /* ns of CLOCK_BOOTTIME */
	__u8 data[PAGE_BYTES];
};

/* In the data of a SLOT_FILE. */
struct file_head {
	__u64 size;
	__s64 mtime;
	__u32 mtime_ns;
	__u32 mode;
	__u32 uid;
	__u32 gid;
	__u32 links;
	__u32 path_len;
	struct path_bytes path;
};
