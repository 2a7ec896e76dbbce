//! The binary: parses the command line, runs the command, and says by its exit code how it went.
#![forbid(unsafe_code)]

use clap::Parser;
use std::io::{self, Write};
use std::process::ExitCode;
use tmkms::Cli;
use tmkms::failure::Failure;

fn main() -> ExitCode {
    // Before the command line: an enclave's kernel gives its init words that are none of ours.
    #[cfg(feature = "nitro-enclave")]
    tmkms::run_if_init();
    let cli = Cli::parse();
    // Most commands read keys, if only for their public halves. `start` asks again and tells what could not be had.
    drop(signer::process::harden());
    let mut out = Pipe { inner: io::stdout().lock(), closed: false };
    let done = cli.run(&mut out).and_then(|()| out.flush().map_err(Failure::from));
    let code = match done {
        Ok(()) => ExitCode::SUCCESS,
        // `tmkms … | head` is not a failure.
        Err(_) if out.closed => ExitCode::SUCCESS,
        Err(failure) => {
            tmkms::terminal::report(&failure);
            ExitCode::from(failure.exit as u8)
        }
    };
    tmkms::logging::flush();
    code
}

/// Stdout that remembers whether its reader went away.
struct Pipe<W> {
    inner: W,
    closed: bool,
}

impl<W: Write> Pipe<W> {
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        self.closed |= result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        result
    }
}

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.inner.write(bytes);
        self.note(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.inner.flush();
        self.note(result)
    }
}
