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

#[cfg(test)]
mod tests {
    //! Vectors of CometBFT and tmkms that are no checked requests: an empty chain id, no type, a proposal for nil.
    use super::*;
    use crate::wire::{GO_ZERO_TIME, PartSetHeader};

    const CHAIN: &str = "test_chain_id";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn at_1_1(kind: i32) -> Vote {
        Vote { r#type: kind, height: 1, round: 1, ..Vote::default() }
    }

    #[test]
    fn votes_of_vote_test_go() {
        let sign = |kind, chain| hex(&vote(&at_1_1(kind), GO_ZERO_TIME, chain));
        assert_eq!(sign(PRECOMMIT, ""), "2108021101000000000000001901000000000000002a0b088092b8c398feffffff01");
        assert_eq!(sign(PREVOTE, ""), "2108011101000000000000001901000000000000002a0b088092b8c398feffffff01");
        assert_eq!(
            sign(0, CHAIN),
            "2e1101000000000000001901000000000000002a0b088092b8c398feffffff01320d746573745f636861696e5f6964"
        );
    }

    #[test]
    fn the_proposal_of_tmkms() {
        let nil = Proposal { height: 12345, round: 1, pol_round: -1, ..Proposal::default() };
        let time = Timestamp { seconds: 1_696_413_600, nanos: 0 };
        assert_eq!(
            hex(&proposal(&nil, time, CHAIN)),
            "36082011393000000000000019010000000000000020ffffffffffffffffff01320608a0eff4a8063a0d746573745f636861696e5f6964"
        );
    }

    #[test]
    fn precommits_and_extensions_of_the_lines_with_extensions() {
        let block_id = BlockId {
            hash: unhex("8b01023386c371778ecb6368573e539afc3cc860ec3a2f614e54fe5652f4fc80"),
            part_set_header: Some(PartSetHeader {
                total: 1_000_000,
                hash: unhex("72db3d959635dff1bb567bedaa70573392c5159666a3f8caf11e413aac52207a"),
            }),
        };
        let time = Timestamp { seconds: 1_570_983_284, nanos: 0 };
        let mut precommit =
            Vote { r#type: PRECOMMIT, height: 3, round: 2, block_id: Some(block_id), ..Vote::default() };
        assert_eq!(
            hex(&vote(&precommit, time, CHAIN)),
            "770802110300000000000000190200000000000000224a0a208b01023386c371778ecb6368573e539afc3cc860ec3a2f614e54fe56\
             52f4fc80122608c0843d122072db3d959635dff1bb567bedaa70573392c5159666a3f8caf11e413aac52207a2a0608f49a8ded0532\
             0d746573745f636861696e5f6964"
        );
        assert_eq!(
            hex(&extension(&precommit, CHAIN)),
            "21110300000000000000190200000000000000220d746573745f636861696e5f6964"
        );
        precommit.extension = Bytes::from_static(b"extension");
        assert_eq!(
            hex(&extension(&precommit, CHAIN)),
            "2c0a09657874656e73696f6e110300000000000000190200000000000000220d746573745f636861696e5f6964"
        );
        precommit.block_id = None;
        assert_eq!(
            hex(&vote(&precommit, time, CHAIN)),
            "2b08021103000000000000001902000000000000002a0608f49a8ded05320d746573745f636861696e5f6964"
        );
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }
}
