//! Tests of the privval wire through its public face.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod answers;
mod frames;
mod golden;
mod oracle;
mod properties;
mod quirks;
mod random;
mod rules;
mod tree;
