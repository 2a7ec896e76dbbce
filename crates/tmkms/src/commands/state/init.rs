//! `tmkms state init`: the state files that a configuration lacks.
use super::{height, owner_of};
use crate::cli::ConfigOption;
use crate::commands::select;
use crate::config::Chain;
use crate::failure::{Exit, Failure};
use clap::Args;
use guard::{Height, Position, Record};
use std::io::Write;
use store::FileStore;

const EXAMPLES: &str = "\
A state file that exists is never touched: with --chain-id that is an error, without it only the missing files are made. A \
height is of one chain, so --height needs --chain-id when several files are missing.

If the key has signed on another machine, `tmkms state import` is better: it brings the exact position. Otherwise look up \
the chain's height after the other signer has stopped for good, and give that or more.

Exits with 4 if a file exists or cannot be written, with 5 if a key cannot be read (a state belongs to a key).

Examples:
  tmkms state init -c tmkms.toml --new-validator
  tmkms state init -c tmkms.toml --chain-id cosmoshub-4 --height 23456789";

/// Make the configuration's missing state files
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Init {
    #[command(flatten)]
    config: ConfigOption,
    /// Make this chain's alone
    #[arg(long, value_name = "ID")]
    chain_id: Option<String>,
    #[command(flatten)]
    floor: Floor,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Floor {
    /// Nothing at or below this height will be signed
    #[arg(long, value_name = "H", value_parser = height, allow_negative_numbers = true)]
    height: Option<Height>,
    /// The key has never signed anywhere
    #[arg(long)]
    new_validator: bool,
}

impl Init {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let config = self.config.load_for_host(super::WITH_PARENT)?;
        let mut chains = select(&config, self.chain_id.as_deref())?;
        if self.chain_id.is_none() {
            chains.retain(|chain| chain.state_path().symlink_metadata().is_err());
        }
        if chains.is_empty() {
            writeln!(out, "no state file is missing")?;
        }
        self.check_height(&chains)?;
        let mut failures = Vec::new();
        for chain in chains {
            match self.create(chain) {
                Ok(()) => self.say(chain, out)?,
                Err(failure) => failures.push(failure),
            }
        }
        Failure::all(failures).map_or(Ok(()), Err)
    }

    fn check_height(&self, chains: &[&Chain]) -> Result<(), Failure> {
        if self.floor.height.is_none() || chains.len() < 2 {
            return Ok(());
        }
        let names: Vec<_> = chains.iter().map(|chain| chain.id.as_str()).collect();
        let message =
            format!("--height is of one chain, but the states of {} are missing: {}", names.len(), names.join(", "));
        Err(Failure::new(Exit::Usage, message, "run it for each chain with --chain-id ID and that chain's height"))
    }

    fn create(&self, chain: &Chain) -> Result<(), Failure> {
        let record = match self.floor.height {
            Some(height) => Record::floor(0, Position::end_of(height)),
            None => Record::never_signed(),
        };
        FileStore::create(chain.state_path(), &owner_of(chain)?, &record)
            .map_err(|error| crate::state::failure(chain, self.config.path(), &error))
    }

    fn say(&self, chain: &Chain, out: &mut dyn Write) -> std::io::Result<()> {
        let path = chain.state_path().display();
        match self.floor.height {
            Some(height) => {
                writeln!(out, "made {path}: nothing at or below height {height} will be signed on {}", chain.id)
            }
            None => writeln!(out, "made {path}: the key has never signed on {}", chain.id),
        }
    }
}
