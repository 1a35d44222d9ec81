/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * What the programs write into the ring buffer, and what user space tells them. Read by `src/record.rs` and
 * `src/record/`, which have the same offsets; both sides check them when they are compiled or tested. Byte order is
 * the machine's own.
 */
#pragma once

enum {
	KIND_FORK = 0,
	KIND_EXEC = 1,
	KIND_EXIT = 2,
	KIND_NETWORK = 3,
	KIND_FILE = 4,
	KIND_CALL = 5,
	KIND_DNS = 6,
	KINDS = 7,
};

/* Bits of exec_record.flags. */
enum {
	ARGS_CUT = 1, /* the command line is longer than what is carried, or could not be read in full */
	EXE_CUT = 2,  /* the executable's path has further components towards the root */
	CWD_CUT = 4,  /* the same of the current directory */
	EXE_GONE = 8, /* the executable has no name in the file system any more (memfd, deleted) */
	SCRIPT = 16,  /* what was executed is a script; its name as it was asked for stands behind the directory */
	REFUSED = 32, /* it was not let in: the process goes on with what it ran before */
	ENV_CUT = 64, /* the environment is longer than what is carried, or could not be read */
};

/* Limits, in bytes. A path is carried as its components, each with a NUL, leaf first: no byte has to be moved. */
#define ARGS_MAX 32768
#define ENV_MAX 8192
#define PATH_BYTES 4096
#define NAME_BYTES 256
/* Of a path about which is decided. */
#define IMAGE_BYTES 1024
#define EXE_LAST PATH_BYTES
#define CWD_LAST (EXE_LAST + NAME_BYTES + PATH_BYTES)
#define CWD_END (CWD_LAST + NAME_BYTES)
#define SCRIPT_END (CWD_END + PATH_BYTES)
#define ARGS_END (SCRIPT_END + ARGS_MAX)
#define DATA_MAX (ARGS_END + ENV_MAX)
/* Read at once after the whole could not be read. */
#define ARGS_PIECE 512

/* A process, as `ProcessKey` wants it: thread group leader's start in ns of CLOCK_BOOTTIME, pid in the root
 * namespace. */
struct process_id {
	__u64 start;
	__u32 tgid;
	__u32 euid; /* at this moment: servers change their user without an exec */
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
	__u64 caps;	 /* effective capabilities */
	__u32 uid;	 /* the real one */
	__u32 login_uid; /* who signed in; 2^32-1 if nobody did */
	__u32 flags;
	__u32 exe_len;
	__u32 cwd_len;
	__u32 script_len;
	__u32 args_len;
	__u32 env_len;
	__u64 args_total; /* bytes of the whole command line */
	/* Which file the executable is, and which state of it; all zero if there is none. */
	__u64 exe_inode;
	__u64 exe_size;
	__s64 exe_mtime;
	__s64 exe_ctime;
	__u32 exe_mtime_ns;
	__u32 exe_ctime_ns;
	__u32 exe_device; /* as the kernel has it: 12 bits of major, 20 of minor number */
	__u32 exe_magic;  /* of its file system */
	__u64 verdict_ns; /* how long the verdict took */
	__u32 verdict;	  /* the number plus one of the rule for which it was killed or refused; else 0 */
	__u32 unused;
	__u8 data[DATA_MAX]; /* exe, cwd, script, args, environment, without gaps; cut at env_len */
};

/* network_record.op */
enum { NETWORK_CONNECT, NETWORK_ACCEPT, NETWORK_LISTEN, NETWORK_SEND };

struct network_record {
	struct header header;
	__u16 op;
	__u16 family; /* 2 IPv4, 10 IPv6 */
	__u16 protocol; /* 6 TCP, 17 UDP, ... */
	__u16 local_port; /* the machine's byte order */
	__u16 remote_port;
	__u16 unused;
	__s32 result; /* of the system call */
	__u8 local[16];
	__u8 remote[16];
};

/* file_record.op; also the bits of a watch's masks, as 1 << op. */
enum {
	FILE_CREATE,
	FILE_UPDATE, /* opened for writing */
	FILE_DELETE,
	FILE_RENAME,
	FILE_LINK,
	FILE_CHANGE, /* mode, owner, times or attributes */
	FILE_READ,   /* opened for reading only */
	FILE_OPS,
};

/* Bits of file_record.flags. */
enum {
	PATH_CUT = 1,	/* `base` has further components towards the root */
	PATH2_CUT = 2,
	PATH_UNREAD = 4, /* the name could not be read from the process's memory */
};

struct file_record {
	struct header header;
	__u16 op;
	__u16 call; /* which system call */
	__u32 flags;
	__u64 value;	   /* flags of open, the mode of chmod, the user of chown */
	__u32 base_len;	   /* the directory that `path` is relative to, or all of the path */
	__u32 path_len;	   /* as the process wrote it, with its NUL */
	__u32 base2_len;   /* of a rename or link: the new place; else nothing */
	__u32 path2_len;   /* the name of an attribute, too */
	__u8 data[];
};

/* call_record.text_kind */
enum {
	TEXT_STRING,	 /* as the process wrote it, with its NUL */
	TEXT_COMPONENTS, /* a walked path */
};

struct call_record {
	struct header header;
	__u16 call;
	__u16 compat; /* 1 if it was a 32-bit call */
	__u32 unused;
	__s64 result;
	__u64 args[5];
	__u32 text_len; /* a name or path that belongs to the call */
	__u32 text_kind;
	__u8 data[];
};

/* A message of DNS at most; what is longer is cut. */
#define DNS_BYTES 4096

struct dns_record {
	struct header header;
	__u16 received; /* 1 if it came in */
	__u16 family;
	__u16 remote_port;
	__u16 unused;
	__u32 len;	/* of what is carried */
	__u32 total;	/* of the message */
	__u8 remote[16];
	__u8 data[];
};

/* How far below the root a watch can be, and how long a name in it. */
#define WATCH_DEPTH 4
#define WATCH_KEYED 3
#define WATCH_NAME 24

/* The first components of a path, each filled up with NULs. */
struct watch_key {
	char name[WATCH_KEYED][WATCH_NAME];
};

/* Which operations are told below a watched folder. */
struct watch {
	__u16 always;
	__u16 named;	/* and these, if the path's component at `named_at` is one of the names with NAMED_FOLDER */
	__u16 named_at; /* 0 is the component next to the root */
	__u16 unused;
};

struct watch_name {
	char name[WATCH_NAME];
};

/* What a name means, as bits. */
enum {
	NAMED_READ = 1,	  /* a file of which it is told that it was read */
	NAMED_FOLDER = 2, /* a file or folder that is watched in every home */
};

struct config {
	__u32 own_tgid; /* whose files, connections and calls are not told: they would never end */
	__u32 canary;	/* but for this thread of it, of which all are told to prove that somebody sees */
};

struct counter {
	__u64 produced; /* tries, lost ones included */
	__u64 lost;     /* no room in the ring buffer, or no scratch memory */
};

_Static_assert(sizeof(struct header) == 48, "src/record.rs reads 48");
_Static_assert(sizeof(struct fork_record) == 64, "src/record.rs reads 64");
_Static_assert(sizeof(struct exit_record) == 56, "src/record.rs reads 56");
_Static_assert(__builtin_offsetof(struct exec_record, data) == 176, "src/record.rs reads 176");
_Static_assert(sizeof(struct network_record) == 96, "src/record.rs reads 96");
_Static_assert(__builtin_offsetof(struct file_record, data) == 80, "src/record.rs reads 80");
_Static_assert(__builtin_offsetof(struct dns_record, data) == 80, "src/record.rs reads 80");
_Static_assert(__builtin_offsetof(struct call_record, data) == 112, "src/record.rs reads 112");
