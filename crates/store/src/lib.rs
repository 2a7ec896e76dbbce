//! Where a signing record lives, and how it survives.
//!
//! * [`mod@file`] keeps the record of one key on one chain in one file: written in place and synced before a
//!   commit is acknowledged, read strictly, never created by opening;
//! * [`formats`] converts to and from the state files of CometBFT's `FilePV` and of tmkms 0.15, and says what
//!   is lost on the way.
//!
//! The rule that the record serves is in `guard`; nothing here decides what may be signed.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod file;
pub mod formats;

pub use file::{FileStore, Lowering, Problem, StateError};
