//! The input rules, one test each: what is refused, with both values, and what is not.
use crate::tree::{BlockId, CHAIN, Proposal, Vote};
use privval::{CheckedProposal, CheckedVote, InvalidRequest, Request};

pub(crate) fn check_vote(message: &[u8]) -> Result<CheckedVote, InvalidRequest> {
    match Request::decode(message).unwrap() {
        Request::SignVote(vote) => vote.check(),
        other => panic!("not a vote: {other:?}"),
    }
}

pub(crate) fn check_proposal(message: &[u8]) -> Result<CheckedProposal, InvalidRequest> {
    match Request::decode(message).unwrap() {
        Request::SignProposal(proposal) => proposal.check(),
        other => panic!("not a proposal: {other:?}"),
    }
}

fn vote(change: impl FnOnce(&mut Vote)) -> Result<CheckedVote, InvalidRequest> {
    let mut vote = Vote::default();
    change(&mut vote);
    check_vote(&vote.request(CHAIN, false))
}

fn proposal(change: impl FnOnce(&mut Proposal)) -> Result<CheckedProposal, InvalidRequest> {
    let mut proposal = Proposal::default();
    change(&mut proposal);
    check_proposal(&proposal.request(CHAIN))
}

fn block(hash: usize, total: u32, parts_hash: usize) -> Option<BlockId> {
    Some(BlockId { hash: vec![1; hash], total, parts_hash: vec![2; parts_hash] })
}

#[test]
fn honest_votes_and_proposals_pass() {
    for kind in [1, 2] {
        vote(|vote| vote.kind = kind).unwrap();
        vote(|vote| (vote.kind, vote.block_id) = (kind, None)).unwrap();
        vote(|vote| (vote.kind, vote.round) = (kind, 0)).unwrap();
    }
    vote(|vote| vote.extension = vec![7; 300]).unwrap();
    vote(|vote| (vote.height, vote.round) = (i64::MAX, i32::MAX)).unwrap();
    proposal(|_| ()).unwrap();
    proposal(|proposal| proposal.pol_round = 1).unwrap();
    proposal(|proposal| proposal.round = 0).unwrap();
}

#[test]
fn a_request_without_a_vote_or_proposal_is_refused() {
    assert_eq!(check_vote(&[0x1a, 0]), Err(InvalidRequest::Missing));
    assert_eq!(check_proposal(&[0x2a, 0]), Err(InvalidRequest::Missing));
}

#[test]
fn a_vote_of_a_type_other_than_prevote_and_precommit_is_refused() {
    for kind in [0, 3, 32, -1, i32::MAX, i32::MIN] {
        let error = vote(|vote| vote.kind = kind).unwrap_err();
        assert!(matches!(error, InvalidRequest::Type { got, .. } if got == kind), "{error}");
    }
}

#[test]
fn a_proposal_of_another_type_is_refused() {
    for kind in [0, 1, 2, 33, -1] {
        let error = proposal(|proposal| proposal.kind = kind).unwrap_err();
        assert!(matches!(error, InvalidRequest::Type { got, .. } if got == kind), "{error}");
    }
}

#[test]
fn a_height_below_one_is_refused() {
    for height in [0, -1, i64::MIN] {
        assert_eq!(vote(|vote| vote.height = height), Err(InvalidRequest::Height { got: height }));
        assert_eq!(proposal(|proposal| proposal.height = height), Err(InvalidRequest::Height { got: height }));
    }
}

#[test]
fn a_negative_round_is_refused() {
    for round in [-1, i32::MIN] {
        assert_eq!(vote(|vote| vote.round = round), Err(InvalidRequest::Round { got: round }));
        assert_eq!(proposal(|proposal| proposal.round = round), Err(InvalidRequest::Round { got: round }));
    }
}

#[test]
fn a_hash_that_is_not_of_32_bytes_is_refused() {
    for length in [1, 20, 31, 33, 64, 100_000] {
        let refusal = InvalidRequest::BlockHash { got: length };
        assert_eq!(vote(|vote| vote.block_id = block(length, 1, 32)), Err(refusal.clone()));
        assert_eq!(proposal(|proposal| proposal.block_id = block(length, 1, 32)), Err(refusal));
        let refusal = InvalidRequest::PartsHash { got: length };
        assert_eq!(vote(|vote| vote.block_id = block(32, 1, length)), Err(refusal.clone()));
        assert_eq!(proposal(|proposal| proposal.block_id = block(32, 1, length)), Err(refusal));
    }
}

#[test]
fn a_block_id_that_is_neither_nil_nor_complete_is_refused() {
    for (hash, parts_total, parts_hash) in [(32, 0, 0), (0, 1, 32), (0, 1, 0), (0, 0, 32), (32, 1, 0), (32, 0, 32)] {
        let refusal = InvalidRequest::BlockIdIncomplete { hash, parts_total, parts_hash };
        let block_id = block(hash, parts_total, parts_hash);
        assert_eq!(vote(|vote| vote.block_id = block_id.clone()), Err(refusal.clone()));
        assert_eq!(proposal(|proposal| proposal.block_id = block_id), Err(refusal));
    }
}

#[test]
fn a_proposal_for_no_block_is_refused() {
    assert_eq!(proposal(|proposal| proposal.block_id = None), Err(InvalidRequest::ProposalWithoutBlock));
    assert_eq!(proposal(|proposal| proposal.block_id = block(0, 0, 0)), Err(InvalidRequest::ProposalWithoutBlock));
}

#[test]
fn a_proof_of_lock_round_outside_minus_one_to_below_the_round_is_refused() {
    for got in [-2, i32::MIN, 2, 3, i32::MAX] {
        assert_eq!(proposal(|proposal| proposal.pol_round = got), Err(InvalidRequest::PolRound { got, round: 2 }));
    }
}

#[test]
fn a_timestamp_outside_years_1_to_9999_is_refused() {
    let (first, last) = (-62_135_596_800, 253_402_300_799);
    for time in [(first, 0), (last, 999_999_999), (0, 0), (-1, 999_999_999)] {
        vote(|vote| vote.timestamp = Some(time)).unwrap();
        proposal(|proposal| proposal.timestamp = Some(time)).unwrap();
    }
    for time in [(first - 1, 0), (last + 1, 0), (i64::MIN, 0), (0, -1), (0, 1_000_000_000), (0, i64::from(i32::MAX))] {
        let refusal = InvalidRequest::Timestamp { seconds: time.0, nanos: i32::try_from(time.1).unwrap() };
        assert_eq!(vote(|vote| vote.timestamp = Some(time)), Err(refusal.clone()));
        assert_eq!(proposal(|proposal| proposal.timestamp = Some(time)), Err(refusal));
    }
}

#[test]
fn an_absent_timestamp_is_gos_zero_time() {
    let absent = vote(|vote| vote.timestamp = None).unwrap();
    let zero = vote(|vote| vote.timestamp = Some((-62_135_596_800, 0))).unwrap();
    assert_eq!(absent.sign_bytes(), zero.sign_bytes());
    let epoch = vote(|vote| vote.timestamp = Some((0, 0))).unwrap();
    assert_ne!(absent.sign_bytes(), epoch.sign_bytes());
}

#[test]
fn a_chain_id_that_is_empty_or_over_50_bytes_is_refused() {
    let (vote, proposal) = (Vote::default(), Proposal::default());
    let chains: [(String, Option<InvalidRequest>); 4] = [
        (String::new(), Some(InvalidRequest::ChainIdEmpty)),
        ("c".repeat(50), None),
        ("c".repeat(51), Some(InvalidRequest::ChainIdTooLong { got: 51 })),
        // 26 characters, 52 bytes.
        ("é".repeat(26), Some(InvalidRequest::ChainIdTooLong { got: 52 })),
    ];
    for (chain_id, refusal) in chains {
        assert_eq!(check_vote(&vote.request(&chain_id, false)).err(), refusal);
        assert_eq!(check_proposal(&proposal.request(&chain_id)).err(), refusal);
    }
}

#[test]
fn a_validator_address_over_20_bytes_is_refused() {
    vote(|vote| vote.address = vec![]).unwrap();
    assert_eq!(vote(|vote| vote.address = vec![1; 21]), Err(InvalidRequest::ValidatorAddress { got: 21 }));
}

#[test]
fn an_extension_on_anything_but_a_precommit_for_a_block_is_refused() {
    let extended =
        |kind, block_id| vote(|vote| (vote.kind, vote.block_id, vote.extension) = (kind, block_id, vec![1, 2, 3]));
    assert_eq!(extended(1, block(32, 1, 32)), Err(InvalidRequest::ExtensionMisplaced { on: "prevote", got: 3 }));
    assert_eq!(extended(1, None), Err(InvalidRequest::ExtensionMisplaced { on: "prevote", got: 3 }));
    assert_eq!(extended(2, None), Err(InvalidRequest::ExtensionMisplaced { on: "precommit for nil", got: 3 }));
    extended(2, block(32, 1, 32)).unwrap();
}

#[test]
fn only_a_precommit_for_a_block_has_extension_sign_bytes_even_when_the_extension_is_empty() {
    let bytes = |kind, block_id: Option<BlockId>, skip| {
        let vote = Vote { kind, block_id, ..Vote::default() };
        check_vote(&vote.request(CHAIN, skip)).unwrap().extension_sign_bytes()
    };
    assert!(bytes(2, block(32, 1, 32), false).is_some());
    assert_eq!(bytes(2, block(32, 1, 32), true), None);
    for (kind, block_id) in [(1, block(32, 1, 32)), (1, None), (2, None)] {
        assert_eq!(bytes(kind, block_id.clone(), false), None);
        assert_eq!(bytes(kind, block_id, true), None);
    }
}

#[test]
fn every_refusal_says_both_values_and_has_a_name_of_its_own() {
    let expected = "1 (prevote) or 2 (precommit)";
    let all = [
        InvalidRequest::Missing,
        InvalidRequest::Type { expected, got: 7 },
        InvalidRequest::Height { got: -1 },
        InvalidRequest::Round { got: -1 },
        InvalidRequest::BlockHash { got: 20 },
        InvalidRequest::PartsHash { got: 20 },
        InvalidRequest::BlockIdIncomplete { hash: 32, parts_total: 0, parts_hash: 0 },
        InvalidRequest::ProposalWithoutBlock,
        InvalidRequest::PolRound { got: 3, round: 2 },
        InvalidRequest::Timestamp { seconds: 0, nanos: -1 },
        InvalidRequest::ChainIdEmpty,
        InvalidRequest::ChainIdTooLong { got: 51 },
        InvalidRequest::ValidatorAddress { got: 21 },
        InvalidRequest::ExtensionMisplaced { on: "prevote", got: 3 },
    ];
    let mut names: Vec<_> = all.iter().map(InvalidRequest::name).collect();
    for invalid in &all {
        let text = invalid.to_string();
        assert!(text.contains("expected") && text.contains("got"), "{text}");
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all.len());
}
