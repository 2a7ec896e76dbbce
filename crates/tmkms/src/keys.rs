//! The keys that a configuration names, read and held against each other.
use crate::config::{Chain, Config, Key, KeyFile};
use crate::failure::{Exit, Failure};
use crate::permissions;
use guard::Identity;
use signer::keys::{ConsensusKey, IdentityKey, KeyFileError, Problem, PublicKey, check_roles};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// All keys of a process.
pub(crate) struct Keys {
    /// One for each chain, in the configuration's order.
    pub(crate) consensus: Vec<ConsensusKey>,
    /// By the file's resolved path.
    pub(crate) identities: BTreeMap<PathBuf, Arc<IdentityKey>>,
}

/// Reads one chain's key.
pub(crate) fn read(file: &KeyFile) -> Result<ConsensusKey, Failure> {
    let read = ConsensusKey::read(&file.file.resolved, file.format, file.algorithm);
    read.map_err(|error| unreadable("`path` in [[providers.softsign]]", &error))
}

/// A key file's trouble as that of the setting that names it. The text of each problem ends with its remedy, but for
/// permissions.
fn unreadable(setting: &str, error: &KeyFileError) -> Failure {
    let help = permissions::help_for_key(error).unwrap_or_default();
    Failure::new(Exit::Key, format!("{setting}: {error}"), help)
}

/// An identity key has one form, and no setting names it.
fn unreadable_identity(error: &KeyFileError) -> Failure {
    let setting = "`secret_key` in [[validator]]";
    match error.problem() {
        Problem::OtherFormat { shape, .. } => {
            let message = format!("{setting}: key file {}: it looks like {shape}", error.path().display());
            let help = "an identity key is base64 of a secret: make one with `tmkms softsign keygen -t consensus PATH`";
            Failure::new(Exit::Key, message, help)
        }
        _ => unreadable(setting, error),
    }
}

/// Reads one chain's consensus key.
///
/// # Errors
/// It cannot be read, or it is not this host's to read.
pub(crate) fn of_chain(chain: &Chain) -> Result<ConsensusKey, Failure> {
    match &chain.key {
        Key::File(file) => read(file),
        Key::Kms(_) => Err(Failure::new(
            Exit::Configuration,
            format!("chain {}: its key is released by KMS to an enclave, and never to this host", chain.id),
            "ask the enclave for its public half: `tmkms nitro status -i CID`",
        )),
    }
}

/// Whose record a chain's state file is: known only by the key.
pub(crate) fn identity(chain: &Chain, key: &PublicKey) -> Identity {
    Identity { chain_id: chain.id.clone(), public_key: key.as_bytes().into() }
}

/// Reads all keys, and refuses one that is both a consensus and an identity key.
///
/// # Errors
/// Everything that is wrong with any of them.
pub(crate) fn read_all(config: &Config) -> Result<Keys, Vec<Failure>> {
    let mut failures = Vec::new();
    let mut keys = Keys { consensus: Vec::new(), identities: BTreeMap::new() };
    for chain in &config.chains {
        match of_chain(chain) {
            Ok(key) => keys.consensus.push(key),
            Err(failure) => failures.push(failure),
        }
    }
    for path in identity_files(config) {
        match IdentityKey::read(path) {
            Ok(key) => drop(keys.identities.insert(path.to_owned(), Arc::new(key))),
            Err(error) => failures.push(unreadable_identity(&error)),
        }
    }
    failures.extend(check(config, &keys));
    // A key file of several chains is wrong once, not once for each.
    failures.dedup();
    if failures.is_empty() { Ok(keys) } else { Err(failures) }
}

fn identity_files(config: &Config) -> Vec<&Path> {
    let validators = config.chains.iter().flat_map(|chain| &chain.validators);
    let mut files: Vec<_> =
        validators.filter_map(|one| Some(one.identity.as_ref()?.file()?.resolved.as_path())).collect();
    files.sort_unstable();
    files.dedup();
    files
}

fn key_name(chain: &Chain) -> String {
    chain.key.file().map_or_else(String::new, |key| key.file.resolved.display().to_string())
}

fn check(config: &Config, keys: &Keys) -> Option<Failure> {
    if keys.consensus.len() != config.chains.len() {
        return None;
    }
    let names: Vec<_> = config.chains.iter().map(key_name).collect();
    let consensus: Vec<_> =
        names.iter().zip(&keys.consensus).map(|(name, key)| (name.as_str(), key.public_key())).collect();
    let names: Vec<_> = keys.identities.keys().map(|path| path.display().to_string()).collect();
    let identities: Vec<_> =
        names.iter().zip(keys.identities.values()).map(|(name, key)| (name.as_str(), key.public_key())).collect();
    check_roles(&consensus, &identities).err().map(|error| Failure::new(Exit::Key, error.to_string(), ""))
}
