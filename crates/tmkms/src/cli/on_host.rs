//! The commands that only a host has: an enclave's build leaves them out.
use crate::commands::{completions, config, init, keys, man, softsign, start, state, status};
use crate::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use std::io::Write;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
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
}

impl Command {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Init(command) => command.run(out),
            Self::Start(command) => command.run(),
            Self::Status(command) => command.run(out),
            Self::Config(command) => command.run(out),
            Self::Keys(command) => command.run(out),
            Self::Softsign(command) => command.run(out),
            Self::State(command) => command.run(out),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum AboutItself {
    Completions(completions::Completions),
    Man(man::Man),
}

impl AboutItself {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Completions(command) => command.run(out),
            Self::Man(command) => command.run(out),
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
