//! The guest in the parent's place: first the sockets, then our programs over them.
use crate::{ENCLAVE, arrangement, peer, sockets};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};
use wire::endpoint::Enclave;

pub fn run() -> Result<()> {
    wait_for_peer().context("the other guest does not answer")?;
    sockets::connecting();
    sockets::streams();
    sockets::listening();
    arrangement::run();
    println!("PARENT done");
    Ok(())
}

fn wait_for_peer() -> Result<()> {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        match (Enclave::Vsock { cid: ENCLAVE }).connect(peer::PORT, Duration::from_secs(1)) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > until => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}
