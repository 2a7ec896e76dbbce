//! A document: what it claims, and what was verified.
use crate::cose::{Envelope, SIGNATURE_BYTES, signed_bytes};
use crate::payload::Payload;
use crate::{Malformed, Roots, Timestamp, Untrusted, chain};
use std::collections::BTreeMap;

/// A well-formed document. Everything in it is a claim until [`Document::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    claims: Payload,
    protected: Vec<u8>,
    payload: Vec<u8>,
    signature: [u8; SIGNATURE_BYTES],
}

impl Document {
    /// Reads a COSE_Sign1, untagged or with tag 18, of at most [`crate::MAX_DOCUMENT_BYTES`].
    ///
    /// # Errors
    /// The bytes break a rule of AWS's specification, sections 2.2 and 3.2.2: a field is missing, unknown, doubled, of
    /// another type or length; or they are not signed with ES384.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let envelope = Envelope::parse(bytes)?;
        Ok(Self {
            claims: Payload::parse(envelope.payload)?,
            protected: envelope.protected.to_vec(),
            payload: envelope.payload.to_vec(),
            signature: *envelope.signature,
        })
    }

    /// Verifies the chain from the pinned root to the leaf as it was at that time, and the leaf's signature.
    ///
    /// # Errors
    /// The chain does not begin with the pinned root, a certificate breaks a rule or is not valid at that time, or a
    /// signature does not hold.
    pub fn verify(&self, roots: &Roots, at: Timestamp) -> Result<Verified, Untrusted> {
        let leaf = chain::verified_leaf(&self.claims.certificate, &self.claims.cabundle, roots, at)?;
        if !leaf.made(&self.signature, &signed_bytes(&self.protected, &self.payload)) {
            return Err(Untrusted::DocumentSignature);
        }
        Ok(Verified { claims: self.claims.clone() })
    }

    /// The name of the module that made the document: the parent instance and the enclave.
    #[must_use]
    pub fn module_id(&self) -> &str {
        &self.claims.module_id
    }

    /// When the document was made, by the module's clock, in milliseconds since 1970.
    #[must_use]
    pub const fn timestamp_ms(&self) -> u64 {
        self.claims.timestamp_ms
    }

    /// When the document was made: the time at which archived evidence is verified.
    #[must_use]
    pub const fn made_at(&self) -> Timestamp {
        Timestamp(self.claims.timestamp_ms / 1000)
    }

    /// The locked platform configuration registers by index, 32, 48 or 64 bytes each.
    #[must_use]
    pub const fn pcrs(&self) -> &BTreeMap<u8, Vec<u8>> {
        &self.claims.pcrs
    }

    /// The public key that the enclave gave, 1 to 1024 bytes: for KMS a SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn public_key(&self) -> Option<&[u8]> {
        self.claims.public_key.as_deref()
    }

    /// What the enclave wanted to be signed, at most 512 bytes.
    #[must_use]
    pub fn user_data(&self) -> Option<&[u8]> {
        self.claims.user_data.as_deref()
    }

    /// The nonce that the enclave was given, at most 512 bytes.
    #[must_use]
    pub fn nonce(&self) -> Option<&[u8]> {
        self.claims.nonce.as_deref()
    }

    /// The certificate whose key signs the document, in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.claims.certificate
    }

    /// The certificates above it, in DER, from the root down.
    #[must_use]
    pub fn cabundle(&self) -> &[Vec<u8>] {
        &self.claims.cabundle
    }
}

/// What a Nitro module under the pinned root has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    claims: Payload,
}

impl Verified {
    /// The name of the module that made the document.
    #[must_use]
    pub fn module_id(&self) -> &str {
        &self.claims.module_id
    }

    /// When the document was made, by the module's clock, in milliseconds since 1970.
    ///
    /// Whoever needs a fresh one compares.
    #[must_use]
    pub const fn timestamp_ms(&self) -> u64 {
        self.claims.timestamp_ms
    }

    /// The locked platform configuration registers by index, 32, 48 or 64 bytes each.
    #[must_use]
    pub const fn pcrs(&self) -> &BTreeMap<u8, Vec<u8>> {
        &self.claims.pcrs
    }

    /// One register, if it was locked.
    #[must_use]
    pub fn pcr(&self, index: u8) -> Option<&[u8]> {
        self.claims.pcrs.get(&index).map(Vec::as_slice)
    }

    /// Whether nothing is known about the image: PCR0 is zeros, as of an enclave in debug mode, or not there.
    ///
    /// The parent can read and change the memory of an enclave in debug mode.
    #[must_use]
    pub fn is_debug(&self) -> bool {
        self.pcr(0).is_none_or(|value| value.iter().all(|byte| *byte == 0))
    }

    /// The public key that the enclave gave: for KMS a SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn public_key(&self) -> Option<&[u8]> {
        self.claims.public_key.as_deref()
    }

    /// What the enclave wanted to be signed.
    #[must_use]
    pub fn user_data(&self) -> Option<&[u8]> {
        self.claims.user_data.as_deref()
    }

    /// The nonce that the enclave was given.
    #[must_use]
    pub fn nonce(&self) -> Option<&[u8]> {
        self.claims.nonce.as_deref()
    }
}
