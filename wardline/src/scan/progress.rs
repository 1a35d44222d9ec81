//! How far the scan is, on a terminal.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::text::thousands;
use super::work::Progress;

/// A bar on a terminal; nothing when standard error goes elsewhere.
pub fn bar(quiet: bool, bytes: u64) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    if bytes == 0 {
        // Nobody knows how much standard input will hold.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        if let Ok(style) =
            ProgressStyle::with_template("{binary_bytes}  {binary_bytes_per_sec}  {msg}  {elapsed}")
        {
            bar.set_style(style);
        }
        return bar;
    }
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr_with_hz(10));
    let template = "{bar:20} {percent:>3}%  {binary_bytes_per_sec}  {msg}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Shows the counts so far.
pub fn show(bar: &ProgressBar, progress: &Progress, matches: u64) {
    let records = progress.records();
    let rate = records as f64 / bar.elapsed().as_secs_f64().max(1e-3);
    bar.set_position(progress.bytes().min(bar.length().unwrap_or(u64::MAX)));
    bar.set_message(format!(
        "{} records, {}/s, {} matches",
        thousands(records),
        thousands(rate as u64),
        thousands(matches)
    ));
}
