//! `SecretConnection`: the encryption that CometBFT speaks on `tcp://`, from both ends' point of view.
//!
//! Facts from CometBFT's `p2p/conn/secret_connection.go` (v0.34 to v0.40 and v1 are the same on the wire):
//!
//! 1. Both sides send `22 0a20` and an ephemeral X25519 public key in the clear.
//! 2. Both derive two keys and a challenge from the shared secret ([`Handshake`]).
//! 3. Encrypted from here on, both send their ed25519 identity key and its signature over the challenge
//!    ([`AuthSig`]).
//! 4. Everything after that travels in frames of 1044 bytes that carry up to 1024 ([`Sealer`], [`Opener`]).
//!
//! The protocol is symmetric: it does not matter who dialled. These modules are pure (bytes in, bytes out), so
//! that they can be fuzzed; [`SecretStream`] alone touches a socket. Why the crate has its own implementation:
//! docs/adr/0003-secret-connection.md.
mod auth;
mod frame;
mod handshake;
mod peer_id;
mod stream;

pub use auth::{AUTH_SIG_BYTES, AuthSig};
pub use frame::{DATA_BYTES, FRAME_BYTES, Opener, Sealer};
pub use handshake::{HELLO_BYTES, Handshake, Secrets};
pub use peer_id::{InvalidPeerId, PeerId};
pub use stream::{Received, SecretStream, WrongPeer};

use std::fmt;

/// What the peer of a secret connection did wrong. All of these end the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerFault {
    /// The first 35 bytes are not an ephemeral key: the peer does not speak this protocol.
    Hello,
    /// The shared secret is all zeroes: the ephemeral key has a low order.
    LowOrderKey,
    /// The peer sent our own ephemeral key back.
    EchoedKey,
    /// A frame was altered, repeated, reordered or sealed for someone else.
    Frame,
    /// A frame says that it carries nothing, or more than [`DATA_BYTES`].
    FrameLength {
        /// What it says, in bytes.
        got: u32,
    },
    /// More frames than a nonce can count.
    Exhausted,
    /// The message with the identity key is not one, or the key is not ed25519.
    AuthSig,
    /// The identity key did not sign this connection's challenge.
    Signature,
    /// The peer has our own identity: someone connects us to ourselves.
    OwnIdentity,
}

impl fmt::Display for PeerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello => f.write_str(
                "the peer does not speak SecretConnection: is this the node's priv_validator_laddr, and does it say tcp://?",
            ),
            Self::LowOrderKey => f.write_str("the peer's ephemeral key has a low order"),
            Self::EchoedKey => f.write_str("the peer sent our own ephemeral key back"),
            Self::Frame => f.write_str("an encrypted frame was altered, repeated or out of order"),
            Self::FrameLength { got } => {
                write!(f, "wrong length of an encrypted frame: expected 1 to {DATA_BYTES} bytes, got {got}")
            }
            Self::Exhausted => f.write_str("the connection has used up its nonces"),
            Self::AuthSig => f.write_str("the peer's identity message is malformed, or its key is not ed25519"),
            Self::Signature => f.write_str("the peer's signature does not fit this connection"),
            Self::OwnIdentity => f.write_str("the peer has our own identity key: two ends of this signer were connected"),
        }
    }
}

impl std::error::Error for PeerFault {}
