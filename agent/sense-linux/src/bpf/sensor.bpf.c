// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause
/*
 * The sensor's kernel half. It only looks, but for `on_exec_decides`, which kills what a rule with a response is about.
 *
 * One object, so that all programs share the ring buffer and what comes out of it is in order. Programs that a kernel
 * does not know are left out when it is loaded.
 */
#include "process.h"
#ifdef __TARGET_ARCH_x86
#include "network.h"
#include "files.h"
#include "system.h"
#include "talk.h"
#endif

/* The kernel lets only programs that name a GPL-compatible licence call its tracing helpers. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";
