//! From a key file's contents to a key: the forms without a type in them, and which form contents look like.
use super::buffer::{SECRET_BYTES, Secret};
use super::pair::KeyPair;
use super::{Algorithm, Problem, PublicKey, Shape, UnknownName, json};
use base64ct::{Base64, Encoding};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// The longest secret that is decoded to be told apart: tmkms's 96-byte form of a YubiHSM's key.
const MAX_DECODED_BYTES: usize = 96;

/// How a key file is written: the setting `key_format` of `[[providers.softsign]]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyFormat {
    /// Base64 of the secret, a newline at the end or none: what tmkms writes. 32 bytes, or for ed25519 also the 64
    /// bytes seed‖public.
    #[default]
    Base64,
    /// CometBFT's `priv_validator_key.json`.
    Json,
    /// The bytes themselves, 32 or 64 as above.
    Raw,
}

impl KeyFormat {
    /// The setting's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base64 => "base64",
            Self::Json => "json",
            Self::Raw => "raw",
        }
    }
}

impl fmt::Display for KeyFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KeyFormat {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "base64" => Ok(Self::Base64),
            "json" => Ok(Self::Json),
            "raw" => Ok(Self::Raw),
            _ => Err(UnknownName { what: "key_format", expected: "\"base64\", \"json\" or \"raw\"", got: name.into() }),
        }
    }
}

/// Reads a key file's contents. A form that does not name its algorithm is `algorithm`'s, or ed25519.
pub(super) fn decode(contents: &[u8], format: KeyFormat, algorithm: Option<Algorithm>) -> Result<KeyPair, Problem> {
    if contents.is_empty() || (format != KeyFormat::Raw && contents.trim_ascii().is_empty()) {
        return Err(Problem::Empty);
    }
    if let Some(shape) = shape_of(contents).filter(|shape| shape.format() != Some(format)) {
        return Err(Problem::OtherFormat { format, shape });
    }
    match format {
        KeyFormat::Base64 => from_base64(contents.trim_ascii_end(), algorithm.unwrap_or_default()),
        KeyFormat::Json => json::decode(contents, algorithm),
        KeyFormat::Raw => from_bytes(contents, algorithm.unwrap_or_default()),
    }
}

/// Decodes base64 in constant time into a buffer of a fixed size.
pub(super) fn from_base64(text: &[u8], algorithm: Algorithm) -> Result<KeyPair, Problem> {
    if text.len() > Base64::encoded_len(&[0; MAX_DECODED_BYTES]) {
        return Err(Problem::Length { algorithm, got: text.len() / 4 * 3 });
    }
    let mut buffer = Zeroizing::new([0; MAX_DECODED_BYTES]);
    let bytes = Base64::decode(text, buffer.as_mut_slice()).map_err(|_| Problem::Base64)?;
    from_bytes(bytes, algorithm)
}

/// The secret's bytes, by the lengths that each algorithm has.
pub(super) fn from_bytes(bytes: &[u8], algorithm: Algorithm) -> Result<KeyPair, Problem> {
    match (algorithm, bytes.len()) {
        (_, SECRET_BYTES) => KeyPair::derive(copied(bytes, algorithm)?, algorithm),
        (Algorithm::Ed25519, 64) => with_public_half(bytes),
        (Algorithm::Ed25519, 96) => Err(Problem::ExpandedKey),
        (_, got) => Err(Problem::Length { algorithm, got }),
    }
}

fn copied(bytes: &[u8], algorithm: Algorithm) -> Result<Secret, Problem> {
    let secret = bytes.first_chunk().ok_or(Problem::Length { algorithm, got: bytes.len() })?;
    Ok(Secret::copied_from(secret))
}

/// Go's 64 bytes, seed‖public. The stored half is only compared: signing with a wrong one would leak the secret.
///
/// tmkms 0.15 takes 64 bytes of base64 for an expanded key instead, scalar‖nonce key. The comparison fails for such a
/// key, and as its second half is secret, the stored half is never shown.
fn with_public_half(bytes: &[u8]) -> Result<KeyPair, Problem> {
    let pair = KeyPair::derive(copied(bytes, Algorithm::Ed25519)?, Algorithm::Ed25519)?;
    if pair.public().as_bytes() == &bytes[SECRET_BYTES..] {
        Ok(pair)
    } else {
        Err(Problem::PublicHalf { derived: *pair.public() })
    }
}

/// Which form contents look like, where that is beyond doubt.
fn shape_of(contents: &[u8]) -> Option<Shape> {
    let text = contents.trim_ascii();
    let is_printed = contents.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    match text.len() {
        // First: raw bytes may begin with any character.
        _ if !is_printed => matches!(contents.len(), 32 | 64).then_some(Shape::Raw),
        64 | 128 if text.iter().all(u8::is_ascii_hexdigit) => Some(Shape::Hex),
        44 | 88 | 128 if text.iter().all(is_base64) => Some(Shape::Base64),
        _ if text.starts_with(b"{") => Some(Shape::Json),
        _ if text.starts_with(b"-----BEGIN ") => Some(Shape::Pem),
        _ => None,
    }
}

fn is_base64(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// The public key that a file claims, if it is one of that algorithm's length.
pub(super) fn claimed_public_key(base64: &str, algorithm: Algorithm) -> Option<PublicKey> {
    let mut buffer = [0; 48];
    let bytes = Base64::decode(base64, &mut buffer).ok()?;
    match algorithm {
        Algorithm::Ed25519 => bytes.try_into().ok().map(PublicKey::Ed25519),
        Algorithm::Secp256k1 => bytes.try_into().ok().map(PublicKey::Secp256k1),
    }
}
