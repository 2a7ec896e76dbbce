//! Everything that an end-to-end run needs: processes that cannot outlive it, the signer, real CometBFT nodes of every line, scripted clients,
//! and an observer that remembers every signature. Used by the tests beside it and by `cargo xtask demo`, `bench` and `soak`.
//!
//! Start with [`Sandbox::run`]; README.md in this folder has a tour. This is development code: it never runs where a real key is.
#![deny(unsafe_code)] // not forbid: emulator/clock.rs reads the time stamp counter

pub mod chain;
pub mod client;
pub mod docker;
pub mod emulator;
pub mod enclave;
pub mod enclave_rig;
pub mod flood;
pub mod guest;
pub mod http;
pub mod line;
pub mod metrics;
pub mod observer;
pub mod plain;
pub mod pool;
pub mod ports;
pub mod process;
mod protobuf;
pub mod raw;
pub mod rig;
pub mod sandbox;
pub mod script;
pub mod signer;
pub mod tamper;
pub mod vote;

pub use chain::{Chain, ChainSpec, Node};
pub use client::{Answer, Client};
pub use emulator::{Emulator, EmulatorSpec};
pub use enclave::{Enclave, EnclaveChain};
pub use enclave_rig::EnclaveRig;
pub use guest::{Guest, GuestSpec};
pub use line::{Line, Transport};
pub use observer::Observer;
pub use plain::PlainNode;
pub use process::Process;
pub use raw::RawPeer;
pub use rig::Rig;
pub use sandbox::Sandbox;
pub use signer::{Signer, SignerSpec};
pub use vote::{BlockId, Proposal, Vote};

use std::time::{Duration, Instant};

/// Asks `probe` every 20 ms until it gives something or `within` has passed; the error names `what`.
///
/// # Errors
/// When time is up, or with the probe's own error as soon as it returns one.
pub fn until<T>(
    what: &str,
    within: Duration,
    mut probe: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        anyhow::ensure!(begun.elapsed() < within, "gave up after {within:?} waiting for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Prints a line of figures on stderr past the test runner's capture: what a run has shown is worth seeing when it passed, too.
pub fn say(text: &str) {
    // `eprintln!` would be captured.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("  {text}\n").as_bytes());
}
