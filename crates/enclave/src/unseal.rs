//! From what KMS released to a key: the forms that `aws kms encrypt --plaintext fileb://…` is given.
//!
//! The form is told by its length, which is beyond doubt where looks are not: 32 or 64 bytes are raw, 44 or 88
//! characters base64, and a `priv_validator_key.json` is longer. Each may have a newline at its end.
pub mod envelope;

use signer::keys::{Algorithm, ConsensusKey, IdentityKey, KeyFormat, Problem, PublicKey};
use std::fmt;

/// Why what KMS released is not the key that it should be. No byte of it is in these texts.
#[derive(Debug)]
pub enum UnsealError {
    /// It has a length that no form has.
    Form {
        /// Its length in bytes.
        got_bytes: usize,
    },
    /// Its form is one, and something else is wrong with it.
    Key(Problem),
    /// It is another key.
    OtherKey {
        /// The pinned public key.
        expected: PublicKey,
        /// That of the released key.
        got: PublicKey,
    },
}

impl fmt::Display for UnsealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form { got_bytes } => write!(
                f,
                "what KMS decrypted is no key: expected 32 or 64 raw bytes, their base64 (44 or 88 characters), or a \
                 priv_validator_key.json, each with or without a newline, got {got_bytes} bytes; encrypt the key again with `aws kms \
                 encrypt --plaintext fileb://PATH`"
            ),
            Self::Key(problem) => write!(f, "what KMS decrypted is no key that can be used: {problem}"),
            Self::OtherKey { expected, got } => write!(
                f,
                "what KMS decrypted is another key: expected the public key {expected}, got {got}; it is not used: correct \
                 `encrypted_key_b64` or `public_key` (a pin of the measured policy is changed with a new image)"
            ),
        }
    }
}

impl std::error::Error for UnsealError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        None
    }
}

/// The key that signs votes. `expected` is the pinned public key.
///
/// # Errors
/// The plaintext is no key of that algorithm, or another key than the pinned one.
pub fn consensus_key(
    plaintext: &[u8],
    algorithm: Algorithm,
    expected: Option<&PublicKey>,
) -> Result<ConsensusKey, UnsealError> {
    let key = match form(plaintext)? {
        Form::Raw(secret) => ConsensusKey::from_secret(secret, algorithm),
        Form::Base64 => ConsensusKey::decode(plaintext, KeyFormat::Base64, Some(algorithm)),
        Form::Json => ConsensusKey::decode(plaintext, KeyFormat::Json, Some(algorithm)),
    };
    let key = key.map_err(UnsealError::Key)?;
    check(key.public_key(), expected)?;
    Ok(key)
}

/// The key that a SecretConnection shows to a node: ed25519. `expected` is the pinned public key.
///
/// # Errors
/// The plaintext is no such key, or another key than the pinned one.
pub fn identity_key(plaintext: &[u8], expected: Option<&PublicKey>) -> Result<IdentityKey, UnsealError> {
    let key = match form(plaintext)? {
        Form::Raw(secret) => IdentityKey::from_secret(secret),
        // A file of a validator's key is refused there: it must not become an identity.
        Form::Base64 | Form::Json => IdentityKey::decode(plaintext),
    };
    let key = key.map_err(UnsealError::Key)?;
    check(key.public_key(), expected)?;
    Ok(key)
}

fn check(got: &PublicKey, expected: Option<&PublicKey>) -> Result<(), UnsealError> {
    match expected {
        Some(expected) if expected != got => Err(UnsealError::OtherKey { expected: *expected, got: *got }),
        _ => Ok(()),
    }
}

enum Form<'a> {
    Raw(&'a [u8]),
    Base64,
    Json,
}

/// The shortest priv_validator_key.json has more than 200 bytes.
const MIN_JSON_BYTES: usize = 100;

fn form(plaintext: &[u8]) -> Result<Form<'_>, UnsealError> {
    // Only a length that no form has without one tells a newline from a secret's last byte.
    let content = match plaintext.len() {
        33 | 45 | 65 | 89 | 129 => plaintext.strip_suffix(b"\n"),
        34 | 46 | 66 | 90 | 130 => plaintext.strip_suffix(b"\r\n"),
        _ => None,
    };
    let content = content.unwrap_or(plaintext);
    match content.len() {
        // 32 bytes in hexadecimal, which no setting reads and the decoder names; 64 raw bytes that look so do not exist.
        64 if content.iter().all(u8::is_ascii_hexdigit) => Ok(Form::Base64),
        32 | 64 => Ok(Form::Raw(content)),
        // 128: the longer secrets of other tools, of which the decoder says what they are.
        44 | 88 | 128 => Ok(Form::Base64),
        MIN_JSON_BYTES.. => Ok(Form::Json),
        got_bytes => Err(UnsealError::Form { got_bytes }),
    }
}
