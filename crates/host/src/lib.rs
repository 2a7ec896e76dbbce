//! The parent's helpers.
