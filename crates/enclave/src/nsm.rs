//! The Nitro Secure Module: attestation documents, measurements and random bytes.
//!
//! Only [`crate::kms`] may put an RSA key into [`AttestationRequest::public_key`]: whoever gets a document with a key
//! of his own choice in it can have KMS encrypt to that key.
mod cbor;
mod device;

pub use device::Device;

use std::collections::BTreeMap;
use std::fmt;

/// What a document is to contain, besides the measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttestationRequest<'a> {
    /// A public key, 1 to 1024 bytes: for KMS an RSA-2048 SubjectPublicKeyInfo in DER.
    pub public_key: Option<&'a [u8]>,
    /// At most 512 bytes.
    pub nonce: Option<&'a [u8]>,
    /// At most 512 bytes.
    pub user_data: Option<&'a [u8]>,
}

/// What the enclave asks its security module for.
pub trait Nsm: Send + Sync {
    /// A fresh attestation document: an untagged COSE_Sign1.
    ///
    /// # Errors
    /// The module cannot be reached, or refuses.
    fn attest(&self, request: &AttestationRequest<'_>) -> Result<Vec<u8>, NsmError>;

    /// The locked platform configuration registers, SHA-384 each. In debug mode they are zeros.
    ///
    /// # Errors
    /// The module cannot be reached, or refuses.
    fn pcrs(&self) -> Result<BTreeMap<u8, Vec<u8>>, NsmError>;

    /// Fills a buffer with random bytes of the module.
    ///
    /// # Errors
    /// The module cannot be reached, or refuses.
    fn random(&self, buffer: &mut [u8]) -> Result<(), NsmError>;
}

/// Why the security module did not do what was asked.
#[derive(Debug)]
pub enum NsmError {
    /// The device is missing or the kernel refuses.
    Io(std::io::Error),
    /// The module's own refusal, by its name for it ("InvalidArgument", "InputTooLarge", …).
    Refused(String),
    /// The request is longer than the module takes.
    RequestTooLong {
        /// The most it takes, in bytes.
        expected_bytes: usize,
        /// How long the request is, in bytes.
        got_bytes: usize,
    },
    /// The answer is not what the module's documents say.
    Malformed(&'static str),
}

impl fmt::Display for NsmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(
                f,
                "the Nitro Secure Module /dev/nsm cannot be used: {error}; this must run inside a Nitro enclave whose kernel has the NSM driver"
            ),
            Self::Refused(reason) => write!(f, "the Nitro Secure Module refused: {reason}"),
            Self::RequestTooLong { expected_bytes, got_bytes } => write!(
                f,
                "the request to the Nitro Secure Module is too long: expected at most {expected_bytes} bytes, got {got_bytes}"
            ),
            Self::Malformed(what) => write!(f, "the Nitro Secure Module's answer is malformed: {what}"),
        }
    }
}

impl std::error::Error for NsmError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
