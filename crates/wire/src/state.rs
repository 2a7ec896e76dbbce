//! The state channel: the enclave opens, recovers and commits the signing record of one key on one chain, one request
//! at a time.
//!
//! Every answer carries a proof that its sender holds the control token, over the enclave's nonce, the request's
//! number and the digest of the record that the answer is about: so an unprivileged process that took the port, an answer to
//! another request, or one for another record acknowledges nothing.
use crate::token::{Proof, Token};
use guard::{Identity, Record, Trouble};
use std::fmt;

/// What one enclave life calls itself: 16 random bytes. A reconnecting signer keeps it.
pub type Life = [u8; 16];

/// SHA-256 of a record's canonical form.
pub type Digest = [u8; 32];

/// A request of the enclave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Opens the record of that identity for this life, and fences every earlier opening.
    Open {
        /// The key and the chain.
        identity: Identity,
        /// Who opens.
        life: Life,
    },
    /// Makes what is there durable and says it.
    Recover,
    /// A compare-and-swap.
    Commit {
        /// The sequence of what should be there.
        previous_sequence: u64,
        /// Its digest.
        previous: Digest,
        /// What should be there then.
        next: Record,
    },
}

/// An answer of the parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is open, under that epoch.
    Opened {
        /// The opening's number.
        epoch: u64,
    },
    /// The record that won, durable.
    Recovered {
        /// The record.
        record: Record,
    },
    /// `next` is durable.
    Committed {
        /// Its sequence.
        sequence: u64,
        /// Its digest.
        digest: Digest,
    },
    /// It could not be done.
    Trouble {
        /// The kind.
        trouble: Trouble,
        /// What happened and what to do, in the words of the parent's store.
        detail: String,
    },
}

/// The domain of answers' proofs.
pub const ANSWER_DOMAIN: &str = "tmkms state answer v1";

/// The digest of a record: over its sequence, position and bytes.
#[must_use]
pub fn digest(record: &Record) -> Digest {
    let _ = record;
    [0; 32]
}

/// Bytes that are no message of this channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl Request {
    /// As a frame, with the request's number.
    #[must_use]
    pub fn encode(&self, number: u64) -> Vec<u8> {
        let _ = number;
        Vec::new()
    }

    /// The number and the request.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(frame: &[u8]) -> Result<(u64, Self), Malformed> {
        let _ = frame;
        Err(Malformed(String::new()))
    }
}

impl Answer {
    /// As a frame: number, proof, answer.
    #[must_use]
    pub fn encode(&self, number: u64, token: &Token, enclave_nonce: &[u8; 32]) -> Vec<u8> {
        let _ = (number, token, enclave_nonce);
        Vec::new()
    }

    /// The number, the answer, and its proof with the bytes that it is over.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(frame: &[u8]) -> Result<(u64, Self, Proof, Vec<u8>), Malformed> {
        let _ = frame;
        Err(Malformed(String::new()))
    }
}
