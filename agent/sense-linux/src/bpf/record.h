/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * What the programs write into the ring buffer. Read by `src/record.rs`, which has the same offsets; both sides
 * check them when they are compiled. Byte order is the machine's own.
 */
#pragma once

enum { KIND_FORK = 0, KIND_EXEC = 1, KIND_EXIT = 2, KINDS = 3 };

/* Bits of exec_record.flags. */
enum {
	ARGS_CUT = 1, /* the command line is longer than what is carried, or could not be read in full */
	EXE_CUT = 2,  /* the executable's path has further components towards the root */
	CWD_CUT = 4,  /* the same of the current directory */
	EXE_GONE = 8, /* the executable has no name in the file system any more (memfd, deleted) */
};

/* Limits, in bytes. A path is carried as its components, each with a NUL, leaf first: no byte has to be moved. */
#define ARGS_MAX 32768
#define PATH_BYTES 4096
#define NAME_BYTES 256
#define EXE_LAST PATH_BYTES
#define CWD_LAST (EXE_LAST + NAME_BYTES + PATH_BYTES)
#define CWD_END (CWD_LAST + NAME_BYTES)
#define DATA_MAX (CWD_END + ARGS_MAX)
/* Read at once after the whole could not be read. */
#define ARGS_PIECE 512

/* A process, as `ProcessKey` wants it: thread group leader's start in ns of CLOCK_BOOTTIME, pid in the root
 * namespace. */
struct process_id {
	__u64 start;
	__u32 tgid;
	__u32 unused;
};

struct header {
	__u32 kind;
	__u32 size; /* of the whole record */
	__u64 time; /* ns of CLOCK_BOOTTIME */
	struct process_id process;
	struct process_id parent;
};

struct fork_record {
	struct header header;
	struct process_id creator; /* who called fork; differs from the parent under CLONE_PARENT */
	__u32 euid;
	__u32 unused;
};

struct exit_record {
	struct header header;
	__s32 status; /* as wait(2) reports it */
	__u32 unused;
};

struct exec_record {
	struct header header;
	__u64 cgroup;    /* inode in cgroup v2 */
	__u64 cgroup_v1; /* of the pids or memory controller: on hybrid hosts containers differ only here */
	__u32 euid;
	__u32 parent_euid; /* at this moment: servers change their user without an exec */
	__u32 flags;
	__u32 exe_len;
	__u32 cwd_len;
	__u32 args_len;
	__u64 args_total; /* bytes of the whole command line */
	__u8 data[DATA_MAX]; /* exe, cwd, args, without gaps; cut at args_len */
};

struct counter {
	__u64 produced; /* tries, lost ones included */
	__u64 lost;     /* no room in the ring buffer, or no scratch memory */
};

_Static_assert(sizeof(struct header) == 48, "src/record.rs reads 48");
_Static_assert(sizeof(struct fork_record) == 72, "src/record.rs reads 72");
_Static_assert(sizeof(struct exit_record) == 56, "src/record.rs reads 56");
_Static_assert(__builtin_offsetof(struct exec_record, data) == 96, "src/record.rs reads 96");
