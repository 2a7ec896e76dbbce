//! The command line: help, completions and man pages all come from these definitions.
#[cfg(any(feature = "host", feature = "nitro-enclave"))]
use crate::commands::nitro;
use crate::commands::version;
use crate::failure::Failure;
use clap::{Parser, Subcommand};
use std::io::Write;

#[cfg(feature = "host")]
pub(crate) use on_host::ConfigOption;

const ABOUT: &str = "Signs a validator's votes, and never two for one position";

const LONG_ABOUT: &str = "\
Signs the votes and proposals of Tendermint and CometBFT validators, and never two different ones for one position.

It dials the node's priv_validator_laddr (a Unix socket, or TCP with SecretConnection), judges each request against the \
record of what was signed before, writes the new record durably, and only then signs. The configuration is that of tmkms 0.15.";

const AFTER_HELP: &str = "\
First steps:
  tmkms init -n cosmoshub kms               make a folder; it says what to do next
  tmkms softsign import SRC DST             bring the validator's key, or make one with keygen
  tmkms state import -c kms/tmkms.toml ...  bring what it signed, or state init for a new one
  tmkms config check -c kms/tmkms.toml      see that everything fits
  tmkms start -c kms/tmkms.toml             sign

Exit codes:
  0  done
  1  something failed while running: a network, a disk, another process
  2  the command line is wrong
  3  the configuration is wrong
  4  a signing state is missing, damaged or in use, or would be lowered
  5  a key is missing, unreadable, or not the expected one
  6  `tmkms nitro doctor` found an error

Environment:
  TMKMS_CONFIG_FILE  the configuration, where -c is not given
  NO_COLOR           no colour, whatever the terminal";

#[cfg(feature = "host")]
mod on_host;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "tmkms", version, about = ABOUT, long_about = LONG_ABOUT, after_help = AFTER_HELP)]
#[command(subcommand_required = true, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "host")]
    #[command(flatten)]
    OnHost(on_host::Command),
    #[cfg(any(feature = "host", feature = "nitro-enclave"))]
    #[command(subcommand)]
    Nitro(nitro::Nitro),
    Version(version::Version),
    #[cfg(feature = "host")]
    #[command(flatten)]
    AboutItself(on_host::AboutItself),
}

impl Cli {
    /// Does what the command line says; what a person or a script reads goes to `out`.
    ///
    /// # Errors
    /// Whatever the command could not do, with its exit code.
    pub fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self.command {
            #[cfg(feature = "host")]
            Command::OnHost(command) => command.run(out),
            #[cfg(any(feature = "host", feature = "nitro-enclave"))]
            Command::Nitro(command) => command.run(out),
            Command::Version(command) => command.run(out),
            #[cfg(feature = "host")]
            Command::AboutItself(command) => command.run(out),
        }
    }
}
