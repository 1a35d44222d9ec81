/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * Rules that are decided here: tables of branches over small automata, each of which reads the executable's path or the
 * command line. `wardline_sigma::verdict` makes them and says what they mean; `Verdicts::decide` there follows them as
 * this does, so that what is stopped here is what the rules match.
 */
#pragma once

#include "walk.h"

#define VERDICT_BRANCHES 512
#define VERDICT_MACHINES 256
#define VERDICT_CHARS 128
#define VERDICT_CELLS (1 << 19)
#define VERDICT_LINE 4096
#define VERDICT_PIECE 512
/* Components of a path about which is decided. */
#define VERDICT_DEPTH 32

/* Where branches lead, but to another one. */
#define TO_RULE 0x8000
#define TO_NONE 0xffff
#define TO_SPARED 0xfffe

/* States of a machine, and cells that say how a text that ends passes. */
#define STATE_NO 0
#define STATE_YES 1
#define STATE_START 2

/* What a machine says beside these two: nothing can be decided; the text goes on. */
#define PASSES_UNKNOWN 2
#define PASSES_ON 3

struct verdict_branch {
	__u16 machine;
	__u16 yes;
	__u16 no;
	__u16 unused;
};

struct verdict_machine {
	__u32 first; /* its first cell */
	__u16 width; /* cells of a row: one for each class, and whether the text passes if it ends here */
	__u8 field;  /* 0 the executable, 1 the command line */
	__u8 unused;
};

struct verdict_table {
	__u16 entries[2]; /* rules about the executable alone, and the others */
	__u32 generation; /* another one for other tables */
	struct verdict_branch branches[VERDICT_BRANCHES];
	struct verdict_machine machines[VERDICT_MACHINES];
	__u8 classes[VERDICT_MACHINES][VERDICT_CHARS];
	__u16 cells[VERDICT_CELLS];
};

_Static_assert(sizeof(struct verdict_table) == 8 + 512 * 8 + 256 * (8 + 128) + (1 << 20), "TABLE_BYTES");

struct verdict_inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct verdict_table));
};

/* The tables in force, or nothing. A map within a map, because the kernel puts one in another's place at once, and
 * keeps the old one until nobody reads it any more. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__array(values, struct verdict_inner);
} verdicts SEC(".maps");

/* The agent and what it runs under, by pid: when each began, in hundredths of a second since boot. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u64);
} spared SEC(".maps");

static __always_inline struct verdict_table *tables(void)
{
	__u32 zero = 0;
	void *inner = bpf_map_lookup_elem(&verdicts, &zero);

	return inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
}

static __always_inline struct scratch *scratch_of(__u32 slot)
{
	return bpf_map_lookup_elem(&scratch, &slot);
}

/*
 * Runs a machine over a piece of its text, from the state in which the piece before left it. Pieces, because the verifier
 * follows no more than 8,192 jumps; global functions are verified once, and not once for each call.
 */
__noinline int machine_piece(__u32 slot, __u32 number, __u32 from)
{
	struct scratch *walk = scratch_of(slot);
	struct verdict_table *table = tables();

	if (!walk || !table || table->generation != walk->generation)
		return PASSES_UNKNOWN;
	number &= VERDICT_MACHINES - 1;

	struct verdict_machine *machine = &table->machines[number];
	__u8 *classes = table->classes[number];
	__u32 first = machine->first, width = machine->width;
	__u32 begin = machine->field ? walk->line_at : __builtin_offsetof(struct scratch, image);
	__u32 len = machine->field ? walk->line_len : walk->image_len;
	__u32 state = walk->state, i;

	for (i = 0; i < VERDICT_PIECE; i++) {
		if (state < STATE_START)
			return state;
		if (from + i >= len) {
			__u32 end = first + (state - STATE_START) * width + width - 1;

			return end < VERDICT_CELLS ? table->cells[end] == STATE_YES : PASSES_UNKNOWN;
		}

		__u64 at = begin + from + i;

		/* Keeps the compiler from proving the bound away that the verifier wants to see. */
		asm volatile("" : "+r"(at));
		if (at >= sizeof(*walk))
			return PASSES_UNKNOWN;

		__u32 class = classes[((__u8 *)walk)[at] & (VERDICT_CHARS - 1)];
		__u32 cell = first + (state - STATE_START) * width + class;

		if (cell >= VERDICT_CELLS)
			return PASSES_UNKNOWN;
		state = table->cells[cell];
	}
	walk->state = state;
	return PASSES_ON;
}

/* Whether the text that a machine reads passes it. */
static __always_inline int machine_passes(struct scratch *walk, __u32 slot, __u32 number)
{
	__u32 from;

	walk->state = STATE_START;
	for (from = 0; from <= VERDICT_LINE; from += VERDICT_PIECE) {
		int passes = machine_piece(slot, number, from);

		if (passes != PASSES_ON)
			return passes;
	}
	return PASSES_UNKNOWN;
}

/* Whether a piece of a text is ASCII. */
__noinline int piece_is_ascii(__u32 slot, __u32 of_line, __u32 from)
{
	struct scratch *walk = scratch_of(slot);

	if (!walk)
		return 0;

	__u32 begin = of_line ? walk->line_at : __builtin_offsetof(struct scratch, image);
	__u32 len = of_line ? walk->line_len : walk->image_len;
	__u32 i;

	for (i = 0; i < VERDICT_PIECE; i++) {
		if (from + i >= len)
			break;

		__u64 at = begin + from + i;

		asm volatile("" : "+r"(at));
		if (at >= sizeof(*walk) || ((__u8 *)walk)[at] >= VERDICT_CHARS)
			return 0;
	}
	return 1;
}

/* Machines read seven bits: of other texts nothing is decided. */
static __always_inline int is_ascii(__u32 slot, __u32 of_line)
{
	__u32 from;

	for (from = 0; from < VERDICT_LINE; from += VERDICT_PIECE) {
		if (!piece_is_ascii(slot, of_line, from))
			return 0;
	}
	return 1;
}

/*
 * Follows one branch; gives whether there is another one. Global and with its state in a map, as `walk_step`: the verifier
 * then does not look at every way through 512 branches.
 */
__noinline int branch_step(__u32 slot)
{
	struct scratch *walk = scratch_of(slot);
	struct verdict_table *table = tables();

	if (!walk || !table)
		return 0;

	__u32 at = walk->branch;

	if (table->generation != walk->generation) {
		walk->branch = TO_SPARED;
		return 0;
	}
	if (at >= VERDICT_BRANCHES) {
		if (at != TO_NONE || walk->phase || !walk->line_len)
			return 0;
		walk->phase = 1;
		walk->branch = table->entries[1];
		return 1;
	}

	struct verdict_branch *branch = &table->branches[at];
	__u32 number = branch->machine & (VERDICT_MACHINES - 1);
	__u32 word = number / 64;
	__u64 bit = 1ULL << (number & 63);

	if (!(walk->known[word] & bit)) {
		int passes = machine_passes(walk, slot, number);

		if (passes != 0 && passes != 1) {
			walk->branch = TO_SPARED;
			return 0;
		}
		walk->known[word] |= bit;
		if (passes)
			walk->passed[word] |= bit;
	}
	walk->branch = walk->passed[word] & bit ? branch->yes : branch->no;
	return 1;
}

/* The number of the rule that matches plus one, or 0. */
__noinline int decide(__u32 slot)
{
	struct scratch *walk = scratch_of(slot);
	struct verdict_table *table = tables();
	__u32 step;

	if (!walk || !table || !walk->image_len)
		return 0;
	walk->generation = table->generation;
	walk->branch = table->entries[0];
	walk->phase = 0;
	for (step = 0; step < VERDICT_MACHINES / 64; step++) {
		walk->known[step] = 0;
		walk->passed[step] = 0;
	}
	for (step = 0; step < VERDICT_BRANCHES + 2; step++) {
		if (!branch_step(slot))
			break;
	}

	__u32 at = walk->branch;

	if (at < TO_RULE || at == TO_NONE || at == TO_SPARED)
		return 0;
	if (!is_ascii(slot, 0) || (walk->phase && !is_ascii(slot, 1)))
		return 0;
	return (at & ~TO_RULE) + 1;
}

/* Writes the executable's path as people read it, from its components in the record; an empty one if that cannot be. */
__noinline int put_image(__u32 slot)
{
	static const char gone[] = " (deleted)";
	struct scratch *walk = scratch_of(slot);
	__u32 at = 0, n;

	if (!walk)
		return 0;

	__u32 total = walk->record.exe_len;

	walk->image_len = 0;
	if (!total || total > IMAGE_BYTES - sizeof(gone) || walk->flags & EXE_CUT)
		return 0;
	for (n = 0; n < VERDICT_DEPTH && at < total; n++) {
		if (at > EXE_LAST)
			return 0;

		long len = bpf_probe_read_kernel_str(walk->name, NAME_BYTES, walk->record.data + at);

		if (len < 2 || len > NAME_BYTES)
			return 0;

		__u32 size = len, to = total - at - size;

		if (to >= IMAGE_BYTES)
			return 0;
		walk->image[to] = '/';
		if (bpf_probe_read_kernel(walk->image + to + 1, (size - 1) & (NAME_BYTES - 1), walk->name))
			return 0;
		at += size;
	}
	if (at != total)
		return 0;
	/* As /proc/PID/exe shows it. Whether a name ends so already is not worth a look. */
	if (walk->flags & EXE_GONE) {
		__u64 last = total - 1;

		asm volatile("" : "+r"(last));
		if (last >= IMAGE_BYTES || walk->image[last] == ')')
			return 0;
		if (bpf_probe_read_kernel(walk->image + last + 1, sizeof(gone) - 1, gone))
			return 0;
		total += sizeof(gone) - 1;
	}
	walk->image_len = total;
	return 1;
}

/* Says where the command line is: without the NULs at its end, and not if it is cut or too long. */
static __always_inline void point_to_line(struct scratch *walk)
{
	__u64 at = walk->at;
	__u32 len = walk->record.args_len, n;

	walk->line_len = 0;
	if (walk->flags & ARGS_CUT || len > VERDICT_LINE || at > SCRIPT_END)
		return;
	for (n = 0; n < 64 && len; n++) {
		__u64 last = at + len - 1;

		asm volatile("" : "+r"(last));
		if (last >= DATA_MAX)
			return;
		if (walk->record.data[last])
			break;
		len--;
	}
	if (n == 64)
		return;
	walk->line_at = __builtin_offsetof(struct scratch, record.data) + at;
	walk->line_len = len;
}

/* Pid 1, the agent, what it starts itself and what it runs under are never decided about. */
static __always_inline int is_spared(struct task_struct *task)
{
	__u32 zero = 0, tgid = task->tgid;
	struct config *told = bpf_map_lookup_elem(&config, &zero);
	__u64 *began = bpf_map_lookup_elem(&spared, &tgid);

	if (tgid <= 1 || !told || task->real_parent->tgid == told->own_tgid)
		return 1;
	return began && *began == task->group_leader->start_boottime / NS_PER_TICK;
}
