//! The contract between a parent (the EC2 instance) and its enclave: the only thing that both sides share.
//!
//! * [`endpoint`]: where the other side is: a vsock port, or a Unix socket in Firecracker's convention where an
//!   enclave is emulated;
//! * [`hello`]: the first words on every channel, with versions;
//! * [`frame`]: bounded frames;
//! * [`control`]: what the parent asks of the enclave: a configuration is pushed, status, logs and metrics are read;
//! * [`state`]: what the enclave asks of the parent: open, recover and commit a signing record;
//! * [`token`]: how one side proves that it holds the control token.
//!
//! docs/wire.md describes the bytes. Whatever arrives is hostile until it was parsed here: both sides bound every read.
#![deny(unsafe_code)]
#![deny(missing_docs)]

mod bytes;
pub mod control;
pub mod endpoint;
pub mod frame;
pub mod hello;
pub mod state;
pub mod token;

/// The version of all that is in this crate. Both sides must have the same; it changes with any change of the bytes.
pub const PROTOCOL_VERSION: u16 = 1;

/// The control port of the enclave, unless `-p` says otherwise.
pub const DEFAULT_CONTROL_PORT: u32 = 5050;
/// The parent's port of the KMS proxy, unless `kms_proxy_port` says otherwise.
pub const DEFAULT_KMS_PROXY_PORT: u32 = 8000;
