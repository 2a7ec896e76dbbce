//! What a ceremony image is asked: to make a key, or to take one in, and to give it out encrypted under KMS.
use super::Credentials;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One request to a ceremony enclave.
pub struct Ceremony {
    /// What is to be done.
    pub task: Task,
    /// The bytes that go into the nonce of the document about it: [`super::MIN_NONCE_BYTES`] to [`super::MAX_NONCE_BYTES`].
    pub nonce: Vec<u8>,
    /// The sealed key of an import, or the ciphertext that is encrypted anew; empty otherwise.
    pub sealed: Vec<u8>,
    /// With which KMS is asked; an offer needs none.
    pub credentials: Option<Credentials>,
}

/// The longest sealed key or ciphertext, in bytes.
pub const MAX_SEALED_BYTES: usize = 8 << 10;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Task {
    /// Make a key that nobody has seen.
    Generate {
        /// What of.
        key: KeyOrder,
    },
    /// Give a one-time public key, to which a key can be sealed.
    Offer,
    /// Take a sealed key in.
    Import {
        /// What it must be.
        key: KeyOrder,
        /// Its public half, in base64.
        public_key: String,
    },
    /// Encrypt a key anew that is encrypted already: under another KMS key, in another region, by another method.
    Rewrap {
        /// What it becomes.
        key: KeyOrder,
        /// Its public half, in base64.
        public_key: String,
        /// What it is encrypted under now; the ciphertext stands in [`Ceremony::sealed`].
        from: Wrapped,
    },
}

/// A key that is ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyOrder {
    /// The chain.
    pub chain_id: String,
    /// "consensus" or "identity".
    pub purpose: String,
    /// "ed25519" or "secp256k1".
    pub algorithm: String,
    /// The KMS key to encrypt it under; the measured policy must name it.
    pub key_arn: String,
    /// "kms-encrypt" or "data-key".
    pub method: String,
    /// The parent's port from which its proxy reaches KMS.
    pub kms_proxy_port: u32,
}

/// Where a ciphertext is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrapped {
    /// The KMS key; the measured policy must name it.
    pub key_arn: String,
    /// What it is bound to.
    pub encryption_context: BTreeMap<String, String>,
    /// The parent's port from which its proxy reaches that KMS.
    pub kms_proxy_port: u32,
}

/// What came out of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The encrypted key, in base64: `encrypted_key_b64` of a configuration.
    pub ciphertext: String,
    /// What the enclave says of it: the JSON text whose hash is in the document.
    pub statement: String,
    /// The attestation document, in base64.
    pub document: String,
}
