//! A plan held against the policy: narrowed where it leaves things open, refused where it contradicts.
use super::Policy;
use crate::plan::{KmsKey, Plan, Role};
use base64ct::{Base64, Encoding};
use guard::ChainId;
use signer::keys::{Algorithm, PublicKey};
use std::collections::BTreeSet;
use std::fmt;

/// What a configuration asks for and the policy forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The chain, where one is concerned.
    pub chain: Option<ChainId>,
    /// What is chosen, by its name in the configuration.
    pub what: &'static str,
    /// What the policy has.
    pub expected: String,
    /// What the configuration has.
    pub got: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain, what, expected, got } = self;
        if let Some(chain) = chain {
            write!(f, "chain {chain}: ")?;
        }
        write!(f, "{what} breaks the image's measured policy: expected {expected}, got {got}")
    }
}

impl Policy {
    /// Narrows a plan to what the policy fixes.
    ///
    /// # Errors
    /// Everything that contradicts it.
    pub fn bind(&self, plan: &mut Plan) -> Result<(), Vec<Violation>> {
        let mut found = Vec::new();
        for chain in &plan.chains {
            if let Some(allowed) = self.chains.as_ref().filter(|allowed| !allowed.contains(&chain.id)) {
                let expected = one_of(allowed.iter().map(ChainId::as_str));
                found.push(violation(Some(&chain.id), "the chain id", expected, chain.id.to_string()));
            }
        }
        for (chain, role, key) in plan.kms_keys_mut() {
            self.bind_key(chain, role, key, &mut found);
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    fn bind_key(&self, chain: &ChainId, role: Role, key: &mut KmsKey, found: &mut Vec<Violation>) {
        let mut refuse = |what, expected, got: &str| found.push(violation(Some(chain), what, expected, got.to_owned()));
        if let Some(endpoint) = self.kms.endpoint.as_ref().filter(|endpoint| endpoint.region != key.region) {
            refuse("aws_region", endpoint.region.clone(), &key.region);
        }
        if let Some(regions) = self.kms.regions.as_ref().filter(|regions| !regions.contains(&key.region)) {
            refuse("aws_region", one_of(regions), &key.region);
        }
        if let Some(arns) = &self.kms.key_arns {
            match (&key.key_arn, only(arns)) {
                (None, Some(only)) => key.key_arn = Some(only.clone()),
                (Some(arn), _) if arns.contains(arn) => {}
                (arn, _) => refuse("kms_key_arn", one_of(arns), arn.as_deref().unwrap_or("none")),
            }
        }
        if let Some(accounts) = &self.kms.accounts {
            let account = key.key_arn.as_deref().and_then(account_of);
            if !account.is_some_and(|account| accounts.contains(account)) {
                let expected = format!("a key of account {}", one_of(accounts));
                refuse("kms_key_arn", expected, key.key_arn.as_deref().unwrap_or("none"));
            }
        }
        for (name, expected) in &self.kms.encryption_context {
            let expected = expected.replace("{role}", role.of_context()).replace("{chain}", chain.as_str());
            match key.encryption_context.get(name) {
                None => drop(key.encryption_context.insert(name.clone(), expected)),
                Some(got) if *got == expected => {}
                Some(got) => {
                    refuse("encryption_context", format!("{name} = {expected:?}"), &format!("{name} = {got:?}"));
                }
            }
        }
        if let Some(expected) = self.public_keys.get(chain).filter(|_| role == Role::Consensus) {
            match (&key.public_key, public_key(expected, key.algorithm)) {
                (None, Some(public)) => key.public_key = Some(public),
                (Some(got), _) if got.base64() == *expected => {}
                (Some(got), _) => refuse("public_key", expected.clone(), &got.base64()),
                (None, None) => refuse("algorithm", format!("that of the key {expected}"), key.algorithm.name()),
            }
        }
    }
}

fn violation(chain: Option<&ChainId>, what: &'static str, expected: String, got: String) -> Violation {
    Violation { chain: chain.cloned(), what, expected, got }
}

fn only(set: &BTreeSet<String>) -> Option<&String> {
    set.first().filter(|_| set.len() == 1)
}

fn one_of<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> String {
    let values: Vec<_> = values.into_iter().map(|value| value.as_ref().to_owned()).collect();
    if values.is_empty() { "nothing, as the policy's list is empty".to_owned() } else { values.join(" or ") }
}

/// `arn:aws:kms:REGION:ACCOUNT:key/ID`.
fn account_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(4)
}

impl Policy {
    /// The consensus keys that it names, whether or not their chains are configured.
    pub(crate) fn consensus_keys(&self) -> impl Iterator<Item = (&ChainId, PublicKey)> {
        self.public_keys.iter().filter_map(|(chain, text)| {
            let key = [Algorithm::Ed25519, Algorithm::Secp256k1].into_iter().find_map(|one| public_key(text, one));
            Some((chain, key?))
        })
    }
}

pub(crate) fn public_key(text: &str, algorithm: Algorithm) -> Option<PublicKey> {
    let bytes = Base64::decode_vec(text).ok()?;
    match algorithm {
        Algorithm::Ed25519 => bytes.try_into().ok().map(PublicKey::Ed25519),
        Algorithm::Secp256k1 => bytes.try_into().ok().map(PublicKey::Secp256k1),
    }
}
