//! What the hub does by itself, every few seconds.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use wardline_kernel::views::{self, Presence};
use wardline_kernel::{Kernel, StoreError, Topic};

const EVERY: Duration = Duration::from_secs(2);

/// Runs until the hub stops.
pub(crate) async fn run(kernel: Kernel) {
    let mut silent = BTreeSet::new();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = kernel.stopped() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = round(&kernel, &mut silent).await {
            // The next round tries again; a full disk is told where agents meet it.
            tracing::warn!(error = &error as &dyn Error, "a background round failed");
        }
    }
}

async fn round(kernel: &Kernel, silent: &mut BTreeSet<String>) -> Result<(), StoreError> {
    wardline_actions::expire(kernel, kernel.home()).await?;
    let devices = views::devices(kernel.store().read(), kernel.home(), kernel.now()).await?;
    let now_silent: BTreeSet<String> =
        devices.into_iter().filter(|d| d.presence == Presence::Silent).map(|d| d.id).collect();
    for id in now_silent.difference(silent) {
        tracing::info!(device = %id, "a device has fallen silent");
        kernel.bus().tell(kernel.home(), Topic::DeviceChanged { id: id.clone() });
    }
    *silent = now_silent;
    Ok(())
}
