//! `tmkms nitro push-config`, `status`, `logs`, `metrics` and `doctor` against a scripted enclave: a thread that speaks the wire.
#![allow(clippy::unwrap_used)] // A test may fail where a signer may not.
#[path = "nitro/doctor.rs"]
mod doctor;
#[path = "nitro/enclave.rs"]
mod enclave;
#[path = "nitro/pages.rs"]
mod pages;
#[path = "nitro/push.rs"]
mod push;
#[path = "nitro/rpc.rs"]
mod rpc;
#[path = "nitro/watch.rs"]
mod watch;
