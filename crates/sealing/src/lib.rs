//! A key sealed to one enclave, by HPKE (RFC 9180, base mode): whoever carries it, the parent among them, sees nothing of it and changes
//! nothing of what it is to become.
//!
//! Sealed are at most [`MAX_SECRET_BYTES`]; the bytes are the encapsulated key (32) and the ciphertext. Authenticated is the [`Intent`]. Who
//! sealed it is not: whoever has the enclave's public key can. That it is the right key says its public half, which is in the intent and
//! which people compare.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as HPKE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};
use std::fmt;
use zeroize::Zeroizing;

/// The suite, by RFC 9180's names.
pub const SUITE: &str = "DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM";
/// The longest secret: a key file of any form.
pub const MAX_SECRET_BYTES: usize = 2 << 10;
/// The longest sealed bytes.
pub const MAX_SEALED_BYTES: usize = MAX_SECRET_BYTES + ENCAPSULATED_BYTES + TAG_BYTES;

const ENCAPSULATED_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const INFO: &[u8] = b"tmkms sealed import v1";

/// What the key is to become. All of it is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent<'a> {
    /// The chain.
    pub chain_id: &'a str,
    /// "consensus" or "identity".
    pub purpose: &'a str,
    /// "ed25519" or "secp256k1".
    pub algorithm: &'a str,
    /// The KMS key that it is to be encrypted under.
    pub key_arn: &'a str,
    /// How.
    pub method: &'a str,
    /// Its public half, in base64.
    pub public_key: &'a str,
}

/// Why something cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The secret has a length that no key file has.
    Length {
        /// In bytes.
        got: usize,
    },
    /// The enclave's public key is none.
    PublicKey,
    /// It does not open: for another enclave, another life of it, or another intent; or it was changed.
    DoesNotOpen,
    /// No key could be made.
    NoKey,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { got } => write!(f, "the key: expected 1 to {MAX_SECRET_BYTES} bytes, got {got}"),
            Self::PublicKey => f.write_str("the enclave's public key is not one of X25519"),
            Self::DoesNotOpen => f.write_str(
                "the sealed key does not open: it was sealed to another offer than the enclave's last one, for something else than is ordered, or \
                 was changed",
            ),
            Self::NoKey => f.write_str("no key for sealing could be made"),
        }
    }
}

impl std::error::Error for SealError {}

impl Intent<'_> {
    /// The bytes that are authenticated: each text behind its length (4 bytes, big-endian).
    fn bytes(&self) -> Vec<u8> {
        let Self { chain_id, purpose, algorithm, key_arn, method, public_key } = self;
        let mut out = Vec::new();
        for text in [chain_id, purpose, algorithm, key_arn, method, public_key] {
            out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out
    }
}

/// Seals a secret to an enclave's public key.
///
/// # Errors
/// [`SealError`].
pub fn seal(public_key: &[u8], intent: &Intent<'_>, secret: &[u8]) -> Result<Vec<u8>, SealError> {
    if !(1..=MAX_SECRET_BYTES).contains(&secret.len()) {
        return Err(SealError::Length { got: secret.len() });
    }
    let key = HpkePublicKey(public_key.to_vec());
    let (encapsulated, ciphertext) =
        HPKE.seal(INFO, &intent.bytes(), secret, &key).map_err(|_| SealError::PublicKey)?;
    Ok([encapsulated.0, ciphertext].concat())
}

/// An enclave's one-time key. No `Debug`, no `Clone`; zeroized.
pub struct Recipient {
    private: HpkePrivateKey,
    public: Vec<u8>,
}

impl Recipient {
    /// Makes one.
    ///
    /// # Errors
    /// [`SealError::NoKey`].
    pub fn generate() -> Result<Self, SealError> {
        let (public, private) = HPKE.generate_key_pair().map_err(|_| SealError::NoKey)?;
        Ok(Self { private, public: public.0 })
    }

    /// The public half, 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public
    }

    /// Opens what was sealed to it for that intent.
    ///
    /// # Errors
    /// [`SealError::DoesNotOpen`].
    pub fn open(&self, intent: &Intent<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (encapsulated, ciphertext) = sealed.split_at_checked(ENCAPSULATED_BYTES).ok_or(SealError::DoesNotOpen)?;
        if sealed.len() > MAX_SEALED_BYTES {
            return Err(SealError::DoesNotOpen);
        }
        let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
        HPKE.open(&encapsulated, INFO, &intent.bytes(), ciphertext, &self.private)
            .map(Zeroizing::new)
            .map_err(|_| SealError::DoesNotOpen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTENT: Intent<'_> = Intent {
        chain_id: "a-1",
        purpose: "consensus",
        algorithm: "ed25519",
        key_arn: "arn:x",
        method: "kms-encrypt",
        public_key: "AAAA",
    };

    #[test]
    fn what_was_sealed_opens_there_for_its_intent_and_nowhere_else() {
        let recipient = Recipient::generate().unwrap();
        let sealed = seal(recipient.public_key(), &INTENT, b"a secret of a test").unwrap();
        assert_eq!(sealed.len(), 32 + 18 + 16);
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(Recipient::generate().unwrap().open(&INTENT, &sealed).err(), Some(SealError::DoesNotOpen));
        assert_eq!(recipient.open(&INTENT, &sealed).unwrap().as_slice(), b"a secret of a test");
    }

    #[test]
    fn no_field_of_the_intent_and_no_byte_can_be_changed() {
        let fresh = || {
            let recipient = Recipient::generate().unwrap();
            let sealed = seal(recipient.public_key(), &INTENT, &[7; 32]).unwrap();
            (recipient, sealed)
        };
        let others = [
            Intent { chain_id: "a-2", ..INTENT },
            Intent { purpose: "identity", ..INTENT },
            Intent { algorithm: "secp256k1", ..INTENT },
            Intent { key_arn: "arn:y", ..INTENT },
            Intent { method: "data-key", ..INTENT },
            Intent { public_key: "AAAB", ..INTENT },
            // What moves from one field to the next is another intent.
            Intent { chain_id: "a-1c", purpose: "onsensus", ..INTENT },
        ];
        for other in others {
            let (recipient, sealed) = fresh();
            assert_eq!(recipient.open(&other, &sealed).err(), Some(SealError::DoesNotOpen), "{other:?}");
        }
        for index in [0, 31, 32, 63, 79] {
            let (recipient, mut sealed) = fresh();
            sealed[index] ^= 1;
            assert_eq!(recipient.open(&INTENT, &sealed).err(), Some(SealError::DoesNotOpen), "byte {index}");
        }
        for length in [0, 31, 32, 47, 79] {
            let (recipient, sealed) = fresh();
            assert_eq!(
                recipient.open(&INTENT, &sealed[..length]).err(),
                Some(SealError::DoesNotOpen),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn what_cannot_be_sealed_is_told() {
        let recipient = Recipient::generate().unwrap();
        assert_eq!(seal(recipient.public_key(), &INTENT, &[]), Err(SealError::Length { got: 0 }));
        assert_eq!(seal(recipient.public_key(), &INTENT, &[0; 2049]), Err(SealError::Length { got: 2049 }));
        assert_eq!(seal(&[1; 31], &INTENT, &[1; 32]), Err(SealError::PublicKey));
        // All zeros: a point of small order, whose shared secret everybody knows.
        assert_eq!(seal(&[0; 32], &INTENT, &[1; 32]), Err(SealError::PublicKey));
    }
}
