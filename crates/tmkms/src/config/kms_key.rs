//! Reads the settings of a key that KMS releases: what is encrypted, where, and what it is held against. No message
//! shows a value that could be a secret.
use super::fields::{At, Fields, shorten, shorten_public};
use super::schema;
use super::{KmsKey, MAX_CIPHERTEXT_BYTES};
use base64ct::{Base64, Base64Unpadded, Base64Url, Base64UrlUnpadded, Encoding};
use signer::keys::{Algorithm, PublicKey};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use toml::de::DeValue;
use wire::control::Credentials;
use zeroize::Zeroizing;

/// The settings beside the ciphertext that say how KMS releases it, in both sections that can have one.
const WITH_A_CIPHERTEXT: [&str; 4] = ["aws_region", "kms_key_arn", "encryption_context", "credentials"];
/// The longest encryption context, keys and values together, in bytes; ours.
const MAX_CONTEXT_BYTES: usize = 8 * 1024;
/// The longest name of a region, in bytes; ours. AWS's longest has 14, and no key is as short.
const MAX_REGION_BYTES: usize = 31;
/// What is said of a text that is a key and not a ciphertext.
const ENCRYPT_HELP: &str = "this file is no place for it: encrypt it (`aws kms encrypt --key-id ARN --plaintext fileb://FILE --query \
                            CiphertextBlob --output text`) and write what that prints";

/// Reads the ciphertext under `name` and what belongs to it; none if there is no such name, or with a fault.
pub(super) fn read(
    fields: &mut Fields<'_, '_>,
    name: &'static str,
    algorithm: Algorithm,
    public_key: Option<PublicKey>,
) -> Option<At<Arc<KmsKey>>> {
    if !fields.has(name) {
        for other in WITH_A_CIPHERTEXT {
            refuse_without(fields, other, name);
        }
        return None;
    }
    let found = ciphertext(fields, name);
    let region = region(fields);
    let key_arn = key_arn(fields, region.as_deref());
    let encryption_context = context(fields);
    let credentials = credentials(fields);
    let At { value: ciphertext, at } = found?;
    let key = KmsKey {
        ciphertext,
        region: region?,
        algorithm,
        key_arn,
        encryption_context: encryption_context?,
        public_key,
        credentials,
    };
    Some(At { value: Arc::new(key), at })
}

/// A setting that means something only beside another one.
pub(super) fn refuse_without(fields: &mut Fields<'_, '_>, name: &'static str, needed: &str) {
    let Some(at) = fields.value(name).map(Spanned::span) else { return };
    let message = format!("`{name}` in {} goes with `{needed}`, which is not there", fields.name());
    fields.fault(&at, message, format!("remove it, or add `{needed}`"));
}

fn ciphertext(fields: &mut Fields<'_, '_>, name: &'static str) -> Option<At<Zeroizing<Vec<u8>>>> {
    let At { value: text, at } = fields.text(name)?;
    let section = fields.name();
    let fault = if text.is_empty() {
        "is empty".to_owned()
    } else if looks_like_json(text.as_bytes()) {
        fields.fault(&at, format!("`{name}` in {section}: this looks like an unencrypted key file"), ENCRYPT_HELP);
        return None;
    } else if text.len() > MAX_CIPHERTEXT_BYTES.div_ceil(3) * 4 {
        format!("expected at most {MAX_CIPHERTEXT_BYTES} bytes of ciphertext, got {} characters", text.len())
    } else {
        match decode(text) {
            None => "is not base64 (standard, with padding, on one line)".to_owned(),
            Some(bytes) if looks_like_a_key(&bytes) => {
                fields.fault(&at, format!("`{name}` in {section}: this looks like an unencrypted key"), ENCRYPT_HELP);
                return None;
            }
            Some(bytes) if bytes.len() > MAX_CIPHERTEXT_BYTES => {
                format!("expected at most {MAX_CIPHERTEXT_BYTES} bytes of ciphertext, got {}", bytes.len())
            }
            Some(value) => return Some(At { value, at }),
        }
    };
    let help = "write the CiphertextBlob that `aws kms encrypt … --query CiphertextBlob --output text` prints";
    fields.fault(&at, format!("`{name}` in {section}: {fault}"), help);
    None
}

fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; text.len()]);
    let length = Base64::decode(text, &mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}

/// A raw key (a seed, or with its public half), the base64 text of one, or a key file: what a ciphertext never is.
fn looks_like_a_key(bytes: &[u8]) -> bool {
    let is_key = |length: usize| length == 32 || length == 64;
    let inner = || {
        let text = std::str::from_utf8(bytes).ok()?;
        decode(text.trim())
    };
    is_key(bytes.len()) || looks_like_json(bytes) || inner().is_some_and(|inner| is_key(inner.len()))
}

/// Whether a text is the base64 or the hexadecimal of a key's 32 or 64 bytes, which is what a path never should be.
pub(super) fn is_text_of_a_key(text: &str) -> bool {
    const LONGEST: usize = 128;
    let text = text.trim();
    if text.len() > LONGEST {
        return false;
    }
    let mut bytes = Zeroizing::new([0; LONGEST]);
    let mut is_key = |decode: fn(&str, &mut [u8]) -> Option<usize>| {
        decode(text, bytes.as_mut_slice()).is_some_and(|length| length == 32 || length == 64)
    };
    let is_hex = matches!(text.len(), 64 | 128) && text.bytes().all(|b| b.is_ascii_hexdigit());
    // Without the padding a path of letters and slashes has the same form.
    let is_plain = !text.contains('/');
    is_hex
        || is_key(|text, to| Base64::decode(text, to).ok().map(<[u8]>::len))
        || is_key(|text, to| Base64Url::decode(text, to).ok().map(<[u8]>::len))
        || (is_plain && is_key(|text, to| Base64Unpadded::decode(text, to).ok().map(<[u8]>::len)))
        || (is_plain && is_key(|text, to| Base64UrlUnpadded::decode(text, to).ok().map(<[u8]>::len)))
}

fn looks_like_json(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"{")
}

fn region(fields: &mut Fields<'_, '_>) -> Option<String> {
    let help = "write the region of the KMS key, such as aws_region = \"eu-west-1\"";
    let At { value, at } = fields.required_text("aws_region", help)?;
    let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=MAX_REGION_BYTES).contains(&value.len()) && value.bytes().all(is_name) {
        warn_of_unknown(fields, value, &at);
        return Some(value.to_owned());
    }
    let message = format!(
        "`aws_region` in {}: expected a region's name in lower case, got \"{}\"",
        fields.name(),
        shorten(value)
    );
    fields.fault(&at, message, help);
    None
}

/// A warning only: the measured policy may name a region that is not in the table.
#[cfg(feature = "nitro-enclave")]
fn warn_of_unknown(fields: &mut Fields<'_, '_>, region: &str, at: &Range<usize>) {
    if let Err(error) = enclave::kms::Region::find(region) {
        fields.warn(at, error.to_string(), "");
    }
}

#[cfg(not(feature = "nitro-enclave"))]
fn warn_of_unknown(_: &mut Fields<'_, '_>, _: &str, _: &Range<usize>) {}

/// An alias or a bare id will not do: the answer of KMS names the key by its ARN, and the two are compared.
fn key_arn(fields: &mut Fields<'_, '_>, region: Option<&str>) -> Option<String> {
    let At { value, at } = fields.text("kms_key_arn")?;
    let section = fields.name();
    let Some(found) = arn_region(value) else {
        let message = format!(
            "`kms_key_arn` in {section}: expected arn:aws:kms:REGION:ACCOUNT:key/ID, got \"{}\"",
            if looks_like_an_id(value) { shorten_public(value) } else { shorten(value) }
        );
        let help = "an alias or a bare id will not do: `aws kms describe-key --key-id …` prints the Arn";
        fields.fault(&at, message, help);
        return None;
    };
    if let Some(region) = region.filter(|region| *region != found) {
        let message = format!("`kms_key_arn` in {section}: the key is in {found}, but `aws_region` is {region}");
        fields.fault(&at, message, "write the region of the key's ARN as aws_region");
    }
    Some(value.to_owned())
}

/// Whether it is an ARN in some form, or a KMS key's bare id, neither of which is a secret.
fn looks_like_an_id(text: &str) -> bool {
    let parts: Vec<_> = text.splitn(6, '-').map(str::len).collect();
    text.starts_with("arn:") || (parts == [8, 4, 4, 4, 12] && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'))
}

/// The region of `arn:PARTITION:kms:REGION:ACCOUNT:key/ID`, if it is one.
fn arn_region(arn: &str) -> Option<&str> {
    const MAX_ARN_BYTES: usize = 256;
    let parts: Vec<_> = arn.splitn(7, ':').collect();
    let ["arn", partition, "kms", region, account, resource] = parts.as_slice() else { return None };
    let key = resource.strip_prefix("key/")?;
    let is_name = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    let good = arn.len() <= MAX_ARN_BYTES && is_account && [*partition, *region, key].into_iter().all(is_name);
    good.then_some(*region)
}

/// A table of texts, empty where there is none; none with a fault.
fn context(fields: &mut Fields<'_, '_>) -> Option<BTreeMap<String, String>> {
    let Some(found) = fields.value("encryption_context") else { return Some(BTreeMap::new()) };
    let mut context = BTreeMap::new();
    let mut is_good = true;
    let mut fault = |at: &Range<usize>, what: &str| {
        let message = format!("`encryption_context` in {}: {what}", fields.name());
        fields.fault(at, message, "write it as at encryption: encryption_context = { chain = \"cosmoshub-4\" }");
        is_good = false;
    };
    let DeValue::Table(table) = found.get_ref() else {
        fault(&found.span(), "expected a table of texts");
        return None;
    };
    for (name, value) in table {
        match value.get_ref() {
            DeValue::String(text) if !name.get_ref().is_empty() => {
                drop(context.insert(name.get_ref().to_string(), text.to_string()));
            }
            _ => fault(&value.span(), "expected a table of texts"),
        }
    }
    let bytes: usize = context.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_CONTEXT_BYTES {
        fault(&found.span(), &format!("expected at most {MAX_CONTEXT_BYTES} bytes, got {bytes}"));
    }
    is_good.then_some(context)
}

/// No message shows any of them: a mistyped one is a secret all the same.
fn credentials(fields: &mut Fields<'_, '_>) -> Option<Credentials> {
    let mut inner = fields.table("credentials", &schema::CREDENTIALS)?;
    let help = "write all of them, or remove `credentials`: the parent's own are then pushed";
    let id = inner.required_text("access_key_id", help);
    let id = id.and_then(|text| checked(&mut inner, "access_key_id", &text, |b| b.is_ascii_alphanumeric(), 128));
    let secret = inner.required_text("secret_access_key", help);
    let secret =
        secret.and_then(|text| checked(&mut inner, "secret_access_key", &text, |b| b.is_ascii_graphic(), 1024));
    let token = inner.text("session_token");
    let token = token.and_then(|text| checked(&mut inner, "session_token", &text, |b| b.is_ascii_graphic(), 12 * 1024));
    let (access_key_id, secret_access_key) = (id?, secret?);
    // AWS IAM, "Unique identifiers": ASIA is the prefix of temporary keys.
    if access_key_id.starts_with("ASIA") && !inner.has("session_token") {
        inner.missing(
            "session_token",
            "a key id that begins with ASIA is a temporary one, and is worth nothing without its token",
        );
    }
    Some(Credentials {
        access_key_id,
        secret_access_key,
        session_token: token,
        expires_at: None,
        source: "the configuration".to_owned(),
    })
}

fn checked(
    fields: &mut Fields<'_, '_>,
    name: &str,
    text: &At<&str>,
    allowed: fn(&u8) -> bool,
    most: usize,
) -> Option<Zeroizing<String>> {
    if !text.value.is_empty() && text.value.len() <= most && text.value.as_bytes().iter().all(allowed) {
        return Some(Zeroizing::new(text.value.to_owned()));
    }
    let message = format!("`{name}` in {}: it is empty, too long, or has a character that none has", fields.name());
    fields.fault(&text.at, message, "copy it again, without blanks and line ends");
    None
}

/// The public key that has to come out.
pub(super) fn public_key(fields: &mut Fields<'_, '_>, algorithm: Algorithm) -> Option<PublicKey> {
    let At { value, at } = fields.text("public_key")?;
    let bytes = decode(value).unwrap_or_default();
    let key = match algorithm {
        Algorithm::Ed25519 => bytes.as_slice().try_into().ok().map(PublicKey::Ed25519),
        Algorithm::Secp256k1 => bytes.as_slice().try_into().ok().map(PublicKey::Secp256k1),
    };
    if key.is_none() {
        let expected = match algorithm {
            Algorithm::Ed25519 => "32 bytes of ed25519 in base64",
            Algorithm::Secp256k1 => "33 bytes of secp256k1 in base64",
        };
        let message = format!(
            "`public_key` in {}: expected {expected}, got {} characters for {} bytes",
            fields.name(),
            value.chars().count(),
            bytes.len()
        );
        fields.fault(
            &at,
            message,
            "`tmkms keys show` prints it as base64; in JSON forms it is the value of `value` or `key`",
        );
    }
    key
}
