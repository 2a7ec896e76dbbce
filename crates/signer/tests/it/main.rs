//! The signing service against scripted nodes, in one process, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod delays;
mod dialling;
mod fixture;
mod logs;
mod node;
mod pages;
mod secret_connection;
mod service;
mod sessions;
mod store;
mod wire;
