//! The key that tells a node who dialled it. It signs a handshake's challenge, and nothing else.
use super::buffer::with_cleared_stack;
use super::pair::{self, KeyPair};
use super::{Algorithm, KeyFileError, KeyFormat, Problem, PublicKey, decode, file};
use std::fmt;
use std::path::Path;

/// The ed25519 key of a SecretConnection (`secret_key` of `[[validator]]`).
///
/// A different type than [`super::ConsensusKey`], so that neither can stand in for the other. It signs 32 bytes that
/// the handshake's transcript gives, never anything of variable length:
///
/// ```compile_fail,E0308
/// fn signs_a_vote(key: &signer::keys::IdentityKey, permit: guard::Permit) {
///     let _ = key.sign_challenge(permit.sign_bytes());
/// }
/// ```
/// ```compile_fail,E0599
/// fn is_cloned(key: signer::keys::IdentityKey) -> (signer::keys::IdentityKey, signer::keys::IdentityKey) {
///     (key.clone(), key)
/// }
/// ```
/// ```compile_fail,E0277
/// fn is_printed(key: signer::keys::IdentityKey) -> String {
///     format!("{key:?}")
/// }
/// ```
pub struct IdentityKey {
    secret: Box<ed25519_dalek::SigningKey>,
    public: PublicKey,
}

impl IdentityKey {
    /// Reads tmkms's form: base64 of the 32-byte seed.
    ///
    /// # Errors
    /// [`KeyFileError`], with the path and the remedy, and no byte of the key.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        with_cleared_stack(|| file::read(path, KeyFormat::Base64, Some(Algorithm::Ed25519)).map(|pair| Self::of(&pair)))
    }

    /// The same for a file's contents that came another way. The caller zeroizes them.
    ///
    /// # Errors
    /// Any [`Problem`] that contents can have.
    pub fn decode(contents: &[u8]) -> Result<Self, Problem> {
        with_cleared_stack(|| {
            decode::decode(contents, KeyFormat::Base64, Some(Algorithm::Ed25519)).map(|pair| Self::of(&pair))
        })
    }

    /// Takes a secret's bytes: a seed of 32, or the 64 bytes seed‖public.
    ///
    /// # Errors
    /// It has another length, or its second half is not the public key of the first.
    pub fn from_secret(secret: &[u8]) -> Result<Self, Problem> {
        with_cleared_stack(|| decode::from_bytes(secret, Algorithm::Ed25519).map(|pair| Self::of(&pair)))
    }

    /// A new identity that lives as long as this value. A node accepts any.
    ///
    /// # Errors
    /// [`Problem::NoRandomness`].
    pub fn random() -> Result<Self, Problem> {
        with_cleared_stack(|| KeyPair::random(Algorithm::Ed25519).map(|pair| Self::of(&pair)))
    }

    /// The public key, for [`check_roles`].
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The public key's 32 bytes, as the handshake sends them.
    #[must_use]
    pub fn public_bytes(&self) -> [u8; 32] {
        self.secret.verifying_key().to_bytes()
    }

    /// Signs the challenge of a SecretConnection's handshake: 64 bytes.
    #[must_use]
    pub fn sign_challenge(&self, challenge: &[u8; 32]) -> [u8; 64] {
        ed25519_dalek::Signer::sign(self.secret.as_ref(), challenge).to_bytes()
    }

    fn of(pair: &KeyPair) -> Self {
        Self { secret: pair::ed25519(pair.secret()), public: *pair.public() }
    }
}

/// One public key in both roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedKey {
    /// Where the consensus key is from.
    pub consensus: String,
    /// Where the identity key is from.
    pub identity: String,
    /// The key that both have.
    pub public_key: PublicKey,
}

impl fmt::Display for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the consensus key {} and the identity key {} are the same key {}: a key that answers strangers' challenges must not sign \
             votes; make another identity with `tmkms softsign keygen` and name it in `secret_key`",
            self.consensus, self.identity, self.public_key
        )
    }
}

impl std::error::Error for SharedKey {}

/// Refuses one public key as both consensus and identity key. To be called at start with all keys of the process,
/// each with the name of where it is from (a path, a chain).
///
/// # Errors
/// [`SharedKey`] for the first such key.
pub fn check_roles(consensus: &[(&str, &PublicKey)], identities: &[(&str, &PublicKey)]) -> Result<(), SharedKey> {
    for (source, key) in consensus {
        if let Some((other, _)) = identities.iter().find(|(_, identity)| identity == key) {
            let (consensus, identity) = ((*source).to_owned(), (*other).to_owned());
            return Err(SharedKey { consensus, identity, public_key: **key });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_signed_and_verifies() {
        let key = IdentityKey::random().ok().unwrap();
        let challenge = [7; 32];
        let public = ed25519_dalek::VerifyingKey::from_bytes(&key.public_bytes()).unwrap();
        let signature = ed25519_dalek::Signature::from_bytes(&key.sign_challenge(&challenge));
        public.verify_strict(&challenge, &signature).unwrap();
        assert_eq!(key.public_key().as_bytes(), key.public_bytes());
    }

    #[test]
    fn one_key_in_both_roles_is_refused_and_both_places_are_named() {
        let [one, two, three] = [1, 2, 3].map(|byte| PublicKey::Ed25519([byte; 32]));
        let consensus = [("a.key", &one), ("b.key", &two)];
        assert_eq!(check_roles(&consensus, &[("id.key", &three)]), Ok(()));
        assert_eq!(check_roles(&consensus, &[]), Ok(()));
        let error = check_roles(&consensus, &[("id.key", &three), ("other.key", &two)]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("b.key") && text.contains("other.key") && text.contains("secret_key"), "{text}");
    }
}
