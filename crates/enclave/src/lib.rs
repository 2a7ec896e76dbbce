//! The signer inside the enclave.
//!
//! [`run()`] is its way, on one page (`run.rs`): self-checks, then for each push of the parent the steps in `way/`:
//! checking (against the measured [`policy`] and the debug rule), releasing (KMS gives the keys to this measurement
//! alone, see [`kms`] and [`unseal`]), recovering (the records on the parent), and applying what differs. Nothing is applied
//! before everything of a push is ready. `control/` is where the parent asks, [`log_ring`] what it may read of the log.
//!
//! What stands between the enclave and the world are three traits: [`nsm::Nsm`], [`release::Kms`] and
//! [`records::Records`].

mod attestation;
mod board;
pub mod ceremony;
mod control;
mod counts;
mod desk;
pub mod init;
pub mod kms;
pub mod log_ring;
mod machine;
pub mod nsm;
pub mod plan;
pub mod policy;
pub mod records;
pub mod release;
mod run;
mod trouble;
pub mod unseal;
mod way;

#[doc(hidden)]
pub use run::run_with;
pub use run::{Broken, Ending, Options, run};
pub use way::Parse;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Nothing that these locks protect can be left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
