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
}

fn main() -> ExitCode {
    let Command::Start(start) = Program::parse().command;
    let code = match start.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tmkms::terminal::report(&failure);
            ExitCode::from(failure.exit as u8)
        }
    };
    tmkms::logging::flush();
    code
}
