//! Why a well-formed document is not believed.
use crate::{Fingerprint, Timestamp};
use std::fmt;

/// A certificate's place in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `certificate`: its key signs the document.
    Leaf,
    /// An entry of `cabundle`; entry 0 is the root.
    CaBundle(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf => write!(f, "the leaf certificate"),
            Self::CaBundle(0) => write!(f, "the root certificate (cabundle[0])"),
            Self::CaBundle(index) => write!(f, "the certificate cabundle[{index}]"),
        }
    }
}

/// The document's chain or signature does not hold: it was not made by a Nitro module under the pinned root, or not at
/// that time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Untrusted {
    /// The chain begins with another root than the pinned one.
    Root {
        /// The pinned one.
        expected: Fingerprint,
        /// The document's.
        got: Fingerprint,
    },
    /// A certificate is not X.509 in DER.
    Certificate {
        /// Which one.
        place: Place,
        /// What the parser says.
        reason: String,
    },
    /// A certificate is not of X.509's version 3.
    Version {
        /// Which one.
        place: Place,
        /// 3.
        expected: u8,
        /// The certificate's.
        got: u8,
    },
    /// A certificate is signed with another algorithm than ECDSA with SHA-384, or says two different ones.
    SignatureAlgorithm {
        /// Which one.
        place: Place,
        /// The object identifier of ecdsa-with-SHA384.
        expected: &'static str,
        /// The certificate's.
        got: String,
    },
    /// A certificate's key is not on P-384.
    KeyAlgorithm {
        /// Which one.
        place: Place,
        /// The object identifiers of an EC key and of P-384.
        expected: &'static str,
        /// The certificate's.
        got: String,
    },
    /// A certificate's key is no uncompressed point on P-384.
    Key {
        /// Which one.
        place: Place,
    },
    /// A certificate is not valid yet.
    NotYetValid {
        /// Which one.
        place: Place,
        /// From when it is valid.
        not_before: Timestamp,
        /// The time that was asked about.
        at: Timestamp,
    },
    /// A certificate is not valid any more.
    Expired {
        /// Which one.
        place: Place,
        /// Until when it was valid.
        not_after: Timestamp,
        /// The time that was asked about.
        at: Timestamp,
    },
    /// A certificate names another issuer than the one above it.
    Issuer {
        /// Which one.
        place: Place,
        /// The subject of the certificate above.
        expected: String,
        /// The issuer that it names.
        got: String,
    },
    /// A certificate that signs certificates is no CA's, or does not say so in a critical extension.
    NotACa {
        /// Which one.
        place: Place,
        /// What its basicConstraints must be.
        expected: &'static str,
        /// What they are.
        got: &'static str,
    },
    /// The leaf says that it is a CA's, or has a path length.
    LeafIsCa {
        /// What its basicConstraints may be.
        expected: &'static str,
        /// What they are.
        got: &'static str,
    },
    /// More CA certificates follow than a certificate allows.
    PathLength {
        /// Which one.
        place: Place,
        /// How many it allows.
        max: usize,
        /// How many follow.
        got: usize,
    },
    /// A certificate's key is not for this use.
    KeyUsage {
        /// Which one.
        place: Place,
        /// The use that is needed.
        expected: &'static str,
        /// The uses that it has.
        got: String,
    },
    /// An extension that must be understood, and is not.
    CriticalExtension {
        /// Which one.
        place: Place,
        /// The critical extensions that are understood.
        expected: &'static str,
        /// The extension's object identifier.
        got: String,
    },
    /// An extension that is there twice.
    DuplicateExtension {
        /// Which one.
        place: Place,
        /// The extension's object identifier.
        got: String,
    },
    /// A certificate is not signed by the one above it.
    CertificateSignature {
        /// Which one.
        place: Place,
        /// Whose key it should be signed with.
        issuer: Place,
    },
    /// The document is not signed with its leaf's key.
    DocumentSignature,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the attestation document is not trusted: ")?;
        match self {
            Self::Root { expected, got } => {
                write!(
                    f,
                    "its chain begins with another root: expected the certificate {expected}, got {got} (SHA-256)"
                )
            }
            Self::Certificate { place, reason } => write!(f, "{place} is no X.509 certificate in DER: {reason}"),
            Self::Version { place, expected, got } => {
                write!(f, "{place}: expected X.509 version {expected}, got {got}")
            }
            Self::SignatureAlgorithm { place, expected, got } => {
                write!(f, "{place} is signed with another algorithm: expected {expected}, got {got}")
            }
            Self::KeyAlgorithm { place, expected, got } => {
                write!(f, "{place} has a key of another kind: expected {expected}, got {got}")
            }
            Self::Key { place } => write!(f, "{place}: expected an uncompressed point on P-384, got none"),
            Self::NotYetValid { place, not_before, at } => {
                write!(f, "{place} is not valid yet: expected a time from {not_before} on, got {at}")
            }
            Self::Expired { place, not_after, at } => {
                write!(f, "{place} has expired: expected a time until {not_after}, got {at}")
            }
            Self::Issuer { place, expected, got } => {
                write!(f, "{place} has another issuer: expected {expected:?}, got {got:?}")
            }
            Self::NotACa { place, expected, got } => {
                write!(f, "{place} may not sign certificates: expected basicConstraints {expected}, got {got}")
            }
            Self::LeafIsCa { expected, got } => {
                write!(f, "{}: expected basicConstraints {expected}, got {got}", Place::Leaf)
            }
            Self::PathLength { place, max, got } => {
                write!(
                    f,
                    "{place} allows no chain of this length: expected at most {max} CA certificates below it, got {got}"
                )
            }
            Self::KeyUsage { place, expected, got } => {
                write!(f, "{place}: expected the key usage {expected}, got {got}")
            }
            Self::CriticalExtension { place, expected, got } => {
                write!(f, "{place} has a critical extension that is not understood: expected {expected}, got {got}")
            }
            Self::DuplicateExtension { place, got } => {
                write!(f, "{place}: expected each extension once, got {got} twice")
            }
            Self::CertificateSignature { place, issuer } => {
                write!(f, "{place} is not signed with the key of {issuer}")
            }
            Self::DocumentSignature => write!(f, "it is not signed with the key of {}", Place::Leaf),
        }
    }
}

impl std::error::Error for Untrusted {}
