/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * The network: connections opened, accepted and refused, listeners, and the first datagram to each address.
 */
#pragma once

#include "calls.h"

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define S_IFMT 0170000
#define S_IFSOCK 0140000

/* struct sockaddr_in and sockaddr_in6, as far as they are read. */
struct address {
	__u16 family;
	__u16 port; /* network byte order */
	union {
		struct {
			__u8 ipv4[4];
			__u8 unused[20];
		};
		struct {
			__u8 flow[4];
			__u8 ipv6[16];
			__u8 scope[4];
		};
	};
};

/* Whom a process sent datagrams to: told once. */
struct peer {
	__u8 address[16];
	__u32 tgid;
	__u16 port;
	__u16 protocol;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct peer);
	__type(value, __u64);
} peers SEC(".maps");

/* After this time a peer is told again. */
#define PEER_NS (10ULL * 60 * 1000 * 1000 * 1000)

static __always_inline __u16 swap16(__u16 number)
{
	return __builtin_bswap16(number);
}

static __always_inline struct sock *socket_of(struct file *file, __u16 *type)
{
	struct socket *socket;

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	*type = BPF_CORE_READ(socket, type);
	return BPF_CORE_READ(socket, sk);
}

/* Both ends as the socket has them; false if it is of another family. */
static __always_inline int ends_of(struct network_record *record, struct sock *sk)
{
	record->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	record->protocol = BPF_CORE_READ(sk, sk_protocol);
	record->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	record->remote_port = swap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (record->family == AF_INET) {
		BPF_CORE_READ_INTO((__u32 *)record->local, sk, __sk_common.skc_rcv_saddr);
		BPF_CORE_READ_INTO((__u32 *)record->remote, sk, __sk_common.skc_daddr);
		return 1;
	}
	if (record->family == AF_INET6) {
		BPF_CORE_READ_INTO((struct in6_addr *)record->local, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO((struct in6_addr *)record->remote, sk, __sk_common.skc_v6_daddr);
		return 1;
	}
	return 0;
}

/* The other end as the process named it; false if it is none of the internet's. */
static __always_inline int name_remote(struct network_record *record, __u64 from, __u64 len)
{
	struct address address = {};
	__u32 size = len < sizeof(address) ? len & 31 : sizeof(address);

	if (!from || size < 8 || bpf_probe_read_user(&address, size, (void *)from))
		return 0;
	if (address.family == AF_INET)
		__builtin_memcpy(record->remote, address.ipv4, 4);
	else if (address.family == AF_INET6 && size >= 24)
		__builtin_memcpy(record->remote, address.ipv6, 16);
	else
		return 0;
	/* A socket of IPv6 may be asked for an address of IPv4. */
	if (record->family != address.family) {
		record->family = address.family;
		__builtin_memset(record->local, 0, sizeof(record->local));
	}
	record->remote_port = swap16(address.port);
	return 1;
}

/* Where a struct msghdr of the process says that the datagram goes. */
static __always_inline int name_of_message(struct network_record *record, __u64 message, int compat)
{
	struct {
		__u64 name;
		__u32 len;
	} head = {};

	if (compat) {
		__u32 narrow[2] = {};

		if (bpf_probe_read_user(narrow, sizeof(narrow), (void *)message))
			return 0;
		return name_remote(record, narrow[0], narrow[1]);
	}
	if (bpf_probe_read_user(&head, 12, (void *)message))
		return 0;
	return name_remote(record, head.name, head.len);
}

static __always_inline int is_new_peer(struct network_record *record, __u32 tgid)
{
	struct peer peer = { .tgid = tgid, .port = record->remote_port, .protocol = record->protocol };
	__u64 now = bpf_ktime_get_ns();

	__builtin_memcpy(peer.address, record->remote, sizeof(peer.address));

	__u64 *told = bpf_map_lookup_elem(&peers, &peer);

	if (told && now - *told < PEER_NS)
		return 0;
	bpf_map_update_elem(&peers, &peer, &now, BPF_ANY);
	return 1;
}

/* Errors of connect that say nothing about the other end. */
static __always_inline int is_misuse(__s64 ret)
{
	return ret == -EFAULT || ret == -EINVAL || ret == -EBADF || ret == -ENOTSOCK || ret == -EAFNOSUPPORT ||
	       ret == -EISCONN || ret == -EALREADY;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_network, struct pt_regs *regs, long ret)
{
	struct scratch *walk = own_scratch();
	struct task_struct *task = bpf_get_current_task_btf();
	struct network_record record = {};
	__u16 type = 0;

	if (!walk)
		return 0;

	__u32 call = walk->call & (CALLS - 1);
	int compat = walk->call >> 32;
	__u64 fd = walk->args[0];

	if (call == CALL_ACCEPT || call == CALL_ACCEPT4) {
		if (ret < 0)
			return 0;
		fd = ret;
		record.op = NETWORK_ACCEPT;
	} else if (call == CALL_CONNECT) {
		if (is_misuse(ret))
			return 0;
		record.op = NETWORK_CONNECT;
	} else if (call == CALL_LISTEN) {
		if (ret < 0)
			return 0;
		record.op = NETWORK_LISTEN;
	} else {
		/* Most are on connected sockets, and name nobody. */
		if (ret < 0 || call == CALL_RECVFROM || call == CALL_RECVMSG || (call == CALL_SENDTO && !walk->args[4]))
			return 0;
		record.op = NETWORK_SEND;
	}

	struct sock *sk = socket_of(file_of(task, fd), &type);

	if (!sk)
		return 0;
	if (!ends_of(&record, sk)) {
		if (record.family == AF_UNIX && record.op == NETWORK_CONNECT)
			bpf_tail_call(ctx, &handlers, HANDLER_UNIX);
		return 0;
	}
	if (record.op == NETWORK_SEND) {
		if (type == SOCK_STREAM)
			return 0;
		if (call == CALL_SENDTO ? !name_remote(&record, walk->args[4], walk->args[5])
					: !name_of_message(&record, walk->args[1], compat))
			return 0;
	} else if (record.op == NETWORK_CONNECT) {
		/* A failed attempt leaves no address in the socket; AF_UNSPEC ends a connection. */
		if (ret && !name_remote(&record, walk->args[1], walk->args[2]))
			return 0;
		if (!record.remote_port)
			return 0;
	}
	if (!walk->canary && (record.op == NETWORK_SEND || (record.op == NETWORK_CONNECT && type == SOCK_DGRAM)) &&
	    !is_new_peer(&record, task->tgid))
		return 0;

	struct counter *counter = count(KIND_NETWORK);

	fill_header(&record.header, task, KIND_NETWORK, sizeof(record));
	record.result = ret;
	if (crowded() || bpf_ringbuf_output(&ring, &record, sizeof(record), wake_if_due()))
		count_lost(counter);
	return 0;
}
