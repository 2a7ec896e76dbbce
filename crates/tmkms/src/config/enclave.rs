//! What holds for an enclave's configuration as a whole: it has no disk and no network, only ports of its parent.
use super::fault::Collector;
use super::fields::At;
use super::raw::{Chain, KeyType, Raw, SoftKey, Source};
use super::{Identity, State};
use signer::Endpoint;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Below it only root listens; vsock(7) holds `CAP_NET_BIND_SERVICE` against lower ports.
const FIRST_UNPRIVILEGED_PORT: u32 = 1024;

pub(super) fn check(raw: &Raw, notes: &mut Collector) {
    // The first of two with the same id; the second is a fault already.
    let chains: Chains<'_> = raw.chains.iter().rev().map(|chain| (chain.id.value.as_str(), chain)).collect();
    raw.keys.iter().for_each(|key| check_key(key, &chains, notes));
    check_addresses(raw, &chains, notes);
    check_ciphertexts(raw, notes);
    let of_enclave = |chain: &&Chain| matches!(chain.state.value, State::Vsock { .. });
    let Some(first) = raw.chains.iter().find(of_enclave) else {
        if let Some(at) = raw.nitro_at.as_ref().filter(|_| notes.is_clean()) {
            let message = "[nitro] has no effect: no [[chain]] here has state_vsock_port";
            notes.warn(at, message, "remove it to sign on this host");
        }
        return;
    };
    for other in raw.chains.iter().filter(|chain| !of_enclave(chain)) {
        let message = format!("the chain {} is for an enclave, and {} is not", first.id.value, other.id.value);
        let help = "write two files, or give it state_vsock_port and encrypted_key_b64, too";
        notes.fault(&other.id.at, message, help);
    }
    check_ports(raw, notes);
    if let Some(at) = raw.metrics.and(raw.metrics_at.as_ref()) {
        let message = "`listen` in [metrics] has no effect in an enclave, which has no network";
        notes.warn(at, message, "run `tmkms nitro metrics -i CID --listen IP:PORT` on the parent");
    }
}

/// The chains by their ids.
type Chains<'a> = BTreeMap<&'a str, &'a Chain>;

/// Key and state of a chain are both an enclave's or both the host's.
fn check_key(key: &SoftKey, chains: &Chains<'_>, notes: &mut Collector) {
    if key.key_type == KeyType::Account && matches!(key.source.value, Source::Kms(_)) {
        let message = "an account key signs nothing here, so KMS need not release it";
        notes.fault(&key.source.at, message, "remove the section, or write key_type = \"consensus\"");
        return;
    }
    for chain in key.chain_ids.iter().filter_map(|id| chains.get(id.value.as_str())) {
        let id = &chain.id.value;
        match (&key.source.value, &chain.state.value) {
            (Source::Kms(_), State::File(_)) => {
                let message = format!("the key of {id} is released by KMS to an enclave, but its state is a file");
                let help = "write state_vsock_port = N in its [[chain]], the port of `tmkms nitro persist` on the parent, \
                            and no state_file";
                notes.fault(&chain.id.at, message, help);
            }
            (Source::File(_), State::Vsock { .. }) => {
                let message =
                    format!("the chain {id} has state_vsock_port, which is for an enclave, but its key is a file");
                let help = "write encrypted_key_b64 and aws_region instead of path; or state_file instead of \
                            state_vsock_port, to sign on this host";
                notes.fault(&key.source.at, message, help);
            }
            _ => {}
        }
    }
}

fn check_addresses(raw: &Raw, chains: &Chains<'_>, notes: &mut Collector) {
    for validator in &raw.validators {
        let Some(chain) = chains.get(validator.chain_id.value.as_str()) else { continue };
        let (id, At { value: address, at }) = (&chain.id.value, &validator.address);
        match (address, &chain.state.value) {
            (Endpoint::Vsock { .. }, State::File(_)) => {
                let message =
                    format!("{address} is a port of an enclave's parent, but the chain {id} is not for an enclave");
                let help = "write the node's address as a text; or, for an enclave, state_vsock_port in the [[chain]] and \
                            encrypted_key_b64 for its key";
                notes.fault(at, message, help);
            }
            (Endpoint::Unix { .. } | Endpoint::Tcp { .. }, State::Vsock { .. }) => {
                let message = format!("{address} cannot be reached from an enclave, for which the chain {id} is");
                let help =
                    "write addr = { port = N } and run `tmkms nitro proxy -p N` on the parent, with the node's address";
                notes.fault(at, message, help);
            }
            (Endpoint::Vsock { port, peer_id: None, .. }, State::Vsock { .. })
                if *port >= FIRST_UNPRIVILEGED_PORT && validator.max_height.is_none() =>
            {
                let message = format!(
                    "any user of the parent may listen on port {port} while `tmkms nitro proxy` does not, and is the node then: \
                     it can have the record pushed to any height"
                );
                let help =
                    "write a port below 1024; or secret_connection = true with the node's peer_id; or max_height";
                notes.warn(at, message, help);
            }
            _ => {}
        }
        match &validator.identity {
            Some(At { value: Identity::Kms(_), at }) if matches!(chain.state.value, State::File(_)) => notes.fault(
                at,
                format!("`identity_key_b64` in [[validator]]: KMS releases it to an enclave, and the chain {id} is not for one"),
                "name a file as secret_key",
            ),
            Some(At { value: Identity::File(file), at })
                if matches!(chain.state.value, State::Vsock { .. }) && !file.written.is_absolute() =>
            {
                let message = format!(
                    "`secret_key` in [[validator]]: expected an absolute path inside the image, got {}",
                    file.written.display()
                );
                notes.fault(at, message, "the enclave has no other files; or let KMS release it: identity_key_b64");
            }
            _ => {}
        }
    }
}

/// One ciphertext has one role, and one section.
fn check_ciphertexts(raw: &Raw, notes: &mut Collector) {
    let mut seen: BTreeSet<&[u8]> = BTreeSet::new();
    for At { value, at } in raw.keys.iter().map(|key| &key.source) {
        let Source::Kms(key) = value else { continue };
        if !seen.insert(key.ciphertext.as_slice()) {
            let message = "the same `encrypted_key_b64` is configured twice";
            notes.fault(at, message, "list all its chains in one chain_ids");
        }
    }
    for At { value, at } in raw.validators.iter().filter_map(|validator| validator.identity.as_ref()) {
        let Identity::Kms(key) = value else { continue };
        if seen.contains(key.ciphertext.as_slice()) {
            let message = "`identity_key_b64` in [[validator]] is a consensus key's ciphertext";
            let help = "a key of its own identifies the signer: make one with `tmkms softsign keygen -t consensus PATH` and \
                        encrypt it";
            notes.fault(at, message, help);
        }
    }
}

/// A port of the parent has one role. `tmkms nitro persist` serves many chains on one.
fn check_ports(raw: &Raw, notes: &mut Collector) {
    let nowhere = 0..0;
    let proxy = (raw.nitro.kms_proxy_port, "the proxy to KMS", raw.nitro_at.as_ref().unwrap_or(&nowhere));
    let states = raw.chains.iter().filter_map(|chain| {
        let State::Vsock { port } = chain.state.value else { return None };
        Some((port, "`state_vsock_port`", &chain.state.at))
    });
    let nodes = raw.validators.iter().filter_map(|validator| {
        let Endpoint::Vsock { port, .. } = validator.address.value else { return None };
        Some((port, "`addr` in [[validator]]", &validator.address.at))
    });
    let mut roles: BTreeMap<u32, (&str, &Range<usize>)> = BTreeMap::new();
    for (port, role, at) in std::iter::once(proxy).chain(states).chain(nodes) {
        match roles.insert(port, (role, at)) {
            Some((other, _)) if other != role => {
                let message = format!("the parent's vsock port {port} is both {other} and {role}");
                let help = "a port has one role; the proxy to KMS is `kms_proxy_port` in [nitro], 8000 unless it says otherwise";
                notes.fault(at, message, help);
            }
            _ => {}
        }
    }
}
