//! The commands, one file each.
#[cfg(feature = "host")]
pub(crate) mod completions;
#[cfg(feature = "host")]
pub(crate) mod config;
#[cfg(feature = "host")]
pub(crate) mod init;
#[cfg(feature = "host")]
pub(crate) mod keys;
#[cfg(feature = "host")]
pub(crate) mod man;
#[cfg(any(feature = "host", feature = "nitro-enclave"))]
pub(crate) mod nitro;
#[cfg(feature = "host")]
mod select;
#[cfg(feature = "host")]
pub(crate) mod softsign;
#[cfg(feature = "host")]
pub(crate) mod start;
#[cfg(feature = "host")]
pub(crate) mod state;
#[cfg(feature = "host")]
pub(crate) mod status;
pub(crate) mod version;

#[cfg(feature = "host")]
pub(crate) use select::{select, select_one};
