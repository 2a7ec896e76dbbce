//! Development only: a simulated Nitro Secure Module and KMS.
pub mod kms;
pub mod nsm;
