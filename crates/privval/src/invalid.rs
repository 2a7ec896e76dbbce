//! Requests that were decoded but ask for something that no honest node asks for: the vocabulary.
use crate::MAX_CHAIN_ID_BYTES;
use std::fmt;

/// Why a request breaks the input rules. The node is to blame; it is answered an error, and the session goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// The request carries no vote or no proposal.
    Missing,
    /// A vote that is neither prevote nor precommit, or a proposal of another type.
    Type {
        /// The `SignedMsgType`s that are allowed.
        expected: &'static str,
        /// The request's `SignedMsgType`.
        got: i32,
    },
    /// A height of 0 or less.
    Height {
        /// The request's height.
        got: i64,
    },
    /// A round below 0.
    Round {
        /// The request's round.
        got: i32,
    },
    /// A block hash that is neither absent nor of 32 bytes.
    BlockHash {
        /// The length of the request's hash, bytes.
        got: usize,
    },
    /// The hash of a part set header that is neither absent nor of 32 bytes.
    PartsHash {
        /// The length of the request's hash, bytes.
        got: usize,
    },
    /// A block id that is neither nil (nothing set) nor complete (both hashes, at least one part).
    BlockIdIncomplete {
        /// The length of the block hash, bytes.
        hash: usize,
        /// The number of parts.
        parts_total: u32,
        /// The length of the parts' hash, bytes.
        parts_hash: usize,
    },
    /// A proposal for no block.
    ProposalWithoutBlock,
    /// A proof-of-lock round that is below -1, or not below the proposal's round.
    PolRound {
        /// The request's `pol_round`.
        got: i32,
        /// The request's round.
        round: i32,
    },
    /// A timestamp outside the years 1 to 9999, or with nanoseconds outside 0 to 999,999,999.
    Timestamp {
        /// Seconds since 1970-01-01 00:00:00 UTC.
        seconds: i64,
        /// Nanoseconds.
        nanos: i32,
    },
    /// No chain id.
    ChainIdEmpty,
    /// A chain id of more than [`MAX_CHAIN_ID_BYTES`].
    ChainIdTooLong {
        /// Its length, bytes.
        got: usize,
    },
    /// A validator address of more than 20 bytes.
    ValidatorAddress {
        /// Its length, bytes.
        got: usize,
    },
    /// A vote extension on anything but a precommit for a block.
    ExtensionMisplaced {
        /// What it came with.
        on: &'static str,
        /// Its length, bytes.
        got: usize,
    },
}

impl InvalidRequest {
    /// A short name that stays the same, for metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Type { .. } => "type",
            Self::Height { .. } => "height",
            Self::Round { .. } => "round",
            Self::BlockHash { .. } => "block_hash",
            Self::PartsHash { .. } => "parts_hash",
            Self::BlockIdIncomplete { .. } => "block_id_incomplete",
            Self::ProposalWithoutBlock => "proposal_without_block",
            Self::PolRound { .. } => "pol_round",
            Self::Timestamp { .. } => "timestamp",
            Self::ChainIdEmpty => "chain_id_empty",
            Self::ChainIdTooLong { .. } => "chain_id_too_long",
            Self::ValidatorAddress { .. } => "validator_address",
            Self::ExtensionMisplaced { .. } => "extension_misplaced",
        }
    }
}

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("nothing to sign: expected a vote or a proposal, got none"),
            Self::Type { expected, got } => write!(f, "message type: expected {expected}, got {got}"),
            Self::Height { got } => write!(f, "height: expected at least 1, got {got}"),
            Self::Round { got } => write!(f, "round: expected at least 0, got {got}"),
            Self::BlockHash { got } => write!(f, "block hash: expected 0 or 32 bytes, got {got}"),
            Self::PartsHash { got } => write!(f, "part set hash: expected 0 or 32 bytes, got {got}"),
            Self::BlockIdIncomplete { hash, parts_total, parts_hash } => write!(
                f,
                "block id: expected nothing, or a hash of 32 bytes, at least 1 part and a part set hash of 32 bytes, \
                 got {hash} bytes, {parts_total} parts and {parts_hash} bytes"
            ),
            Self::ProposalWithoutBlock => f.write_str("block id: expected a block, as in every proposal, got nil"),
            Self::PolRound { got, round } => {
                write!(f, "pol_round: expected at least -1 and less than the round {round}, got {got}")
            }
            Self::Timestamp { seconds, nanos } => write!(
                f,
                "timestamp: expected the years 1 to 9999 and 0 to 999999999 ns, got {seconds} s since 1970 and {nanos} ns"
            ),
            Self::ChainIdEmpty => write!(f, "chain id: expected 1 to {MAX_CHAIN_ID_BYTES} bytes, got 0"),
            Self::ChainIdTooLong { got } => write!(f, "chain id: expected 1 to {MAX_CHAIN_ID_BYTES} bytes, got {got}"),
            Self::ValidatorAddress { got } => write!(f, "validator address: expected at most 20 bytes, got {got}"),
            Self::ExtensionMisplaced { on, got } => {
                write!(f, "vote extension: expected one only on a precommit for a block, got {got} bytes on a {on}")
            }
        }
    }
}

impl std::error::Error for InvalidRequest {}
