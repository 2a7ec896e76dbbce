//! `tmkms state init`: the state files that a configuration lacks.
use super::height;
use super::place::{self, ByPath, Place};
use crate::cli::ConfigOption;
use crate::commands::select;
use crate::config::Chain;
use crate::failure::{Exit, Failure};
use clap::Args;
use guard::{ChainId, Height, Position, Record};
use host::persist::Places;
use std::io::Write;
use std::path::Path;
use store::FileStore;

const EXAMPLES: &str = "\
A state file that exists is never touched: with --chain-id that is an error, without it only the missing files are made. A \
height is of one chain, so --height needs --chain-id when several files are missing.

If the key has signed on another machine, `tmkms state import` is better: it brings the exact position. Otherwise look up \
the chain's height after the other signer has stopped for good, and give that or more.

--file makes one state without a configuration, for `tmkms nitro persist`; in a folder the file is CHAIN_priv_validator_state.json. \
Without --public-key it is bound to the first key that signs through it.

Exits with 4 if a file exists or cannot be written, with 5 if a key cannot be read (a state belongs to a key).

Examples:
  tmkms state init -c tmkms.toml --new-validator
  tmkms state init -c tmkms.toml --chain-id cosmoshub-4 --height 23456789
  tmkms state init --file /var/lib/tmkms/state.json --chain-id cosmoshub-4 --height 23456789
  tmkms state init --file states --chain-id demo-1 --public-key BASE64 --new-validator";

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
    by_path: ByPath,
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
        if let Some(path) = self.by_path.path(&self.config)? {
            return self.run_on(path, out);
        }
        let with = match self.floor.height {
            Some(height) => format!(" --height {height}"),
            None => " --new-validator".to_owned(),
        };
        let config = place::load(&self.config, "init", &with, self.chain_id.as_deref())?;
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
                Ok(()) => self.say(chain.state_path(), &chain.id, out)?,
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

    /// Without a configuration.
    fn run_on(&self, path: &Path, out: &mut dyn Write) -> Result<(), Failure> {
        let place = self.by_path.new_place(path, self.chain_id.as_deref())?;
        let made = Places::new(vec![path.to_owned()]).create(&place.owner, &self.record()).map_err(|error| {
            self.by_path
                .new_place(&error.path, self.chain_id.as_deref())
                .map_or_else(|other| other, |place| place.failure(&error))
        })?;
        self.say(&made, place.chain_id(), out)?;
        if place.owner.is_unbound() {
            writeln!(out, "  it is not bound to a key yet: the key that signs first through it binds it")?;
        }
        Ok(())
    }

    fn record(&self) -> Record {
        match self.floor.height {
            Some(height) => Record::floor(0, Position::end_of(height)),
            None => Record::never_signed(),
        }
    }

    fn create(&self, chain: &Chain) -> Result<(), Failure> {
        let place = Place::of_chain(chain, self.config.path())?;
        FileStore::create_for(&place.path, &place.owner, &self.record()).map_err(|error| place.failure(&error))
    }

    fn say(&self, path: &Path, chain_id: &ChainId, out: &mut dyn Write) -> std::io::Result<()> {
        let path = path.display();
        match self.floor.height {
            Some(height) => {
                writeln!(out, "made {path}: nothing at or below height {height} will be signed on {chain_id}")
            }
            None => writeln!(out, "made {path}: the key has never signed on {chain_id}"),
        }
    }
}
