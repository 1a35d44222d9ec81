/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * Copies of what is about to be destroyed, taken from the page cache, where it lies because the family has read it.
 *
 * There is no call that gives a program of this kind a file's content. So it walks the cache's tree itself, computes where
 * the page lies in memory, copies it, and then looks whether the page was the file's all the while. User space finds out
 * where memory begins (`src/bearings.rs`), and proves it with a file whose content it knows, before anything is copied.
 */
#pragma once
#include "files.h"

/* Pages of one call, and of one family within `window_own`. */
#define MOST_PAGES 1920
#define MOST_OF_FAMILY 16384
/* No file that can be kept has a tree this high. */
#define LEVELS 6

/* Where a page's content lies in memory; 0 if it is not in the cache, or not whole there. */
__noinline __u64 address_of(__u64 index)
{
	struct scratch *s = slot();
	struct address_space *mapping;
	__u64 entry, flags = 0, inside, frame, page;
	int level;

	if (!s)
		return 0;
	s->keeping.folio = NULL;
	mapping = s->keeping.mapping;
	entry = (__u64)BPF_CORE_READ(mapping, i_pages.xa_head);
	for (level = 0; level < LEVELS; level++) {
		struct xa_node *node;
		__u64 at;

		/* The tree's own entries end in 10: a node, or below 4096 something that is none. */
		if ((entry & 3) != 2)
			break;
		if (entry < 4096)
			return 0;
		node = (void *)(entry - 2);
		at = index >> (BPF_CORE_READ(node, shift) & 63);
		if (level == 0 && at > 63)
			return 0;
		at &= 63;
		if (bpf_probe_read_kernel(&entry, sizeof(entry), (void *)node + bpf_core_field_offset(node->slots) + at * 8))
			return 0;
		/* One of a large folio's further places names the first. */
		if ((entry & 3) == 2 && entry < 4096) {
			at = entry >> 2 & 63;
			if (bpf_probe_read_kernel(&entry, sizeof(entry),
						  (void *)node + bpf_core_field_offset(node->slots) + at * 8))
				return 0;
		}
	}
	if (!entry || entry & 3)
		return 0;

	struct folio *folio = (void *)entry;
	__u64 size = bpf_core_type_size(struct page);

	/* Its flags are the first thing of a page on every kernel, under whatever name. */
	if (!size || bpf_probe_read_kernel(&flags, sizeof(flags), folio) ||
	    !(flags >> bpf_core_enum_value(enum pageflags, PG_uptodate) & 1))
		return 0;
	inside = index - BPF_CORE_READ(folio, index);
	page = entry + inside * size;
	if (inside && BPF_CORE_READ((struct page *)page, compound_head) != entry + 1)
		return 0;
	s->keeping.folio = folio;
	frame = (page - s->keeping.pages) / size;
	return s->keeping.memory + frame * PAGE_BYTES;
}

/* A slot to be filled; NULL if user space does not read them fast enough. */
static __always_inline struct slot *take_slot(__u64 *number)
{
	__u32 taken_at = BEARING_TAKEN, given_at = BEARING_GIVEN, lost_at = BEARING_LOST, at;
	__u64 *taken = bpf_map_lookup_elem(&bearings, &taken_at), *given = bpf_map_lookup_elem(&bearings, &given_at);
	__u64 *without = bpf_map_lookup_elem(&bearings, &lost_at);

	if (!taken || !given || !without)
		return NULL;
	/* As many again as there may be processors that have passed this line and not the next. */
	if (*taken - *given >= SLOTS - 64) {
		__sync_fetch_and_add(without, 1);
		return NULL;
	}
	*number = __sync_fetch_and_add(taken, 1);
	at = *number % SLOTS;
	return bpf_map_lookup_elem(&slots, &at);
}

static __always_inline void give_slot(struct slot *slot, struct scratch *s, __u64 number, __u32 kind, __u64 index)
{
	slot->family = s->keeping.file.family;
	slot->ino = s->keeping.file.ino;
	slot->dev = s->keeping.file.dev;
	slot->kind = kind;
	slot->index = index;
	slot->time = bpf_ktime_get_boot_ns();
	/* Whole before it says so; the processor keeps the order of writes, and the compiler must. */
	asm volatile("" ::: "memory");
	*(volatile __u64 *)&slot->number = number + 1;
}

/* Copies one page, unless it was copied before: the first is what the file was. 0 if there is no room. */
__noinline int keep_page(__u64 index)
{
	struct scratch *s = slot();
	struct slot *into;
	struct kept *kept;
	__u64 number, from, word = index >> 6, bit = 1ULL << (index & 63);

	if (!s || word >= KEPT_WORDS)
		return 0;
	kept = bpf_map_lookup_elem(&kept_files, &s->keeping.file);
	if (!kept)
		return 0;
	if (kept->pages[word] & bit)
		return 1;
	from = address_of(index);
	into = take_slot(&number);
	if (!into)
		return 0;

	struct folio *folio = s->keeping.folio;
	int whole = from && !bpf_probe_read_kernel(into->data, PAGE_BYTES, (void *)from) &&
		    BPF_CORE_READ(folio, mapping) == s->keeping.mapping;

	if (whole)
		kept->pages[word] |= bit;
	give_slot(into, s, number, whole ? SLOT_PAGE : SLOT_MISSING, index);
	return 1;
}

/* Tells user space once that a file is not copied any more from this page on. */
static __always_inline void fall_short(struct kept *kept, struct scratch *s, __u64 index)
{
	__u64 number;
	struct slot *into;

	if (kept->is_short)
		return;
	kept->is_short = 1;
	into = take_slot(&number);
	if (into)
		give_slot(into, s, number, SLOT_SHORT, index);
}

static __always_inline void describe(struct file_head *head, struct inode *inode, struct dentry *dentry)
{
	struct scratch *s = slot();
	int step;

	if (!s)
		return;
	head->size = BPF_CORE_READ(inode, i_size);
	head->mode = BPF_CORE_READ(inode, i_mode);
	head->uid = BPF_CORE_READ(inode, i_uid.val);
	head->gid = BPF_CORE_READ(inode, i_gid.val);
	head->links = BPF_CORE_READ(inode, i_nlink);
	if (bpf_core_field_exists(inode->i_mtime_sec)) {
		head->mtime = BPF_CORE_READ(inode, i_mtime_sec);
		head->mtime_ns = BPF_CORE_READ(inode, i_mtime_nsec);
	} else if (bpf_core_field_exists(((struct inode___6_6 *)0)->__i_mtime)) {
		head->mtime = BPF_CORE_READ((struct inode___6_6 *)inode, __i_mtime.tv_sec);
		head->mtime_ns = BPF_CORE_READ((struct inode___6_6 *)inode, __i_mtime.tv_nsec);
	} else {
		head->mtime = BPF_CORE_READ((struct inode___5 *)inode, i_mtime.tv_sec);
		head->mtime_ns = BPF_CORE_READ((struct inode___5 *)inode, i_mtime.tv_nsec);
	}
	s->dentry = dentry;
	s->at = 0;
	for (step = 0; step < 32; step++)
		if (!walk_step(&head->path))
			break;
	head->path_len = s->at;
}

/* Begins to copy a file, or goes on with it. 0 if it is not to be copied. */
static __always_inline int begin_keeping(struct file_key *key, struct inode *inode, struct address_space *mapping,
					 struct dentry *dentry)
{
	__u32 pages_at = BEARING_PAGES, memory_at = BEARING_MEMORY;
	__u64 *pages = bpf_map_lookup_elem(&bearings, &pages_at), *memory = bpf_map_lookup_elem(&bearings, &memory_at);
	struct family *family = bpf_map_lookup_elem(&families, &key->family);
	__u64 now = bpf_ktime_get_boot_ns(), number;
	struct scratch *s = slot();
	struct slot *into;
	struct kept *kept;

	if (!s || !pages || !memory || !*pages || !family || !mapping || !BPF_CORE_READ(inode, i_size))
		return 0;
	if (now - family->kept_since > window_own) {
		family->kept_since = now;
		family->kept = 0;
	}
	if (!counts(key->family))
		return 0;
	s->keeping.file = *key;
	s->keeping.mapping = mapping;
	s->keeping.pages = *pages;
	s->keeping.memory = *memory;
	kept = bpf_map_lookup_elem(&kept_files, key);
	if (family->kept >= MOST_OF_FAMILY) {
		if (kept)
			fall_short(kept, s, 0);
		return 0;
	}
	if (kept && now - kept->since <= window_own)
		return !kept->is_short;
	bpf_map_update_elem(&kept_files, key, &s->none, BPF_ANY);
	kept = bpf_map_lookup_elem(&kept_files, key);
	into = kept ? take_slot(&number) : NULL;
	if (!into)
		return 0;
	kept->since = now;
	describe((void *)into->data, inode, dentry);
	give_slot(into, s, number, SLOT_FILE, 0);
	return 1;
}

/* Copies the pages from one to another, both included. */
__noinline int keep_pages(__u64 first, __u64 last)
{
	struct scratch *s = slot();
	__u64 i;

	for (i = 0; i < MOST_PAGES; i++)
		if (first + i > last || !keep_page(first + i))
			break;
	if (!s)
		return 0;

	struct family *family = bpf_map_lookup_elem(&families, &s->keeping.file.family);
	struct kept *kept = bpf_map_lookup_elem(&kept_files, &s->keeping.file);

	if (family)
		__sync_fetch_and_add(&family->kept, (__u32)i);
	if (kept && first + i <= last)
		fall_short(kept, s, first + i);
	return 0;
}

/* Copies what a call is about to overwrite. */
static __always_inline void keep_region(struct file_key *key, struct file *file, __u64 pos, __u64 len)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	__u64 size = BPF_CORE_READ(inode, i_size);

	if (pos >= size || !len)
		return;
	if (len > size - pos)
		len = size - pos;
	if (begin_keeping(key, inode, BPF_CORE_READ(file, f_mapping), BPF_CORE_READ(file, f_path.dentry)))
		keep_pages(pos / PAGE_BYTES, (pos + len - 1) / PAGE_BYTES);
}

/* Copies a file that is about to go, as it was when it was read, if it is still that one. */
static __always_inline void keep_named(__u64 id, struct named *named)
{
	struct dentry *dentry = named->dentry;
	struct address_space *mapping = named->mapping;
	struct inode *inode = BPF_CORE_READ(dentry, d_inode), *host = BPF_CORE_READ(mapping, host);
	struct file_key key = { .family = id, .ino = named->ino, .dev = named->dev };
	__u64 size = BPF_CORE_READ(inode, i_size);

	/* Where one file system lies upon another, the page cache is that of the file below. */
	if (BPF_CORE_READ(inode, i_ino) != named->ino || BPF_CORE_READ(inode, i_sb, s_dev) != named->dev ||
	    !size || BPF_CORE_READ(host, i_size) != size)
		return;
	if (begin_keeping(&key, inode, mapping, dentry))
		keep_pages(0, (size - 1) / PAGE_BYTES);
}

struct bpf_raw_tracepoint_args {
	__u64 args[0];
};

/*
 * Run by user space, attached to nothing: a file of its own, where memory may begin (or 0, to be told of a page and a
 * task), and the first eight bytes of each of the file's two pages. 1 if they are there.
 */
SEC("raw_tp")
int find_memory(struct bpf_raw_tracepoint_args *ctx)
{
	struct file *file = file_of((void *)bpf_get_current_task(), ctx->args[0]);
	__u32 page_at = BEARING_PAGE, task_at = BEARING_TASK;
	__u64 *page = bpf_map_lookup_elem(&bearings, &page_at), *task = bpf_map_lookup_elem(&bearings, &task_at);
	__u64 found = 0, from;
	struct scratch *s = slot();

	if (!s || !file || !page || !task)
		return 0;
	s->keeping.mapping = BPF_CORE_READ(file, f_mapping);
	s->keeping.pages = ctx->args[1];
	s->keeping.memory = ctx->args[2];
	from = address_of(0);
	if (!from)
		return 0;
	*page = (__u64)s->keeping.folio;
	*task = bpf_get_current_task();
	if (!ctx->args[1])
		return 1;
	if (bpf_probe_read_kernel(&found, sizeof(found), (void *)from) || found != ctx->args[3])
		return 0;
	from = address_of(1);
	return from && !bpf_probe_read_kernel(&found, sizeof(found), (void *)from) && found == ctx->args[4];
}
