//! The Nitro Secure Module: attestation documents, measurements and random bytes.
//!
//! Only [`crate::kms`] may put an RSA key into [`AttestationRequest::public_key`]: whoever gets a document with a key
//! of his own choice in it can have KMS encrypt to that key.
mod cbor;
mod device;
mod document;

pub use device::Device;
pub(crate) use document::Glance;

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

/// What a module says of itself (`DescribeNSM`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Its name; on Nitro `i-…-enc…`: the instance's and the enclave's.
    pub module_id: String,
    /// How many registers it has.
    pub max_pcrs: u64,
    /// The hash of its registers: "SHA384".
    pub digest: String,
}

/// What the enclave asks its security module for.
pub trait Nsm: Send + Sync {
    /// What the module says of itself.
    ///
    /// # Errors
    /// The module cannot be reached, or refuses.
    fn describe(&self) -> Result<Description, NsmError>;

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

/// Stands for a module that could not be opened, so that the reason can be told where it is asked for.
pub struct Absent(std::io::ErrorKind, String);

impl Absent {
    /// For that reason.
    #[must_use]
    pub fn new(error: &NsmError) -> Self {
        match error {
            NsmError::Io(error) => Self(error.kind(), error.to_string()),
            other => Self(std::io::ErrorKind::Other, other.to_string()),
        }
    }

    fn error(&self) -> NsmError {
        NsmError::Io(std::io::Error::new(self.0, self.1.clone()))
    }
}

impl Nsm for Absent {
    fn describe(&self) -> Result<Description, NsmError> {
        Err(self.error())
    }

    fn attest(&self, _: &AttestationRequest<'_>) -> Result<Vec<u8>, NsmError> {
        Err(self.error())
    }

    fn pcrs(&self) -> Result<BTreeMap<u8, Vec<u8>>, NsmError> {
        Err(self.error())
    }

    fn random(&self, _: &mut [u8]) -> Result<(), NsmError> {
        Err(self.error())
    }
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
