//! Answers of the kernel's packet filter.

use wardline_respond::linux::netlink;

/// A datagram: its messages and their attributes, nested as deep as they go.
pub fn messages(data: &[u8]) {
    let mut count = 0;
    for message in netlink::messages(data) {
        count += 1;
        let Ok(message) = message else { break };
        let _ = message.error();
        message.attributes().for_each(|a| attributes(a, 0));
    }
    assert!(count <= data.len(), "more messages than bytes");
    netlink::attributes(data).for_each(|a| attributes(a, 0));
}

fn attributes(attribute: Result<(u16, &[u8]), netlink::Malformed>, depth: usize) {
    let Ok((kind, value)) = attribute else { return };
    assert_eq!(kind & 0xC000, 0, "the flags are no part of a type");
    if depth < 8 {
        netlink::attributes(value).for_each(|a| attributes(a, depth + 1));
    }
}
