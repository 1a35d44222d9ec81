//! The live log: short lines for a person, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use wardline_agent::clock::{Clock, SystemClock};

/// Hours, minutes and seconds in UTC: whoever watches knows the day.
struct ShortTime;

impl FormatTime for ShortTime {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let text = SystemClock.now().to_string();
        w.write_str(text.get(11..19).unwrap_or(&text))
    }
}

/// Starts logging if `WARDLINE_LOG` asks for it, for commands that say on standard error what they have to say.
pub fn start_if_asked() {
    if std::env::var_os("WARDLINE_LOG").is_some() {
        start(true);
    }
}

/// Starts logging. `WARDLINE_LOG` sets the filter, for example `debug` or `wardline=debug`.
pub fn start(quiet: bool) {
    let default = if quiet { "error" } else { "warn,wardline=info,wardline_agent=info,wardline_hub=info" };
    let filter = EnvFilter::try_from_env("WARDLINE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // Fails only if logging was started before, which changes nothing.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_timer(ShortTime)
        .try_init();
}
