//! What is known from a document whose signature holds.
use std::collections::BTreeMap;

/// The fields of a document that somebody has verified. Only whoever verifies makes one: of [`attest::Verified`], or with another
/// verifier's own fields, as a development one for documents that an emulation does not sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The module that made it.
    pub module_id: String,
    /// When, by the module's clock, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// The locked registers.
    pub pcrs: BTreeMap<u8, Vec<u8>>,
    /// A public key, which only a document for KMS has.
    pub public_key: Option<Vec<u8>>,
    /// What the enclave said.
    pub user_data: Option<Vec<u8>>,
    /// What the asker gave.
    pub nonce: Option<Vec<u8>>,
}

impl From<&attest::Verified> for Facts {
    fn from(verified: &attest::Verified) -> Self {
        Self {
            module_id: verified.module_id().to_owned(),
            timestamp_ms: verified.timestamp_ms(),
            pcrs: verified.pcrs().clone(),
            public_key: verified.public_key().map(<[u8]>::to_vec),
            user_data: verified.user_data().map(<[u8]>::to_vec),
            nonce: verified.nonce().map(<[u8]>::to_vec),
        }
    }
}

impl Facts {
    /// Whether nothing is known about the image: PCR0 is zeros, as in debug mode, or not there.
    #[must_use]
    pub fn is_debug(&self) -> bool {
        self.pcrs.get(&0).is_none_or(|value| value.iter().all(|byte| *byte == 0))
    }
}
