//! Which root certificates are believed: pinned by their SHA-256 fingerprint.
use sha2::{Digest, Sha256};
use std::fmt;

/// The SHA-256 digest of a certificate's DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

impl fmt::Display for Fingerprint {
    /// Upper-case hex, as AWS and openssl print it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

/// AWS's root for the commercial partitions, G1: P-384, valid from 2019-10-28 to 2049-10-28. AWS publishes the
/// fingerprint beside the certificate, in "Verifying the root of trust".
const AWS_G1: Fingerprint = Fingerprint([
    0x64, 0x1A, 0x03, 0x21, 0xA3, 0xE2, 0x44, 0xEF, 0xE4, 0x56, 0x46, 0x31, 0x95, 0xD6, 0x06, 0x31, 0x7E, 0xD7, 0xCD,
    0xCC, 0x3C, 0x17, 0x56, 0xE0, 0x98, 0x93, 0xF3, 0xC6, 0x8F, 0x79, 0xBB, 0x5B,
]);

/// The root certificate that a document's chain must begin with.
///
/// A document carries its root itself, so a fingerprint is all that must be known beforehand. There is exactly one:
/// a verifier that believes AWS's root never believes a simulated one beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    pinned: Fingerprint,
}

impl Roots {
    /// AWS's root certificate G1, and nothing else.
    #[must_use]
    pub const fn aws() -> Self {
        Self { pinned: AWS_G1 }
    }

    /// One other root certificate, in DER: of a simulated module.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self { pinned: Fingerprint::of(der) }
    }

    /// The fingerprint of the certificate that is believed.
    #[must_use]
    pub const fn pinned(&self) -> Fingerprint {
        self.pinned
    }
}
