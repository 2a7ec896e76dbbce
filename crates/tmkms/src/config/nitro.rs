//! What a configuration says about an enclave: keys that KMS releases, ports of the parent, and `[nitro]`.
use super::{Chain, Config, FilePath, KeyFile, LogLevel};
use signer::keys::{Algorithm, PublicKey};
use std::collections::BTreeMap;
use std::fmt;
#[cfg(feature = "host")]
use std::path::Path;
use std::sync::Arc;
use wire::control::Credentials;
use zeroize::Zeroizing;

/// Where a signing record lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// In a file of this host.
    File(FilePath),
    /// With the enclave's parent, where `tmkms nitro persist` listens.
    Vsock {
        /// The parent's port.
        port: u32,
    },
}

/// Where a consensus key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A file.
    File(KeyFile),
    /// KMS, to an enclave. One section of the file is one of these, however many chains it is for.
    Kms(Arc<KmsKey>),
}

/// Where the key comes from that identifies this signer to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A file; in an enclave, one of its image.
    File(FilePath),
    /// KMS, to an enclave.
    Kms(Arc<KmsKey>),
}

/// A key that KMS releases to an enclave, and what it is held against.
pub struct KmsKey {
    /// What KMS decrypts; at most [`MAX_CIPHERTEXT_BYTES`].
    pub ciphertext: Zeroizing<Vec<u8>>,
    /// The region, such as `eu-west-1`. It has the form of one; whether there is such a region is the enclave's to say.
    pub region: String,
    /// The key's algorithm, for plaintexts that don't name theirs.
    pub algorithm: Algorithm,
    /// The only KMS key that may have encrypted it.
    pub key_arn: Option<String>,
    /// What the ciphertext is bound to.
    pub encryption_context: BTreeMap<String, String>,
    /// What has to come out.
    pub public_key: Option<PublicKey>,
    /// Who asks KMS; without them, whom the parent pushes.
    pub credentials: Option<Credentials>,
}

/// The longest ciphertext that KMS decrypts, in bytes (AWS KMS API, Decrypt: CiphertextBlob).
pub const MAX_CIPHERTEXT_BYTES: usize = 6144;

impl fmt::Debug for KmsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KmsKey").field("region", &self.region).finish_non_exhaustive()
    }
}

/// Whether the same key is released under the same conditions. Credentials are not compared: they change on the way.
impl PartialEq for KmsKey {
    fn eq(&self, other: &Self) -> bool {
        let of = |key: &Self| (key.algorithm, key.public_key);
        self.ciphertext == other.ciphertext
            && self.region == other.region
            && self.key_arn == other.key_arn
            && self.encryption_context == other.encryption_context
            && of(self) == of(other)
    }
}

impl Eq for KmsKey {}

/// The section `[nitro]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NitroSettings {
    /// The parent's port of the proxy to KMS.
    pub kms_proxy_port: u32,
    /// Whether an enclave in debug mode may serve: its measurements are zeros, and its memory can be read.
    pub allow_debug: bool,
    /// The enclave's log level; without it that of [log].
    pub log_level: Option<LogLevel>,
}

impl Default for NitroSettings {
    fn default() -> Self {
        Self { kms_proxy_port: wire::DEFAULT_KMS_PROXY_PORT, allow_debug: false, log_level: None }
    }
}

impl Key {
    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&KeyFile> {
        match self {
            Self::File(file) => Some(file),
            Self::Kms(_) => None,
        }
    }

    /// What KMS releases, if it does.
    #[must_use]
    pub fn kms(&self) -> Option<&Arc<KmsKey>> {
        match self {
            Self::File(_) => None,
            Self::Kms(key) => Some(key),
        }
    }
}

impl Identity {
    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&FilePath> {
        match self {
            Self::File(file) => Some(file),
            Self::Kms(_) => None,
        }
    }

    /// What KMS releases, if it does.
    #[must_use]
    pub fn kms(&self) -> Option<&Arc<KmsKey>> {
        match self {
            Self::File(_) => None,
            Self::Kms(key) => Some(key),
        }
    }
}

impl State {
    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&FilePath> {
        match self {
            Self::File(file) => Some(file),
            Self::Vsock { .. } => None,
        }
    }

    /// The parent's port, if it is with the parent.
    #[must_use]
    pub const fn port(&self) -> Option<u32> {
        match self {
            Self::File(_) => None,
            Self::Vsock { port } => Some(*port),
        }
    }
}

impl Chain {
    /// Whether it is an enclave's: key from KMS, state with the parent. Checked: a chain is wholly one or the other.
    #[must_use]
    pub const fn is_for_enclave(&self) -> bool {
        matches!(self.state, State::Vsock { .. })
    }

    /// The file of the signing record. An enclave's chain has none, and gets the empty path, at which nothing can be
    /// opened or made.
    #[cfg(feature = "host")]
    pub(crate) fn state_path(&self) -> &Path {
        self.state.file().map_or(Path::new(""), |file| &file.resolved)
    }
}

impl Config {
    /// Whether the file is for an enclave. Checked: all its chains are, or none.
    #[must_use]
    pub fn is_for_enclave(&self) -> bool {
        self.chains.iter().any(Chain::is_for_enclave)
    }

    /// Every key that KMS has to release, each once: consensus keys first.
    #[must_use]
    pub fn kms_keys(&self) -> Vec<&Arc<KmsKey>> {
        let consensus = self.chains.iter().filter_map(|chain| chain.key.kms());
        let validators = self.chains.iter().flat_map(|chain| &chain.validators);
        let mut keys: Vec<&Arc<KmsKey>> = Vec::new();
        for key in consensus.chain(validators.filter_map(|node| node.identity.as_ref()?.kms())) {
            if !keys.iter().any(|known| Arc::ptr_eq(known, key)) {
                keys.push(key);
            }
        }
        keys
    }

    /// Whether some key has no credentials of its own, so that the parent's are needed.
    #[must_use]
    pub fn needs_credentials(&self) -> bool {
        self.kms_keys().iter().any(|key| key.credentials.is_none())
    }
}
