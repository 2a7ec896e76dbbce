//! A secret with the public key that follows from it: what a key file means, before it gets a role.
use super::buffer::Secret;
use super::{Algorithm, Problem, PublicKey};
use zeroize::Zeroizing;

/// Draws of a secp256k1 scalar before the random source is given up on: one draw fails with probability 2^-128.
const MAX_SCALAR_DRAWS: usize = 8;

/// A secret and its public key. The public key is always derived, never taken from a file.
pub(super) struct KeyPair {
    secret: Secret,
    public: PublicKey,
}

impl KeyPair {
    /// Derives the public key.
    ///
    /// # Errors
    /// [`Problem::NotAScalar`]: of 32 bytes, only 1 to n-1 is a secp256k1 secret. Every 32 bytes are an ed25519 seed.
    pub(super) fn derive(secret: Secret, algorithm: Algorithm) -> Result<Self, Problem> {
        let public = match algorithm {
            Algorithm::Ed25519 => PublicKey::Ed25519(ed25519(&secret).verifying_key().to_bytes()),
            Algorithm::Secp256k1 => {
                let point = secp256k1(&secret)?.verifying_key().to_sec1_point(true);
                PublicKey::Secp256k1(point.as_bytes().try_into().map_err(|_| Problem::NotAScalar)?)
            }
        };
        Ok(Self { secret, public })
    }

    /// A new pair from the operating system's random source.
    pub(super) fn random(algorithm: Algorithm) -> Result<Self, Problem> {
        for _ in 0..MAX_SCALAR_DRAWS {
            let secret = Secret::random().map_err(Problem::NoRandomness)?;
            if let Ok(pair) = Self::derive(secret, algorithm) {
                return Ok(pair);
            }
        }
        Err(Problem::NotAScalar)
    }

    pub(super) const fn secret(&self) -> &Secret {
        &self.secret
    }

    pub(super) const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The base64 of the secret, as tmkms keeps it: what a new key file holds.
    pub(super) fn base64(&self) -> Zeroizing<String> {
        use base64ct::Encoding;
        Zeroizing::new(base64ct::Base64::encode_string(self.secret.expose()))
    }
}

/// The ed25519 signing key of a seed; zeroizes itself.
pub(super) fn ed25519(seed: &Secret) -> Box<ed25519_dalek::SigningKey> {
    Box::new(ed25519_dalek::SigningKey::from_bytes(seed.expose()))
}

/// The secp256k1 signing key of a scalar; zeroizes itself.
pub(super) fn secp256k1(scalar: &Secret) -> Result<Box<k256::ecdsa::SigningKey>, Problem> {
    k256::ecdsa::SigningKey::from_slice(scalar.expose()).map(Box::new).map_err(|_| Problem::NotAScalar)
}
