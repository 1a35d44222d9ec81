/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * Files: their keys and names, and what a family has done with each.
 */
#pragma once
#include "family.h"

#define HASH_START 14695981039346656037ULL
#define HASH_STEP 1099511628211ULL
/* Stands for the hash of any name. */
#define ANY_NAME 1ULL

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

/* True of a file that nobody has reason to change, by its number and the hash of its name. */
static __always_inline int is_canary(struct file_key *key, __u64 name)
{
	struct canary_key canary = { .ino = key->ino, .dev = key->dev };
	__u64 *its = bpf_map_lookup_elem(&canaries, &canary);

	return its && *its == name;
}

/* The same of an open file. */
static __always_inline int is_canary_file(struct file_key *key, struct file *file)
{
	struct canary_key canary = { .ino = key->ino, .dev = key->dev };
	__u64 *its = bpf_map_lookup_elem(&canaries, &canary);

	return its && *its == read_name(BPF_CORE_READ(file, f_path.dentry));
}

/* Remembers a file under its name, for the family and for the one above: what it executes next may unlink it. */
static __always_inline void name_it(struct file *file, struct file_key *key, __u32 random)
{
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	struct scratch *s = slot();
	struct named named = { .ino = key->ino, .dev = key->dev, .random = random, .dentry = dentry };
	struct name_key name = { .family = key->family, .hash = read_name(dentry) };

	if (!s || !name.hash)
		return;
	named.folder = BPF_CORE_READ(dentry, d_parent, d_inode, i_ino);
	named.stem = s->stem;
	named.mapping = BPF_CORE_READ(file, f_mapping);
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
	key.hash = ANY_NAME ^ folder;
	bpf_map_update_elem(&twins, &key, &one, BPF_ANY);
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
