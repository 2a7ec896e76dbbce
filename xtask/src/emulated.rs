//! What a run with an emulated enclave needs beforehand: the parts of an image, and the emulator that boots it.
use crate::{enclave, image};
use anyhow::Result;

/// Builds what is missing or out of date of both; cheap where nothing changed.
pub fn ensure() -> Result<()> {
    enclave::ensure()?;
    image::ensure()?;
    Ok(())
}
