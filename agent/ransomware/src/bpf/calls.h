/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * What each kind of system call is evidence of.
 */
#pragma once
#include "judge.h"
#include "copies.h"

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

/* `reach` is how many bytes the call may write; `len` how many of them lie at `data`. */
static __always_inline void on_write(struct task_struct *task, __u32 fd, const void *data, __u64 len, __s64 pos,
				     __u64 reach)
{
	struct file *file = file_of(task, fd);
	struct scratch *s = slot();
	struct file_key key;
	struct dentry *dentry;
	__u32 flags;
	__s64 size;
	int class, is_head;

	if (!file || !s || !key_of(&key, file))
		return;
	key.family = family_of(task);
	flags = flags_of(&key);

	int canary = is_canary_file(&key, file);

	/* The common case: a file of which all is known, or one that was there and was never looked at. */
	if (flags & (WROTE_RANDOM | HEAD_KNOWN) || (flags & EVIDENT && flags & CREATED) || (!flags && !canary))
		return;
	if (pos < 0)
		pos = BPF_CORE_READ(file, f_pos);
	if (flags & EVIDENT) {
		/* The rest of a file that is being destroyed. */
		keep_region(&key, file, pos, reach);
		return;
	}
	size = BPF_CORE_READ(file, f_inode, i_size);
	if (BPF_CORE_READ(file, f_flags) & O_APPEND)
		pos = size;
	is_head = pos == 0 || (flags & HEAD_SHORT && pos <= 4096);
	/* Appended to, or never read and not its own: nothing of anybody's is lost. */
	if (!canary && !is_head && (pos >= size || !(flags & READ_PLAIN) || flags & CREATED))
		return;
	class = judge(s, data, len, pos == 0);
	if (class == UNKNOWN && pos == 0) {
		set_flags(&key, flags | HEAD_SHORT);
		if (flags & READ_PLAIN && !(flags & CREATED))
			keep_region(&key, file, pos, reach);
	}
	if (class == KNOWN)
		set_flags(&key, flags | HEAD_KNOWN);
	dentry = BPF_CORE_READ(file, f_path.dentry);
	/*
	 * Who has read it and writes over it, whatever that looks like; or who writes over it what looks random. Who only reads
	 * it, or puts back what it was, does nothing to it.
	 */
	if (canary && is_head && (class == RANDOM || (class >= PLAIN && flags & (READ_PLAIN | MAPPED)))) {
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
		keep_region(&key, file, pos, reach);
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
	keep_region(&key, file, 0, ~0ULL);
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
		on_write(task, fd, data, len, pos, count > 2 ? ~0ULL >> 1 : pieces[0].len + pieces[1].len);
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

/* A file that is emptied before it is written anew, by its name. */
static __always_inline void on_emptying(struct task_struct *task, const void *path)
{
	__u64 id = family_of(task), scope = id;
	struct named *named = find(&scope, path);

	if (named && !named->random)
		keep_named(id, named);
}

/* The same, by its descriptor. */
static __always_inline void on_cutting(struct task_struct *task, __u32 fd)
{
	struct file *file = file_of(task, fd);
	struct file_key key;
	__u32 flags;

	if (!file || !key_of(&key, file))
		return;
	key.family = family_of(task);
	flags = flags_of(&key);
	if (flags & (READ_PLAIN | MAPPED) && !(flags & (CREATED | READ_RANDOM)))
		keep_region(&key, file, 0, ~0ULL);
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
		if (!named->stem || !bpf_map_lookup_elem(&twins, &twin)) {
			/*
			 * Of a canary any random-looking file beside it will do, whatever its name; but only of a program
			 * that did all of it itself: a shell's commands have little to do with each other.
			 */
			twin.hash = ANY_NAME ^ named->folder;
			if (scope != id || !is_canary(&key, s->hash) || !bpf_map_lookup_elem(&twins, &twin))
				return;
		}
	}
	if (flags_of(&key) & EVIDENT)
		return;
	set_flags(&key, READ_PLAIN | EVIDENT);
	keep_named(id, named);
	accuse(id, HOW_REMOVED, is_canary(&key, s->hash) ? limit_own : 1, &key, NULL);
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
	keep_named(id, target);
	accuse(id, HOW_REPLACED, is_canary(&key, hash_of_path()) ? limit_own : 1, &key, NULL);
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
		/* What is written to it then is written without a call. */
		if (!(known_flags & READ_RANDOM))
			keep_region(&key, file, 0, ~0ULL);
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
