//! `tmkms config`: what the configuration says, and what is wrong with it.
use crate::cli::ConfigOption;
use crate::failure::Failure;
use crate::filesystem;
use clap::{Args, Subcommand};
use std::io::Write;

/// Check the configuration
#[derive(Debug, Subcommand)]
pub enum Config {
    Check(Check),
}

const EXAMPLES: &str = "\
Reads the configuration, every key file and every state file, and shows all that is wrong at once. Nothing is changed, \
and a running signer is not disturbed. Exits with 3 if the configuration is wrong, with 4 or 5 if a state or a key is.

Examples:
  tmkms config check
  tmkms config check -c /etc/tmkms/tmkms.toml --only-file";

/// Check the configuration, the keys and the states, and show what they mean
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Check {
    #[command(flatten)]
    config: ConfigOption,
    /// Check the configuration's text alone, not the files that it names
    #[arg(long)]
    only_file: bool,
}

impl Config {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Check(check) => check.run(out),
        }
    }
}

impl Check {
    fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let config = self.config.load()?;
        write!(out, "{config}")?;
        if self.only_file {
            return Ok(());
        }
        if config.is_for_enclave() {
            writeln!(out, "good; the keys and the records are for the enclave to check, at `tmkms nitro push-config`")?;
            return Ok(());
        }
        for warning in filesystem::warnings(&config) {
            writeln!(out, "warning: {}\n  help: {}", warning.message, warning.help)?;
        }
        let failures = super::start::check_files(&config, self.config.path());
        Failure::all(failures).map_or_else(|| Ok(writeln!(out, "keys and states: good")?), Err)
    }
}
