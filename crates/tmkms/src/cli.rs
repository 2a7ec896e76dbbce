//! The command line: help, completions and man pages all come from these definitions.
use crate::commands::{completions, config, init, keys, man, nitro, softsign, start, state, status, version};
use crate::failure::{Exit, Failure};
use clap::{Args, Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;

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

Environment:
  TMKMS_CONFIG_FILE  the configuration, where -c is not given
  NO_COLOR           no colour, whatever the terminal";

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
    Init(init::Init),
    Start(start::Start),
    Status(status::Status),
    #[command(subcommand)]
    Config(config::Config),
    #[command(subcommand)]
    Keys(keys::Keys),
    #[command(subcommand)]
    Softsign(softsign::Softsign),
    #[command(subcommand)]
    State(state::State),
    #[command(subcommand)]
    Nitro(nitro::Nitro),
    Version(version::Version),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Cli {
    /// Does what the command line says; what a person or a script reads goes to `out`.
    ///
    /// # Errors
    /// Whatever the command could not do, with its exit code.
    pub fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self.command {
            Command::Init(command) => command.run(out),
            Command::Start(command) => command.run(),
            Command::Status(command) => command.run(out),
            Command::Config(command) => command.run(out),
            Command::Keys(command) => command.run(out),
            Command::Softsign(command) => command.run(out),
            Command::State(command) => command.run(out),
            Command::Nitro(command) => command.run(),
            Command::Version(command) => command.run(out),
            Command::Completions(command) => command.run(out),
            Command::Man(command) => command.run(out),
        }
    }
}

/// Which configuration to use.
#[derive(Debug, Args)]
pub struct ConfigOption {
    /// The configuration file
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "TMKMS_CONFIG_FILE",
        default_value = "tmkms.toml",
        hide_env_values = true
    )]
    config: PathBuf,
}

impl ConfigOption {
    pub(crate) fn load(&self) -> Result<crate::config::Config, Failure> {
        Ok(crate::config::load(&self.config)?)
    }

    /// For commands about keys, states and processes of this host, of which an enclave's configuration has none.
    pub(crate) fn load_for_host(&self, instead: &str) -> Result<crate::config::Config, Failure> {
        let config = self.load()?;
        if !config.is_for_enclave() {
            return Ok(config);
        }
        let file = crate::state::shell_word(&self.config.display().to_string());
        let message = format!("{} is for an enclave: keys and records are not this host's", self.config.display());
        Err(Failure::new(Exit::Configuration, message, instead.replace("FILE", &file)))
    }

    /// As it was given, for commands that are shown to be typed.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.config
    }
}
