//! The enclave's record on the parent: a real guard, `RemoteStore` and `Persist` over Unix sockets, and everything that can
//! go wrong between them.
#![allow(clippy::unwrap_used)]
mod bench;
mod choice;
mod faults;
mod holders;
mod middle;
mod ordinary;
mod world;
