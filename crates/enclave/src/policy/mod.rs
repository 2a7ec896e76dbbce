//! The measured policy: what the parent may choose ends where it begins.
//!
//! It is a file in the image, so PCR0 covers it, and it is read before anything that the parent sends. All of it is
//! optional. What it fixes and a configuration leaves open is taken from it; what a configuration contradicts is refused with
//! both values.
mod bind;
mod choices;
mod order;
mod read;

pub use bind::Violation;
pub(crate) use bind::public_key;
pub(crate) use choices::choices;
pub use read::{MAX_POLICY_BYTES, PolicyError};

use guard::ChainId;
use std::collections::{BTreeMap, BTreeSet};

/// What the image fixes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Of its text, in hexadecimal.
    pub(crate) sha256: String,
    pub(crate) kms: KmsPolicy,
    /// `[chains] allowed`.
    pub(crate) chains: Option<BTreeSet<ChainId>>,
    /// `[chains] public_keys`: a chain's consensus key, in base64 of its bytes.
    pub(crate) public_keys: BTreeMap<ChainId, String>,
    /// `[debug] allowed`.
    pub(crate) debug: Option<bool>,
    /// `[control] token_sha256`: SHA-256 of the 32 bytes of the only token with which the enclave is configured. (Its
    /// file has them in hexadecimal.)
    pub(crate) token_sha256: Option<[u8; 32]>,
}

impl Policy {
    /// What it leaves open and people may not expect: for the log at the start.
    pub(crate) fn warnings(&self) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        if !self.public_keys.is_empty() && self.chains.is_none() {
            warnings.push(
                "the policy has [chains] public_keys without `allowed`: the parent can name another chain, whose key is not pinned",
            );
        }
        warnings
    }
}

/// `[kms]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KmsPolicy {
    pub(crate) key_arns: Option<BTreeSet<String>>,
    pub(crate) accounts: Option<BTreeSet<String>>,
    pub(crate) regions: Option<BTreeSet<String>>,
    /// Pairs that every key's encryption context has. In a value `{chain}` stands for the chain's id and `{role}` for
    /// `consensus` or `identity`, so that a ciphertext made for one use is none for another.
    pub(crate) encryption_context: BTreeMap<String, String>,
    pub(crate) endpoint: Option<MeasuredEndpoint>,
}

/// `[kms] endpoint`: a KMS that is trusted besides those of the compiled table of regions, which then are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeasuredEndpoint {
    /// Its name, which its certificate must have.
    pub host: String,
    /// The region that requests are signed for.
    pub region: String,
    /// Its TLS roots, each in DER; with none, Amazon's hold.
    pub roots: Vec<Vec<u8>>,
}
