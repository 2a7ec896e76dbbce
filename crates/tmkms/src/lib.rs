//! The `tmkms` command: configuration, commands and exit codes. The binary is a thin `main` over this library, so
//! that tests and fuzz targets reach the same code.
#![forbid(unsafe_code)]

mod cli;
mod commands;
pub mod config;
pub mod failure;
#[cfg(feature = "host")]
mod filesystem;
#[cfg(feature = "host")]
mod keys;
#[cfg(feature = "host")]
mod listener;
pub mod logging;
#[cfg(feature = "host")]
mod measurements;
#[cfg(feature = "host")]
pub mod networks;
#[cfg(feature = "host")]
mod permissions;
#[cfg(feature = "host")]
mod state;
pub mod terminal;

pub use cli::Cli;
#[cfg(feature = "nitro-enclave")]
/// For a process that plays an enclave in development: the same command around another security module.
pub use commands::nitro::start::Start as NitroStart;

/// Does not return if this is the image's first program, started by the enclave's kernel: then it runs until the enclave ends.
#[cfg(feature = "nitro-enclave")]
pub fn run_if_init() {
    if enclave::init::is_init() {
        commands::nitro::start::as_init();
    }
}
