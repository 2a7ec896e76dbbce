//! The privval wire: what a CometBFT node asks its remote signer, and what it is answered.
//!
//! A vote's way through this crate, one type per step:
//!
//! 1. [`FrameDecoder`] cuts a byte stream into messages and bounds them;
//! 2. [`Request::decode`] reads a message of any line from v0.34 to v2, without being told which;
//! 3. [`VoteRequest::check`] and [`ProposalRequest::check`] apply the input rules, and alone make
//! 4. a [`CheckedVote`] or [`CheckedProposal`], which knows its canonical sign bytes and, once they are signed,
//!    becomes the answer. Everything else that can be answered is in [`answers`].
//!
//! Whether something may be signed is not known here: `guard` reads the sign bytes again, with code of its own.
//!
//! The crate is pure: no clock, no file, no socket. Whatever bytes come in, it answers or returns an error.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod answers;
mod canonical;
mod frame;
mod invalid;
mod proposal;
mod request;
mod rules;
mod vote;
mod wire;

pub use frame::{FrameDecoder, FrameError, MAX_PUSH_BYTES};
pub use invalid::InvalidRequest;
pub use proposal::{CheckedProposal, ProposalRequest};
pub use request::{DecodeError, Request, RequestKind};
pub use vote::{CheckedVote, VoteRequest};

/// The longest request that is read, bytes without the length prefix: a vote extension of 1 MiB (the most that
/// CometBFT lets an application make) and 16 KiB for everything around it.
pub const MAX_REQUEST_BYTES: usize = (1 << 20) + (16 << 10);

/// The longest answer that is given, bytes with the length prefix: a node of v0.34 to v0.39, v1 and v2 refuses more
/// (`maxRemoteSignerMsgSize` in CometBFT's `privval/signer_endpoint.go`), and does not recover the stream.
pub const MAX_ANSWER_BYTES: usize = 10_240;

/// The longest chain id, bytes (`MaxChainIDLen` in CometBFT's `types/genesis.go`).
pub const MAX_CHAIN_ID_BYTES: usize = 50;
