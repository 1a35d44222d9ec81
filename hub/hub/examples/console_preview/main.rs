//! Starts a real hub in a temporary folder with made-up devices, and prints a sign-in link to its console.
//!
//! Everything goes through the hub's own functions: enrolment, heartbeats, the event store, findings, actions.
//! The devices answer orders within seconds, as agents would, and do nothing else. Nothing here is real and
//! everything is marked as simulated.
//!
//! Standard input takes orders, one a line: `finding` makes one more finding, `silence` makes every device fall
//! silent, `restart` starts the hub again on the same port. The end of standard input ends the program.

mod device;
mod story;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use wardline_hub::{HubConfig, RunningHub, start};

use crate::device::Device;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = HubConfig::new(folder.path());
    (config.http, config.agents) = (any_port, any_port);
    config.organisation = "Northfield Hospitals (made up)".into();
    let mut hub = start(config.clone()).await?;
    let mut devices = story::enrol_all(hub.kernel()).await?;
    if !std::env::args().any(|arg| arg == "--empty") {
        story::attack(hub.kernel(), &mut devices).await?;
    }
    println!("{}", hub.make_link().await?);

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut tick = tokio::time::interval(Duration::from_millis(1500));
    let mut silent = false;
    loop {
        tokio::select! {
            _ = tick.tick() => if !silent { live(&hub, &mut devices).await? },
            line = lines.next_line() => match line?.as_deref() {
                Some("finding") => story::one_more(hub.kernel(), &mut devices[0]).await?,
                Some("silence") => silent = true,
                Some("restart") => {
                    config.http = hub.http_addr();
                    hub.stop().await;
                    hub = start(config.clone()).await?;
                }
                Some(_) => {}
                None => break,
            },
        }
    }
    hub.stop().await;
    Ok(())
}

/// One beat of every device that is there.
async fn live(hub: &RunningHub, devices: &mut [Device]) -> Result<()> {
    for device in devices.iter_mut().filter(|device| device.connected) {
        device.obey(hub.kernel()).await?;
        device.beat(hub.kernel()).await?;
    }
    Ok(())
}
