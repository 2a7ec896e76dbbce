//! Development only: a simulated Nitro Secure Module and KMS.
pub mod enclave;
pub mod kms;
pub mod nsm;
