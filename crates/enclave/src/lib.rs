//! The signer inside the enclave.

pub mod nsm;
