//! Why bytes are not an attestation document.
use std::fmt;

/// The bytes are not an attestation document, whoever signed them. Whoever sent them is to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// Not CBOR, or cut off.
    Cbor {
        /// What was read.
        field: &'static str,
        /// Where in the part that was read (the document, its protected header or its payload), in bytes.
        offset: usize,
    },
    /// An item of another CBOR type.
    Type {
        /// What was read.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        got: String,
    },
    /// Bytes after the end.
    Trailing {
        /// What should have ended.
        field: &'static str,
        /// How many bytes follow; expected none.
        got_bytes: usize,
    },
    /// A tag that is not COSE_Sign1's.
    Tag {
        /// 18.
        expected: u64,
        /// The document's.
        got: u64,
    },
    /// A protected header parameter that is not "alg".
    HeaderParameter {
        /// 1.
        expected: i64,
        /// The document's.
        got: i64,
    },
    /// A signature algorithm that is not ES384. An emulator's unsigned documents say -1.
    Algorithm {
        /// -35.
        expected: i64,
        /// The document's.
        got: i64,
    },
    /// A field is too short or too long.
    Length {
        /// The field.
        field: &'static str,
        /// The least it may have, in bytes.
        min_bytes: usize,
        /// The most it may have, in bytes.
        max_bytes: usize,
        /// What it has, in bytes.
        got_bytes: usize,
    },
    /// Too few or too many entries.
    Count {
        /// The field.
        field: &'static str,
        /// The fewest it may have.
        min: u64,
        /// The most it may have.
        max: u64,
        /// How many it has.
        got: u64,
    },
    /// A field that documents do not have.
    UnknownField {
        /// The field's name, cut to 64 characters.
        got: String,
    },
    /// A field that is there twice.
    DuplicateField {
        /// The field.
        field: &'static str,
    },
    /// A field that must be there, and is not.
    MissingField {
        /// The field.
        field: &'static str,
    },
    /// The measurements' digest is not SHA-384.
    Digest {
        /// "SHA384".
        expected: &'static str,
        /// The document's, cut to 64 characters.
        got: String,
    },
    /// The timestamp is zero.
    Timestamp {
        /// The least it may be, in milliseconds since 1970.
        min_ms: u64,
        /// The document's, in milliseconds since 1970.
        got_ms: u64,
    },
    /// A PCR that does not exist.
    PcrIndex {
        /// The highest that exists.
        max: u64,
        /// The document's.
        got: u64,
    },
    /// A PCR that is there twice.
    DuplicatePcr {
        /// Its index.
        index: u8,
    },
    /// A PCR's value has a length that no digest has.
    PcrLength {
        /// Its index.
        index: u8,
        /// The lengths that it may have, in bytes.
        expected_bytes: [usize; 3],
        /// What it has, in bytes.
        got_bytes: usize,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an attestation document: ")?;
        match self {
            Self::Cbor { field, offset } => write!(f, "{field}: no valid CBOR at byte {offset}, or cut off there"),
            Self::Type { field, expected, got } => write!(f, "{field}: expected {expected}, got {got}"),
            Self::Trailing { field, got_bytes } => {
                write!(f, "{field}: expected nothing behind its end, got {got_bytes} bytes")
            }
            Self::Tag { expected, got } => write!(f, "expected no tag or tag {expected}, got tag {got}"),
            Self::HeaderParameter { expected, got } => {
                write!(f, "protected header: expected the parameter {expected} (alg), got {got}")
            }
            Self::Algorithm { expected, got } => write!(
                f,
                "expected the signature algorithm {expected} (ES384), got {got}; an emulated enclave's documents are not signed"
            ),
            Self::Length { field, min_bytes, max_bytes, got_bytes } => {
                write!(f, "{field}: expected {min_bytes} to {max_bytes} bytes, got {got_bytes}")
            }
            Self::Count { field, min, max, got } => write!(f, "{field}: expected {min} to {max} entries, got {got}"),
            Self::UnknownField { got } => write!(f, "expected only the fields that AWS specifies, got {got:?}"),
            Self::DuplicateField { field } => write!(f, "{field}: expected once, got twice"),
            Self::MissingField { field } => write!(f, "{field}: expected, and missing"),
            Self::Digest { expected, got } => write!(f, "digest: expected {expected:?}, got {got:?}"),
            Self::Timestamp { min_ms, got_ms } => {
                write!(f, "timestamp: expected at least {min_ms} ms, got {got_ms} ms")
            }
            Self::PcrIndex { max, got } => write!(f, "pcrs: expected indices of 0 to {max}, got {got}"),
            Self::DuplicatePcr { index } => write!(f, "PCR{index}: expected once, got twice"),
            Self::PcrLength { index, expected_bytes: [a, b, c], got_bytes } => {
                write!(f, "PCR{index}: expected {a}, {b} or {c} bytes, got {got_bytes}")
            }
        }
    }
}

impl std::error::Error for Malformed {}
