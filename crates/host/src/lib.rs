//! The parent's helpers.
pub mod persist;
