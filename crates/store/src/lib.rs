//! Where a signing record lives, and how it survives.
//!
//! * [`mod@file`] keeps the record of one key on one chain in one file: written in place and synced before a
//!   commit is acknowledged, read strictly, never created by opening;
//! * [`remote`] keeps it on the parent of an enclave, in such a file, and takes nothing but a proven answer for a commit;
//! * [`formats`] converts to and from the state files of CometBFT's `FilePV` and of tmkms 0.15, and says what
//!   is lost on the way.
//!
//! The rule that the record serves is in `guard`; nothing here decides what may be signed.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod file;
pub mod formats;
#[cfg(feature = "remote")]
pub mod remote;

pub use file::{BindingStore, FileStore, Lowering, Problem, StateError};
#[cfg(feature = "remote")]
pub use remote::RemoteStore;
