//! What the sections say about each other, and the checked configuration that comes out.
use super::enclave;
use super::fault::Collector;
use super::fields::At;
use super::nearest::nearest;
use super::raw::{self, KeyType, Raw, Source};
use super::{Chain, Identity, Key, KeyFile, State, Validator};
use guard::{ChainId, Height};
use signer::Endpoint;
use signer::keys::{Algorithm, KeyFormat};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Checks all cross references and builds the chains. What is returned counts only if no fault was collected.
pub(super) fn chains(raw: &Raw, notes: &mut Collector) -> Vec<Chain> {
    check_declared(raw, notes);
    check_references(raw, notes);
    check_addresses(raw, notes);
    check_files(raw, notes);
    enclave::check(raw, notes);
    let users = Users::of(raw);
    raw.chains.iter().filter_map(|chain| build(chain, &users, raw, notes)).collect()
}

/// Who names each chain, in the file's order.
#[derive(Default)]
struct Users<'a> {
    keys: BTreeMap<&'a str, Vec<&'a raw::SoftKey>>,
    validators: BTreeMap<&'a str, Vec<&'a raw::Validator>>,
}

impl<'a> Users<'a> {
    fn of(raw: &'a Raw) -> Self {
        let mut users = Self::default();
        for key in &raw.keys {
            for id in key.chain_ids.iter().map(|id| id.value.as_str()).collect::<BTreeSet<_>>() {
                users.keys.entry(id).or_default().push(key);
            }
        }
        for validator in &raw.validators {
            users.validators.entry(validator.chain_id.value.as_str()).or_default().push(validator);
        }
        users
    }
}

fn check_declared(raw: &Raw, notes: &mut Collector) {
    if !raw.has_chains {
        notes.fault(&(0..0), "no [[chain]] was found", "see tmkms.toml.example, or make a file with `tmkms init`");
    }
    let mut seen = BTreeSet::new();
    for id in &raw.declared {
        if !seen.insert(id.value.as_str()) {
            notes.fault(
                &id.at,
                format!("the chain {} is configured twice", id.value),
                "remove one of the two [[chain]]",
            );
        }
    }
}

fn check_references(raw: &Raw, notes: &mut Collector) {
    let declared: BTreeSet<_> = raw.declared.iter().map(|id| id.value.as_str()).collect();
    let known = |id: &ChainId| declared.contains(id.as_str());
    let keys = raw.keys.iter().flat_map(|key| &key.chain_ids).map(|id| (id, "`chain_ids` in [[providers.softsign]]"));
    let validators = raw.validators.iter().map(|validator| (&validator.chain_id, "`chain_id` in [[validator]]"));
    for (id, what) in keys.chain(validators).filter(|(id, _)| !known(&id.value)) {
        // The search for the nearest name is the dear part.
        if notes.is_full() {
            notes.fault(&id.at, "", "");
            continue;
        }
        let names = raw.declared.iter().map(|other| other.value.as_str());
        let help = match nearest(id.value.as_str(), names) {
            Some(near) => format!("did you mean {near:?}? every chain needs its own [[chain]] section"),
            None => format!("add a [[chain]] section with id = {:?}", id.value.as_str()),
        };
        notes.fault(&id.at, format!("{what}: there is no [[chain]] with the id {:?}", id.value.as_str()), help);
    }
}

fn check_addresses(raw: &Raw, notes: &mut Collector) {
    let mut seen: BTreeMap<String, &ChainId> = BTreeMap::new();
    for validator in &raw.validators {
        let At { value: address, at } = &validator.address;
        // The peer id does not make it another listener.
        let listener = match address.clone() {
            Endpoint::Tcp { host, port, .. } => Endpoint::Tcp { peer_id: None, host, port },
            Endpoint::Vsock { port, secret, .. } => Endpoint::Vsock { port, secret, peer_id: None },
            unix @ Endpoint::Unix { .. } => unix,
        };
        if let Some(other) = seen.insert(listener.to_string(), &validator.chain_id.value) {
            let chain = &validator.chain_id.value;
            let message = if other == chain {
                format!("{listener} is configured twice for {chain}")
            } else {
                format!("{listener} is configured for {other} and for {chain}")
            };
            notes.fault(at, message, "a node takes one signer connection: remove one of the two [[validator]]");
        }
        check_identity(validator, notes);
    }
}

fn check_identity(validator: &raw::Validator, notes: &mut Collector) {
    let address = &validator.address.value;
    match (address, &validator.identity) {
        (Endpoint::Tcp { .. }, None) => notes.fault(
            &validator.at,
            format!("`secret_key` is missing in [[validator]]: {address} is encrypted with an identity key"),
            "make one with `tmkms softsign keygen -t consensus secrets/kms-identity.key` and name it as secret_key",
        ),
        (Endpoint::Vsock { secret: true, .. }, None) => notes.fault(
            &validator.at,
            "an identity key is missing in [[validator]]: secret_connection = true needs one",
            "name a file of the image as secret_key, or let KMS release one: identity_key_b64 and aws_region",
        ),
        (Endpoint::Vsock { secret: false, .. }, Some(key)) => notes.fault(
            &key.at,
            "the identity key in [[validator]] is not used: the bytes on the vsock port are raw",
            "write secret_connection = true if the node listens on tcp://, or remove the key",
        ),
        (Endpoint::Unix { .. }, Some(At { value: Identity::File(_), at })) => {
            let message = "`secret_key` in [[validator]] is not used: a Unix socket is not encrypted";
            notes.warn(at, message, "remove it");
        }
        _ => {}
    }
}

/// One file has one role: a state file is of one chain, and is no key; an identity key is no consensus key.
fn check_files(raw: &Raw, notes: &mut Collector) {
    let mut states: BTreeMap<&Path, &ChainId> = BTreeMap::new();
    for chain in &raw.chains {
        let State::File(file) = &chain.state.value else { continue };
        let path = file.resolved.as_path();
        if let Some(other) = states.insert(path, &chain.id.value) {
            let message = format!("the state file {} is shared by {other} and {}", path.display(), chain.id.value);
            notes.fault(&chain.state.at, message, "give each chain a state_file of its own");
        }
    }
    let mut keys: BTreeSet<&Path> = BTreeSet::new();
    for At { value, at } in raw.keys.iter().map(|key| &key.source) {
        let Source::File(file) = value else { continue };
        let path = file.resolved.as_path();
        if !keys.insert(path) {
            let help = "list all its chains in one chain_ids";
            notes.fault(at, format!("the key file {} is configured twice", path.display()), help);
        }
        if states.contains_key(path) {
            notes.fault(at, format!("{} is both a key file and a state file", path.display()), "name two files");
        }
    }
    for At { value, at } in raw.validators.iter().filter_map(|validator| validator.identity.as_ref()) {
        let Identity::File(file) = value else { continue };
        if keys.contains(file.resolved.as_path()) {
            let message =
                format!("{} is both the identity key and a [[providers.softsign]] key", file.resolved.display());
            notes.fault(at, message, "make an identity key of its own with `tmkms softsign keygen -t consensus PATH`");
        }
    }
}

/// One chain with its key and its validators; none if nothing signs for it.
fn build(chain: &raw::Chain, users: &Users<'_>, raw: &Raw, notes: &mut Collector) -> Option<Chain> {
    let id = &chain.id.value;
    let validators = users.validators.get(id.as_str()).map_or(&[][..], Vec::as_slice);
    let keys = users.keys.get(id.as_str()).map_or(&[][..], Vec::as_slice);
    let of_chain = |kind: KeyType| keys.iter().copied().filter(move |key| key.key_type == kind);
    let account_keys: Vec<_> = of_chain(KeyType::Account).filter_map(account_key).collect();
    for key in of_chain(KeyType::Account) {
        check_account_key(key, notes);
    }
    let mut consensus = of_chain(KeyType::Consensus);
    let Some(key) = consensus.next() else {
        missing_key(chain, validators.is_empty(), account_keys.is_empty(), raw, notes);
        return None;
    };
    for second in consensus {
        let message = format!("the chain {id} has two consensus keys");
        notes.fault(
            &second.source.at,
            message,
            "a validator has one key: remove the chain from one of the two chain_ids",
        );
    }
    if validators.is_empty() {
        let message = format!("no [[validator]] uses the chain {id}: nothing will be signed for it");
        notes.warn(&chain.id.at, message, "add a [[validator]] with this chain_id");
    }
    Some(Chain {
        id: id.clone(),
        key_format: chain.format.clone(),
        extensions: chain.extensions,
        state: chain.state.value.clone(),
        key: consensus_key(key),
        account_keys,
        max_height: max_height(validators, notes),
        validators: validators.iter().copied().map(build_validator).collect(),
    })
}

fn check_account_key(key: &raw::SoftKey, notes: &mut Collector) {
    if key.algorithm == Some(Algorithm::Ed25519) {
        let message = "an account key is secp256k1, but `algorithm` says \"ed25519\"";
        notes.fault(&key.source.at, message, "remove `algorithm`, or write key_type = \"consensus\"");
    }
    if key.format == KeyFormat::Json {
        // tmkms 0.15, src/keyring/providers/softsign.rs.
        notes.fault(&key.source.at, "an account key is never in JSON", "remove `key_format`: the file is base64");
    }
    notes.warn(
        &key.source.at,
        "account keys are shown by `tmkms keys show` and sign nothing: transactions are not signed here",
        "",
    );
}

fn missing_key(chain: &raw::Chain, unused: bool, no_account_key: bool, raw: &Raw, notes: &mut Collector) {
    let id = &chain.id.value;
    // A section that could not be read may be the one with the key: its own fault is enough.
    if raw.keys.is_empty() && !notes.is_clean() {
        return;
    }
    if unused {
        let message = format!("nothing is configured for the chain {id} but its [[chain]] section");
        notes.warn(&chain.id.at, message, "add a [[providers.softsign]] and a [[validator]] for it, or remove it");
        return;
    }
    let help = if no_account_key {
        format!("add a [[providers.softsign]] with chain_ids = [{:?}] and the key's path", id.as_str())
    } else {
        "tmkms signs votes with an account key where there is no other; if that is meant, write key_type = \"consensus\" \
         and algorithm = \"secp256k1\""
            .to_owned()
    };
    notes.fault(&chain.id.at, format!("the chain {id} has a [[validator]] but no consensus key"), help);
}

/// One guard serves all validators of a chain, so they must agree on its limit.
fn max_height(validators: &[&raw::Validator], notes: &mut Collector) -> Option<Height> {
    let first = validators.first()?;
    for other in &validators[1..] {
        if other.max_height != first.max_height {
            let show = |height: Option<Height>| height.map_or_else(|| "none".to_owned(), |height| height.to_string());
            let message = format!(
                "`max_height` differs between the validators of {}: {} and {}",
                other.chain_id.value,
                show(first.max_height),
                show(other.max_height)
            );
            notes.fault(&other.at, message, "write the same max_height in each: they share one record");
        }
    }
    first.max_height
}

fn build_validator(validator: &raw::Validator) -> Validator {
    let endpoint = validator.address.value.clone();
    let identity = validator.identity.as_ref().filter(|_| endpoint.is_secret()).map(|key| key.value.clone());
    Validator { endpoint, identity, reconnect: validator.reconnect, timeout: validator.timeout }
}

fn consensus_key(key: &raw::SoftKey) -> Key {
    match &key.source.value {
        Source::File(file) => Key::File(KeyFile { file: file.clone(), format: key.format, algorithm: key.algorithm }),
        Source::Kms(released) => Key::Kms(Arc::clone(released)),
    }
}

fn account_key(key: &raw::SoftKey) -> Option<KeyFile> {
    let Source::File(file) = &key.source.value else { return None };
    Some(KeyFile { file: file.clone(), format: key.format, algorithm: Some(Algorithm::Secp256k1) })
}
