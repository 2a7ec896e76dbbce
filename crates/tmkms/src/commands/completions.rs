//! `tmkms completions`: a shell's completions, on stdout.
use crate::cli::Cli;
use crate::failure::Failure;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::Write;

const EXAMPLES: &str = "\
Examples:
  tmkms completions bash > /etc/bash_completion.d/tmkms
  tmkms completions zsh > /usr/local/share/zsh/site-functions/_tmkms
  tmkms completions fish > ~/.config/fish/completions/tmkms.fish";

/// Print the completions of a shell
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        // The generator panics when its writer fails, so it writes to memory.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "tmkms", &mut script);
        out.write_all(&script)?;
        Ok(())
    }
}
