//! A device's policy, and what it makes of paths.

use wardline_policy::{DeviceClass, DevicePolicy, Mode, Order, Response, decide, permit};
use wardline_respond::Protected;

/// A policy: read and written back as the same, and usable by everything that asks it.
pub fn read(data: &[u8]) {
    let Ok(policy) = DevicePolicy::from_json(data) else { return };
    assert_eq!(DevicePolicy::from_json(&policy.to_json()).expect("our own JSON"), policy);
    let kills = decide(Response::Kill, &policy) == wardline_policy::Decision::Kill;
    assert_eq!(kills, policy.mode == Mode::Protect && policy.class != DeviceClass::Clinical);
    let too_long = Order::Isolate { for_s: policy.max_isolation_s + 1 };
    assert!(permit(&too_long, "a reason", &policy).is_err(), "longer than the policy allows");
    let protected = Protected { executables: policy.never_kill.clone(), ..Protected::default() };
    for entry in &policy.never_kill {
        // A `*` in a path is a character like any other, which the pattern's `*` covers too.
        assert!(protected.entry_for(entry).is_some(), "{entry} does not name itself");
    }
    let _ = protected.entry_for("/usr/lib/systemd/systemd-journald");
}
