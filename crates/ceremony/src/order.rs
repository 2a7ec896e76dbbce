//! What is ordered, held against the measured policy: the parent chooses nothing that would give it the key.
use enclave::ceremony::refused;
use enclave::kms::{KeyArn, Region};
use enclave::plan::Role;
use enclave::policy::Policy;
use enclave::unseal;
use guard::ChainId;
use signer::keys::{Algorithm, PublicKey};
use std::collections::BTreeMap;
use wire::control::{Failure, KeyOrder};

/// How a key is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// kms:Encrypt.
    KmsEncrypt,
    /// AES-256-GCM under a data key of KMS.
    DataKey,
}

impl Method {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KmsEncrypt => "kms-encrypt",
            Self::DataKey => "data-key",
        }
    }
}

/// An order that may be carried out.
pub(crate) struct Order {
    pub(crate) chain: ChainId,
    pub(crate) role: Role,
    pub(crate) algorithm: Algorithm,
    pub(crate) key_arn: String,
    pub(crate) region: &'static Region,
    pub(crate) method: Method,
    pub(crate) kms_proxy_port: u32,
}

impl Order {
    pub(crate) fn check(order: &KeyOrder, policy: &Policy) -> Result<Self, Failure> {
        let wrong = |what: &str, remedy: &str| refused("order", what, remedy);
        let chain = ChainId::try_from(order.chain_id.as_str())
            .map_err(|error| wrong(&format!("chain id {:?}: {error}", short(&order.chain_id)), "correct --chain-id"))?;
        let role = Role::named(&order.purpose).ok_or_else(|| {
            wrong(
                &format!("purpose: expected consensus or identity, got {:?}", short(&order.purpose)),
                "correct --purpose",
            )
        })?;
        let algorithm: Algorithm = order.algorithm.parse().map_err(|_| {
            let what = format!("algorithm: expected ed25519 or secp256k1, got {:?}", short(&order.algorithm));
            wrong(&what, "correct --algorithm")
        })?;
        if role == Role::Identity && algorithm != Algorithm::Ed25519 {
            let what = format!("algorithm: expected ed25519 for an identity, got {}", algorithm.name());
            return Err(wrong(&what, "leave out --algorithm: SecretConnection knows no other"));
        }
        let method = [Method::KmsEncrypt, Method::DataKey].into_iter().find(|method| method.name() == order.method);
        let method = method.ok_or_else(|| {
            let what = format!("method: expected kms-encrypt or data-key, got {:?}", short(&order.method));
            wrong(&what, "correct --method")
        })?;
        let against = |what: String| {
            let remedy =
                "order what the image's policy allows, or build an image with another policy (its PCR0 will differ)";
            refused("policy", format!("the measured policy of this image: {what}"), remedy)
        };
        policy.permits_chain(&chain).map_err(against)?;
        policy.permits_key(&order.key_arn).map_err(against)?;
        let region = KeyArn::parse(&order.key_arn).map_err(|error| wrong(&error.to_string(), "correct --key"))?.region;
        let region = Region::find(region).map_err(|error| wrong(&error.to_string(), "correct --key"))?;
        if order.kms_proxy_port == 0 || order.kms_proxy_port == u32::MAX {
            return Err(wrong("the KMS proxy's port: expected 1 to 4294967294", "correct --kms-proxy-port"));
        }
        let (key_arn, kms_proxy_port) = (order.key_arn.clone(), order.kms_proxy_port);
        Ok(Self { chain, role, algorithm, key_arn, region, method, kms_proxy_port })
    }

    /// The public half of a secret, in any form that a signer takes, if it is a key of that algorithm.
    pub(crate) fn public_key(&self, secret: &[u8]) -> Result<PublicKey, Failure> {
        let public = match self.role {
            Role::Consensus => unseal::consensus_key(secret, self.algorithm, None).map(|key| *key.public_key()),
            Role::Identity => unseal::identity_key(secret, None).map(|key| *key.public_key()),
        };
        public.map_err(|error| refused("key", error.to_string(), ""))
    }

    /// Whether a secret from outside is the key that was named.
    pub(crate) fn expect(&self, secret: &[u8], public_key: &str) -> Result<(), Failure> {
        let got = self.public_key(secret)?.base64();
        if got == public_key {
            return Ok(());
        }
        let what = format!("public key: expected {}, got {got}", short(public_key));
        Err(refused("key", what, "nothing was given out: bring the key that was named"))
    }

    /// A policy that pins the chain's consensus key wants that one.
    pub(crate) fn check_pin(&self, policy: &Policy, public: &PublicKey) -> Result<(), Failure> {
        match policy.public_key_of(&self.chain).filter(|_| self.role == Role::Consensus) {
            Some(pinned) if *pinned != public.base64() => {
                let what = format!("[chains.public_keys] {}: expected {pinned}, got {}", self.chain, public.base64());
                let remedy = "a policy that pins a key is for bringing that key: leave the pin out to have one made";
                Err(refused("policy", format!("the measured policy of this image: {what}"), remedy))
            }
            _ => Ok(()),
        }
    }

    /// What the ciphertext is bound to.
    pub(crate) fn context(&self, policy: &Policy, public: &PublicKey) -> Result<BTreeMap<String, String>, Failure> {
        policy.context_for(&self.chain, self.role, &public.base64()).map_err(|what| {
            let remedy = "leave chain, purpose and public_key out of the policy, or give them as {chain} and {role}";
            refused("policy", format!("the measured policy of this image: {what}"), remedy)
        })
    }
}

pub(crate) fn no_credentials() -> Failure {
    refused(
        "credentials",
        "no AWS credentials came with the order",
        "give the parent an IAM role, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and its kin, and order again",
    )
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}
