//! `tmkms man`: the manual pages, one for each command.
use crate::cli::Cli;
use crate::failure::{Exit, Failure};
use clap::{Args, CommandFactory};
use std::io::Write;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  tmkms man /usr/local/share/man/man1
  tmkms man . && man ./tmkms-state-init.1";

/// Write the manual pages into a folder
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Man {
    /// The folder; it must exist
    folder: PathBuf,
}

impl Man {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        clap_mangen::generate_to(Cli::command(), &self.folder).map_err(|error| {
            let message = format!("cannot write the manual pages to {}: {error}", self.folder.display());
            Failure::new(Exit::Runtime, message, "name a folder that exists and can be written to")
        })?;
        writeln!(out, "wrote the manual pages to {}", self.folder.display())?;
        Ok(())
    }
}
