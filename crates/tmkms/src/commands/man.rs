//! `tmkms man`: the manual pages, one for each command.
use crate::cli::Cli;
use crate::failure::{Exit, Failure};
use clap::{Args, Command, CommandFactory};
use clap_mangen::roff::{Roff, roman};
use std::fs;
use std::io::{self, Write};
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
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        self.write(&command).map_err(|error| {
            let message = format!("cannot write the manual pages to {}: {error}", self.folder.display());
            Failure::new(Exit::Runtime, message, "name a folder that exists and can be written to")
        })?;
        writeln!(out, "wrote the manual pages to {}", self.folder.display())?;
        Ok(())
    }

    /// A command's page, and those of its subcommands.
    fn write(&self, command: &Command) -> io::Result<()> {
        for command in command.get_subcommands() {
            self.write(command)?;
        }
        let page = clap_mangen::Man::new(command.clone());
        let mut text = Vec::new();
        render(&page, command, &mut text)?;
        fs::write(self.folder.join(page.get_filename()), text)
    }
}

/// As clap_mangen does it, but for the title and for what stands behind the options: it knows no other heading for that
/// than EXTRA.
fn render(page: &clap_mangen::Man, command: &Command, out: &mut dyn Write) -> io::Result<()> {
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (sections, paragraphs): (Vec<_>, Vec<_>) = after.split("\n\n").partition(|block| heading(block).is_some());
    // Its own leaves the empty date out, so that the version would stand where the date belongs.
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    writeln!(out, ".TH \"{name}\" 1 \"\" \"tmkms {}\" \"tmkms manual\"", env!("CARGO_PKG_VERSION"))?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    let mut roff = Roff::new();
    for paragraph in paragraphs.iter().filter(|paragraph| !paragraph.is_empty()) {
        roff.control("PP", []);
        for line in paragraph.lines() {
            roff.text([roman(line)]);
        }
    }
    roff.to_writer(out)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        page.render_options_section(out)?;
    }
    if command.has_subcommands() {
        page.render_subcommands_section(out)?;
    }
    let mut roff = Roff::new();
    for (heading, lines) in sections.iter().filter_map(|block| heading(block)) {
        roff.control("SH", [heading.to_uppercase().as_str()]);
        roff.control("nf", []);
        for line in lines.lines() {
            roff.text([roman(line.trim_start())]);
        }
        roff.control("fi", []);
    }
    roff.to_writer(out)
}

/// A block such as `Examples:` with indented lines below it, apart.
fn heading(block: &str) -> Option<(&str, &str)> {
    let (first, lines) = block.split_once('\n')?;
    let heading = first.strip_suffix(':')?;
    lines.lines().all(|line| line.starts_with("  ")).then_some((heading, lines))
}
