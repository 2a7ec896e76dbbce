//! Whose record it is: one public key on one chain.
use std::fmt;

/// The longest chain id that CometBFT accepts, in bytes (`types/genesis.go`, `MaxChainIDLen`).
pub const MAX_CHAIN_ID_BYTES: usize = 50;

/// A chain's name: 1 to 50 printable ASCII bytes without blanks, quotes and backslashes.
///
/// CometBFT itself allows any UTF-8 here; no known chain uses it, and what stands in state files, logs and
/// metrics should look the same everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(Box<str>);

/// Why a text is no chain id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainIdError {
    /// Nothing was given.
    Empty,
    /// Longer than [`MAX_CHAIN_ID_BYTES`].
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A character that is not allowed.
    Character {
        /// The character.
        found: char,
    },
}

impl fmt::Display for ChainIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the chain id is empty: expected 1 to {MAX_CHAIN_ID_BYTES} characters"),
            Self::TooLong { bytes } => {
                write!(f, "the chain id is too long: expected at most {MAX_CHAIN_ID_BYTES} bytes, got {bytes}")
            }
            Self::Character { found } => write!(
                f,
                "the chain id has the character {found:?}: expected printable ASCII without blanks, quotes and backslashes"
            ),
        }
    }
}

impl std::error::Error for ChainIdError {}

impl ChainId {
    /// The chain id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for ChainId {
    type Error = ChainIdError;

    fn try_from(text: &str) -> Result<Self, ChainIdError> {
        if text.is_empty() {
            return Err(ChainIdError::Empty);
        }
        if text.len() > MAX_CHAIN_ID_BYTES {
            return Err(ChainIdError::TooLong { bytes: text.len() });
        }
        match text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '"' | '\\')) {
            Some(found) => Err(ChainIdError::Character { found }),
            None => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a record and a guard belong to: the bytes of a public key, and a chain.
///
/// The key is compared by its bytes, never by a file name or a configuration entry, so that the same key
/// under two names has one guard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The chain.
    pub chain_id: ChainId,
    /// The public key's raw bytes, as CometBFT encodes them (32 for ed25519, 33 for secp256k1).
    pub public_key: Box<[u8]>,
}
