//! Placeholder.

pub mod keys;
pub mod process;
