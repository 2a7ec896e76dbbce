//! `cargo xtask enclave`: the emulator of Nitro Enclaves, set up once and then run as `nitro-cli` runs a real one
//! (docs/adr/0014-the-emulated-enclave.md).
mod cause;
mod progress;
mod qemu;
mod run;
mod setup;
mod source;
mod vsock;

use anyhow::Result;
use clap::Subcommand;

/// An emulated Nitro Enclave on an ordinary machine
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Build, or find, what it takes: QEMU with nitro-enclave, vhost-device-vsock and firmware, in .cache/emulator
    Setup,
    /// Boot an image, until Ctrl-C
    Run(run::Args),
}

pub fn run(args: &Args) -> Result<()> {
    match &args.action {
        Action::Setup => setup::run(),
        Action::Run(args) => run::run(args),
    }
}

/// Sets the emulator up where it is missing; cheap, and without the network, where it is there.
pub fn ensure() -> Result<()> {
    setup::ensure().map(|_| ())
}
