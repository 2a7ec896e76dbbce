//! Keys in a folder: one file each, marked as a development key, readable by its owner only. Ciphertexts name their key.
use super::error::{Answer, Failure, fail};
use super::policy::{Attached, Policy};
use super::sigv4::hex;
use anyhow::{Context as _, Result, bail};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64ct::{Base64, Encoding as _};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const MARK: &str =
    "A DEVELOPMENT key of the simulated KMS: its material lies here in the clear. Never protect anything real with it.";
/// A blob begins with this and the key's id; both are authenticated.
const BLOB_MAGIC: &[u8; 5] = b"SIMK\x01";
const ID_BYTES: usize = 16;
const HEADER_BYTES: usize = BLOB_MAGIC.len() + ID_BYTES;

/// An encryption context: authenticated, not secret. Sorted by name.
pub type EncryptionContext = BTreeMap<String, String>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Enabled,
    Disabled,
    PendingDeletion,
}

impl State {
    /// AWS's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion => "PendingDeletion",
        }
    }
}

/// One key. Holds its material: no `Debug`, no `Serialize`.
pub struct Key {
    pub id: String,
    pub arn: String,
    pub description: String,
    /// Seconds since 1970.
    pub created: i64,
    pub state: State,
    /// Seconds since 1970; while the deletion is pending.
    pub deletion: Option<i64>,
    /// The policy's text, as it was put.
    pub policy_text: String,
    pub policy: Policy,
    material: Zeroizing<[u8; 32]>,
}

impl Key {
    /// Encrypts: header, nonce, ciphertext, tag.
    pub fn encrypt(&self, plaintext: &[u8], context: &EncryptionContext) -> Answer<Vec<u8>> {
        let mut blob = header(&self.id);
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| internal("no randomness"))?;
        let mut sealed = plaintext.to_vec();
        let aad = Aad::from(authenticated(&blob, context));
        let key = self.cipher()?;
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .map_err(|_| internal("sealing failed"))?;
        blob.extend_from_slice(&nonce);
        blob.extend_from_slice(&sealed);
        Ok(blob)
    }

    /// Decrypts what [`Key::encrypt`] made with the same context; anything else is `InvalidCiphertextException`, without a text as AWS has it.
    pub fn decrypt(&self, blob: &[u8], context: &EncryptionContext) -> Answer<Zeroizing<Vec<u8>>> {
        let invalid = || fail("InvalidCiphertextException", "");
        if blob.len() < HEADER_BYTES + NONCE_LEN {
            return Err(invalid());
        }
        let (head, rest) = blob.split_at(HEADER_BYTES);
        let (nonce, sealed) = rest.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| invalid())?;
        let mut plaintext = Zeroizing::new(sealed.to_vec());
        let aad = Aad::from(authenticated(head, context));
        let length = self.cipher()?.open_in_place(nonce, aad, &mut plaintext).map_err(|_| invalid())?.len();
        plaintext.truncate(length);
        Ok(plaintext)
    }

    fn cipher(&self) -> Answer<LessSafeKey> {
        let key = UnboundKey::new(&AES_256_GCM, self.material.as_ref()).map_err(|_| internal("bad key material"))?;
        Ok(LessSafeKey::new(key))
    }
}

/// The id of the key that a blob names; nothing if it is no blob of ours.
pub fn key_of(blob: &[u8]) -> Option<String> {
    let id = blob.strip_prefix(BLOB_MAGIC)?.get(..ID_BYTES)?;
    Some(spell_id(id))
}

fn internal(text: &str) -> Failure {
    Failure { kind: "KMSInternalException", message: text.to_owned(), status: 500 }
}

fn header(id: &str) -> Vec<u8> {
    let digits: Vec<u8> = id.bytes().filter(|byte| *byte != b'-').collect();
    let bytes = digits.chunks(2).filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    BLOB_MAGIC.iter().copied().chain(bytes).collect()
}

/// Header and context, each name and value with its length, so that no two contexts have the same bytes.
fn authenticated(header: &[u8], context: &EncryptionContext) -> Vec<u8> {
    let mut out = header.to_vec();
    for text in context.iter().flat_map(|(name, value)| [name, value]) {
        out.extend_from_slice(&(text.len() as u64).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out
}

fn spell_id(bytes: &[u8]) -> String {
    let digits = hex(bytes);
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

/// A random id in a UUID's shape (version 4).
pub fn random_id() -> Result<String> {
    let mut bytes = [0; ID_BYTES];
    rand::fill(&mut bytes).context("no randomness")?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(spell_id(&bytes))
}

/// All keys of one account in one region.
pub struct Keys {
    folder: PathBuf,
    arn_prefix: String,
    keys: BTreeMap<String, Key>,
}

impl Keys {
    /// Opens the folder, makes it if needed, and reads its keys.
    ///
    /// # Errors
    /// A file that is no key of this account and region, with its name.
    pub fn open(folder: &Path, region: &str, account: &str) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let arn_prefix = format!("arn:aws:kms:{region}:{account}:key/");
        let mut keys = Self { folder: folder.to_owned(), arn_prefix, keys: BTreeMap::new() };
        for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let key = keys.read(&path).with_context(|| format!("{}: not a key of this KMS", path.display()))?;
                keys.keys.insert(key.id.clone(), key);
            }
        }
        Ok(keys)
    }

    /// Makes a key.
    pub fn create(&mut self, description: &str, policy: &str, now: i64) -> Answer<&Key> {
        let parsed = Policy::parse(policy, Attached::Key)?;
        let id = random_id().map_err(|error| internal(&error.to_string()))?;
        let mut material = Zeroizing::new([0; 32]);
        rand::fill(material.as_mut()).map_err(|_| internal("no randomness"))?;
        let key = Key {
            arn: format!("{}{id}", self.arn_prefix),
            id: id.clone(),
            description: description.to_owned(),
            created: now,
            state: State::Enabled,
            deletion: None,
            policy_text: policy.to_owned(),
            policy: parsed,
            material,
        };
        self.save(&key)?;
        Ok(self.keys.entry(id).or_insert(key))
    }

    /// Changes a key, and its file.
    pub fn change(&mut self, id: &str, change: impl FnOnce(&mut Key)) -> Answer<()> {
        let key = self.keys.get_mut(id).ok_or_else(|| internal("no such key"))?;
        change(key);
        let key = &self.keys[id];
        self.save(key)
    }

    /// A key by its id.
    pub fn get(&self, id: &str) -> Option<&Key> {
        self.keys.get(id)
    }

    /// A key by id or ARN, as requests name it.
    ///
    /// # Errors
    /// `NotFoundException` as AWS words it.
    pub fn find(&self, name: &str) -> Answer<&Key> {
        let id = name.strip_prefix(&self.arn_prefix).unwrap_or(name);
        let missing = || {
            if name.starts_with("alias/") || name.contains(":alias/") {
                return fail("NotFoundException", format!("Alias {name} is not found."));
            }
            let arn = if name.starts_with("arn:") { name.to_owned() } else { format!("{}{name}", self.arn_prefix) };
            fail("NotFoundException", format!("Key '{arn}' does not exist"))
        };
        self.keys.get(id).ok_or_else(missing)
    }

    pub fn all(&self) -> impl Iterator<Item = &Key> {
        self.keys.values()
    }

    fn save(&self, key: &Key) -> Answer<()> {
        let text = json!({
            "_": MARK,
            "id": key.id,
            "description": key.description,
            "created": key.created,
            "state": key.state.name(),
            "deletion": key.deletion,
            "policy": key.policy_text,
            "material": Base64::encode_string(key.material.as_ref()),
        });
        let path = self.folder.join(format!("{}.json", key.id));
        let text = Zeroizing::new(format!("{text:#}\n"));
        write_private(&path, text.as_bytes()).map_err(|error| internal(&format!("{}: {error}", path.display())))
    }

    fn read(&self, path: &Path) -> Result<Key> {
        let text = Zeroizing::new(std::fs::read_to_string(path)?);
        let value: Value = serde_json::from_str(&text).map_err(|error| anyhow::anyhow!("line {}", error.line()))?;
        let field = |name: &str| value[name].as_str().with_context(|| format!("no {name}"));
        let mut material = Zeroizing::new([0; 32]);
        let decoded = Base64::decode(field("material")?, material.as_mut()).map(<[u8]>::len);
        if decoded != Ok(32) || value["_"] != MARK {
            bail!("not marked as a development key, or its material is not 32 bytes");
        }
        let state = match field("state")? {
            "Enabled" => State::Enabled,
            "Disabled" => State::Disabled,
            "PendingDeletion" => State::PendingDeletion,
            other => bail!("unknown state {other}"),
        };
        let policy_text = field("policy")?.to_owned();
        let policy = Policy::parse(&policy_text, Attached::Key).map_err(|failure| anyhow::anyhow!(failure.message))?;
        let id = field("id")?.to_owned();
        Ok(Key {
            arn: format!("{}{id}", self.arn_prefix),
            id,
            description: field("description")?.to_owned(),
            created: value["created"].as_i64().unwrap_or_default(),
            state,
            deletion: value["deletion"].as_i64(),
            policy_text,
            policy,
            material,
        })
    }
}

/// Writes a file that only its owner may read, whole or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    std::fs::rename(&beside, path)
}
