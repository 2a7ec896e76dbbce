//! Enclave images: what lies in them, how they are measured, and where two of them differ.
//!
//! An image (EIF) is a kernel, its command line, and ramdisks: the first one holds the program that boots, the others what
//! an operator chose. AWS's own crate writes the file, in a tool of its own ([`write()`]); what it wrote is read back here
//! by a reader of ours and measured again, so that the two check each other. Everything in an image that somebody else
//! should be able to rebuild is fixed here: order, owners, modes and times in a ramdisk, the command line.
//!
//! The format is that of `aws-nitro-enclaves-image-format` (`src/defs/mod.rs`); the measurements are described in AWS's
//! user guide, "Cryptographic attestation: PCR0, PCR1, and PCR2".
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod build;
mod cpio;
mod crc;
mod diff;
mod docker;
mod eif;
mod error;
mod files;
mod kernel;
mod layout;
mod measure;
mod signature;

pub use build::{Signing, write};
pub use cpio::{MAX_ARCHIVE_BYTES, Node, archive, entries};
pub use diff::{Difference, difference};
pub use docker::{DOCKERFILE, docker_context, docker_layout, docker_root, docker_rootfs, dockerfile};
pub use eif::{Eif, MAX_EIF_BYTES, MAX_SECTIONS};
pub use error::{Error, Malformed, Result};
pub use files::{add_files, policy_files};
pub use kernel::check_kernel;
pub use layout::{app_ramdisk, boot_ramdisk};
pub use measure::{Measurements, measure};
pub use signature::Signature;

/// The kernel command line: AWS's own (`blobs/x86_64/cmdline` of nitro-cli), which an enclave on Nitro boots with. It is
/// measured; `tmkms.…` options come after it.
pub const CMDLINE: &str = "reboot=k panic=30 pci=off nomodules console=ttyS0 i8042.noaux i8042.nomux i8042.nopnp i8042.dumbkbd random.trust_cpu=on";

/// What an image is measured by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// A bzImage.
    pub kernel: Vec<u8>,
    /// The kernel's command line, without a line's end.
    pub cmdline: String,
    /// At least one: the first is the boot ramdisk, of PCR1; the others are the application's, of PCR2.
    pub ramdisks: Vec<Vec<u8>>,
}
