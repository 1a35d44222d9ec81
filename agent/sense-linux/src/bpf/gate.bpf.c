// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause
/*
 * The gate: refuses programs that a rule about the executable alone says must not run, before the kernel has given up
 * what ran there before. The command line is not known yet: rules that need it are the business of `on_exec`.
 *
 * Not every kernel lets it in, so it is an object of its own; it shares the sensor's maps. Only one of its programs is
 * loaded: as a part of the BPF LSM, or where that is not in force, in the place of the function that asks the LSMs.
 */
#include "facts.h"
#include "verdict.h"

#define EPERM 1
/* Places in `scratch` behind those of the processors: programs here may be interrupted by those of other processes. */
#define GATE_SLOTS 4

/* Which of them are taken, by whom. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GATE_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} gate_slots SEC(".maps");

struct gate_count {
	__u64 asked;
	__u64 refused;
	__u64 passed_over; /* no place was free */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gate_count);
} gate_counts SEC(".maps");

/* Processors; set before it is loaded. */
const volatile __u32 first_slot = 1;

static __always_inline int refuse(struct scratch *walk, __u32 slot, struct task_struct *task, struct file *file)
{
	struct exec_record *record = &walk->record;
	__u64 began = bpf_ktime_get_boot_ns();

	walk->slot = slot;
	walk->at = 0;
	walk->flags = REFUSED;
	walk->line_len = 0;
	record->exe_len = put_path(walk, __builtin_preserve_access_index(&file->f_path), EXE_LAST, EXE_CUT);
	if (BPF_CORE_READ(file, f_path.dentry, d_inode, i_nlink) == 0)
		walk->flags |= EXE_GONE;
	put_image(slot);

	int rule = decide(slot);

	if (!rule)
		return 0;

	struct counter *counter = count(KIND_EXEC);
	struct fs_struct *fs = task->fs;

	put_facts(walk, task);
	record->cwd_len = 0;
	if (fs)
		record->cwd_len = put_path(walk, __builtin_preserve_access_index(&fs->pwd), CWD_LAST, CWD_CUT);
	record->script_len = 0;
	record->args_len = 0;
	record->env_len = 0;
	record->unused = 0;
	put_no_identity(record);
	record->args_total = 0;
	record->verdict = rule;
	record->flags = walk->flags;

	__u64 size = __builtin_offsetof(struct exec_record, data) + walk->at;

	fill_header(&record->header, task, KIND_EXEC, size);
	record->verdict_ns = record->header.time - began;
	asm volatile("" : "+r"(size));
	/* What nobody would be told of is not refused either: the engine sees it run, and acts. */
	if (size > sizeof(*record) || bpf_ringbuf_output(&ring, record, size, wake_now())) {
		count_lost(counter);
		return 0;
	}
	return 1;
}

static __always_inline int gate(struct linux_binprm *bprm)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 zero = 0, magic = 0, pid = task->pid, slot, n;
	struct gate_count *told = bpf_map_lookup_elem(&gate_counts, &zero);
	struct file *file = bprm->file;
	int refused = 0;

	if (!told)
		return 0;
	told->asked++;
	/* Of a script this is asked again for its interpreter, which is what will run. */
	if (bpf_probe_read_kernel(&magic, sizeof(magic), __builtin_preserve_access_index(&bprm->buf)) || magic != 0x464c457f)
		return 0;
	if (!tables() || is_spared(task))
		return 0;
	for (n = 0; n < GATE_SLOTS; n++) {
		slot = first_slot + n;
		if (bpf_map_update_elem(&gate_slots, &slot, &pid, BPF_NOEXIST))
			continue;

		struct scratch *walk = scratch_of(slot);

		if (walk)
			refused = refuse(walk, slot, task, file);
		bpf_map_delete_elem(&gate_slots, &slot);
		if (refused)
			told->refused++;
		return refused ? -EPERM : 0;
	}
	told->passed_over++;
	return 0;
}

SEC("lsm/bprm_check_security")
int BPF_PROG(gate_lsm, struct linux_binprm *bprm, int ret)
{
	return ret ? ret : gate(bprm);
}

SEC("fmod_ret/security_bprm_check")
int BPF_PROG(gate_return, struct linux_binprm *bprm, int ret)
{
	return ret ? ret : gate(bprm);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
