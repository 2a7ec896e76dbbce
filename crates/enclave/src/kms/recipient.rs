//! The RSA key to which KMS encrypts, and the attestation documents that carry it.
use super::cms::Envelope;
use super::error::KmsError;
use super::request::Attested;
use crate::nsm::{AttestationRequest, Nsm, NsmError};
use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::digest::{Context, Digest, SHA384, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

/// KMS's bound of a plaintext, in bytes.
const MAX_PLAINTEXT_BYTES: usize = 4096;
const AES_256_KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 32;
/// What a document of this module says that it is for: its `user_data` is a hash that begins with this, with the operation's name in it.
const DOMAIN: [&[u8]; 2] = [b"tmkms: recipient of kms:", b", version 1\0"];

/// An RSA-2048 key of this enclave. Made in advance (50 to 500 ms), serves one batch of releases, then dropped.
pub struct Recipient {
    key: OaepPrivateDecryptingKey,
    public_key: Vec<u8>,
}

impl Recipient {
    /// Makes a key.
    ///
    /// # Errors
    /// The library has no random bytes or no memory.
    pub fn generate() -> Result<Self, KmsError> {
        Self::of(|| PrivateDecryptingKey::generate(KeySize::Rsa2048))
    }

    fn of(key: impl FnOnce() -> Result<PrivateDecryptingKey, aws_lc_rs::error::Unspecified>) -> Result<Self, KmsError> {
        let made = || {
            let key = key()?;
            let public_key = key.public_key().as_der()?.as_ref().to_vec();
            Ok(Self { key: OaepPrivateDecryptingKey::new(key)?, public_key })
        };
        made().map_err(|_: aws_lc_rs::error::Unspecified| KmsError::NoRecipient)
    }

    /// `Recipient` of one request: a fresh document with the key, a random nonce, and a hash that names the operation and what it is asked.
    ///
    /// # Errors
    /// The security module gives none.
    pub fn attested(&self, nsm: &dyn Nsm, operation: &str, input: &[u8]) -> Result<Attested, KmsError> {
        let document = self.document(nsm, operation, input).map_err(KmsError::Nsm)?;
        Ok(Attested {
            key_encryption_algorithm: "RSAES_OAEP_SHA_256",
            attestation_document: Base64::encode_string(&document),
        })
    }

    fn document(&self, nsm: &dyn Nsm, operation: &str, input: &[u8]) -> Result<Vec<u8>, NsmError> {
        let mut nonce = [0; NONCE_BYTES];
        nsm.random(&mut nonce)?;
        let purpose = self.purpose(operation, input);
        nsm.attest(&AttestationRequest {
            public_key: Some(&self.public_key),
            nonce: Some(&nonce),
            user_data: Some(purpose.as_ref()),
        })
    }

    fn purpose(&self, operation: &str, input: &[u8]) -> Digest {
        let mut context = Context::new(&SHA384);
        for part in [DOMAIN[0], operation.as_bytes(), DOMAIN[1]] {
            context.update(part);
        }
        context.update(digest(&SHA384, &self.public_key).as_ref());
        context.update(digest(&SHA384, input).as_ref());
        context.finish()
    }

    /// Opens the bytes of `CiphertextForRecipient`.
    ///
    /// # Errors
    /// They are no envelope of KMS's, or not for this key.
    pub fn open_envelope(&self, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let envelope = Envelope::parse(bytes)
            .map_err(|_| KmsError::Malformed("CiphertextForRecipient is not KMS's CMS envelope"))?;
        self.open(envelope)
    }

    /// Opens what KMS encrypted to this key. Whatever step fails, the error is the same one.
    fn open(&self, envelope: Envelope<'_>) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let mut content = Zeroizing::new(envelope.content);
        let length = self
            .decrypt_in_place(envelope.encrypted_key, *envelope.iv, &mut content)
            .ok_or(KmsError::UnreadableEnvelope)?;
        content.truncate(length);
        Ok(content)
    }

    fn decrypt_in_place(&self, encrypted_key: &[u8], iv: [u8; 16], content: &mut [u8]) -> Option<usize> {
        let mut buffer = Zeroizing::new([0; 256]);
        let key = self.key.decrypt(&OAEP_SHA256_MGF1SHA256, encrypted_key, buffer.as_mut_slice(), None).ok()?;
        let key: &[u8; AES_256_KEY_BYTES] = (&*key).try_into().ok()?;
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, key).ok()?).ok()?;
        let plaintext = key.decrypt(content, DecryptionContext::Iv128(FixedLength::from(iv))).ok()?;
        (1..=MAX_PLAINTEXT_BYTES).contains(&plaintext.len()).then_some(plaintext.len())
    }
}
