//! The `tmkms` command: configuration, commands and exit codes. The binary is a thin `main` over this library, so
//! that tests and fuzz targets reach the same code.
#![forbid(unsafe_code)]

mod cli;
mod commands;
pub mod config;
pub mod failure;
mod filesystem;
mod keys;
mod listener;
pub mod logging;
pub mod networks;
mod permissions;
mod state;
pub mod terminal;

pub use cli::Cli;
/// For a process that plays an enclave in development: the same command around another security module.
pub use commands::nitro::start::Start as NitroStart;
