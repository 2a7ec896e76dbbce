//! The RSA key to which KMS encrypts, and the attestation documents that carry it.
use super::cms::Envelope;
use super::error::KmsError;
use crate::nsm::{AttestationRequest, Nsm, NsmError};
use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::digest::{Context, Digest, SHA384, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use zeroize::Zeroizing;

/// KMS's bound of a plaintext, in bytes.
const MAX_PLAINTEXT_BYTES: usize = 4096;
const AES_256_KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 32;
/// What a document of this module says that it is for: its `user_data` is a hash that begins with this.
const DOMAIN: &[u8] = b"tmkms: recipient of kms:Decrypt, version 1\0";

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

    /// A fresh document for one call: the key, a random nonce, and a hash that names what it is for.
    pub(super) fn document(&self, nsm: &dyn Nsm, ciphertext: &[u8]) -> Result<Vec<u8>, NsmError> {
        let mut nonce = [0; NONCE_BYTES];
        nsm.random(&mut nonce)?;
        let purpose = self.purpose(ciphertext);
        nsm.attest(&AttestationRequest {
            public_key: Some(&self.public_key),
            nonce: Some(&nonce),
            user_data: Some(purpose.as_ref()),
        })
    }

    fn purpose(&self, ciphertext: &[u8]) -> Digest {
        let mut context = Context::new(&SHA384);
        context.update(DOMAIN);
        context.update(digest(&SHA384, &self.public_key).as_ref());
        context.update(digest(&SHA384, ciphertext).as_ref());
        context.finish()
    }

    /// Opens what KMS encrypted to this key. Whatever step fails, the error is the same one.
    pub(super) fn open(&self, envelope: Envelope<'_>) -> Result<Zeroizing<Vec<u8>>, KmsError> {
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
