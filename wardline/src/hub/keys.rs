//! `wardline hub keys`: the keys that sign commands.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use wardline_event::Timestamp;

use crate::data::Folder;

#[derive(Subcommand)]
pub enum KeysCommand {
    /// Make the next key that signs commands, while the hub runs or not
    ///
    /// Devices learn it in a message that the present key signs, and obey the present one until the overlap is over. A device
    /// that was away learns it when it is back. If the present key was stolen, end it at once with --overlap 0.
    #[command(after_help = "Examples:
  wardline hub keys rotate                   the key of before is obeyed for 7 more days
  wardline hub keys rotate --overlap 24h
  wardline hub keys rotate --overlap 0       it is obeyed no longer")]
    Rotate(RotateArgs),
}

#[derive(Args)]
pub struct RotateArgs {
    #[command(flatten)]
    folder: Folder,
    /// For how long devices still obey the present key: a number with s, m, h or d, or 0
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = time)]
    overlap: i64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// The longest overlap: 90 days. A key that is obeyed for longer was not replaced.
const LONGEST_MS: i64 = 90 * 24 * 60 * 60 * 1000;

/// Reads a time, in milliseconds.
fn time(text: &str) -> Result<i64, String> {
    let wrong = || "use a number with s, m, h or d, such as 24h; or 0".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: i64 = digits.parse().map_err(|_| wrong())?;
    let unit = match &text[digits.len()..] {
        "" if number == 0 => 0,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(unit)
        .filter(|ms| (0..=LONGEST_MS).contains(ms))
        .ok_or_else(|| "at most 90d".to_owned())
}

pub async fn run(command: &KeysCommand) -> anyhow::Result<ExitCode> {
    let KeysCommand::Rotate(args) = command;
    let rotated = wardline_hub::rotate_command_key(&args.folder.path("hub")?, args.overlap).await?;
    if args.json {
        println!("{}", serde_json::to_string(&rotated)?);
    } else {
        println!("commands are signed with key {} from now on", &rotated.to[..16]);
        if args.overlap > 0 {
            let until = Timestamp(rotated.old_until_ms);
            println!("devices obey the one before ({}) until {until}", &rotated.from[..16]);
        } else {
            println!(
                "devices obey the one before ({}) no longer once they have heard of it",
                &rotated.from[..16]
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, ms) in
            [("0", Some(0)), ("90s", Some(90_000)), ("24h", Some(86_400_000)), ("7d", Some(604_800_000))]
        {
            assert_eq!(time(text).ok(), ms, "{text}");
        }
        for text in ["", "7", "-1h", "1w", "91d", "h", "99999999999999999999d", "9223372036854775807d"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
