//! Evidence: a statement of an enclave about itself, and the attestation document that binds it.
//!
//! An attestation document has 512 bytes for what an enclave wants to say (`user_data`). Evidence says more: a [`Statement`] in JSON, whose
//! SHA-256 stands in `user_data` behind the statement's kind ([`user_data`]). Whoever verifies the document and finds that hash knows that
//! the measured image made the statement; what that is worth is what the image's source says ([`judge()`]).
//!
//! Three fields, three roles, so that no document can be taken for another: `public_key` is null (only a document for KMS has one), `nonce`
//! holds the asker's bytes and nothing else does, `user_data` begins with the statement's kind.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(feature = "verify")]
mod facts;
mod file;
#[cfg(feature = "verify")]
mod judge;
mod statement;

#[cfg(feature = "verify")]
pub use facts::Facts;
pub use file::{Evidence, MAX_EVIDENCE_BYTES, NotEvidence};
#[cfg(feature = "verify")]
pub use judge::{Expected, Freshness, Problem, judge};
pub use statement::{AWS_KMS, Ceremony, ChainKey, Offer, Signer, Software, Statement, user_data};
