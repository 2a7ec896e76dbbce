//! Releasing: KMS releases the keys that are not here yet, and images hold some identities.
use super::{Checked, Enclave};
use crate::desk::Pusher;
use crate::plan::{IdentitySource, KmsKey, Role};
use crate::policy::Policy;
use crate::trouble::{ending, failure, of_chain};
use crate::unseal;
use guard::ChainId;
use signer::keys::{ConsensusKey, IdentityKey, PublicKey, check_roles};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use wire::control::{Failure, Phase};

/// A configuration with all its keys.
pub(crate) struct Released {
    pub(crate) checked: Checked,
    /// Of the chains whose key is new.
    pub(crate) keys: HashMap<ChainId, ConsensusKey>,
    /// All identities that the configuration names.
    pub(crate) identities: Vec<(IdentitySource, Arc<IdentityKey>)>,
}

/// One ciphertext, and what it is needed for.
struct Wanted {
    key: KmsKey,
    uses: Vec<(ChainId, Role)>,
}

impl Enclave {
    /// Has KMS release what is missing, each ciphertext once. What was released is dropped if any of it fails.
    pub(crate) fn release(&mut self, checked: Checked, pusher: &Pusher) -> Result<Released, Failure> {
        let mut released = Released { checked, keys: HashMap::new(), identities: Vec::new() };
        let (wanted, files) = self.missing(&mut released);
        let count = wanted.len();
        let mut all = wanted.iter().enumerate();
        let result =
            all.try_for_each(|(index, wanted)| self.release_one(wanted, (index, count), &mut released, pusher));
        self.kms.finish();
        result?;
        for (path, chain) in files {
            let key = IdentityKey::read(&path).map_err(|error| {
                of_chain(
                    &chain,
                    failure(Phase::Releasing, "identity", error.to_string(), "the file must be in the image"),
                )
            })?;
            released.identities.push((IdentitySource::File(path), Arc::new(key)));
        }
        self.check_roles(&released)?;
        Ok(released)
    }

    /// What is needed and not here. Identities that are here go into `released`.
    fn missing(&self, released: &mut Released) -> (Vec<Wanted>, Vec<(std::path::PathBuf, ChainId)>) {
        let (mut wanted, mut files) = (Vec::new(), Vec::new());
        for chain in &released.checked.plan.chains {
            if self.served(&chain.id).is_none_or(|served| served.plan.key != chain.key) {
                want(&mut wanted, &chain.key, &chain.id, Role::Consensus);
            }
            for source in chain.validators.iter().filter_map(|node| node.identity.as_ref()) {
                if released.identities.iter().any(|(known, _)| known == source) {
                    continue;
                }
                if let Some(here) = self.identities.iter().find(|(known, _)| known == source) {
                    released.identities.push(here.clone());
                    continue;
                }
                match source {
                    IdentitySource::Kms(key) => want(&mut wanted, key, &chain.id, Role::Identity),
                    IdentitySource::File(path) if files.iter().all(|(known, _)| known != path) => {
                        files.push((path.clone(), chain.id.clone()));
                    }
                    IdentitySource::File(_) => {}
                }
            }
        }
        (wanted, files)
    }

    fn release_one(
        &mut self,
        wanted: &Wanted,
        (index, count): (usize, usize),
        released: &mut Released,
        pusher: &Pusher,
    ) -> Result<(), Failure> {
        let (chain, role) = &wanted.uses[0];
        let fail = |code: &str, reason: String| of_chain(chain, failure(Phase::Releasing, code, reason, ""));
        if self.desk.is_ending() {
            return Err(ending(Phase::Releasing));
        }
        pusher.progress(Phase::Releasing, format!("{} {} of {count}, chain {chain}", role.name(), index + 1));
        let pushed = released.checked.pushed.credentials.as_ref().or(self.credentials.as_ref());
        let credentials = wanted.key.credentials.as_ref().or(pushed).ok_or_else(|| {
            let remedy = "give the parent an IAM role, or write `credentials` into the configuration, and push again";
            let reason = "no AWS credentials came with the push, and the configuration has none";
            of_chain(chain, failure(Phase::Releasing, "credentials", reason, remedy))
        })?;
        let plaintext = self.kms.release(released.checked.plan.kms_proxy_port, &wanted.key, credentials);
        if self.desk.is_ending() {
            return Err(ending(Phase::Releasing));
        }
        self.board.counts.kms(plaintext.as_ref().map_or_else(|withheld| withheld.code, |_| "released"));
        let plaintext = plaintext
            .map_err(|withheld| fail(withheld.code, format!("{} of {chain}: {}", role.name(), withheld.reason)))?;
        for (chain, role) in &wanted.uses {
            let made = match role {
                Role::Consensus => {
                    unseal::consensus_key(&plaintext, wanted.key.algorithm, wanted.key.public_key.as_ref())
                        .map(|key| drop(released.keys.insert(chain.clone(), key)))
                }
                Role::Identity => unseal::identity_key(&plaintext, wanted.key.public_key.as_ref()).map(|key| {
                    let source = KmsKey { credentials: None, ..wanted.key.clone() };
                    released.identities.push((IdentitySource::Kms(source), Arc::new(key)));
                }),
            };
            made.map_err(|error| {
                of_chain(chain, failure(Phase::Releasing, "key", format!("{} of {chain}: {error}", role.name()), ""))
            })?;
        }
        Ok(())
    }

    /// No key may sign votes here and answer a stranger's challenge there: not in one push, nor one after the other, nor
    /// as the key of a chain that the policy names and nobody configured.
    fn check_roles(&self, released: &Released) -> Result<(), Failure> {
        let consensus = self.consensus_keys(released);
        let consensus: Vec<_> = consensus.iter().map(|(name, key)| (name.as_str(), key)).collect();
        let earlier = self.identity_keys.iter().map(|key| ("an identity of an earlier configuration".to_owned(), key));
        let identities = released.identities.iter().map(|(source, key)| (source_name(source), key.public_key()));
        let identities: Vec<_> = identities.chain(earlier).collect();
        let identities: Vec<_> = identities.iter().map(|(name, key)| (name.as_str(), *key)).collect();
        check_roles(&consensus, &identities)
            .map_err(|error| failure(Phase::Releasing, "key", error.to_string(), "encrypt an identity key of its own"))
    }

    /// All that sign votes, did in this life, or may by the policy.
    fn consensus_keys(&self, released: &Released) -> Vec<(String, PublicKey)> {
        let new = released.keys.iter().map(|(id, key)| (id.to_string(), *key.public_key()));
        let guarded = self.guards.keys().filter_map(|identity| {
            let bytes = &identity.public_key[..];
            let ed25519 = bytes.try_into().ok().map(PublicKey::Ed25519);
            let key = ed25519.or_else(|| bytes.try_into().ok().map(PublicKey::Secp256k1))?;
            Some((identity.chain_id.to_string(), key))
        });
        let measured = self.policy.iter().flat_map(Policy::consensus_keys);
        let measured = measured.map(|(chain, key)| (format!("{chain} in the measured policy"), key));
        new.chain(guarded).chain(measured).collect()
    }
}

fn want(wanted: &mut Vec<Wanted>, key: &KmsKey, chain: &ChainId, role: Role) {
    let this = (chain.clone(), role);
    match wanted.iter_mut().find(|one| one.key == *key) {
        Some(one) if role == Role::Identity && one.uses.iter().any(|(_, role)| *role == Role::Identity) => {}
        Some(one) => one.uses.push(this),
        None => wanted.push(Wanted { key: key.clone(), uses: vec![this] }),
    }
}

fn source_name(source: &IdentitySource) -> String {
    match source {
        IdentitySource::File(path) => Path::display(path).to_string(),
        IdentitySource::Kms(_) => "identity_key_b64".to_owned(),
    }
}
