//! The commands, one file each.
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod init;
pub(crate) mod keys;
pub(crate) mod man;
pub(crate) mod softsign;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod version;
