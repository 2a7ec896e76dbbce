//! Properties over random requests: what is written here is read the same by `guard`, which shares no code with it.
use crate::rules::{check_proposal, check_vote};
use crate::tree::{BlockId, Node, Proposal, Vote, bytes, encode, message, number, undelimited};
use guard::{Extension, Statement, Step};
use privval::{FrameDecoder, Request};
use proptest::prelude::*;

fn times() -> impl Strategy<Value = (i64, i64)> {
    let seconds = prop_oneof![
        -62_135_596_800..=253_402_300_799_i64,
        Just(0),
        Just(-62_135_596_800),
        Just(253_402_300_799),
        1_500_000_000..2_000_000_000_i64
    ];
    (seconds, prop_oneof![Just(0), 0..1_000_000_000_i64])
}

fn heights() -> impl Strategy<Value = i64> {
    prop_oneof![1..=i64::MAX, 1..1000_i64, Just(i64::MAX)]
}

fn rounds() -> impl Strategy<Value = i32> {
    prop_oneof![Just(0), 0..10_i32, 0..=i32::MAX]
}

fn blocks() -> impl Strategy<Value = BlockId> {
    let hash = || prop::collection::vec(any::<u8>(), 32);
    (hash(), prop_oneof![1..200_u32, 1..=u32::MAX], hash()).prop_map(|(hash, total, parts_hash)| BlockId {
        hash,
        total,
        parts_hash,
    })
}

fn chains() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9-]{1,50}", "[!-~]{1,50}", "[é鎖a]{1,16}"]
}

prop_compose! {
    fn votes()(
        precommit in any::<bool>(), height in heights(), round in rounds(), block_id in prop::option::of(blocks()),
        timestamp in prop::option::of(times()), address in prop::collection::vec(any::<u8>(), 0..=20),
        index in any::<i32>(), extension in prop::collection::vec(any::<u8>(), 0..300),
    ) -> Vote {
        let extension = if precommit && block_id.is_some() { extension } else { vec![] };
        let kind = if precommit { 2 } else { 1 };
        Vote { kind, height, round, block_id, timestamp, address, index, extension, ..Vote::default() }
    }
}

prop_compose! {
    fn proposals()(
        height in heights(), round in rounds(), block_id in blocks(), timestamp in prop::option::of(times()),
        pol in any::<u32>(),
    ) -> Proposal {
        let pol_round = i32::try_from(i64::from(pol) % (i64::from(round) + 1) - 1).unwrap();
        Proposal { height, round, pol_round, block_id: Some(block_id), timestamp, ..Proposal::default() }
    }
}

/// The canonical bytes again, from what `guard` understood: if it understood less or other, they differ.
fn write_again(statement: &Statement) -> Vec<u8> {
    let position = statement.position();
    let content = statement.content();
    let kind = match position.step {
        Step::Proposal => 32,
        Step::Prevote => 1,
        Step::Precommit => 2,
    };
    let fixed = |tag, value: u64| (value != 0).then_some(Node::Fixed64(tag, value));
    let mut fields = vec![number(1, kind)];
    fields.extend(fixed(2, position.height.get()));
    fields.extend(fixed(3, position.round.get().into()));
    let shift = u32::from(content.pol_round.is_some());
    fields.extend(content.pol_round.filter(|pol| *pol != 0).map(|pol| number(4, pol)));
    if let Some(block_id) = content.block_id {
        let parts = vec![number(1, block_id.parts_total.into()), bytes(2, block_id.parts_hash)];
        fields.push(message(4 + shift, vec![bytes(1, block_id.hash), message(2, parts)]));
    }
    let time = statement.timestamp();
    let time = [(1, time.seconds), (2, i64::from(time.nanos))].into_iter().filter(|(_, value)| *value != 0);
    fields.push(message(5 + shift, time.map(|(tag, value)| number(tag, value)).collect()));
    fields.push(bytes(6 + shift, statement.chain_id()));
    crate::tree::delimited(&encode(&fields))
}

fn assert_same_block(ours: Option<&BlockId>, theirs: Option<guard::BlockId>) {
    assert_eq!(ours.is_some(), theirs.is_some());
    if let (Some(ours), Some(theirs)) = (ours, theirs) {
        assert_eq!((&ours.hash[..], ours.total), (&theirs.hash[..], theirs.parts_total));
        assert_eq!(ours.parts_hash, theirs.parts_hash);
    }
}

fn assert_same_time(ours: Option<(i64, i64)>, theirs: guard::Timestamp) {
    assert_eq!(ours.unwrap_or((-62_135_596_800, 0)), (theirs.seconds, theirs.nanos.into()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn guard_reads_every_checked_vote_as_it_was_asked_for(vote in votes(), chain in chains(), skip in any::<bool>()) {
        let checked = check_vote(&vote.request(&chain, skip)).unwrap();
        let statement = Statement::parse(&checked.sign_bytes()).unwrap();
        let position = statement.position();
        prop_assert_eq!(position.height.get(), vote.height.cast_unsigned());
        prop_assert_eq!(position.round.get(), vote.round.cast_unsigned());
        prop_assert_eq!(position.step, if vote.kind == 1 { Step::Prevote } else { Step::Precommit });
        prop_assert_eq!(statement.chain_id(), &chain);
        prop_assert_eq!(statement.content().pol_round, None);
        assert_same_block(vote.block_id.as_ref(), statement.content().block_id);
        assert_same_time(vote.timestamp, statement.timestamp());
        prop_assert_eq!(write_again(&statement), checked.sign_bytes());

        let extension = checked.extension_sign_bytes();
        prop_assert_eq!(extension.is_some(), statement.takes_extension() && !skip);
        if let Some(sign_bytes) = extension {
            let mut fields = vec![];
            fields.extend((!vote.extension.is_empty()).then(|| bytes(1, &vote.extension)));
            fields.push(Node::Fixed64(2, vote.height.cast_unsigned()));
            fields.extend((vote.round > 0).then(|| Node::Fixed64(3, vote.round.cast_unsigned().into())));
            fields.push(bytes(4, &chain));
            prop_assert_eq!(&sign_bytes, &crate::tree::delimited(&encode(&fields)));
            Extension::parse(sign_bytes.into()).unwrap();
        }
    }

    #[test]
    fn guard_reads_every_checked_proposal_as_it_was_asked_for(proposal in proposals(), chain in chains()) {
        let checked = check_proposal(&proposal.request(&chain)).unwrap();
        let statement = Statement::parse(&checked.sign_bytes()).unwrap();
        let position = statement.position();
        prop_assert_eq!(position.height.get(), proposal.height.cast_unsigned());
        prop_assert_eq!(position.round.get(), proposal.round.cast_unsigned());
        prop_assert_eq!(position.step, Step::Proposal);
        prop_assert_eq!(statement.chain_id(), &chain);
        prop_assert_eq!(statement.content().pol_round, Some(proposal.pol_round.into()));
        assert_same_block(proposal.block_id.as_ref(), statement.content().block_id);
        assert_same_time(proposal.timestamp, statement.timestamp());
        prop_assert_eq!(write_again(&statement), checked.sign_bytes());
    }

    /// Whatever `guard` accepts is what this crate would have written for it, so two readings cannot exist.
    #[test]
    fn guard_accepts_nothing_that_would_be_written_otherwise(
        vote in votes(), proposal in proposals(), is_vote in any::<bool>(), chain in chains(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let mut sign_bytes = if is_vote {
            check_vote(&vote.request(&chain, false)).unwrap().sign_bytes()
        } else {
            check_proposal(&proposal.request(&chain)).unwrap().sign_bytes()
        };
        for (at, byte, edit) in edits {
            let at = at.index(sign_bytes.len());
            match edit {
                0 => sign_bytes[at] = byte,
                1 => sign_bytes[at] ^= 1 << (byte % 8),
                // The length in front kept right, or most edits would end there.
                2 => { sign_bytes.insert(at.max(1), byte); sign_bytes[0] = sign_bytes[0].wrapping_add(1); }
                _ if at > 0 => { sign_bytes.remove(at); sign_bytes[0] = sign_bytes[0].wrapping_sub(1); }
                _ => {}
            }
        }
        if let Ok(statement) = Statement::parse(&sign_bytes) {
            prop_assert_eq!(write_again(&statement), sign_bytes);
        }
    }

    #[test]
    fn an_answer_reads_back_as_the_vote_that_was_asked_for(vote in votes(), chain in chains()) {
        let time = vote.timestamp.unwrap_or((-62_135_596_800, 0));
        let checked = check_vote(&vote.request(&chain, false)).unwrap();
        let sign_bytes = checked.sign_bytes();
        let answer = checked.answer(&[1; 64], Some(&[2; 64]), (time.0, u32::try_from(time.1).unwrap()));
        // The vote in the answer, asked for again, is the same vote.
        let (tag, response) = crate::tree::inner(undelimited(&answer));
        prop_assert_eq!(tag, 4);
        let (tag, again) = crate::tree::inner(response);
        prop_assert_eq!(tag, 1);
        let again = check_vote(&encode(&[message(3, vec![bytes(1, again), bytes(2, &chain)])])).unwrap();
        prop_assert_eq!(again.sign_bytes(), sign_bytes);
    }

    #[test]
    fn no_bytes_make_it_panic(message in prop::collection::vec(any::<u8>(), 0..300)) {
        exercise(&message);
    }

    #[test]
    fn no_edit_of_a_request_makes_it_panic(
        vote in votes(), chain in chains(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut message = vote.request(&chain, false);
        for (at, byte) in edits {
            let at = at.index(message.len());
            message[at] = byte;
        }
        exercise(&message);
    }
}

/// Everything that can be done with a message.
fn exercise(message: &[u8]) {
    let mut frames = FrameDecoder::new();
    frames.push(message);
    while let Ok(Some(_)) = frames.next() {}
    let kind = match Request::decode(message) {
        Ok(Request::SignVote(request)) => {
            assert!(!format!("{request:?}").is_empty());
            if let Ok(checked) = request.check() {
                Statement::parse(&checked.sign_bytes()).expect("checked votes are canonical");
                checked.extension_sign_bytes().map(|bytes| Extension::parse(bytes.into()).expect("canonical"));
                assert!(checked.answer(&[1; 64], Some(&[2; 64]), (0, 0)).len() <= privval::MAX_ANSWER_BYTES);
            }
            Some(privval::RequestKind::Vote)
        }
        Ok(Request::SignProposal(request)) => {
            assert!(!format!("{request:?}").is_empty());
            if let Ok(checked) = request.check() {
                Statement::parse(&checked.sign_bytes()).expect("checked proposals are canonical");
                assert!(checked.answer(&[1; 64], (0, 0)).len() <= privval::MAX_ANSWER_BYTES);
            }
            Some(privval::RequestKind::Proposal)
        }
        Ok(other) => Some(other.kind()),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            error.kind()
        }
    };
    if let Some(answer) = kind.and_then(|kind| privval::answers::error(kind, 1, "refused")) {
        assert!(answer.len() <= privval::MAX_ANSWER_BYTES);
    }
}
