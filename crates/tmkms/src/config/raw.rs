//! The sections of the file, each read on its own; what they say about each other is checked in `check`.
use super::fault::Collector;
use super::fields::{At, Fields, shorten};
use super::kms_key;
use super::node;
use super::outside;
use super::schema;
use super::vsock;
use super::{FilePath, Identity, KmsKey, LogSettings, MetricsSettings, NitroSettings, PublicKeyFormat, State};
use guard::{ChainId, Height};
use signer::keys::{Algorithm, KeyFormat};
use signer::{Endpoint, SignExtensions};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// The whole file, section by section. A section with a fault may be missing here: the fault is collected.
#[derive(Debug, Default)]
pub(super) struct Raw {
    /// Whether there is anything named `chain`, readable or not.
    pub(super) has_chains: bool,
    /// Every `id` that could be read, with its place, even where the rest of its section could not.
    pub(super) declared: Vec<At<ChainId>>,
    pub(super) chains: Vec<Chain>,
    pub(super) keys: Vec<SoftKey>,
    pub(super) validators: Vec<Validator>,
    pub(super) metrics: Option<MetricsSettings>,
    pub(super) metrics_at: Option<Range<usize>>,
    pub(super) log: LogSettings,
    pub(super) nitro: NitroSettings,
    pub(super) nitro_at: Option<Range<usize>>,
}

#[derive(Debug)]
pub(super) struct Chain {
    pub(super) id: At<ChainId>,
    pub(super) format: PublicKeyFormat,
    pub(super) extensions: SignExtensions,
    pub(super) state: At<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyType {
    Consensus,
    Account,
}

#[derive(Debug)]
pub(super) struct SoftKey {
    pub(super) chain_ids: Vec<At<ChainId>>,
    pub(super) key_type: KeyType,
    pub(super) format: KeyFormat,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) source: At<Source>,
}

/// Where a [[providers.softsign]] key comes from.
#[derive(Debug)]
pub(super) enum Source {
    File(FilePath),
    Kms(Arc<KmsKey>),
}

#[derive(Debug)]
pub(super) struct Validator {
    pub(super) at: Range<usize>,
    pub(super) chain_id: At<ChainId>,
    pub(super) address: At<Endpoint>,
    pub(super) identity: Option<At<Identity>>,
    pub(super) reconnect: bool,
    pub(super) timeout: Duration,
    pub(super) max_height: Option<Height>,
}

/// Reads all sections.
pub(super) fn read(table: &DeTable<'_>, folder: &Path, notes: &mut Collector) -> Raw {
    let mut raw = Raw::default();
    let mut root = Fields::new(&schema::ROOT, table, 0..0, notes);
    raw.has_chains = root.has("chain");
    for found in root.tables("chain", &schema::CHAIN) {
        let Some(mut fields) = root.open("chain", &schema::CHAIN, found) else { continue };
        let chain = read_chain(&mut fields, folder, &mut raw.declared);
        raw.chains.extend(chain);
    }
    if let Some(mut providers) = root.table("providers", &schema::PROVIDERS) {
        for found in providers.tables("softsign", &schema::SOFTSIGN) {
            let Some(mut fields) = providers.open("softsign", &schema::SOFTSIGN, found) else { continue };
            raw.keys.extend(read_key(&mut fields, folder));
        }
    }
    for found in root.tables("validator", &schema::VALIDATOR) {
        let Some(mut fields) = root.open("validator", &schema::VALIDATOR, found) else { continue };
        raw.validators.extend(node::read(&mut fields, folder));
    }
    if let Some(mut fields) = root.table("metrics", &schema::METRICS) {
        raw.metrics_at = Some(fields.at());
        raw.metrics = outside::read_metrics(&mut fields);
    }
    if let Some(mut fields) = root.table("nitro", &schema::NITRO) {
        raw.nitro_at = Some(fields.at());
        raw.nitro = vsock::read_nitro(&mut fields);
    }
    raw.log = root.table("log", &schema::LOG).map(|mut fields| outside::read_log(&mut fields)).unwrap_or_default();
    raw
}

fn read_chain(fields: &mut Fields<'_, '_>, folder: &Path, declared: &mut Vec<At<ChainId>>) -> Option<Chain> {
    let section = fields.at();
    let id = fields.required_text("id", "the chain id is in the node's genesis.json, as `chain_id`");
    let id = id.and_then(|id| chain_id(fields, id));
    declared.extend(id.clone());
    let format = match fields.value("key_format") {
        None => {
            fields.missing("key_format", "for a chain of your own: key_format = { type = \"hex\" }");
            None
        }
        Some(found) => fields
            .open_or("key_format", &schema::CHAIN_KEY_FORMAT, found, key_format_help(found.get_ref()))
            .and_then(|mut inner| read_format(&mut inner)),
    };
    let extensions = read_extensions(fields);
    let written = read_state(fields, folder);
    let id = id?;
    let state = match written {
        Some(state) => state,
        None if fields.has("state_file") || fields.has("state_vsock_port") => return None,
        None => {
            // tmkms 0.15, src/chain.rs.
            let name = format!("{}_priv_validator_state.json", id.value);
            if id.value.as_str().contains('/') {
                let help = "the default file name is made from the chain id, and this one has a slash in it";
                fields.missing("state_file", help);
            }
            At { value: State::File(FilePath::new(Path::new(&name), folder)), at: section }
        }
    };
    Some(Chain { id, format: format?, extensions, state })
}

fn read_state(fields: &mut Fields<'_, '_>, folder: &Path) -> Option<At<State>> {
    let file = path(fields, "state_file", folder);
    let port = vsock::read_port(fields, "state_vsock_port");
    if let (Some(_), Some(At { at, .. })) = (&file, &port) {
        let message =
            "`state_file` and `state_vsock_port` in [[chain]] exclude each other: a record lives in one place";
        let help =
            "in an enclave only `state_vsock_port` works: give the file to `tmkms nitro persist -s FILE` on the parent";
        fields.fault(at, message, help);
    }
    let port = port.map(|At { value, at }| At { value: State::Vsock { port: value }, at });
    port.or(file.map(|At { value, at }| At { value: State::File(value), at }))
}

/// The table to write where something else stands.
fn key_format_help(found: &DeValue<'_>) -> &'static str {
    match found {
        DeValue::String(name) if name == "hex" => "write key_format = { type = \"hex\" }",
        DeValue::String(name) if name == "cosmos-json" => "write key_format = { type = \"cosmos-json\" }",
        _ => {
            "write key_format = { type = \"bech32\", account_key_prefix = \"cosmospub\", consensus_key_prefix = \
             \"cosmosvalconspub\" } with the chain's own prefixes, or key_format = { type = \"hex\" }"
        }
    }
}

fn read_extensions(fields: &mut Fields<'_, '_>) -> SignExtensions {
    let Some(At { value: false, at }) = fields.flag("sign_extensions") else { return SignExtensions::Automatic };
    fields.warn(
        &at,
        "sign_extensions = false: no vote extension will be signed on this chain; a node from v0.38 on whose chain uses \
         them rejects every precommit without that signature, and can halt",
        "remove the key: extensions are then signed where the protocol asks for it, and nowhere else",
    );
    SignExtensions::Never
}

fn read_format(fields: &mut Fields<'_, '_>) -> Option<PublicKeyFormat> {
    #[derive(Clone, Copy)]
    enum Kind {
        Bech32,
        CosmosJson,
        Hex,
    }
    if !fields.has("type") {
        fields.missing("type", "expected \"bech32\", \"cosmos-json\" or \"hex\"");
    }
    let choices = [("bech32", Kind::Bech32), ("cosmos-json", Kind::CosmosJson), ("hex", Kind::Hex)];
    match fields.choice("type", &choices)?.value {
        Kind::Bech32 => {
            let help =
                "for the Cosmos Hub: account_key_prefix = \"cosmospub\", consensus_key_prefix = \"cosmosvalconspub\"";
            let account = fields.required_text("account_key_prefix", help);
            let account = account.and_then(|prefix| bech32_prefix(fields, "account_key_prefix", &prefix));
            let consensus = fields.required_text("consensus_key_prefix", help);
            let consensus = consensus.and_then(|prefix| bech32_prefix(fields, "consensus_key_prefix", &prefix));
            Some(PublicKeyFormat::Bech32 { account_prefix: account?, consensus_prefix: consensus? })
        }
        Kind::CosmosJson => Some(PublicKeyFormat::CosmosJson),
        Kind::Hex => Some(PublicKeyFormat::Hex),
    }
}

/// BIP 173: 1 to 83 characters of printable ASCII; here in lower case.
fn bech32_prefix(fields: &mut Fields<'_, '_>, key: &str, prefix: &At<&str>) -> Option<String> {
    let good = (1..=83).contains(&prefix.value.len())
        && prefix.value.chars().all(|c| c.is_ascii_graphic() && !c.is_ascii_uppercase());
    if !good {
        let message =
            format!("`{key}`: expected 1 to 83 lower-case ASCII characters, got \"{}\"", shorten(prefix.value));
        fields.fault(&prefix.at, message, "");
    }
    good.then(|| prefix.value.to_owned())
}

fn read_key(fields: &mut Fields<'_, '_>, folder: &Path) -> Option<SoftKey> {
    let chain_ids = chain_ids(fields);
    let key_type = fields.choice("key_type", &[("consensus", KeyType::Consensus), ("account", KeyType::Account)]);
    let formats = [KeyFormat::Base64, KeyFormat::Json, KeyFormat::Raw].map(|format| (format.name(), format));
    let format = fields.choice("key_format", &formats);
    let algorithms = [Algorithm::Ed25519, Algorithm::Secp256k1].map(|algorithm| (algorithm.name(), algorithm));
    let algorithm = fields.choice("algorithm", &algorithms).map(|found| found.value);
    let source = read_source(fields, folder, algorithm.unwrap_or_default());
    Some(SoftKey {
        chain_ids: chain_ids?,
        key_type: key_type.map_or(KeyType::Consensus, |found| found.value),
        format: format.map_or(KeyFormat::Base64, |found| found.value),
        algorithm,
        source: source?,
    })
}

fn read_source(fields: &mut Fields<'_, '_>, folder: &Path, algorithm: Algorithm) -> Option<At<Source>> {
    let file = path(fields, "path", folder);
    let public_key = kms_key::public_key(fields, algorithm);
    let released = kms_key::read(fields, "encrypted_key_b64", algorithm, public_key);
    let (has_file, has_ciphertext) = (fields.has("path"), fields.has("encrypted_key_b64"));
    if !has_ciphertext {
        kms_key::refuse_without(fields, "public_key", "encrypted_key_b64");
        kms_key::refuse_without(fields, "envelope", "encrypted_key_b64");
    }
    check_envelope(fields);
    match (has_file, has_ciphertext) {
        (true, true) => {
            let at = fields.value("encrypted_key_b64").map(toml::Spanned::span).unwrap_or_default();
            let message =
                "`path` and `encrypted_key_b64` in [[providers.softsign]] exclude each other: one key, one place";
            fields.fault(&at, message, "remove `path` for an enclave, or `encrypted_key_b64` to sign on this host");
        }
        (false, false) => fields.missing(
            "path",
            "make a key with `tmkms softsign keygen -t consensus PATH`; for an enclave write encrypted_key_b64",
        ),
        (false, true) if fields.has("key_format") => {
            let at = fields.value("key_format").map(toml::Spanned::span).unwrap_or_default();
            let message =
                "`key_format` in [[providers.softsign]] goes with `path`: the form of what KMS decrypts is recognised";
            fields.fault(&at, message, "remove it");
        }
        _ => {}
    }
    let released = released.map(|At { value, at }| At { value: Source::Kms(value), at });
    released.or(file.map(|At { value, at }| At { value: Source::File(value), at }))
}

/// What a ciphertext is shows in its first bytes; whoever writes it down all the same shall be right.
fn check_envelope(fields: &mut Fields<'_, '_>) {
    let Some(At { value: is_named, at }) = fields.choice("envelope", &[("kms", false), ("data-key", true)]) else {
        return;
    };
    // Base64 of `tmkms-e1`, with which an envelope begins, as far as it does not depend on what follows.
    const BEGIN: &str = "dG1rbXMtZT";
    let Some(ciphertext) = fields.text("encrypted_key_b64") else { return };
    let is_envelope = ciphertext.value.trim_start().starts_with(BEGIN);
    if is_named == is_envelope {
        return;
    }
    let name = |is_envelope| if is_envelope { "\"data-key\"" } else { "\"kms\"" };
    let message = format!(
        "`envelope` in [[providers.softsign]]: expected {}, which `encrypted_key_b64` is, got {}",
        name(is_envelope),
        name(is_named)
    );
    fields.fault(&at, &message, "correct it, or leave it out: it is told by the ciphertext itself");
}

fn chain_ids(fields: &mut Fields<'_, '_>) -> Option<Vec<At<ChainId>>> {
    if !fields.has("chain_ids") {
        fields.missing("chain_ids", "list the chains that this key signs for: chain_ids = [\"cosmoshub-4\"]");
    }
    let list = fields.texts("chain_ids")?;
    if list.value.is_empty() {
        fields.fault(
            &list.at,
            "`chain_ids` is empty: this key would sign for no chain",
            "name a chain, or remove the section",
        );
    }
    let mut ids: Vec<At<ChainId>> = Vec::new();
    let mut seen = BTreeSet::new();
    for text in list.value {
        let Some(id) = chain_id(fields, text) else { continue };
        if !seen.insert(id.value.as_str().to_owned()) {
            fields.fault(&id.at, format!("`chain_ids` names {} twice", id.value), "remove one of them");
        }
        ids.push(id);
    }
    Some(ids)
}

pub(super) fn chain_id(fields: &mut Fields<'_, '_>, text: At<&str>) -> Option<At<ChainId>> {
    match ChainId::try_from(text.value) {
        Ok(value) => Some(At { value, at: text.at }),
        Err(error) => {
            fields.fault(&text.at, error.to_string(), "");
            None
        }
    }
}

pub(super) fn path(fields: &mut Fields<'_, '_>, key: &str, folder: &Path) -> Option<At<FilePath>> {
    let At { value, at } = fields.text(key)?;
    if value.is_empty() || value.contains('\0') {
        fields.fault(&at, format!("`{key}`: the path is empty or holds a zero byte"), "");
        return None;
    }
    if kms_key::is_text_of_a_key(value) {
        let message =
            format!("`{key}` in {}: expected a file's path; this looks like a key, not a path", fields.name());
        fields.fault(&at, message, "name a file; a key stands in one of its own, which only this signer can read");
        return None;
    }
    Some(At { value: FilePath::new(Path::new(value), folder), at })
}
