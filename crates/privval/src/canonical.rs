//! The canonical bytes that are signed: for anything that was decoded, checked or not.
//!
//! From CometBFT's `proto/tendermint/types/canonical.proto` and `types/canonical.go`; the same in v0.34 to v0.40 and
//! v1. Only checked votes and proposals reach this from outside the crate.
use crate::wire::{BlockId, Proposal, Timestamp, Vote};
use prost::Message;
use prost::bytes::Bytes;

/// `SignedMsgType` of a prevote.
pub(crate) const PREVOTE: i32 = 1;
/// `SignedMsgType` of a precommit.
pub(crate) const PRECOMMIT: i32 = 2;
/// `SignedMsgType` of a proposal.
pub(crate) const PROPOSAL: i32 = 32;

#[derive(Clone, PartialEq, Eq, Message)]
struct CanonicalVote {
    #[prost(int32, tag = "1")]
    r#type: i32,
    #[prost(sfixed64, tag = "2")]
    height: i64,
    #[prost(sfixed64, tag = "3")]
    round: i64,
    #[prost(message, optional, tag = "4")]
    block_id: Option<BlockId>,
    #[prost(message, optional, tag = "5")]
    timestamp: Option<Timestamp>,
    #[prost(string, tag = "6")]
    chain_id: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct CanonicalProposal {
    #[prost(int32, tag = "1")]
    r#type: i32,
    #[prost(sfixed64, tag = "2")]
    height: i64,
    #[prost(sfixed64, tag = "3")]
    round: i64,
    #[prost(int64, tag = "4")]
    pol_round: i64,
    #[prost(message, optional, tag = "5")]
    block_id: Option<BlockId>,
    #[prost(message, optional, tag = "6")]
    timestamp: Option<Timestamp>,
    #[prost(string, tag = "7")]
    chain_id: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct CanonicalVoteExtension {
    #[prost(bytes = "bytes", tag = "1")]
    extension: Bytes,
    #[prost(sfixed64, tag = "2")]
    height: i64,
    #[prost(sfixed64, tag = "3")]
    round: i64,
    #[prost(string, tag = "4")]
    chain_id: String,
}

/// A nil block id is left out; any other has its part set header.
fn block_id(block_id: Option<&BlockId>) -> Option<BlockId> {
    block_id.filter(|block_id| !block_id.is_nil()).map(|block_id| block_id.clone().complete())
}

/// Length-delimited `CanonicalVote`.
pub(crate) fn vote(vote: &Vote, timestamp: Timestamp, chain_id: &str) -> Vec<u8> {
    CanonicalVote {
        r#type: vote.r#type,
        height: vote.height,
        round: i64::from(vote.round),
        block_id: block_id(vote.block_id.as_ref()),
        timestamp: Some(timestamp),
        chain_id: chain_id.to_owned(),
    }
    .encode_length_delimited_to_vec()
}

/// Length-delimited `CanonicalProposal`. Its type is always [`PROPOSAL`], whatever the request says.
pub(crate) fn proposal(proposal: &Proposal, timestamp: Timestamp, chain_id: &str) -> Vec<u8> {
    CanonicalProposal {
        r#type: PROPOSAL,
        height: proposal.height,
        round: i64::from(proposal.round),
        pol_round: i64::from(proposal.pol_round),
        block_id: block_id(proposal.block_id.as_ref()),
        timestamp: Some(timestamp),
        chain_id: chain_id.to_owned(),
    }
    .encode_length_delimited_to_vec()
}

/// Length-delimited `CanonicalVoteExtension`.
pub(crate) fn extension(vote: &Vote, chain_id: &str) -> Vec<u8> {
    CanonicalVoteExtension {
        extension: vote.extension.clone(),
        height: vote.height,
        round: i64::from(vote.round),
        chain_id: chain_id.to_owned(),
    }
    .encode_length_delimited_to_vec()
}
