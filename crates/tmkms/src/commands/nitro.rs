//! `tmkms nitro …`: the signer inside a Nitro enclave, and its helpers on the parent.
pub(crate) mod start;

use crate::failure::Failure;
use clap::Subcommand;

/// Sign inside a Nitro enclave
#[derive(Debug, Subcommand)]
pub(crate) enum Nitro {
    Start(start::Start),
}

impl Nitro {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Start(command) => command.run(),
        }
    }
}
