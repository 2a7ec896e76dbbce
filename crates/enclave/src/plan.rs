//! What a configuration asks of the enclave: checked, and without the form it was written in.
//!
//! The configuration's text is parsed by the binary's own parser, which hands a [`Plan`] to [`crate::run()`]. So what
//! decides over keys here does not know TOML, and host and enclave read a configuration with the same eyes.
use guard::{ChainId, Height};
use signer::keys::{Algorithm, PublicKey};
use signer::{Endpoint, SignExtensions};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wire::control::Credentials;
use zeroize::Zeroizing;

/// A whole configuration.
pub struct Plan {
    /// The chains, each with a key of its own; no id twice.
    pub chains: Vec<ChainPlan>,
    /// The parent's port from which its proxy reaches KMS.
    pub kms_proxy_port: u32,
    /// Whether a debug-mode enclave, whose measurements are zeros, may be used.
    pub allow_debug: bool,
    /// The least severe lines that are logged, where the configuration says it.
    pub log_level: Option<log::LevelFilter>,
    /// How long votes may stay away before the health check fails.
    pub unhealthy_after: Duration,
}

/// One chain.
#[derive(Clone, PartialEq)]
pub struct ChainPlan {
    /// The chain id.
    pub id: ChainId,
    /// The consensus key, as KMS releases it.
    pub key: KmsKey,
    /// The parent's port of `nitro persist`.
    pub state_port: u32,
    /// The nodes that may ask for signatures.
    pub validators: Vec<ValidatorPlan>,
    /// Nothing is signed above this height.
    pub max_height: Option<Height>,
    /// Whether vote extensions are signed.
    pub extensions: SignExtensions,
}

/// One node.
#[derive(Clone, PartialEq)]
pub struct ValidatorPlan {
    /// Where it is reached.
    pub endpoint: Endpoint,
    /// Who we are to it; there where the endpoint is secret.
    pub identity: Option<IdentitySource>,
    /// Whether to connect again after a session.
    pub reconnect: bool,
    /// How long the node may take for a handshake.
    pub timeout: Duration,
    /// How long it may be silent.
    pub silence: Duration,
}

/// Where an identity key comes from.
#[derive(Clone, PartialEq)]
pub enum IdentitySource {
    /// A file in the image: base64 of 32 bytes.
    File(PathBuf),
    /// KMS releases it.
    Kms(KmsKey),
}

/// A key under KMS. No `Debug`: ciphertexts are not shown.
#[derive(Clone)]
pub struct KmsKey {
    /// What KMS decrypts.
    pub ciphertext: Arc<Zeroizing<Vec<u8>>>,
    /// The AWS region, by its name.
    pub region: String,
    /// What the plaintext is a key of.
    pub algorithm: Algorithm,
    /// The only KMS key that may decrypt it, if one is pinned.
    pub key_arn: Option<String>,
    /// The encryption context that it was encrypted with.
    pub encryption_context: BTreeMap<String, String>,
    /// What the public half must be, if it is pinned.
    pub public_key: Option<PublicKey>,
    /// Credentials for this key alone; else the pushed ones are used. They make no difference between two keys.
    pub credentials: Option<Arc<Credentials>>,
}

impl PartialEq for KmsKey {
    fn eq(&self, other: &Self) -> bool {
        let Self { ciphertext, region, algorithm, key_arn, encryption_context, public_key, credentials: _ } = self;
        *ciphertext == other.ciphertext
            && *region == other.region
            && *algorithm == other.algorithm
            && *key_arn == other.key_arn
            && *encryption_context == other.encryption_context
            && *public_key == other.public_key
    }
}

impl ChainPlan {
    /// What is kept of it: credentials have served when the keys are here.
    pub(crate) fn without_credentials(&self) -> Self {
        let mut chain = self.clone();
        chain.key.credentials = None;
        for node in &mut chain.validators {
            if let Some(IdentitySource::Kms(key)) = &mut node.identity {
                key.credentials = None;
            }
        }
        chain
    }
}

impl Plan {
    /// Every key that KMS has to release for it, each with its chain: consensus keys first, then identities.
    pub(crate) fn kms_keys_mut(&mut self) -> impl Iterator<Item = (&ChainId, Role, &mut KmsKey)> {
        self.chains.iter_mut().flat_map(|chain| {
            let identities = chain.validators.iter_mut().filter_map(|node| match &mut node.identity {
                Some(IdentitySource::Kms(key)) => Some((&chain.id, Role::Identity, key)),
                _ => None,
            });
            std::iter::once((&chain.id, Role::Consensus, &mut chain.key)).chain(identities)
        })
    }
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It signs votes.
    Consensus,
    /// It answers a node's challenge in a SecretConnection.
    Identity,
}

impl Role {
    /// For people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Consensus => "key",
            Self::Identity => "identity key",
        }
    }

    /// For encryption contexts: what `{role}` in a policy stands for.
    #[must_use]
    pub const fn of_context(self) -> &'static str {
        match self {
            Self::Consensus => "consensus",
            Self::Identity => "identity",
        }
    }

    /// The role of that name, see [`Role::of_context`].
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Consensus, Self::Identity].into_iter().find(|role| role.of_context() == name)
    }
}
