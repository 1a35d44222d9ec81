//! Where the hub is, as addresses: what stays reachable in isolation, when no name can be resolved any more.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct Known {
    /// What the hub's name meant when the agent started, or what an isolation in force keeps open.
    before: Vec<SocketAddr>,
    /// Where the hub last proved who it is.
    reached: Option<SocketAddr>,
}

/// The hub's addresses: at the courier, which learns them, and at the guard, which is told and must not ask anybody.
#[derive(Clone, Debug, Default)]
pub struct KnownHubs(Arc<Mutex<Known>>);

impl KnownHubs {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds addresses at which the hub should be.
    pub fn expect(&self, addresses: impl IntoIterator<Item = SocketAddr>) {
        let mut known = self.known();
        for address in addresses {
            if !known.before.contains(&address) {
                known.before.push(address);
            }
        }
    }

    /// Adds what `hub` (`host:port`) means. Waits for the name service, if it is a name.
    pub fn resolve(&self, hub: &str) {
        self.expect(hub.to_socket_addrs().into_iter().flatten());
    }

    /// The hub proved at this address who it is.
    pub fn reached(&self, address: SocketAddr) {
        self.known().reached = Some(address);
    }

    /// These are the addresses now, the surest first.
    pub fn replace(&self, addresses: Vec<SocketAddr>) {
        *self.known() = Known { reached: None, before: addresses };
    }

    /// All known addresses, the surest first. Never waits for the network.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let known = self.known();
        let before = known.before.iter().filter(|a| known.reached != Some(**a));
        known.reached.iter().chain(before).copied().collect()
    }
}
