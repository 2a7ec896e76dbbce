//! A node's name: the fingerprint of its identity key.
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The first 20 bytes of the SHA-256 of an ed25519 identity key, written as 40 hex digits (CometBFT's `p2p.ID`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerId([u8; 20]);

/// A text that is no peer id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPeerId {
    got: String,
}

impl fmt::Display for InvalidPeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no peer id: expected 40 hex digits, got {:?}; it is not the p2p id of show-node-id: a stock node makes a new \
             identity for this listener at each start, so leave the id out unless your node keeps one",
            self.got
        )
    }
}

impl std::error::Error for InvalidPeerId {}

impl PeerId {
    /// The id of an ed25519 public key.
    #[must_use]
    pub fn of(public_key: &[u8; 32]) -> Self {
        let digest = Sha256::digest(public_key);
        let mut id = [0; 20];
        id.copy_from_slice(&digest[..20]);
        Self(id)
    }
}

impl FromStr for PeerId {
    type Err = InvalidPeerId;

    /// Reads 40 hex digits of either case.
    fn from_str(text: &str) -> Result<Self, InvalidPeerId> {
        let invalid = || InvalidPeerId { got: text.chars().take(80).collect() };
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(invalid()) };
        let pairs: &[[u8; 2]; 20] = pairs.try_into().map_err(|_| invalid())?;
        let mut id = [0; 20];
        for (byte, pair) in id.iter_mut().zip(pairs) {
            *byte =
                hex_digit(pair[0]).zip(hex_digit(pair[1])).map(|(high, low)| high << 4 | low).ok_or_else(invalid)?;
        }
        Ok(Self(id))
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}
