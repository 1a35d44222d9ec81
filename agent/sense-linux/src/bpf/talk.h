/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * What processes say to whom they talk with, as far as it tells more than that they talk: questions and answers of DNS
 * over UDP, and which socket in the file system somebody connected to.
 *
 * Questions that are written by write(2), and DNS over TCP, TLS or HTTPS, are not seen.
 */
#pragma once

#include "files.h"
#include "network.h"
#include "system.h"

#define PORT_DNS 53
#define IPPROTO_UDP 17
/* The header alone. */
#define DNS_LEAST 12
/* Messages of one sendmmsg that are looked at: a resolver asks for IPv4 and IPv6. */
#define DNS_MESSAGES 2

/* A dns_record lies directly before the scratch's data. */
static __always_inline struct dns_record *dns_record(struct scratch *walk)
{
	return (void *)walk->record.data - sizeof(struct dns_record);
}

/* struct msghdr of 64-bit programs, as far as it is read, and struct mmsghdr's size. */
struct message {
	__u64 name;
	__u32 name_len;
	__u32 unused;
	__u64 iov;
	__u64 iov_len;
};

#define MMSGHDR 64
/* Where struct mmsghdr says how much was sent. */
#define MMSGHDR_LEN 56

static __always_inline void send_dns(struct scratch *walk, struct task_struct *task, __u64 from, __u64 total)
{
	struct dns_record *record = dns_record(walk);
	struct counter *counter;
	__u64 len = total > DNS_BYTES ? DNS_BYTES : total, size;

	if (total < DNS_LEAST)
		return;
	/* Keeps the compiler from proving the bound away that the verifier wants to see. */
	asm volatile("" : "+r"(len));
	if (len > DNS_BYTES || bpf_probe_read_user(walk->record.data, len, (void *)from))
		return;
	counter = count(KIND_DNS);
	size = sizeof(*record) + len;
	fill_header(&record->header, task, KIND_DNS, size);
	record->len = len;
	record->total = total;
	record->unused = 0;
	asm volatile("" : "+r"(size));
	if (size > sizeof(*record) + DNS_BYTES || crowded() || bpf_ringbuf_output(&ring, record, size, wake_if_due()))
		count_lost(counter);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_talk, struct pt_regs *regs, long ret)
{
	struct scratch *walk = own_scratch();
	struct task_struct *task = bpf_get_current_task_btf();
	struct network_record ends = {};
	struct message message = {};
	struct dns_record *record;
	__u64 name, name_len, entry[2] = {};
	__u16 type = 0;
	__u32 sent = 0;
	int i;

	if (!walk || ret <= 0)
		return 0;

	__u32 call = walk->call & (CALLS - 1);
	int compat = walk->call >> 32;
	int received = call == CALL_RECVFROM || call == CALL_RECVMSG;
	struct sock *sk = socket_of(file_of(task, walk->args[0]), &type);

	if (!sk || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_UDP || !ends_of(&ends, sk) || compat)
		goto network;
	if (call == CALL_SENDTO || call == CALL_RECVFROM) {
		name = walk->args[4];
		name_len = walk->args[5];
		entry[0] = walk->args[1];
		/* Here it is a pointer to the length, and an address has one of the two. */
		if (call == CALL_RECVFROM)
			name_len = sizeof(struct address);
	} else {
		if (bpf_probe_read_user(&message, sizeof(message), (void *)walk->args[1]) ||
		    bpf_probe_read_user(entry, sizeof(entry), (void *)message.iov))
			goto network;
		name = message.name;
		name_len = message.name_len;
	}
	if (!ends.remote_port)
		name_remote(&ends, name, name_len);
	if (ends.remote_port != PORT_DNS)
		goto network;
	record = dns_record(walk);
	record->received = received;
	record->family = ends.family;
	record->remote_port = ends.remote_port;
	__builtin_memcpy(record->remote, ends.remote, sizeof(record->remote));
	if (call != CALL_SENDMMSG) {
		send_dns(walk, task, entry[0], ret);
		goto network;
	}
	for (i = 0; i < DNS_MESSAGES && i < ret; i++) {
		__u64 at = walk->args[1] + i * MMSGHDR;

		if (bpf_probe_read_user(&message, sizeof(message), (void *)at) ||
		    bpf_probe_read_user(entry, sizeof(entry), (void *)message.iov) ||
		    bpf_probe_read_user(&sent, sizeof(sent), (void *)at + MMSGHDR_LEN))
			break;
		send_dns(walk, task, entry[0], sent);
	}
network:
	if (!received)
		bpf_tail_call(ctx, &handlers, HANDLER_NETWORK);
	return 0;
}

/* sockaddr_un: a path, or a name that begins with a NUL and is in no file system. */
#define UNIX_PATH 108

SEC("tp_btf/sys_exit")
int BPF_PROG(on_unix, struct pt_regs *regs, long ret)
{
	struct scratch *walk = own_scratch();
	struct task_struct *task = bpf_get_current_task_btf();
	struct peer peer = { .tgid = task->tgid, .protocol = AF_UNIX };
	__u64 now = bpf_ktime_get_ns(), *told, hash = 14695981039346656037ULL;
	struct call_record *record;
	char path[UNIX_PATH] = {};
	long len;
	int i;

	if (!walk || is_misuse(ret))
		return 0;
	len = bpf_probe_read_user_str(path, sizeof(path), (void *)walk->args[1] + sizeof(__u16));
	if (len <= 1 || len > UNIX_PATH)
		return 0;
	for (i = 0; i < UNIX_PATH; i++) {
		if (!path[i])
			break;
		hash = (hash ^ (__u8)path[i]) * 1099511628211ULL;
	}
	__builtin_memcpy(peer.address, &hash, sizeof(hash));
	told = bpf_map_lookup_elem(&peers, &peer);
	if (told && now - *told < PEER_NS)
		return 0;
	bpf_map_update_elem(&peers, &peer, &now, BPF_ANY);
	record = call_record(walk);
	__builtin_memcpy(walk->record.data, path, sizeof(path));
	walk->at = len;
	record->call = CALL_CONNECT;
	record->compat = walk->call >> 32;
	record->unused = 0;
	record->result = ret;
	record->text_len = len;
	record->text_kind = TEXT_STRING;
	for (i = 0; i < 5; i++)
		record->args[i] = walk->args[i];
	send_call(walk, task, wake_if_due());
	return 0;
}
