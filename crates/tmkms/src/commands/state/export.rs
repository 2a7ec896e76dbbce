//! `tmkms state export`: a record as a file of another signer, for moving a validator away.
use super::place::{self, ByPath, Place};
use crate::cli::ConfigOption;
use crate::commands::select_one;
use crate::failure::{Exit, Failure};
use clap::{Args, ValueEnum};
use guard::Record;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use store::FileStore;
use store::file::inspect;
use store::formats::{self, Format};

const EXAMPLES: &str = "\
The signer must be stopped, and must not be started again with this key: from here on the other one signs. What the other \
format cannot hold is said. The file must not exist yet; nothing is overwritten.

Examples:
  tmkms state export -c tmkms.toml --to filepv priv_validator_state.json
  tmkms state export -c tmkms.toml --chain-id cosmoshub-4 --to tmkms cosmoshub-4-consensus.json
  tmkms state export -c tmkms.toml --to ours copy.json
  tmkms state export --file /var/lib/tmkms/state.json --to filepv priv_validator_state.json";

/// Export a state for another signer
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Export {
    #[command(flatten)]
    config: ConfigOption,
    /// The chain; needed if there are several
    #[arg(long, value_name = "ID")]
    chain_id: Option<String>,
    #[command(flatten)]
    by_path: ByPath,
    /// Who will read the file
    #[arg(long, value_enum, value_name = "FORMAT")]
    to: Target,
    /// The new file
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Target {
    /// CometBFT's priv_validator_state.json; horcrux and cosmos/kms read it too
    Filepv,
    /// The state file of tmkms 0.15
    Tmkms,
    /// A state file of this program
    Ours,
}

impl Export {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let place = self.place()?;
        // Held to the end: what a running signer adds would be missing in the copy.
        let (_locked, record) = record_of(&place)?;
        let notes = match self.to {
            Target::Filepv => self.write(Format::FilePv, &record)?,
            Target::Tmkms => self.write(Format::Tmkms, &record)?,
            Target::Ours => {
                FileStore::create_for(&self.file, &place.owner, &record)
                    .map_err(|error| Failure::new(Exit::State, format!("cannot export: {error}"), ""))?;
                Vec::new()
            }
        };
        writeln!(out, "wrote {}: {} on {}", self.file.display(), crate::state::meaning(&record), place.chain_id())?;
        for note in notes {
            writeln!(out, "  note: {note}")?;
        }
        writeln!(out, "  do not start this signer again with that key: two signers sign twice")?;
        Ok(())
    }

    fn place(&self) -> Result<Place, Failure> {
        let named = self.chain_id.as_deref();
        if let Some(path) = self.by_path.path(&self.config)? {
            // A file that is missing or unreadable says so itself.
            if !path.is_dir() {
                inspect(path).map_err(|error| place::failure_at(path, None, &error))?;
            }
            return self.by_path.place(path, named);
        }
        let to = self.to.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let with = format!(" --to {to} {}", crate::state::shell_word(&self.file.display().to_string()));
        let config = place::load(&self.config, "export", &with, named)?;
        Place::of_chain(select_one(&config, named)?, self.config.path())
    }

    fn write(&self, format: Format, record: &Record) -> Result<Vec<formats::Note>, Failure> {
        let exported = formats::export(format, record)
            .map_err(|error| Failure::new(Exit::State, format!("cannot export to {}: {error}", format.name()), ""))?;
        write_new(&self.file, &exported.text).map_err(|error| {
            let message = format!("cannot write {}: {error}", self.file.display());
            Failure::new(Exit::State, message, "name a new file in a folder that exists")
        })?;
        Ok(exported.notes)
    }
}

fn record_of(place: &Place) -> Result<(FileStore, Record), Failure> {
    let locked = FileStore::open_for(&place.path, &place.owner).map_err(|error| place.failure(&error))?;
    let seen = inspect(&place.path).map_err(|error| place.failure(&error))?;
    match seen.held() {
        Some(held) => Ok((locked, held.record.clone())),
        None => Err(Failure::new(Exit::State, format!("{} holds no record", place.path.display()), "tmkms state show")),
    }
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
