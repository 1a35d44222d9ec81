//! Which name somebody asked for before connecting to an address.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use wardline_event::ProcessKey;
use wardline_sense::dns::{Data, Message};

/// Addresses that are remembered; past this the oldest answer is forgotten first.
const ANSWERS: usize = 4096;
/// Answers for one address: several names may lead to it, asked for by several programs.
const PER_ADDRESS: usize = 8;
/// Programs keep an answer longer than it allows, and connect again: remembered so long at least, and at most.
const LEAST_NS: u64 = 10 * 60 * 1_000_000_000;
const MOST_NS: u64 = 60 * 60 * 1_000_000_000;

struct Known {
    name: String,
    asker: ProcessKey,
    /// The asker is one of the system's own services, such as a resolver that asks for others.
    is_system: bool,
    until_ns: u64,
}

/// Answers of DNS, by address.
#[derive(Default)]
pub(crate) struct Hosts {
    by_address: HashMap<IpAddr, VecDeque<Known>>,
    /// Addresses in the order in which answers came.
    order: VecDeque<IpAddr>,
}

impl Hosts {
    /// Remembers what an answer says.
    pub(crate) fn learn(&mut self, message: &Message, asker: ProcessKey, is_system: bool, now_ns: u64) {
        if !message.response {
            return;
        }
        for answer in &message.answers {
            let Data::Address(ip) = answer.data else { continue };
            let ttl = u64::from(answer.ttl).saturating_mul(1_000_000_000).clamp(LEAST_NS, MOST_NS);
            let known = self.by_address.entry(ip).or_default();
            let before = known.len();
            known.retain(|k| k.asker != asker || k.name != message.name);
            if known.len() >= PER_ADDRESS {
                known.pop_front();
            }
            let until_ns = now_ns.saturating_add(ttl);
            known.push_back(Known { name: message.name.clone(), asker, is_system, until_ns });
            if known.len() > before {
                self.order.push_back(ip);
            }
        }
        while self.order.len() > ANSWERS {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(known) = self.by_address.get_mut(&oldest) {
                known.pop_front();
                if known.is_empty() {
                    self.by_address.remove(&oldest);
                }
            }
        }
    }

    /// The name by which a process knows an address: the one that it asked for itself, else the latest that one of the
    /// system's services did. What other programs claim to have been answered is not believed.
    pub(crate) fn name(&self, ip: IpAddr, process: ProcessKey, now_ns: u64) -> Option<&str> {
        let known = || self.by_address.get(&ip).into_iter().flatten().rev().filter(|k| k.until_ns > now_ns);
        let own = known().find(|k| k.asker == process);
        own.or_else(|| known().find(|k| k.is_system)).map(|k| k.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use wardline_event::BootId;
    use wardline_sense::dns::Answer;

    use super::*;

    fn key(pid: u32) -> ProcessKey {
        ProcessKey::new(BootId(1), 0, pid)
    }

    fn answer(name: &str, ips: &[IpAddr], ttl: u32) -> Message {
        let answers = ips.iter().map(|ip| Answer { ttl, data: Data::Address(*ip) }).collect();
        Message { response: true, status: 0, name: name.into(), kind: 1, answers, cut: false }
    }

    #[test]
    fn a_process_knows_what_it_or_the_system_asked_for() {
        let ip: IpAddr = "192.0.2.7".parse().unwrap();
        let mut hosts = Hosts::default();
        hosts.learn(&answer("mine.example", &[ip], 60), key(1), false, 0);
        assert_eq!(hosts.name(ip, key(1), 1), Some("mine.example"));
        assert_eq!(hosts.name(ip, key(2), 1), None, "what others were told is not believed");
        hosts.learn(&answer("resolved.example", &[ip], 7200), key(3), true, 0);
        assert_eq!(hosts.name(ip, key(2), 1), Some("resolved.example"));
        assert_eq!(hosts.name(ip, key(1), 1), Some("mine.example"));
        assert_eq!(hosts.name(ip, key(1), LEAST_NS), Some("resolved.example"));
        assert_eq!(hosts.name(ip, key(1), MOST_NS), None);
        let question = Message { response: false, ..answer("x", &[ip], 60) };
        hosts.learn(&question, key(1), true, MOST_NS);
        assert_eq!(hosts.name(ip, key(1), MOST_NS), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut hosts = Hosts::default();
        for n in 0..20_000u32 {
            let ip = IpAddr::from(n.to_be_bytes());
            hosts.learn(
                &answer(&format!("{n}.example"), &[ip, IpAddr::from([9; 4])], 60),
                key(n % 50),
                true,
                0,
            );
        }
        let held: usize = hosts.by_address.values().map(VecDeque::len).sum();
        assert!(
            held <= ANSWERS + PER_ADDRESS && hosts.order.len() <= ANSWERS,
            "{held} {}",
            hosts.order.len()
        );
        assert!(hosts.by_address.values().all(|known| (1..=PER_ADDRESS).contains(&known.len())));
        assert_eq!(hosts.name(IpAddr::from(19_999u32.to_be_bytes()), key(7), 1), Some("19999.example"));
        assert_eq!(hosts.name(IpAddr::from(3u32.to_be_bytes()), key(7), 1), None);
    }
}
