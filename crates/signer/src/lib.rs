//! One validator's signing service: keys, guards, sessions with nodes, dialling and redialling.
//!
//! Entry points, from the outside in: [`Service`] keeps connections up, one thread each; [`Session`] answers a
//! node's requests, and is the whole order of a vote on one page; [`Validator`] is what it signs for; [`Keyring`]
//! owns the guards. [`connection`] and [`secret_connection`] carry the bytes, [`metrics`] shows all of it.
//!
//! This crate does not know where records live: a `Box<dyn guard::Store + Send>` comes from outside.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod connection;
mod keyring;
pub mod keys;
pub mod metrics;
pub mod process;
mod redial;
pub mod secret_connection;
mod service;
mod session;
mod stop;
mod validator;

pub use connection::{Connection, Endpoint, Timing};
pub use keyring::{Keyring, MeasuredStore, RegisterError, SharedGuard};
pub use metrics::{Build, Metrics};
pub use service::{ConnectionSettings, STACK_BYTES, Service, StartError};
pub use session::{End, NodeLog, Session};
pub use stop::Stop;
pub use validator::{SignExtensions, Unsigned, Validator, ValidatorSettings};
