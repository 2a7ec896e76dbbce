//! Runs in guests with true AF_VSOCK sockets and says on the console what it saw, a line for each check; `tests/vsock.rs` reads them.
//!
//! Two guests are needed, as on Nitro: the kernel gives connections within one machine the loopback's CID, which persist and proxy refuse.
//! `peer` is the one with the enclave's CID, `parent` the one with CID 3, which has the checks. `units` has those of a parent under systemd, where `nitro-cli`
//! stands in for AWS's and `held` for the hypervisor that it asks.
mod arrangement;
mod parent;
mod peer;
mod sockets;
mod units;

use anyhow::{Context, Result, bail};
use std::process::ExitCode;

/// The CIDs of the two guests, as on Nitro.
const PARENT: u32 = 3;
const ENCLAVE: u32 = 16;
/// The signer's program in the guests.
const PROGRAM: &str = "/usr/local/bin/tmkms";

/// One check: its name, and what it found or why it failed.
fn check(name: &str, run: impl FnOnce() -> Result<String>) {
    match run() {
        Ok(found) => println!("CHECK ok {name}: {found}"),
        Err(error) => println!("CHECK FAILED {name}: {}", format!("{error:#}").replace('\n', " | ")),
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["peer", ref enclave @ ..] => peer::run(enclave),
        ["held", ref enclave @ ..] => peer::run_on_demand(enclave),
        ["parent"] => parent::run(),
        ["units"] => units::run(),
        ["nitro-cli", ref arguments @ ..] => units::nitro_cli(arguments),
        ["hold"] => units::hold(),
        ["listen", port] => listen(port),
        _ => Err(anyhow::anyhow!("expected peer, held, parent, units, nitro-cli, hold or listen PORT, got {words:?}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Listens once, as whoever started this.
fn listen(port: &str) -> Result<()> {
    let port = port.parse().context("expected a port")?;
    match wire::endpoint::Listener::on_parent(None, port) {
        Ok(_) => Ok(()),
        Err(error) => bail!("{:?}: {error}", error.kind()),
    }
}
