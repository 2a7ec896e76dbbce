//! The key whose signatures count in a chain. It signs permits, and nothing else.
use super::buffer::with_cleared_stack;
use super::pair::{self, KeyPair};
use super::{Algorithm, KeyFileError, KeyFormat, Problem, PublicKey, decode, file};
use guard::{Permit, Timestamp};
use std::fmt;
use std::path::Path;

/// What a [`Permit`] became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Over the permit's sign bytes: 64 bytes, R‖S.
    pub signature: [u8; 64],
    /// Over its extension's sign bytes, where it has one.
    pub extension_signature: Option<[u8; 64]>,
    /// The timestamp inside what was signed, which the answer has to carry: the recorded one of a repeat.
    pub timestamp: Timestamp,
}

/// A permit was made for another key: a mistake of ours, never a peer's or an operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignPermit;

impl fmt::Display for ForeignPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("internal error: the leave to sign was given for another key; nothing was signed")
    }
}

impl std::error::Error for ForeignPermit {}

/// A validator's consensus key.
///
/// The only thing it signs is a [`Permit`], which it uses up, and which [`guard::Guard::authorize`] alone can make,
/// after the record of it is durable. There is no way to sign other bytes, to copy the key or to print it:
///
/// ```compile_fail,E0308
/// fn signs_bytes(key: &signer::keys::ConsensusKey) {
///     let _ = key.sign(b"bytes".to_vec());
/// }
/// ```
/// ```compile_fail,E0382
/// fn signs_twice(key: &signer::keys::ConsensusKey, permit: guard::Permit) {
///     let _ = (key.sign(permit), key.sign(permit));
/// }
/// ```
/// ```compile_fail,E0599
/// fn is_cloned(key: signer::keys::ConsensusKey) -> (signer::keys::ConsensusKey, signer::keys::ConsensusKey) {
///     (key.clone(), key)
/// }
/// ```
/// ```compile_fail,E0277
/// fn is_printed(key: signer::keys::ConsensusKey) -> String {
///     format!("{key:?}")
/// }
/// ```
/// ```compile_fail,E0277
/// fn is_displayed(key: signer::keys::ConsensusKey) -> String {
///     format!("{key}")
/// }
/// ```
/// ```compile_fail,E0277
/// fn is_serialized<T: serde::Serialize>() {}
/// is_serialized::<signer::keys::ConsensusKey>();
/// ```
///
/// The same words compile with what is allowed:
///
/// ```
/// fn signs_a_permit(key: &signer::keys::ConsensusKey, permit: guard::Permit) -> Option<signer::keys::Signed> {
///     key.sign(permit).ok()
/// }
/// fn public_half(key: &signer::keys::ConsensusKey) -> String {
///     format!("{:?} {}", key.public_key().clone(), key.public_key())
/// }
/// fn is_serialized<T: serde::Serialize>() {}
/// is_serialized::<String>();
/// ```
pub struct ConsensusKey {
    secret: SigningKey,
    public: PublicKey,
}

/// Boxed, so that moving a key copies a pointer and no secret. Both zeroize themselves when dropped.
enum SigningKey {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    Secp256k1(Box<k256::ecdsa::SigningKey>),
}

impl ConsensusKey {
    /// Reads a key file. `algorithm` is what the configuration says, if it says it: forms that do not name theirs
    /// are read as that or as ed25519, and a JSON file that names another is refused.
    ///
    /// # Errors
    /// [`KeyFileError`], with the path and the remedy, and no byte of the key.
    pub fn read(path: &Path, format: KeyFormat, algorithm: Option<Algorithm>) -> Result<Self, KeyFileError> {
        with_cleared_stack(|| {
            file::read(path, format, algorithm).and_then(|pair| Self::of(&pair).map_err(|problem| problem.at(path)))
        })
    }

    /// The same for a key file's contents that came another way. The caller zeroizes them.
    ///
    /// # Errors
    /// Any [`Problem`] that contents can have.
    pub fn decode(contents: &[u8], format: KeyFormat, algorithm: Option<Algorithm>) -> Result<Self, Problem> {
        with_cleared_stack(|| decode::decode(contents, format, algorithm).and_then(|pair| Self::of(&pair)))
    }

    /// Takes a secret's bytes: 32, or for ed25519 also the 64 bytes seed‖public. Whatever they look like, they are that.
    ///
    /// # Errors
    /// The length is none of the algorithm, or the bytes are no secret.
    pub fn from_secret(secret: &[u8], algorithm: Algorithm) -> Result<Self, Problem> {
        with_cleared_stack(|| decode::from_bytes(secret, algorithm).and_then(|pair| Self::of(&pair)))
    }

    /// The public key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs what the permit allows, and uses it up: the vote's or proposal's bytes, and the extension's if it has one.
    ///
    /// Ed25519 signs the bytes themselves; secp256k1 signs their SHA-256, deterministically (RFC 6979), with low S.
    ///
    /// # Errors
    /// [`ForeignPermit`] when the permit is another key's: its record says nothing of what this key has signed.
    #[allow(clippy::needless_pass_by_value)] // A permit is leave to sign once: it ends here.
    pub fn sign(&self, permit: Permit) -> Result<Signed, ForeignPermit> {
        if *permit.identity().public_key != *self.public.as_bytes() {
            return Err(ForeignPermit);
        }
        Ok(Signed {
            signature: self.secret.sign(permit.sign_bytes()),
            extension_signature: permit.extension_sign_bytes().map(|bytes| self.secret.sign(bytes)),
            timestamp: permit.timestamp(),
        })
    }

    fn of(pair: &KeyPair) -> Result<Self, Problem> {
        let secret = match pair.public().algorithm() {
            Algorithm::Ed25519 => SigningKey::Ed25519(pair::ed25519(pair.secret())),
            Algorithm::Secp256k1 => SigningKey::Secp256k1(pair::secp256k1(pair.secret())?),
        };
        Ok(Self { secret, public: *pair.public() })
    }
}

impl SigningKey {
    fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        match self {
            Self::Ed25519(key) => ed25519_dalek::Signer::sign(key.as_ref(), bytes).to_bytes(),
            Self::Secp256k1(key) => {
                let signature: k256::ecdsa::Signature = k256::ecdsa::signature::Signer::sign(key.as_ref(), bytes);
                signature.to_bytes().into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k256::ecdsa::signature::Verifier;

    fn base16<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
    }

    fn key(algorithm: Algorithm, secret: &str) -> ConsensusKey {
        ConsensusKey::decode(&base16::<32>(secret), KeyFormat::Raw, Some(algorithm)).ok().unwrap()
    }

    #[test]
    fn a_secrets_bytes_are_taken_whatever_they_look_like() {
        for secret in [*b"{a raw secret that looks as JSON}", [b'A'; 33], [b'\n'; 33]].map(|bytes| bytes[..32].to_vec())
        {
            let key = ConsensusKey::from_secret(&secret, Algorithm::Ed25519).ok().unwrap();
            let seed = secret.as_slice().try_into().unwrap();
            let expected = ed25519_dalek::SigningKey::from_bytes(seed).verifying_key().to_bytes();
            assert_eq!(key.public_key(), &PublicKey::Ed25519(expected));
            let identity = super::super::IdentityKey::from_secret(&secret).ok().unwrap();
            assert_eq!(identity.public_key(), key.public_key());
        }
        assert!(ConsensusKey::from_secret(&[1; 31], Algorithm::Ed25519).is_err());
        assert!(ConsensusKey::from_secret(&[1; 64], Algorithm::Secp256k1).is_err());
        assert!(ConsensusKey::from_secret(&[0; 32], Algorithm::Secp256k1).is_err());
    }

    /// RFC 8032, section 7.1: tests 1, 2, 3 and the one over SHA-512("abc").
    #[test]
    fn ed25519_signs_as_rfc_8032_says() {
        let abc = base16::<64>(
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        );
        let cases: [(&str, &str, &[u8], &str); 4] = [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                b"",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                &[0x72],
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                &[0xaf, 0x82],
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
            (
                "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
                "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
                &abc,
                "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
            ),
        ];
        for (seed, public, message, signature) in cases {
            let key = key(Algorithm::Ed25519, seed);
            assert_eq!(key.public_key(), &PublicKey::Ed25519(base16(public)));
            assert_eq!(key.secret.sign(message), base16(signature));
        }
    }

    /// Deterministic signatures of secp256k1 with SHA-256 that many implementations share (Trezor, bitcoinjs, haskoin).
    #[test]
    fn secp256k1_signs_as_rfc_6979_says_with_low_s() {
        let cases = [
            (
                "0000000000000000000000000000000000000000000000000000000000000001",
                "Satoshi Nakamoto",
                "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d82442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5",
            ),
            (
                "0000000000000000000000000000000000000000000000000000000000000001",
                "All those moments will be lost in time, like tears in rain. Time to die...",
                "8600dbd41e348fe5c9465ab92d23e3db8b98b873beecd930736488696438cb6b547fe64427496db33bf66019dacbf0039c04199abb0122918601db38a72cfc21",
            ),
            (
                "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140",
                "Satoshi Nakamoto",
                "fd567d121db66e382991534ada77a6bd3106f0a1098c231e47993447cd6af2d06b39cd0eb1bc8603e159ef5c20a5c8ad685a45b06ce9bebed3f153d10d93bed5",
            ),
        ];
        for (scalar, message, signature) in cases {
            assert_eq!(key(Algorithm::Secp256k1, scalar).secret.sign(message.as_bytes()), base16(signature));
        }
    }

    #[test]
    fn every_secp256k1_signature_has_low_s_and_verifies() {
        let key = key(Algorithm::Secp256k1, "a96e62ed3955e65be32703f12d87b6b5cf26039ecfa948dc5107a495418e5330");
        let public = k256::ecdsa::VerifyingKey::from_sec1_bytes(key.public_key().as_bytes()).unwrap();
        for message in (0..64_u8).map(|byte| [byte; 40]) {
            let signature = k256::ecdsa::Signature::from_slice(&key.secret.sign(&message)).unwrap();
            assert_eq!(signature.normalize_s(), signature);
            public.verify(&message, &signature).unwrap();
        }
    }
}
