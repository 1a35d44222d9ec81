//! `wardline demo`: a made-up trust under attack.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use wardline_range::exercise::Exercise;
use wardline_range::script::{self, RANSOMWARE, Step};
use wardline_range::summary::Outcome;

use crate::{data, logging};

#[derive(Args)]
#[command(after_help = "Examples:
  wardline demo                plays the attack, prints a summary, keeps the console open until Ctrl-C
  wardline demo --exit         ends after the summary
  wardline demo --exit --json  prints the summary as one JSON object")]
pub struct DemoArgs {
    /// Address of the console; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8700")]
    http: SocketAddr,
    /// Keep the exercise's data here instead of in a temporary folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// End after the summary
    #[arg(long)]
    exit: bool,
    /// The summary as one JSON object on standard output, and nothing else
    #[arg(long)]
    json: bool,
    /// Milliseconds between the steps, for the audience
    #[arg(long, default_value_t = 400)]
    pace_ms: u64,
}

/// Prints for the audience, unless the output is for a machine.
macro_rules! tell {
    ($args:expr, $($text:tt)*) => {
        if !$args.json {
            println!($($text)*);
        }
    };
}

pub fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    // The demonstration tells the story itself.
    logging::start(true);
    let steps = script::parse(RANSOMWARE)?;
    let temporary = match &args.data {
        Some(_) => None,
        None => Some(
            tempfile::Builder::new()
                .prefix("wardline-demo-")
                .tempdir()
                .context("making a temporary folder")?,
        ),
    };
    let folder = match (&args.data, &temporary) {
        (Some(given), _) => given.clone(),
        (None, Some(made)) => made.path().to_owned(),
        (None, None) => unreachable!("one of the two is set above"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(show(args, &folder, &steps));
    // Whatever Ctrl-C cut off in the middle of the play ends with the process; the folder must go all the same.
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(temporary);
    ended.map(|()| ExitCode::SUCCESS)
}

async fn show(args: &DemoArgs, folder: &Path, steps: &[Step]) -> anyhow::Result<()> {
    let exercise = tokio::select! {
        played = play(args, folder, steps) => played?,
        () = data::stop_asked(false)? => return Ok(()),
    };
    if !args.exit && !args.json {
        println!("The console stays open: {}", exercise.hub.make_link().await?);
        println!(
            "Ctrl-C ends the exercise{}.",
            if args.data.is_none() { " and removes its data" } else { "" }
        );
        data::stop_asked(false)?.await;
    }
    exercise.stop().await;
    Ok(())
}

async fn play(args: &DemoArgs, folder: &Path, steps: &[Step]) -> anyhow::Result<Exercise> {
    tell!(args, "Exercise. Everything here is simulated: the trust, its twelve devices and the attack.");
    tell!(
        args,
        "Real are the detectors, the policy, the agents' protocol with TLS, the hub and the figures.\n"
    );
    let mut count = 0;
    let mut exercise = Exercise::prepare(folder, args.http, data::random, |host| {
        count += 1;
        if !args.json {
            print!("\r  enrolling {count:>2} of 12: {host:<20}");
            let _ = std::io::stdout().flush();
        }
    })
    .await?;
    tell!(args, "\r  12 simulated devices enrolled.          ");
    tell!(args, "  Console: {}\n", exercise.hub.make_link().await?);
    for step in steps {
        if args.pace_ms > 0 {
            tokio::time::sleep(Duration::from_millis(args.pace_ms)).await;
        }
        let outcome = exercise.play(step).await?;
        match outcome {
            Outcome::Told(text) => tell!(args, "\n  {text}"),
            Outcome::Happened { what, .. } => tell!(args, "    · {what}"),
            Outcome::Prevented { what, why } => tell!(args, "    ✗ prevented: {what} ({})", why.words()),
            Outcome::Ordered { what, state, took } => {
                tell!(args, "    ➜ {what}: {} after {} ms", state.as_str(), took.as_millis());
            }
        }
    }
    let summary = exercise.summary().await?;
    if args.json {
        println!("{}", summary.to_json());
    } else {
        println!("\n{}", summary.to_text());
    }
    Ok(exercise)
}
