//! The enclave's way with everything around it played: failures at each phase, differences, tokens, policy, secrets.
#![allow(clippy::unwrap_used)]

#[path = "../../../signer/tests/it/wire.rs"]
#[allow(dead_code)]
mod node_wire;

mod changes;
mod control;
mod failures;
mod policy;
mod world;
