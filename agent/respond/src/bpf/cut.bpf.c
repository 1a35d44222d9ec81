// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause
/*
 * Cuts the network of a process tree. 0 drops a packet, 1 lets it go on.
 *
 * A socket belongs to the cgroup in which it was made, for ever: moving a process takes its old sockets nowhere. So there
 * are two pairs. `tree_*` hang on the cgroup that the tree was moved into, and drop whatever its new sockets send and
 * receive. `socket_*` hang on the root, and drop what belongs to the old sockets, each known by its cookie.
 */
#include "wardline/types.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Cookies of sockets that are cut, and the inode of the cgroup for whose sake. Cookies are never used again. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, __u64);
} cut_sockets SEC(".maps");

static int passes(struct __sk_buff *skb)
{
	__u64 cookie = bpf_get_socket_cookie(skb);

	return !bpf_map_lookup_elem(&cut_sockets, &cookie);
}

SEC("cgroup_skb/ingress")
int tree_in(struct __sk_buff *skb)
{
	return 0;
}

SEC("cgroup_skb/egress")
int tree_out(struct __sk_buff *skb)
{
	return 0;
}

SEC("cgroup_skb/ingress")
int socket_in(struct __sk_buff *skb)
{
	return passes(skb);
}

SEC("cgroup_skb/egress")
int socket_out(struct __sk_buff *skb)
{
	return passes(skb);
}
