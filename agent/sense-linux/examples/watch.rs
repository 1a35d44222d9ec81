//! Prints what the Linux sensor sees, until Ctrl-C.
//!
//! `cargo run -p wardline-sense-linux --example watch [-- ebpf|connector] [SECONDS]`

use std::time::{Duration, Instant};

use wardline_event::{Body, ProcessOp};
use wardline_sense::Sensed;
use wardline_sense_linux::{Options, Prefer, open};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = Options::default();
    let mut until = None;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "ebpf" => options.prefer = Prefer::Ebpf,
            "connector" => options.prefer = Prefer::Connector,
            seconds => until = Some(Instant::now() + Duration::from_secs(seconds.parse()?)),
        }
    }
    let mut opened = open(&options);
    println!("{} processes found", opened.found.len());
    for status in &opened.statuses {
        println!("{}: {:?}, {} events", status.kind.title(), status.state, status.produced);
    }
    let Some(sensor) = opened.sensors.first_mut() else { return Err("no live sensor".into()) };
    for status in sensor.statuses() {
        println!("{}: {:?}", status.kind.title(), status.state);
    }
    while until.is_none_or(|until| Instant::now() < until) {
        sensor.poll(Duration::from_millis(500), &mut |sensed| print(&sensed))?;
    }
    for status in sensor.statuses() {
        println!("{}: {} produced, {} lost", status.kind.title(), status.produced, status.lost);
    }
    Ok(())
}

fn print(sensed: &Sensed) {
    let Body::Process(activity) = &sensed.event.body else {
        println!("{} {} {:?}", sensed.event.time, sensed.event.process().image, sensed.event.body);
        return;
    };
    let process = &activity.process;
    print!("{} {:?} {} ", sensed.event.time, activity.op, process.key.pid);
    match activity.op {
        ProcessOp::Exit => println!("status {} {}", activity.exit_code.unwrap_or(0), process.image),
        ProcessOp::Fork => println!("of {}", activity.parent.as_ref().map_or(0, |p| p.key.pid)),
        ProcessOp::Exec | ProcessOp::Found => {
            println!(
                "{} [{:?}] user {} in {} cgroup {} container {:?}",
                process.image,
                process.command_line,
                process.user.name,
                process.cwd,
                process.cgroup_id,
                process.container
            );
            if let Some(parent) = &activity.parent {
                println!("    parent {} {} [{:?}]", parent.key.pid, parent.image, parent.command_line);
            }
        }
    }
}
