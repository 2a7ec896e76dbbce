//! `tmkms state repair`: a floor in place of a damaged record, or of a sound one that is too low.
use super::place::{self, ByPath, Place};
use super::{confirm, height};
use crate::cli::ConfigOption;
use crate::commands::select_one;
use crate::failure::Failure;
use clap::Args;
use guard::{Height, Position};
use std::io::Write;
use store::file::Replaced;
use store::{FileStore, Lowering};

const EXAMPLES: &str = "\
Nothing at or below the height will be signed afterwards. A record that is intact and higher is left as it is. Of a damaged \
one, what can still be read counts: if it is higher, nothing at or below its height will be signed. --force lets a lower height through, which can lead to a double sign, and asks for the chain id to be typed \
(or for --yes). The old file is kept beside the new one.

Give the chain's height or more: a validator that skips a few blocks loses nothing that matters.

--file names a file that no configuration of this host does: what `tmkms nitro persist` keeps for an enclave. Its chain and key stand \
in it, and stay; where they can't be read any more, --chain-id has to name the chain, and --public-key the key; without it the \
key is the first one that signs.

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
    #[command(flatten)]
    by_path: ByPath,
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
        let place = self.place()?;
        if self.force {
            confirm(&place, &super::danger(&place, Position::end_of(self.height)), self.yes)?;
        }
        let lowering = if self.force { Lowering::Allow } else { Lowering::Refuse };
        let replaced = FileStore::repair_for(&place.path, &place.owner, self.height, lowering)
            .map_err(|error| place.failure(&error))?;
        self.say(&place, &replaced, out)
    }

    fn place(&self) -> Result<Place, Failure> {
        let named = self.chain_id.as_deref();
        if let Some(path) = self.by_path.path(&self.config)? {
            return self.by_path.place(path, named);
        }
        let with = format!(" --height {}{}", self.height, if self.force { " --force" } else { "" });
        let config = place::load(&self.config, "repair", &with, named)?;
        Place::of_chain(select_one(&config, named)?, self.config.path())
    }

    fn say(&self, place: &Place, replaced: &Replaced, out: &mut dyn Write) -> Result<(), Failure> {
        let (path, chain_id) = (place.path.display(), place.chain_id());
        let Some(backup) = &replaced.backup else {
            let meaning = crate::state::meaning(&replaced.record);
            let is_higher = replaced.record.position().height > self.height;
            let level = if is_higher { "higher" } else { "as high" };
            writeln!(out, "nothing to repair: the record is intact and {level}: {meaning} on {chain_id}")?;
            return Ok(());
        };
        let height = replaced.record.position().height;
        writeln!(out, "repaired {path}: nothing at or below height {height} will be signed on {chain_id}")?;
        if height > self.height {
            writeln!(out, "  height {} was asked for, but the old record was higher", self.height)?;
        }
        if place.owner.is_unbound() {
            writeln!(out, "  it is not bound to a key: the key that signs first through it binds it")?;
        }
        writeln!(out, "  the old file is kept as {}", backup.display())?;
        Ok(())
    }
}
