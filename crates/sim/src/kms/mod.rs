//! A development KMS as strict as AWS's: HTTPS, Signature Version 4, key policies, attestation, and the same names for what is wrong.
//!
//! Tests start a [`Server`] in their own process; a person starts one with `cargo xtask sim kms`. What it is for and what it is not: docs/adr/0007.
mod attested;
mod clock;
mod cms;
mod connection;
mod error;
mod faults;
mod http;
mod keys;
mod log;
mod policy;
mod principals;
mod recipient;
mod server;
mod service;
mod sigv4;
mod tls;
mod unsigned;

pub use unsigned::facts as unsigned_facts;

pub use cms::Form;
pub use faults::{Fault, Faults};
pub use log::Logged;
pub use recipient::{Evidence, Verifier};
pub use server::{DEFAULT_ACCOUNT, DEFAULT_REGION, Server, Settings};
