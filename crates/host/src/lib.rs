//! The parent's helpers.
pub mod control_client;
pub mod credentials;
pub mod http;
pub mod persist;
pub mod proxy;
pub mod push;
