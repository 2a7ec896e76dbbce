//! Attestation documents of AWS Nitro Enclaves: parsed and verified, for anyone.
//!
//! A [`Document`] is what the Nitro Secure Module signs: measurements (PCRs), and three fields that the enclave filled.
//! [`Document::parse`] reads one and says nothing about its truth; only [`Document::verify`] does, and its
//! [`Verified`] is what a decision may rest on. What may be in a document, and what makes it true, is AWS's
//! "Nitro Enclaves Attestation Process" (`attestation_process.md` in `aws-nitro-enclaves-nsm-api`), sections 2.2 and 3.
//!
//! The crate is pure: no clock, no file, no socket. Whoever verifies says at what time, because leaf certificates live
//! three hours and archived evidence is checked at the time it was made.
//!
//! ```
//! use attest::{Document, Roots, Timestamp};
//!
//! fn runs_that_image(document: &[u8], pcr0: &[u8], nonce: &[u8], now: Timestamp) -> Result<bool, Box<dyn std::error::Error>> {
//!     let verified = Document::parse(document)?.verify(&Roots::aws(), now)?;
//!     Ok(!verified.is_debug() && verified.pcr(0) == Some(pcr0) && verified.nonce() == Some(nonce))
//! }
//! ```
//!
//! What it does not judge: whether a document is fresh (compare [`Verified::timestamp_ms`] or the nonce), and whether
//! the measurements are the ones you want. A document's bytes are not its identity: the tag is optional, and whoever has
//! an ECDSA signature (r, s) can write (r, -s), which holds too. Only what is signed cannot be changed.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod cbor;
mod certificate;
mod chain;
mod cose;
mod document;
mod error;
mod payload;
mod roots;
mod time;
mod untrusted;

pub use cose::{MAX_DOCUMENT_BYTES, MAX_PAYLOAD_BYTES};
pub use document::{Document, Verified};
pub use error::Malformed;
pub use payload::{
    MAX_CA_CERTIFICATES, MAX_CERTIFICATE_BYTES, MAX_MODULE_ID_BYTES, MAX_NONCE_BYTES, MAX_PCRS, MAX_PUBLIC_KEY_BYTES,
    MAX_USER_DATA_BYTES,
};
pub use roots::{Fingerprint, Roots};
pub use time::Timestamp;
pub use untrusted::{Place, Untrusted};
