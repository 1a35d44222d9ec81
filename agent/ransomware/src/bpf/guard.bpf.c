// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause
/*
 * The ransomware guard's kernel half: counts, for each family of processes, the files that it destroys in the way of an
 * encryptor, and stops the family by itself when there are too many.
 *
 * One file is evidence if a family has read it, what it read did not look random, and then
 * - what looks random is written over its beginning, or into its middle; or
 * - a random-looking file that the family made is renamed over it; or
 * - it is unlinked, and the family has made a random-looking file beside it whose name begins with its own.
 * "Random" is what has nearly as many different bytes as chance gives, and does not begin like a known compressed
 * format. So what copies, packs, builds, checks out, backs up or compresses gives no evidence, however many files
 * it writes.
 *
 * A family is a program and what it forks. What it executes is a family of its own, and evidence against that counts
 * against all families above it too, so that neither a script with a tool per file nor a chain of programs escapes.
 */
#include "kernel.h"
#include "record.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

/* The kernel lets only programs that name a GPL-compatible licence call its tracing helpers. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";

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

/* Processes that are never stopped, with all that they are the root of: the agent and what it runs under. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u64);
} spared SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct canary_key);
	__type(value, __u8);
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

/* How many different bytes the first n of the sample have. */
__noinline int different(__u32 n)
{
	struct scratch *s = slot();
	int count = 0;
	__u32 i;

	if (!s)
		return 0;
	s->seen[0] = s->seen[1] = s->seen[2] = s->seen[3] = 0;
	for (i = 0; i < SAMPLE; i++) {
		if (i >= n)
			break;

		__u8 byte = s->bytes[i];
		__u64 bit = 1ULL << (byte & 63), *word = &s->seen[byte >> 6];

		if (!(*word & bit)) {
			*word |= bit;
			count++;
		}
	}
	return count;
}

/* True if data begins like a compressed or packed format that anybody can open again. */
static __always_inline int known(const __u8 *b)
{
	__u32 be = (__u32)b[0] << 24 | (__u32)b[1] << 16 | (__u32)b[2] << 8 | b[3];

	switch (be >> 16) {
	case 0x1f8b: /* gzip */
	case 0x1f9d: /* compress */
	case 0xffd8: /* JPEG */
	case 0x7801: case 0x785e: case 0x789c: case 0x78da: /* zlib: objects of git */
	case 0xfffb: case 0xfff3: case 0xfff1: case 0xfff9: /* MPEG audio */
	case 0x3026: /* ASF */
		return 1;
	}
	switch (be >> 8) {
	case 0x425a68: /* bzip2 */
	case 0x494433: /* MP3 with a tag */
	case 0x5d0000: /* LZMA */
		return 1;
	}
	switch (be) {
	case 0xfd377a58: /* xz */
	case 0x28b52ffd: /* zstd */
	case 0x04224d18: /* lz4 */
	case 0x504b0304: case 0x504b0506: case 0x504b0708: /* zip, and all office documents */
	case 0x377abcaf: /* 7z */
	case 0x52617221: /* RAR */
	case 0x4d534346: /* cabinet */
	case 0x89504e47: /* PNG */
	case 0x47494638: /* GIF */
	case 0x25504446: /* PDF */
	case 0x52494646: /* RIFF: WebP, AVI, WAV */
	case 0x4f676753: /* Ogg */
	case 0x664c6143: /* FLAC */
	case 0x1a45dfa3: /* Matroska */
	case 0x5041434b: /* git pack */
	case 0x7f454c46: /* ELF */
	case 0xff060000: /* Snappy */
	case 0x774f4632: case 0x774f4646: /* WOFF */
	case 0x4c5a4950: case 0x4c525a49: case 0x894c5a4f: /* lzip, lrzip, lzo */
	case 0x50415231: /* Parquet */
	case 0x424f5247: /* Borg's segments */
		return 1;
	}
	/* ISO media: MP4, HEIC, AVIF. */
	return b[4] == 'f' && b[5] == 't' && b[6] == 'y' && b[7] == 'p';
}

/*
 * What data looks like. Chance gives 56.6 ± 2.3 different bytes in 64, 100.7 ± 3.7 in 128, 161.8 ± 5.0 in 256; text has
 * less than 70, base64 at most 65, machine code some 110.
 */
static __always_inline int judge(struct scratch *s, const void *data, __u64 len, int is_head)
{
	__u32 n = len >= 256 ? 256 : len >= 128 ? 128 : 64;
	int least = n == 256 ? 144 : n == 128 ? 88 : 49;

	if (len < SAMPLE_LEAST) {
		if (!is_head || len < 4 || bpf_probe_read_user(s->bytes, 4, data))
			return UNKNOWN;
		s->bytes[4] = 0;
		return known(s->bytes) ? KNOWN : UNKNOWN;
	}
	if (bpf_probe_read_user(s->bytes, n, data))
		return UNKNOWN;
	if (different(n) < least)
		return PLAIN;
	/* Chance gives 15.5 ± 0.7 different bytes in 16; the headers of pages and containers have fewer. */
	if (different(16) < 14)
		return PLAIN;
	return is_head && known(s->bytes) ? KNOWN : RANDOM;
}

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
__noinline int walk_step(struct record *record)
{
	struct scratch *s = slot();

	if (!s || !record)
		return 0;

	struct dentry *dentry = s->dentry, *parent = BPF_CORE_READ(dentry, d_parent);
	__u64 at = s->at;

	if (parent == dentry || at > PATH_BYTES)
		return 0;

	long len = bpf_probe_read_kernel_str(record->path + at, NAME_BYTES, BPF_CORE_READ(dentry, d_name.name));

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
			if (!walk_step(record))
				break;
		record->path_len = s->at;
	} else if (kind == KIND_EVIDENCE && charge->named) {
		long len = bpf_probe_read_kernel_str(record->path, NAME_BYTES, s->name);

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

#define HASH_START 14695981039346656037ULL
#define HASH_STEP 1099511628211ULL

/* Takes in one byte of a name. Global, so that the verifier looks at it once and not at every name there is. */
__noinline int hash_step(__u32 i)
{
	struct scratch *s = slot();

	if (!s || i >= NAME_BYTES)
		return 0;

	char c = s->name[i];

	if (!c)
		return 0;
	if (c == '/') {
		s->hash = HASH_START;
		s->stem = 0;
		s->dots = 0;
		return 1;
	}
	/* Not the dot of a hidden file. */
	if (c == '.' && s->hash != HASH_START) {
		s->stem = s->hash;
		s->beginnings[s->dots & (BEGINNINGS - 1)] = s->hash;
		s->dots++;
	}
	s->hash = (s->hash ^ (__u8)c) * HASH_STEP;
	return 1;
}

/* The hash (FNV-1a) of the last component of the path in the scratch, and of its beginnings. 0 if it is too long. */
__noinline __u64 hash_of_path(void)
{
	struct scratch *s = slot();
	__u32 i;

	if (!s)
		return 0;
	s->stem = 0;
	s->dots = 0;
	s->hash = HASH_START;
	for (i = 0; i < NAME_BYTES; i++)
		if (!hash_step(i))
			return s->hash;
	return 0;
}

static __always_inline struct file *file_of(struct task_struct *task, __u32 fd)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files = BPF_CORE_READ(table, fd), *file = NULL;

	if (fd >= BPF_CORE_READ(table, max_fds))
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	return file;
}

/* A regular file's key; its family is set by the caller. */
static __always_inline int key_of(struct file_key *key, struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);

	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFREG)
		return 0;
	key->ino = BPF_CORE_READ(inode, i_ino);
	key->dev = BPF_CORE_READ(inode, i_sb, s_dev);
	key->unused = 0;
	return 1;
}

static __always_inline __u32 flags_of(struct file_key *key)
{
	__u32 *flags = bpf_map_lookup_elem(&files, key);

	return flags ? *flags : 0;
}

static __always_inline void set_flags(struct file_key *key, __u32 flags)
{
	bpf_map_update_elem(&files, key, &flags, BPF_ANY);
}

static __always_inline __u64 parent_of(__u64 id)
{
	struct family *family = bpf_map_lookup_elem(&families, &id);

	return family ? family->parent : 0;
}

static __always_inline __u64 read_name(struct dentry *dentry)
{
	struct scratch *s = slot();

	if (!s || bpf_probe_read_kernel_str(s->name, NAME_BYTES, BPF_CORE_READ(dentry, d_name.name)) < 2)
		return 0;
	return hash_of_path();
}

/* Remembers a file under its name, for the family and for the one above: what it executes next may unlink it. */
static __always_inline void name_it(struct file *file, struct file_key *key, __u32 random)
{
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	struct scratch *s = slot();
	struct named named = { .ino = key->ino, .dev = key->dev, .random = random };
	struct name_key name = { .family = key->family, .hash = read_name(dentry) };

	if (!s || !name.hash)
		return;
	named.folder = BPF_CORE_READ(dentry, d_parent, d_inode, i_ino);
	named.stem = s->stem;
	bpf_map_update_elem(&names, &name, &named, BPF_ANY);
	name.family = parent_of(key->family);
	if (name.family)
		bpf_map_update_elem(&names, &name, &named, BPF_ANY);
}

/* Remembers the beginnings of the name in the scratch, in a folder. */
__noinline int add_twins(__u64 family, __u64 folder)
{
	struct name_key key = { .family = family };
	struct scratch *s = slot();
	__u32 one = 1, i, dots;

	if (!s)
		return 0;
	dots = s->dots;
	for (i = 0; i < BEGINNINGS; i++) {
		if (i >= dots)
			break;
		key.hash = s->beginnings[i] ^ folder;
		bpf_map_update_elem(&twins, &key, &one, BPF_ANY);
	}
	return 0;
}

/* A random-looking file has been made: perhaps in place of one whose name its own begins with. */
static __always_inline void made_random(__u64 id, struct file *file, struct file_key *key)
{
	__u64 folder = BPF_CORE_READ(file, f_path.dentry, d_parent, d_inode, i_ino), parent = parent_of(id);

	name_it(file, key, 1);
	add_twins(id, folder);
	if (parent)
		add_twins(parent, folder);
}

static __always_inline void on_open(struct task_struct *task, long fd)
{
	struct file *file = file_of(task, fd);
	struct file_key key;

	if (!file || !(BPF_CORE_READ(file, f_mode) & FMODE_CREATED) || !key_of(&key, file))
		return;
	key.family = family_of(task);
	set_flags(&key, CREATED);
}

static __always_inline void on_read(struct task_struct *task, __u32 fd, const void *data, long len, __s64 pos)
{
	struct file *file = file_of(task, fd);
	struct scratch *s = slot();
	struct file_key key;
	__u32 flags;
	int class;

	if (len < 4 || !file || !s || !key_of(&key, file))
		return;
	key.family = family_of(task);
	flags = flags_of(&key);
	/* Once is enough; what it made itself is not anybody's. */
	if (flags & (CREATED | READ_PLAIN | READ_RANDOM))
		return;
	if (pos < 0)
		pos = BPF_CORE_READ(file, f_pos) - len;
	class = judge(s, data, len, pos == 0);
	if (class == UNKNOWN || (class == RANDOM && pos != 0))
		return;
	set_flags(&key, flags | (class == RANDOM ? READ_RANDOM : READ_PLAIN));
	if (class != RANDOM)
		name_it(file, &key, 0);
}

static __always_inline void on_write(struct task_struct *task, __u32 fd, const void *data, __u64 len, __s64 pos)
{
	struct file *file = file_of(task, fd);
	struct scratch *s = slot();
	struct canary_key canary;
	struct file_key key;
	struct dentry *dentry;
	__u32 flags;
	__s64 size;
	int class, is_head;

	if (!file || !s || !key_of(&key, file))
		return;
	key.family = family_of(task);
	flags = flags_of(&key);
	canary.ino = key.ino;
	canary.dev = key.dev;
	canary.unused = 0;

	__u8 *is_canary = bpf_map_lookup_elem(&canaries, &canary);

	/* The common case: a file of which all is known, or one that was there and was never looked at. */
	if (flags & (EVIDENT | WROTE_RANDOM | HEAD_KNOWN) || (!flags && !is_canary))
		return;
	if (pos < 0)
		pos = BPF_CORE_READ(file, f_pos);
	size = BPF_CORE_READ(file, f_inode, i_size);
	if (BPF_CORE_READ(file, f_flags) & O_APPEND)
		pos = size;
	is_head = pos == 0 || (flags & HEAD_SHORT && pos <= 4096);
	/* Appended to, or never read and not its own: nothing of anybody's is lost. */
	if (!is_canary && !is_head && (pos >= size || !(flags & READ_PLAIN) || flags & CREATED))
		return;
	class = judge(s, data, len, pos == 0);
	if (class == UNKNOWN && pos == 0)
		set_flags(&key, flags | HEAD_SHORT);
	if (class == KNOWN)
		set_flags(&key, flags | HEAD_KNOWN);
	dentry = BPF_CORE_READ(file, f_path.dentry);
	if (is_canary && class >= KNOWN) {
		set_flags(&key, flags | EVIDENT);
		accuse(key.family, HOW_CANARY, limit_own, &key, dentry);
		return;
	}
	if (class != RANDOM)
		return;
	if (flags & CREATED) {
		set_flags(&key, flags | WROTE_RANDOM);
		made_random(key.family, file, &key);
	} else if (flags & (READ_PLAIN | MAPPED) && !(flags & READ_RANDOM)) {
		set_flags(&key, flags | EVIDENT);
		accuse(key.family, is_head ? HOW_OVERWRITTEN : HOW_PATCHED, 1, &key, dentry);
	}
}

/* Data that the kernel copies from file to file: what the family made of the one is what becomes of the other. */
static __always_inline void on_copy(struct task_struct *task, __u32 from, __u32 to)
{
	struct file *source = file_of(task, from), *file = file_of(task, to);
	struct file_key made, key;
	__u32 flags;

	if (!source || !file || !key_of(&made, source) || !key_of(&key, file))
		return;
	made.family = key.family = family_of(task);
	flags = flags_of(&key);
	if (!(flags_of(&made) & WROTE_RANDOM) || !(flags & (READ_PLAIN | MAPPED)) ||
	    flags & (EVIDENT | CREATED | READ_RANDOM))
		return;
	set_flags(&key, flags | EVIDENT);
	accuse(key.family, HOW_OVERWRITTEN, 1, &key, BPF_CORE_READ(file, f_path.dentry));
}

/* Data in several pieces: the first that is long enough to judge stands for all. */
static __always_inline void on_vector(struct task_struct *task, __u32 fd, const void *vector, __u64 count, __s64 pos,
				      long read)
{
	struct {
		const void *data;
		__u64 len;
	} pieces[2] = {};

	if (!count || bpf_probe_read_user(pieces, count > 1 ? 32 : 16, vector))
		return;

	int second = pieces[0].len < SAMPLE_LEAST && pieces[1].len >= SAMPLE_LEAST;
	const void *data = second ? pieces[1].data : pieces[0].data;
	__u64 len = second ? pieces[1].len : pieces[0].len;

	if (read) {
		if ((__u64)read < len)
			len = read;
		if (pos < 0)
			pos = BPF_CORE_READ(file_of(task, fd), f_pos) - read;
		on_read(task, fd, data, len, pos);
	} else {
		on_write(task, fd, data, len, pos);
	}
}

/* The name that a call was given, if it is that of a file that was read. */
static __always_inline struct named *find(__u64 *family, const void *path)
{
	struct scratch *s = slot();
	struct name_key name;
	struct named *named;

	if (!s || bpf_probe_read_user_str(s->name, NAME_BYTES, path) < 2)
		return NULL;
	name.hash = hash_of_path();
	name.family = *family;
	named = bpf_map_lookup_elem(&names, &name);
	if (named)
		return named;
	name.family = *family = parent_of(*family);
	return name.family ? bpf_map_lookup_elem(&names, &name) : NULL;
}

static __always_inline void on_unlink(struct task_struct *task, const void *path)
{
	__u64 id = family_of(task), scope = id;
	struct named *named = find(&scope, path);
	struct scratch *s = slot();
	struct name_key twin;

	if (!named || named->random || !s)
		return;

	struct file_key key = { .family = scope, .ino = named->ino, .dev = named->dev };

	twin.family = scope;
	twin.hash = hash_of_path() ^ named->folder;
	if (!bpf_map_lookup_elem(&twins, &twin)) {
		twin.hash = named->stem ^ named->folder;
		if (!named->stem || !bpf_map_lookup_elem(&twins, &twin))
			return;
	}
	if (flags_of(&key) & EVIDENT)
		return;
	set_flags(&key, READ_PLAIN | EVIDENT);
	accuse(id, HOW_REMOVED, 1, &key, NULL);
}

static __always_inline void on_rename(struct task_struct *task, const void *from, const void *to)
{
	__u64 id = family_of(task), scope = id;
	struct named *source = find(&scope, from), *target;

	if (!source || !source->random)
		return;
	scope = id;
	target = find(&scope, to);
	if (!target || target->random)
		return;

	struct file_key key = { .family = scope, .ino = target->ino, .dev = target->dev };

	if (flags_of(&key) & EVIDENT)
		return;
	set_flags(&key, READ_PLAIN | EVIDENT);
	accuse(id, HOW_REPLACED, 1, &key, NULL);
}

static __always_inline void on_mmap(struct task_struct *task, __u64 addr, __u64 prot, __u64 flags, __u32 fd)
{
	struct file *file;
	struct file_key key;
	__u32 known_flags;

	if (flags & (MAP_ANONYMOUS | MAP_DENYWRITE))
		return;
	file = file_of(task, fd);
	if (!file || !key_of(&key, file) || !BPF_CORE_READ(file, f_inode, i_size))
		return;
	key.family = family_of(task);
	known_flags = flags_of(&key);
	if (known_flags & CREATED)
		return;
	if (!known_flags) {
		set_flags(&key, MAPPED);
		name_it(file, &key, 0);
	}
	if (prot & PROT_WRITE && (flags & MAP_TYPE) == MAP_SHARED) {
		struct mapping_key where = { .addr = addr, .tgid = BPF_CORE_READ(task, tgid) };
		struct mapping mapping = { .file = key };

		bpf_map_update_elem(&mappings, &where, &mapping, BPF_ANY);
	}
}

/* A file's beginning that was shared memory is done with. */
static __always_inline void on_unmap(struct task_struct *task, __u64 addr, __u64 len)
{
	struct mapping_key where = { .addr = addr, .tgid = BPF_CORE_READ(task, tgid) };
	struct mapping *mapping = bpf_map_lookup_elem(&mappings, &where);
	struct scratch *s = slot();

	if (!mapping || !s)
		return;

	struct file_key key = mapping->file;
	__u32 flags = flags_of(&key);

	if (flags & (EVIDENT | CREATED | READ_RANDOM) || judge(s, (void *)addr, len, 1) != RANDOM)
		return;
	set_flags(&key, flags | EVIDENT);
	accuse(key.family, HOW_MAPPED, 1, &key, NULL);
}

/* x86-64's numbers of system calls. */
enum {
	NR_read = 0, NR_write = 1, NR_open = 2, NR_mmap = 9, NR_munmap = 11, NR_pread64 = 17, NR_pwrite64 = 18,
	NR_readv = 19, NR_writev = 20, NR_msync = 26, NR_rename = 82, NR_creat = 85, NR_unlink = 87, NR_openat = 257,
	NR_unlinkat = 263, NR_renameat = 264, NR_preadv = 295, NR_pwritev = 296, NR_renameat2 = 316, NR_openat2 = 437,
	NR_sendfile = 40, NR_copy_file_range = 326,
};

SEC("tp_btf/sys_enter")
int BPF_PROG(on_enter, struct pt_regs *regs, long nr)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (stopping) {
		__u32 index = CONTROL_SETTLED, *done = bpf_map_lookup_elem(&control, &index);

		if (done && *done != stopping)
			stop_if_told(task);
	}
	switch (nr) {
	case NR_write:
		on_write(task, regs->di, (void *)regs->si, regs->dx, -1);
		break;
	case NR_pwrite64:
		on_write(task, regs->di, (void *)regs->si, regs->dx, regs->r10);
		break;
	case NR_writev:
		on_vector(task, regs->di, (void *)regs->si, regs->dx, -1, 0);
		break;
	case NR_pwritev:
		on_vector(task, regs->di, (void *)regs->si, regs->dx, regs->r10, 0);
		break;
	case NR_copy_file_range:
		on_copy(task, regs->di, regs->dx);
		break;
	case NR_sendfile:
		on_copy(task, regs->si, regs->di);
		break;
	case NR_unlink:
		on_unlink(task, (void *)regs->di);
		break;
	case NR_unlinkat:
		on_unlink(task, (void *)regs->si);
		break;
	case NR_rename:
		on_rename(task, (void *)regs->di, (void *)regs->si);
		break;
	case NR_renameat:
	case NR_renameat2:
		on_rename(task, (void *)regs->si, (void *)regs->r10);
		break;
	case NR_munmap:
	case NR_msync:
		on_unmap(task, regs->di, regs->si);
		break;
	}
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_exit, struct pt_regs *regs, long ret)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (ret < 0)
		return 0;
	switch (regs->orig_ax) {
	case NR_read:
		on_read(task, regs->di, (void *)regs->si, ret, -1);
		break;
	case NR_pread64:
		on_read(task, regs->di, (void *)regs->si, ret, regs->r10);
		break;
	case NR_readv:
		if (ret)
			on_vector(task, regs->di, (void *)regs->si, regs->dx, -1, ret);
		break;
	case NR_preadv:
		if (ret)
			on_vector(task, regs->di, (void *)regs->si, regs->dx, regs->r10, ret);
		break;
	case NR_open:
	case NR_creat:
	case NR_openat:
	case NR_openat2:
		on_open(task, ret);
		break;
	case NR_mmap:
		on_mmap(task, ret, regs->dx, regs->r10, regs->r8);
		break;
	}
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	__u64 family = family_of(parent);
	struct member *member = bpf_task_storage_get(&members, child, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (member)
		member->family = family;
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	struct member *member = bpf_task_storage_get(&members, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	struct family *family;

	if (!member)
		return 0;
	family = bpf_map_lookup_elem(&families, &member->family);
	/* Who replaces itself stays who it was: else a chain of programs would begin anew with each file. */
	if (family && family->root.tgid == BPF_CORE_READ(task, tgid))
		return 0;
	member->family = found(task, member->family);
	return 0;
}
