//! The sensor proves to itself that it sees, and notices when it does not. A test file of its own, since it takes away
//! programs of every sensor in its process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::cell::Cell;
use std::fs;
use std::time::{Duration, Instant};

use common::{DEADLINE, root, status, table};
use libbpf_rs::{MapCore, MapHandle};
use wardline_event::{SensorKind, SensorState};
use wardline_sense::Sensor;
use wardline_sense_linux::{EbpfSensor, Options};

const KINDS: [SensorKind; 5] = [
    SensorKind::LinuxEbpf,
    SensorKind::LinuxNetwork,
    SensorKind::LinuxFile,
    SensorKind::LinuxCall,
    SensorKind::LinuxDns,
];

/// The map of the programs that calls are handed to, found as an attacker would find it.
fn handlers() -> MapHandle {
    let fds = fs::read_dir("/proc/self/fdinfo").unwrap();
    let ids = fds.flatten().filter_map(|fd| {
        let info = fs::read_to_string(fd.path()).ok()?;
        info.lines().find_map(|line| line.strip_prefix("map_id:"))?.trim().parse().ok()
    });
    let maps = ids.filter_map(|id: u32| MapHandle::from_map_id(id).ok());
    maps.into_iter().find(|map| map.name() == "handlers").expect("the sensor has one")
}

#[test]
fn a_sensor_proves_that_it_sees_and_says_when_it_does_not() {
    if !root() {
        return;
    }
    let options = Options { canary: Some(Duration::from_millis(200)), ..Options::default() };
    let mut sensor = EbpfSensor::open(&options, table()).unwrap();
    let own = std::process::id();
    let (of_the_canary, handed_over) = (Cell::new(0u64), Cell::new(0u64));
    let poll = |sensor: &mut EbpfSensor| {
        let mut sink = |sensed: wardline_sense::Sensed| {
            handed_over.set(handed_over.get() + 1);
            if format!("{:?}", sensed.event.body).contains("wardline-canary-") {
                of_the_canary.set(of_the_canary.get() + 1);
            }
        };
        sensor.poll(Duration::from_millis(100), &mut sink).unwrap();
    };
    // Longer than the sensor's own patience: who is silent so long is not live.
    let until = Instant::now() + Duration::from_secs(12);
    while Instant::now() < until {
        poll(&mut sensor);
        for kind in KINDS {
            assert_eq!(status(&sensor, kind).state, SensorState::Live, "{kind:?} of {own}");
        }
    }
    let books = sensor.accounts();
    assert!([1, 2, 3, 4, 5, 6].iter().all(|kind| books.delivered[*kind] > 20), "{books:?}");

    // Somebody takes away the program for the network.
    handlers().delete(&1u32.to_ne_bytes()).unwrap();
    let until = Instant::now() + DEADLINE;
    let reason = loop {
        poll(&mut sensor);
        if let SensorState::Degraded { reason } = status(&sensor, SensorKind::LinuxNetwork).state {
            break reason;
        }
        assert!(Instant::now() < until, "nobody noticed");
    };
    assert!(reason.contains("silent"), "{reason}");
    assert_eq!(status(&sensor, SensorKind::LinuxFile).state, SensorState::Live);
    // What is told of the books is what was handed over. On a busy machine there is always something on its way.
    let told = |sensor: &EbpfSensor| sensor.statuses().iter().map(|s| s.produced - s.lost).sum::<u64>();
    let before = told(&sensor);
    let until = Instant::now() + DEADLINE;
    while handed_over.get() < before {
        assert!(Instant::now() < until, "{} handed over: {:?}", handed_over.get(), sensor.statuses());
        poll(&mut sensor);
    }
    assert!(handed_over.get() <= told(&sensor), "{} handed over: {:?}", handed_over.get(), sensor.statuses());
    assert_eq!(of_the_canary.get(), 0, "what the canary did is told to nobody");
}
