//! `tmkms state`: the records of what was signed, made, shown, repaired, brought and taken by explicit acts.
mod export;
mod import;
mod init;
mod place;
mod repair;
mod show;

use crate::failure::{Exit, Failure};
use crate::terminal;
use clap::Subcommand;
use guard::{Height, Position};
use place::Place;
use std::io::Write;
use store::file::inspect;

const ABOUT: &str = "\
For each key on each chain one file holds the last position (height, round, step) that was signed, and what was signed there. \
It is what keeps this signer from signing twice, so it is never made, lowered or replaced except by these commands. Stop \
the signer before you change its state; `show` disturbs nothing.

What `tmkms nitro persist` keeps for an enclave are such files, too: each command takes one as --file PATH.";

/// Make, show, repair, import and export signing states
#[derive(Debug, Subcommand)]
#[command(long_about = ABOUT)]
pub enum State {
    Init(init::Init),
    Show(show::Show),
    Repair(repair::Repair),
    Import(import::Import),
    Export(export::Export),
}

impl State {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Init(command) => command.run(out),
            Self::Show(command) => command.run(out),
            Self::Repair(command) => command.run(out),
            Self::Import(command) => command.run(out),
            Self::Export(command) => command.run(out),
        }
    }
}

/// Runs one of these commands as it would be typed: for commands that make a state on their way.
pub(super) fn run_words(words: &[String], out: &mut dyn Write) -> Result<(), Failure> {
    #[derive(clap::Parser)]
    #[command(no_binary_name = true)]
    struct Words {
        #[command(subcommand)]
        state: State,
    }
    let parsed = <Words as clap::Parser>::try_parse_from(words);
    parsed.map_err(|error| Failure::new(crate::failure::Exit::Usage, error.to_string(), ""))?.state.run(out)
}

/// A height on the command line: from 1 on, because a record of height 0 says that the key has never signed.
fn height(text: &str) -> Result<Height, String> {
    let height = text.parse().ok().and_then(|number: i64| Height::try_from(number).ok());
    match height {
        Some(height) if height > Height::ZERO => Ok(height),
        Some(_) => Err("height 0 means that the key has never signed: write --new-validator instead".to_owned()),
        None => Err(format!("expected a whole number from 1 to {}, the largest height there is", i64::MAX)),
    }
}

/// What a forced change puts at stake, with the highest record that can be read now.
fn danger(place: &Place, wanted: Position) -> String {
    let seen = inspect(&place.path).ok();
    let held = seen.iter().flat_map(|seen| seen.slots.iter().flatten()).map(|held| held.record.position()).max();
    let change = match held {
        Some(held) if held > wanted => format!("goes DOWN from {} to {}", level(held), level(wanted)),
        Some(held) => format!("goes from {} to {}", level(held), level(wanted)),
        None => format!("becomes {} even if it was higher", level(wanted)),
    };
    format!(
        "the record of {} {change}: whatever was signed above {} can be signed a second time, and the stake be slashed",
        place.chain_id(),
        level(wanted)
    )
}

/// A position, or its height where it is the end of one: no person knows the largest round.
fn level(position: Position) -> String {
    if position == Position::end_of(position.height) {
        format!("the end of height {}", position.height)
    } else {
        position.to_string()
    }
}

/// Asks for the chain's name before something dangerous, unless `--yes` was given.
fn confirm(place: &Place, danger: &str, yes: bool) -> Result<(), Failure> {
    if yes || terminal::confirm(danger, place.chain_id().as_str())? {
        return Ok(());
    }
    Err(Failure::new(Exit::State, "not confirmed: nothing was changed", "type the chain id, or give --yes in a script"))
}
