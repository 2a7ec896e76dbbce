//! The identity message of a secret connection: who says that it is at the other end, and the proof.
use super::{PeerFault, PeerId};
use ed25519_dalek::{Signature, VerifyingKey};

/// Size of the message with its length prefix.
pub const AUTH_SIG_BYTES: usize = 103;

/// Length 102, then `pub_key` (field 1) of 34 bytes: `ed25519` (field 1 of `PublicKey`) of 32 bytes.
const KEY_PREFIX: [u8; 5] = [0x66, 0x0a, 0x22, 0x0a, 0x20];
/// `sig` (field 2) of 64 bytes.
const SIGNATURE_PREFIX: [u8; 2] = [0x12, 0x40];

/// An ed25519 identity key and its signature over the connection's challenge (`tendermint.p2p.AuthSigMessage`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthSig {
    /// The identity's public key.
    pub public_key: [u8; 32],
    /// The signature over the 32 bytes of the challenge.
    pub signature: [u8; 64],
}

impl AuthSig {
    /// The message as it is sent, length prefix included.
    #[must_use]
    pub fn encode(&self) -> [u8; AUTH_SIG_BYTES] {
        let mut bytes = [0; AUTH_SIG_BYTES];
        let parts: [&[u8]; 4] = [&KEY_PREFIX, &self.public_key, &SIGNATURE_PREFIX, &self.signature];
        let mut at = 0;
        for part in parts {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        bytes
    }

    /// Reads the one encoding that every implementation sends; ed25519 is the only identity that CometBFT takes.
    ///
    /// # Errors
    /// [`PeerFault::AuthSig`] for anything else.
    pub fn decode(bytes: &[u8; AUTH_SIG_BYTES]) -> Result<Self, PeerFault> {
        let read = || {
            let (public_key, rest) = bytes.strip_prefix(&KEY_PREFIX)?.split_first_chunk()?;
            let signature = rest.strip_prefix(&SIGNATURE_PREFIX)?.try_into().ok()?;
            Some(Self { public_key: *public_key, signature })
        };
        read().ok_or(PeerFault::AuthSig)
    }

    /// Checks the signature and says who the peer is.
    ///
    /// Strictly, unlike Go: a key of low order is refused, since a signature under it proves nothing. No honest
    /// node has such a key, and this is no consensus rule on which both sides would have to agree.
    ///
    /// # Errors
    /// [`PeerFault::Signature`] if it does not fit the challenge.
    pub fn verify(&self, challenge: &[u8; 32]) -> Result<PeerId, PeerFault> {
        let key = VerifyingKey::from_bytes(&self.public_key).map_err(|_| PeerFault::Signature)?;
        key.verify_strict(challenge, &Signature::from_bytes(&self.signature)).map_err(|_| PeerFault::Signature)?;
        Ok(PeerId::of(&self.public_key))
    }
}
