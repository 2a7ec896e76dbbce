//! A policy's text in, a [`Policy`] out. A name that is not known is refused: a policy with a typo protects nothing.
use super::{KmsPolicy, MeasuredEndpoint, Policy};
use crate::kms::KeyArn;
use crate::way::self_check::hex;
use base64ct::{Base64, Encoding};
use guard::ChainId;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// The longest policy and the longest TLS root's file, in bytes.
pub const MAX_POLICY_BYTES: u64 = 256 << 10;

/// Why a policy cannot be used; the enclave then does not start.
#[derive(Debug)]
pub enum PolicyError {
    /// A file cannot be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The text is wrong.
    Wrong {
        /// In which file.
        path: PathBuf,
        /// What, by its name in the file.
        what: String,
    },
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, error } => write!(f, "the measured policy {}: {error}", path.display()),
            Self::Wrong { path, what } => write!(f, "the measured policy {}: {what}", path.display()),
        }
    }
}

impl std::error::Error for PolicyError {}

type Read_<T> = Result<T, String>;

impl Policy {
    /// Reads the policy's file. None if there is no such name and `must_exist` does not ask for one, or if it is empty, as in an image for
    /// which none was chosen. A symbolic link that leads nowhere is a name: whoever put it there meant a policy.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn load(path: &Path, must_exist: bool) -> Result<Option<Self>, PolicyError> {
        let text = match read_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist && !is_name(path) => return Ok(None),
            other => other.map_err(|error| PolicyError::Unreadable { path: path.to_owned(), error })?,
        };
        if text.is_empty() {
            return Ok(None);
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let policy = Self::parse(&text, folder);
        policy.map(Some).map_err(|what| PolicyError::Wrong { path: path.to_owned(), what })
    }

    /// Parses a policy; `folder` is what the path of a TLS root is relative to.
    ///
    /// # Errors
    /// The first thing that is wrong, in words.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let table = DeTable::parse(text).map_err(|error| format!("not TOML: {}", error.message()))?;
        let mut policy = Self { sha256: hex(&Sha256::digest(text)), ..Self::default() };
        for (name, value) in table.get_ref() {
            match (name.get_ref().as_ref(), value.get_ref()) {
                ("kms", DeValue::Table(table)) => policy.kms = kms(table, folder)?,
                ("chains", DeValue::Table(table)) => chains(table, &mut policy)?,
                ("state", DeValue::Table(table)) => state(table)?,
                ("debug", DeValue::Table(table)) => policy.debug = debug(table)?,
                ("control", DeValue::Table(table)) => policy.token_sha256 = control(table)?,
                ("kms" | "chains" | "state" | "debug" | "control", _) => {
                    return Err(expected(name.get_ref(), "a table"));
                }
                (other, _) => return Err(unknown(other, "kms, chains, state, debug, control")),
            }
        }
        Ok(policy)
    }
}

/// Whether there is anything of that name. What cannot be told counts as there: without a policy the parent chooses everything.
fn is_name(path: &Path) -> bool {
    !path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_POLICY_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_POLICY_BYTES {
        let text = format!("expected at most {MAX_POLICY_BYTES} bytes, got more");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(text)
}

fn unknown(name: &str, known: &str) -> String {
    format!("unknown name {name:?}: known here are {known}")
}

fn expected(name: &str, what: &str) -> String {
    format!("`{name}`: expected {what}")
}

fn kms(table: &DeTable<'_>, folder: &Path) -> Read_<KmsPolicy> {
    let mut kms = KmsPolicy::default();
    for (name, value) in table {
        let (name, value) = (name.get_ref().as_ref(), value.get_ref());
        match name {
            "key_arns" => kms.key_arns = Some(key_arns(name, value)?),
            "accounts" => kms.accounts = Some(texts(name, value)?),
            "regions" => kms.regions = Some(texts(name, value)?),
            "encryption_context" => kms.encryption_context = context(name, value)?,
            "endpoint" => kms.endpoint = Some(endpoint(value, folder)?),
            other => {
                return Err(unknown(other, "key_arns, accounts, regions, encryption_context, endpoint in [kms]"));
            }
        }
    }
    Ok(kms)
}

/// One that is none would refuse every key, or, worse, be another one than it looks like.
fn key_arns(name: &str, value: &DeValue<'_>) -> Read_<BTreeSet<String>> {
    let arns = texts(name, value)?;
    arns.iter().try_for_each(|arn| KeyArn::parse(arn).map(drop)).map_err(|error| format!("`{name}`: {error}"))?;
    Ok(arns)
}

fn context(name: &str, value: &DeValue<'_>) -> Read_<BTreeMap<String, String>> {
    let pairs = pairs(name, value)?;
    let is_unclear = |value: &String| value.replace("{chain}", "").replace("{role}", "").contains(['{', '}']);
    match pairs.values().find(|value| is_unclear(value)) {
        Some(value) => Err(format!("`{name}`: known in braces are {{chain}} and {{role}}, got {value:?}")),
        None => Ok(pairs),
    }
}

fn endpoint(value: &DeValue<'_>, folder: &Path) -> Read_<MeasuredEndpoint> {
    let DeValue::Table(table) = value else { return Err(expected("endpoint", "a table")) };
    let (mut host, mut region, mut roots) = (None, None, Vec::new());
    for (name, value) in table {
        let (name, value) = (name.get_ref().as_ref(), value.get_ref());
        match name {
            "host" => host = Some(text(name, value)?),
            "region" => region = Some(text(name, value)?),
            "root_pem" => roots = certificates(name, &text(name, value)?)?,
            "root" => {
                let path = folder.join(text(name, value)?);
                let pem = read_file(&path).map_err(|error| format!("`root` {}: {error}", path.display()))?;
                roots = certificates(name, &pem)?;
            }
            other => return Err(unknown(other, "host, region, root_pem, root in `endpoint` of [kms]")),
        }
    }
    let missing = |name: &str| format!("`endpoint` in [kms]: `{name}` is missing");
    let (host, region) = (host.ok_or_else(|| missing("host"))?, region.ok_or_else(|| missing("region"))?);
    // A host that is none shows at the start, and not at the first push.
    crate::kms::Endpoint::measured(&host, 0, &roots).map_err(|error| error.to_string())?;
    Ok(MeasuredEndpoint { host, region, roots })
}

/// The certificates of a PEM text, in DER.
fn certificates(name: &str, pem: &str) -> Read_<Vec<Vec<u8>>> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let read = read.map_err(|error| format!("`{name}`: not PEM: {error}"))?;
    if read.is_empty() {
        Err(expected(name, "certificates in PEM"))
    } else {
        Ok(read.iter().map(|one| one.to_vec()).collect())
    }
}

fn chains(table: &DeTable<'_>, policy: &mut Policy) -> Read_<()> {
    for (name, value) in table {
        let (name, value) = (name.get_ref().as_ref(), value.get_ref());
        match name {
            "allowed" => {
                let ids: Result<_, _> = texts(name, value)?.iter().map(|id| chain_id(id)).collect();
                policy.chains = Some(ids?);
            }
            "public_keys" => {
                for (id, key) in pairs(name, value)? {
                    let is_key = Base64::decode_vec(&key).is_ok_and(|bytes| matches!(bytes.len(), 32 | 33));
                    if !is_key {
                        return Err(format!("`public_keys` of {id}: expected base64 of 32 or 33 bytes, got {key:?}"));
                    }
                    policy.public_keys.insert(chain_id(&id)?, key);
                }
            }
            other => return Err(unknown(other, "allowed, public_keys in [chains]")),
        }
    }
    Ok(())
}

fn chain_id(id: &str) -> Read_<ChainId> {
    ChainId::try_from(id).map_err(|error| format!("[chains]: {error}"))
}

/// `backends = ["persist"]`; others are not known to this version. It fixes nothing: persist and its files are the parent's.
fn state(table: &DeTable<'_>) -> Read_<()> {
    for (name, value) in table {
        match name.get_ref().as_ref() {
            "backends" => {
                let backends = texts("backends", value.get_ref())?;
                match backends.iter().find(|backend| *backend != "persist") {
                    Some(other) => return Err(format!("`backends` in [state]: expected \"persist\", got {other:?}")),
                    None if backends.is_empty() => {
                        return Err(expected("backends", "[\"persist\"], got an empty list"));
                    }
                    None => {}
                }
            }
            other => return Err(unknown(other, "backends in [state]")),
        }
    }
    Ok(())
}

fn control(table: &DeTable<'_>) -> Read_<Option<[u8; 32]>> {
    let mut digest = None;
    for (name, value) in table {
        match name.get_ref().as_ref() {
            "token_sha256" => {
                let text = text("token_sha256", value.get_ref())?;
                let what = "64 hexadecimal digits: the SHA-256 of the token's 32 bytes";
                let wrong = || format!("`token_sha256` in [control]: expected {what}, got {} characters", text.len());
                digest = Some(sha256_of(&text).ok_or_else(wrong)?);
            }
            other => return Err(unknown(other, "token_sha256 in [control]")),
        }
    }
    Ok(digest)
}

fn sha256_of(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let is_hex = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    for (index, byte) in bytes.iter_mut().enumerate().filter(|_| is_hex) {
        *byte = u8::from_str_radix(hex.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    is_hex.then_some(bytes)
}

fn debug(table: &DeTable<'_>) -> Read_<Option<bool>> {
    let mut allowed = None;
    for (name, value) in table {
        match (name.get_ref().as_ref(), value.get_ref()) {
            ("allowed", DeValue::Boolean(value)) => allowed = Some(*value),
            ("allowed", _) => return Err(expected("allowed", "true or false")),
            (other, _) => return Err(unknown(other, "allowed in [debug]")),
        }
    }
    Ok(allowed)
}

fn text(name: &str, value: &DeValue<'_>) -> Read_<String> {
    match value {
        DeValue::String(text) if !text.is_empty() => Ok(text.to_string()),
        _ => Err(expected(name, "a text")),
    }
}

fn texts(name: &str, value: &DeValue<'_>) -> Read_<BTreeSet<String>> {
    let DeValue::Array(items) = value else { return Err(expected(name, "a list of texts")) };
    items.iter().map(|item| text(name, item.get_ref())).collect()
}

fn pairs(name: &str, value: &DeValue<'_>) -> Read_<BTreeMap<String, String>> {
    let DeValue::Table(table) = value else { return Err(expected(name, "a table of texts")) };
    table.iter().map(|(key, value)| Ok((key.get_ref().to_string(), text(name, value.get_ref())?))).collect()
}
