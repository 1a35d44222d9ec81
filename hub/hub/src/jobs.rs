//! What the hub does by itself, every few seconds.

use std::error::Error;
use std::time::Duration;

use wardline_kernel::views::{self, SILENT_AFTER_MS};
use wardline_kernel::{Kernel, StoreError, Topic, audit};

const EVERY: Duration = Duration::from_secs(2);
/// How often it is signed where the audit log's chains end, if they have grown.
const SEAL_EVERY_MS: i64 = 5 * 60 * 1000;

/// Runs until the hub stops.
pub(crate) async fn run(kernel: Kernel) {
    // Up to where silence has been looked at: those that fell silent before the hub started are told once.
    let mut silent_until_ms = 1;
    let mut sealed_ms = 0;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = kernel.stopped() => break,
            _ = ticks.tick() => {}
        }
        if let Err(error) = round(&kernel, &mut silent_until_ms).await {
            // The next round tries again; a full disk is told where agents meet it.
            tracing::warn!(error = &error as &dyn Error, "a background round failed");
        }
        if kernel.now().0 - sealed_ms >= SEAL_EVERY_MS {
            sealed_ms = kernel.now().0;
            seal(&kernel).await;
        }
    }
    seal(&kernel).await;
}

async fn seal(kernel: &Kernel) {
    let sealed = audit::seal(kernel.store(), kernel.home(), kernel.keys().audit(), kernel.now());
    if let Err(error) = sealed.await {
        tracing::warn!(error = &error as &dyn Error, "could not sign where the audit log ends");
    }
}

async fn round(kernel: &Kernel, silent_until_ms: &mut i64) -> Result<(), StoreError> {
    wardline_actions::expire(kernel, kernel.home()).await?;
    match kernel.keys().refresh(kernel.now()) {
        Ok(true) => tracing::info!(
            "commands are signed with another key from now on; devices are told as they are heard"
        ),
        Ok(false) => {}
        // Those of before stay in force.
        Err(error) => {
            tracing::error!(error = &error as &dyn Error, "the command keys could not be read again");
        }
    }
    let until = kernel.now().0 - SILENT_AFTER_MS;
    if until <= *silent_until_ms {
        return Ok(());
    }
    let fallen = views::heard_between(kernel.store().read(), kernel.home(), *silent_until_ms, until).await?;
    for (organisation, id) in fallen {
        tracing::info!(device = %id, "a device has fallen silent");
        kernel.bus().tell(&organisation, Topic::DeviceChanged { id });
    }
    *silent_until_ms = until;
    Ok(())
}
