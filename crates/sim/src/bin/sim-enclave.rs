//! `tmkms nitro start` with a simulated security module, so that the released binary contains none.
use clap::{Parser, Subcommand};
use sim::enclave::Start;
use std::process::ExitCode;

/// The signer in a process that plays an enclave, for development only
#[derive(Parser)]
#[command(name = "sim-enclave", version)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Start(Start),
    /// Run the ceremony image's work in a process that plays an enclave
    Ceremony(Start),
}

fn main() -> ExitCode {
    let ended = match Program::parse().command {
        Command::Start(start) => start.run(),
        Command::Ceremony(start) => start.run_ceremony(),
    };
    let code = match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tmkms::terminal::report(&failure);
            ExitCode::from(failure.exit as u8)
        }
    };
    tmkms::logging::flush();
    code
}
