//! Ctrl-C ends a scan in good order: what was found so far is reported. A second one ends it at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The exit code of a program that an interrupt ended: 128 and the signal's number.
pub const INTERRUPTED: u8 = 130;

static STOP: AtomicBool = AtomicBool::new(false);

/// Watches for Ctrl-C from now on; the flag is set once it comes.
pub fn watch() -> &'static AtomicBool {
    // Without a thread or a signal handler Ctrl-C does what it does to any program.
    let _ = thread::Builder::new().name("interrupt".to_owned()).spawn(|| {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if STOP.swap(true, Ordering::Relaxed) {
                    std::process::exit(i32::from(INTERRUPTED));
                }
            }
        });
    });
    &STOP
}
