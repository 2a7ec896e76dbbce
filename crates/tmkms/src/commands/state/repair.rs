//! `tmkms state repair`: a floor in place of a damaged record, or of a sound one that is too low.
use super::{confirm, height, owner_of};
use crate::cli::ConfigOption;
use crate::commands::select_one;
use crate::failure::{Exit, Failure};
use clap::Args;
use guard::{ChainId, Height, Position};
use std::io::Write;
use std::path::{Path, PathBuf};
use store::file::slot::Owner;
use store::file::{Replaced, inspect};
use store::{FileStore, Lowering, StateError};

const EXAMPLES: &str = "\
Nothing at or below the height will be signed afterwards. A record that is intact and higher is left as it is. Of a damaged \
one, what can still be read counts: if it is higher, nothing at or below its height will be signed. --force lets a lower height through, which can lead to a double sign, and asks for the chain id to be typed \
(or for --yes). The old file is kept beside the new one.

Give the chain's height or more: a validator that skips a few blocks loses nothing that matters.

--file names a file that no configuration of this host does: what `tmkms nitro persist` keeps for an enclave. Its chain and key stand \
in it, and stay; where they can't be read any more, --chain-id names the chain, and the key is the first one that signs.

Examples:
  tmkms state repair -c tmkms.toml --height 23456789
  tmkms state repair -c tmkms.toml --chain-id cosmoshub-4 --height 23456789
  tmkms state repair --file /var/lib/tmkms/state.json --height 23456789";

/// Put a height in place of a state, damaged or not
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Repair {
    #[command(flatten)]
    config: ConfigOption,
    /// The chain; needed if there are several
    #[arg(long, value_name = "ID")]
    chain_id: Option<String>,
    /// Repair this file, and need no configuration
    #[arg(long, value_name = "PATH", conflicts_with = "force")]
    file: Option<PathBuf>,
    /// Nothing at or below this height will be signed
    #[arg(long, value_name = "H", value_parser = height, allow_negative_numbers = true)]
    height: Height,
    /// Let the record be lowered: a position may be signed twice then
    #[arg(long)]
    force: bool,
    /// Don't ask; for scripts that know what they do
    #[arg(long, requires = "force")]
    yes: bool,
}

impl Repair {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        if let Some(file) = &self.file {
            return self.run_on(file, out);
        }
        let config = self.config.load_for_host(super::WITH_PARENT)?;
        let chain = select_one(&config, self.chain_id.as_deref())?;
        let owner = owner_of(chain)?;
        if self.force {
            confirm(chain, &super::danger(chain, Position::end_of(self.height)), self.yes)?;
        }
        let lowering = if self.force { Lowering::Allow } else { Lowering::Refuse };
        let path = chain.state_path();
        let replaced = FileStore::repair(path, &owner, self.height, lowering)
            .map_err(|error| crate::state::failure(chain, self.config.path(), &error))?;
        self.say(path, &chain.id, &replaced, out)
    }

    /// On a file whose chain and key are those that stand in it.
    fn run_on(&self, file: &Path, out: &mut dyn Write) -> Result<(), Failure> {
        let fail = |error: StateError| Failure::new(Exit::State, error.to_string(), "");
        let seen = inspect(file).map_err(fail)?;
        let found = seen.slots.iter().flatten().map(|held| held.owner.chain_id.clone()).next();
        let named = self.chain_id.as_deref().map(ChainId::try_from).transpose();
        let named = named.map_err(|error| Failure::new(Exit::Usage, format!("--chain-id: {error}"), ""))?;
        let Some(chain_id) = named.or(found) else {
            let message = format!("{}: it cannot be read any more whose state it is", file.display());
            return Err(Failure::new(Exit::Usage, message, "add --chain-id ID"));
        };
        let owner = Owner::unbound(chain_id);
        let replaced = FileStore::repair_for(file, &owner, self.height, Lowering::Refuse).map_err(fail)?;
        self.say(file, &owner.chain_id, &replaced, out)
    }

    fn say(&self, path: &Path, chain_id: &ChainId, replaced: &Replaced, out: &mut dyn Write) -> Result<(), Failure> {
        let Some(backup) = &replaced.backup else {
            let meaning = crate::state::meaning(&replaced.record);
            let is_higher = replaced.record.position().height > self.height;
            let level = if is_higher { "higher" } else { "as high" };
            writeln!(out, "nothing to repair: the record is intact and {level}: {meaning} on {chain_id}")?;
            return Ok(());
        };
        let height = replaced.record.position().height;
        writeln!(out, "repaired {}: nothing at or below height {height} will be signed on {chain_id}", path.display())?;
        if height > self.height {
            writeln!(out, "  height {} was asked for, but the old record was higher", self.height)?;
        }
        writeln!(out, "  the old file is kept as {}", backup.display())?;
        Ok(())
    }
}
