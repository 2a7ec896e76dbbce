//! `tmkms state import`: the record of another signer, or of a copy of ours.
use super::confirm;
use super::place::{self, ByPath, Place};
use crate::cli::ConfigOption;
use crate::commands::select_one;
use crate::failure::{Exit, Failure};
use crate::permissions::{self, Readers::OwnerAlone};
use clap::{Args, ValueEnum};
use guard::{Height, Record};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use store::file::inspect;
use store::formats::{self, Format, Note};
use store::{FileStore, Lowering, Problem, StateError};

const EXAMPLES: &str = "\
What cannot be taken over is said. Steps are converted: tmkms counts them from 0, CometBFT from 1. A file that says that \
nothing was ever signed is refused, because tmkms and CometBFT write the same where they found no state.

Stop the other signer for good before its file is copied: what it signs afterwards is not in the copy. A record that exists \
is never lowered without --force, which asks for the chain id to be typed (or for --yes); the old file is kept.

--file brings the state to an enclave's parent, for `tmkms nitro persist`. Without --public-key its key is the one that the \
file names already, or that a state file of this program names; else it is the first one that signs, and only the position is kept.

Examples:
  tmkms state import -c tmkms.toml --from filepv ~/.gaia/data/priv_validator_state.json
  tmkms state import -c tmkms.toml --chain-id cosmoshub-4 --from tmkms old-state.json
  tmkms state import -c tmkms.toml --from ours copy-of-a-state-file.json
  tmkms state import --file /var/lib/tmkms/state.json --chain-id cosmoshub-4 --from tmkms old-state.json";

/// Import the state of another signer
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Import {
    #[command(flatten)]
    config: ConfigOption,
    /// The chain; needed if there are several
    #[arg(long, value_name = "ID")]
    chain_id: Option<String>,
    #[command(flatten)]
    by_path: ByPath,
    /// Who wrote the file
    #[arg(long, value_enum, value_name = "FORMAT")]
    from: Source,
    /// Let the record be lowered: a position may be signed twice then
    #[arg(long)]
    force: bool,
    /// Don't ask; for scripts that know what they do
    #[arg(long, requires = "force")]
    yes: bool,
    /// The file to read
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Source {
    /// CometBFT's or Tendermint's priv_validator_state.json; horcrux and cosmos/kms write it too
    Filepv,
    /// The state file of tmkms
    Tmkms,
    /// A state file of this program
    Ours,
}

/// A record from elsewhere, and what has to be said about it.
struct Found {
    record: Record,
    notes: Vec<Note>,
}

impl Import {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut place = self.place()?;
        let found = match self.from {
            Source::Filepv => self.read(Format::FilePv, &place)?,
            Source::Tmkms => self.read(Format::Tmkms, &place)?,
            Source::Ours => self.read_ours(&mut place)?,
        };
        self.refuse_nothing_signed(&place, &found)?;
        if self.force {
            confirm(&place, &super::danger(&place, found.record.position()), self.yes)?;
        }
        self.write(&place, &found.record, out)?;
        for note in &found.notes {
            writeln!(out, "  note: {note}")?;
        }
        Ok(())
    }

    fn place(&self) -> Result<Place, Failure> {
        let named = self.chain_id.as_deref();
        if let Some(path) = self.by_path.path(&self.config)? {
            return self.by_path.place(path, named);
        }
        let from = self.from.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let with = format!(" --from {from} {}", crate::state::shell_word(&self.file.display().to_string()));
        let config = place::load(&self.config, "import", &with, named)?;
        Place::of_chain(select_one(&config, named)?, self.config.path())
    }

    fn read(&self, format: Format, place: &Place) -> Result<Found, Failure> {
        let bytes = read_bounded(&self.file)?;
        let imported = formats::import_as(format, &bytes, place.chain_id()).map_err(|error| {
            let help = match formats::recognise(&bytes).filter(|other| *other != format) {
                Some(other) => format!("the file looks like {other}: write --from {}", other.name()),
                None => String::new(),
            };
            Failure::new(Exit::State, format!("cannot import {}: {error}", self.file.display()), help)
        })?;
        match (&imported.evidence, &place.key) {
            (Some(evidence), Some(key)) if !key.verifies(&evidence.bytes, &evidence.signature) => {
                Err(self.another_key(place, key))
            }
            _ => Ok(Found { record: imported.record(), notes: imported.notes }),
        }
    }

    /// `FilePV`'s file names no key. Another key's record would be a promise about votes that this key never made.
    fn another_key(&self, place: &Place, key: &signer::keys::PublicKey) -> Failure {
        let message = format!(
            "cannot import {}: its signature is not by this chain's key (address {}): it is another key's state, or damaged",
            self.file.display(),
            key.address()
        );
        let on = &place.on;
        let help = format!(
            "bring the state that lay beside this key, or use `tmkms state init {on} --height H` with H above the chain's height"
        );
        Failure::new(Exit::State, message, help)
    }

    fn read_ours(&self, place: &mut Place) -> Result<Found, Failure> {
        let mut seen = inspect(&self.file).map_err(|error| self.unfit(place, &error.problem))?;
        if let Some(problem) = seen.problem.take() {
            return Err(self.unfit(place, &problem));
        }
        let held = seen.held();
        if let Some(held) = held.filter(|held| place.owner.is_unbound() && held.owner.chain_id == *place.chain_id()) {
            place.owner = held.owner.clone();
        }
        let (expected, fail) = (place.owner.clone(), |problem: Problem| self.unfit(place, &problem));
        match held {
            Some(held) if held.owner.chain_id != expected.chain_id => {
                Err(fail(Problem::AnotherChain { expected, found: held.owner.clone() }))
            }
            Some(held) if held.owner.pub_key != expected.pub_key => {
                Err(fail(Problem::AnotherKey { expected, found: held.owner.clone() }))
            }
            Some(held) => Ok(Found { record: held.record.clone(), notes: Vec::new() }),
            None => {
                let message = format!("cannot import {}: no record of {} in it", self.file.display(), place.chain_id());
                Err(Failure::new(Exit::State, message, "name this chain's file"))
            }
        }
    }

    /// The remedies of the store's texts are the configured state's; this file is a copy from elsewhere.
    fn unfit(&self, place: &Place, problem: &Problem) -> Failure {
        let without = || {
            let on = &place.on;
            let command = if place.path.exists() { "repair" } else { "init" };
            format!("`tmkms state {command} {on} --height H` with H at or above the chain's height")
        };
        let (what, help) = match problem {
            Problem::Missing => ("it does not exist".to_owned(), "correct the path".to_owned()),
            Problem::NotAFile => ("it is not a file".to_owned(), "correct the path".to_owned()),
            Problem::Foreign { format: Some(format) } => {
                (format!("it is {format}"), format!("write --from {}", format.name()))
            }
            Problem::Foreign { format: None } => (
                "not a state file of this program".to_owned(),
                "name what `tmkms state export --to ours` wrote".to_owned(),
            ),
            Problem::UnknownVersion { .. } => (
                "a later version of this program wrote it, or it is damaged".to_owned(),
                format!(
                    "take it with `tmkms state export --to filepv` of that version; if it is damaged, {}",
                    without()
                ),
            ),
            Problem::AnotherChain { expected, found } => (
                format!("the state of another chain: expected {}, got {}", expected.chain_id, found.chain_id),
                "name this chain's file, or the file's chain with --chain-id".to_owned(),
            ),
            Problem::AnotherKey { expected, found } if found.is_unbound() => (
                format!("it is bound to no key yet: expected public key {}", expected.pub_key),
                format!("name this key's state, or run {}", without()),
            ),
            Problem::AnotherKey { expected, found } => (
                format!("the state of another key: expected public key {}, got {}", expected.pub_key, found.pub_key),
                format!("name the state that lay beside this key, or run {}", without()),
            ),
            Problem::PermissionDenied { error, .. } => (error.to_string(), permissions::help(&self.file, OwnerAlone)),
            Problem::ReadOnly { doing, error } | Problem::DiskFull { doing, error } | Problem::Io { doing, error } => {
                (format!("{doing} failed ({error})"), String::new())
            }
            problem => (damage(problem), format!("copy it again; if no copy is whole, run {}", without())),
        };
        Failure::new(Exit::State, format!("cannot import {}: {what}", self.file.display()), help)
    }

    fn refuse_nothing_signed(&self, place: &Place, found: &Found) -> Result<(), Failure> {
        if found.record.position().height > Height::ZERO {
            return Ok(());
        }
        let message =
            format!("{} says that nothing was ever signed, so there is nothing to import", self.file.display());
        let on = &place.on;
        let help = format!(
            "signers also write this where they found no state; if the key has really never signed, run `tmkms state init {on} \
             --new-validator`, else `tmkms state init {on} --height H`"
        );
        Err(Failure::new(Exit::State, message, help))
    }

    fn write(&self, place: &Place, record: &Record, out: &mut dyn Write) -> Result<(), Failure> {
        let (path, chain_id) = (place.path.display(), place.chain_id());
        let lowering = if self.force { Lowering::Allow } else { Lowering::Refuse };
        // Without a key there are no sign bytes in a state, so none are promised.
        let floor = Record::floor(record.sequence(), record.position());
        let record = if place.owner.is_unbound() { &floor } else { record };
        let meaning = crate::state::meaning(record);
        match FileStore::create_for(&place.path, &place.owner, record) {
            Ok(()) => writeln!(out, "made {path}: {meaning} on {chain_id}")?,
            Err(StateError { problem: Problem::Exists, .. }) => {
                let replaced = FileStore::replace_for(&place.path, &place.owner, record, lowering)
                    .map_err(|error| place.failure(&error))?;
                let done = if replaced.backup.is_some() { "replaced the record in" } else { "unchanged:" };
                writeln!(out, "{done} {path}: {meaning} on {chain_id}")?;
                if let Some(backup) = replaced.backup {
                    writeln!(out, "  the old file is kept as {}", backup.display())?;
                }
            }
            Err(error) => return Err(place.failure(&error)),
        }
        if place.owner.is_unbound() {
            writeln!(out, "  it is not bound to a key yet: the key that signs first through it binds it")?;
        }
        Ok(())
    }
}

/// What is broken in a copy of a state file.
fn damage(problem: &Problem) -> String {
    match problem {
        Problem::Empty => "it is empty".to_owned(),
        Problem::WrongSize { bytes, .. } => format!("it is damaged: expected 8192 bytes, got {bytes}"),
        Problem::OneSlotDamaged { slot, bad, survivor } => format!(
            "it is damaged: slot {slot} does not check out ({bad}); the other one holds {}, which need not be the last that \
             was signed",
            super::level(*survivor)
        ),
        Problem::BothSlotsDamaged { bad: [first, second] } => {
            format!("it is damaged: neither slot checks out (slot 1: {first}; slot 2: {second})")
        }
        _ => "it is damaged: its two slots contradict each other".to_owned(),
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, Failure> {
    let most = u64::try_from(formats::MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(|error| {
        let help = match error.kind() {
            std::io::ErrorKind::PermissionDenied => permissions::help(path, OwnerAlone),
            _ => "name the other signer's state file".to_owned(),
        };
        Failure::new(Exit::State, format!("cannot read {}: {error}", path.display()), help)
    })?;
    Ok(bytes)
}
