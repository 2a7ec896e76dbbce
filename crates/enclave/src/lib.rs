//! The signer inside the enclave.

pub mod kms;
pub mod nsm;
pub mod unseal;
