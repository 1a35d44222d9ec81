/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * What all programs share: the ring buffer, the books, the wake-ups, and the memory in which a record grows.
 *
 * Each event is counted before it is written, and again if it could not be written, so that user space can check
 * produced = delivered + lost.
 */
#pragma once

#include "kernel.h"
#include "record.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

/* Between two wake-ups for events that nobody acts upon at once. */
#define QUIET_NS (2 * 1000 * 1000)
/* A backlog that is worth a wake-up by itself, if the ring is large enough. */
#define BACKLOG_BYTES (1 << 20)
/* Between two wake-ups for a backlog. */
#define BUSY_NS (200 * 1000)
/* Wake-ups that may follow each other at once, but for one. */
#define WAKE_BURST 7
/* A host's CPUs, at most; user space lowers it to those there are. */
#define MAX_CPUS 1024

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KINDS);
	__type(key, __u32);
	__type(value, struct counter);
} counters SEC(".maps");

/* Written once, before the programs are attached. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct config);
} config SEC(".maps");

/* What a program builds on its CPU: where a path walk is, and the record that it writes to. */
struct scratch {
	struct dentry *dentry;
	struct mount *mount;
	__u64 last; /* no component begins behind this */
	__u64 at;   /* where the next component goes */
	__u64 canary; /* it is the canary's */
	__u32 cut;  /* set in `flags` if a walk did not reach the root */
	__u32 flags;
	__u64 depth; /* components of the walked path */
	__u64 top[WATCH_DEPTH]; /* where the components next to the root stand, the root's own first */
	__u64 args[6];
	__s64 ret;
	__u64 call;
	struct watch_key key; /* the first components of a path */
	__u32 key_slot;	      /* which of them is being written */
	__u32 key_at;	      /* and how far */
	__u32 slot;	      /* its own number */
	/* Of a verdict: which tables, what their machines said, and the texts that they read. */
	__u32 generation;
	__u32 branch; /* the next one, or where it led */
	__u32 phase;
	__u32 state; /* of the machine that runs */
	__u64 known[4];
	__u64 passed[4];
	__u32 image_len;
	__u32 line_len;
	__u64 line_at; /* from the beginning of this */
	char name[NAME_BYTES];
	char image[IMAGE_BYTES + NAME_BYTES];
	struct exec_record record;
};

/* One slot per CPU, and some for programs that may be interrupted. Not a per-CPU map, because the kernel limits a value of those to 32 KiB. All programs that use it
 * run in a process's context with preemption off, so none interrupts another. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

/* Races between CPUs cost one wake-up more or less. */
static __u64 last_wake;
/* Up to when the credit of `wake_soon` is spent. */
static __u64 wake_spent;

static __always_inline struct scratch *own_scratch(void)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct scratch *own = bpf_map_lookup_elem(&scratch, &cpu);

	if (own)
		own->slot = cpu;
	return own;
}

static __always_inline struct counter *count(__u32 kind)
{
	struct counter *counter = bpf_map_lookup_elem(&counters, &kind);
	if (counter)
		counter->produced++;
	return counter;
}

static __always_inline void count_lost(struct counter *counter)
{
	if (counter)
		counter->lost++;
}

/* Wakes the reader for an event that is acted upon at once, however many there are. */
static __always_inline __u64 wake_now(void)
{
	last_wake = bpf_ktime_get_ns();
	return BPF_RB_FORCE_WAKEUP;
}

/*
 * Wake-ups cost more than the programs: an interrupt for who writes, a switch for who reads. A quiet event wakes the
 * reader only if nothing did for 2 ms, or if much waits; and then not for each event, since a reader that has fallen
 * behind does not read faster for it. The reader looks by itself until 3 ms after each delivery, so that the last
 * quiet event never waits for the next one.
 */
static __always_inline __u64 wake_if_due(void)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 since = now - last_wake;

	if (since <= QUIET_NS) {
		__u64 backlog = bpf_ringbuf_query(&ring, BPF_RB_RING_SIZE) / 4;

		if (backlog > BACKLOG_BYTES)
			backlog = BACKLOG_BYTES;
		if (since <= BUSY_NS || bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) < backlog)
			return BPF_RB_NO_WAKEUP;
	}
	last_wake = now;
	return BPF_RB_FORCE_WAKEUP;
}

/*
 * Wakes the reader at once for the few, and as for quiet events for the many: each wake-up takes 2 ms of a credit of
 * 16 ms. Without credit, the last one was less than 2 ms ago.
 */
static __always_inline __u64 wake_soon(void)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 spent = wake_spent > now ? wake_spent : now;

	if (spent - now > WAKE_BURST * QUIET_NS)
		return wake_if_due();
	wake_spent = spent + QUIET_NS;
	last_wake = now;
	return BPF_RB_FORCE_WAKEUP;
}

/* The last quarter of the ring is for processes and system calls: a storm of files must not hide an exec. */
static __always_inline int crowded(void)
{
	__u64 size = bpf_ringbuf_query(&ring, BPF_RB_RING_SIZE);

	return bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > size / 4 * 3;
}

static __always_inline void identify(struct process_id *id, struct task_struct *task)
{
	id->start = task->group_leader->start_boottime;
	id->tgid = task->tgid;
	id->euid = task->cred->euid.val;
}

static __always_inline void fill_header(struct header *header, struct task_struct *task, __u32 kind, __u32 size)
{
	header->kind = kind;
	header->size = size;
	header->time = bpf_ktime_get_boot_ns();
	identify(&header->process, task);
	identify(&header->parent, task->real_parent);
}
