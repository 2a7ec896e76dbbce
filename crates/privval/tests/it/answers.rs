//! Answers: the whole request echoed, what was made put in, and never more bytes than a node reads.
use crate::rules::{check_proposal, check_vote};
use crate::tree::{CHAIN, Proposal, TIME, Vote, bytes, encode, hex, inner, message, number, undelimited};
use privval::answers::{self, PublicKeyRef};
use privval::{DecodeError, MAX_ANSWER_BYTES, Request, RequestKind};

const SIGNED_AT: (i64, u32) = (TIME.0, 0);

/// What a whole answer with that vote in it looks like.
fn signed_vote(vote: &Vote) -> Vec<u8> {
    encode(&[message(4, vec![message(1, vote.fields())])])
}

#[test]
fn a_ping_is_answered_in_three_bytes() {
    assert_eq!(Request::decode(&hex("3a00")), Ok(Request::Ping));
    assert_eq!(answers::pong(), hex("024200"));
}

#[test]
fn a_public_key_is_told_in_the_words_of_every_line_at_once() {
    let key: [u8; 32] = hex("556a436f1218d30942efe798420f51dc9b6a311b929c578257457d05c5fcf230").try_into().unwrap();
    let answer = answers::pub_key(PublicKeyRef::Ed25519(&key));
    // Both vectors of msgs_test.go, without their outer keys, one after the other.
    let (old, new) = (
        "0a220a20556a436f1218d30942efe798420f51dc9b6a311b929c578257457d05c5fcf230",
        "1a20556a436f1218d30942efe798420f51dc9b6a311b929c578257457d05c5fcf230220765643235353139",
    );
    assert_eq!(inner(undelimited(&answer)), (2, hex(&format!("{old}{new}")).as_slice()));

    let key = [2; 33];
    let expected = vec![message(1, vec![bytes(2, key)]), bytes(3, key), bytes(4, "secp256k1")];
    let answer = answers::pub_key(PublicKeyRef::Secp256k1(&key));
    assert_eq!(undelimited(&answer), encode(&[message(2, expected)]));
}

#[test]
fn a_vote_error_is_gos_to_the_byte() {
    let expected = hex("22250a11220212002a0b088092b8c398feffffff0112100801120c697427732061206572726f72");
    assert_eq!(undelimited(&answers::vote_error(1, "it's a error")), expected);
}

#[test]
fn each_kind_of_request_gets_an_error_of_its_own_response_type() {
    let remote = message(2, vec![number(1, 3), bytes(2, "why")]);
    let response_tag = |kind| {
        answers::error(kind, 3, "why").map(|answer| {
            let (tag, content) = inner(undelimited(&answer));
            assert!(content.ends_with(&encode(std::slice::from_ref(&remote))), "{kind:?}");
            tag
        })
    };
    assert_eq!(response_tag(RequestKind::PubKey), Some(2));
    assert_eq!(response_tag(RequestKind::Vote), Some(4));
    assert_eq!(response_tag(RequestKind::Proposal), Some(6));
    assert_eq!(response_tag(RequestKind::Raw), Some(10));
    assert_eq!(response_tag(RequestKind::Ping), None);
}

#[test]
fn a_description_of_any_length_is_cut_between_characters_and_fits() {
    for description in ["x".repeat(100_000), "é".repeat(50_000), format!("x{}", "鎖".repeat(50_000))] {
        for kind in [RequestKind::PubKey, RequestKind::Vote, RequestKind::Proposal, RequestKind::Raw] {
            let answer = answers::error(kind, i32::MIN, &description).unwrap();
            assert!(answer.len() < 1200, "{} bytes", answer.len());
        }
    }
}

#[test]
fn the_whole_vote_comes_back_with_signatures_and_timestamp_put_in() {
    let asked =
        Vote { signature: vec![9; 3], extension: vec![7; 300], extension_signature: vec![8; 3], ..Vote::default() };
    let checked = check_vote(&asked.request(CHAIN, false)).unwrap();
    let answer = checked.answer(&[1; 64], Some(&[2; 64]), (TIME.0 - 1, 5));
    let expected =
        Vote { signature: vec![1; 64], extension_signature: vec![2; 64], timestamp: Some((TIME.0 - 1, 5)), ..asked };
    assert_eq!(undelimited(&answer), signed_vote(&expected));
}

#[test]
fn the_whole_proposal_comes_back_with_signature_and_timestamp_put_in() {
    let asked = Proposal { signature: vec![9; 3], ..Proposal::default() };
    let checked = check_proposal(&asked.request(CHAIN)).unwrap();
    let answer = checked.answer(&[1; 64], (TIME.0 - 1, 5));
    let expected = Proposal { signature: vec![1; 64], timestamp: Some((TIME.0 - 1, 5)), ..asked };
    assert_eq!(undelimited(&answer), encode(&[message(6, vec![message(1, expected.fields())])]));
}

#[test]
fn extensions_without_replay_protection_come_back_untouched() {
    let mut fields = Vote::default().fields();
    fields.extend([bytes(11, "not replay protected"), bytes(12, [3; 64])]);
    let request = encode(&[message(3, vec![message(1, fields.clone()), bytes(2, CHAIN)])]);
    let answer = check_vote(&request).unwrap().answer(&[1; 64], None, SIGNED_AT);
    fields.insert(7, bytes(8, [1; 64]));
    assert_eq!(undelimited(&answer), encode(&[message(4, vec![message(1, fields)])]));
}

#[test]
fn a_vote_that_takes_no_extension_is_never_given_an_extension_signature() {
    for (kind, block_id) in [(1, Vote::default().block_id), (2, None)] {
        // Not even one that the request had already.
        let asked = Vote { kind, block_id, extension_signature: vec![8; 64], ..Vote::default() };
        let checked = check_vote(&asked.request(CHAIN, false)).unwrap();
        let answer = checked.answer(&[1; 64], Some(&[2; 64]), SIGNED_AT);
        let mut vote = Vote { signature: vec![1; 64], extension_signature: vec![], ..asked }.fields();
        if kind == 2 {
            // Go writes the block id of a vote for nil, too.
            vote.insert(3, message(4, vec![message(2, vec![])]));
        }
        assert_eq!(undelimited(&answer), encode(&[message(4, vec![message(1, vote)])]));
    }
}

#[test]
fn the_extension_is_left_out_only_where_the_answer_would_be_too_long() {
    let answer_to = |length: usize| {
        let asked = Vote { extension: vec![7; length], ..Vote::default() };
        let answer = check_vote(&asked.request(CHAIN, false)).unwrap().answer(&[1; 64], Some(&[2; 64]), SIGNED_AT);
        (answer, Vote { signature: vec![1; 64], extension_signature: vec![2; 64], ..asked })
    };
    let around_it = answer_to(9_000).0.len() - 9_000;
    let longest = MAX_ANSWER_BYTES - around_it;
    for length in [0, 1, 127, 128, 9_000, longest - 1, longest] {
        let (answer, expected) = answer_to(length);
        assert_eq!(undelimited(&answer), signed_vote(&expected));
        assert!(answer.len() <= MAX_ANSWER_BYTES);
    }
    assert_eq!(answer_to(longest).0.len(), MAX_ANSWER_BYTES);
    for length in [longest + 1, 20_000, 1 << 20] {
        let (answer, expected) = answer_to(length);
        assert_eq!(undelimited(&answer), signed_vote(&Vote { extension: vec![], ..expected }));
    }
}

#[test]
fn nothing_in_a_request_can_make_the_answer_too_long() {
    let mut fields = Vote { address: vec![1; 20], signature: vec![1; 100_000], ..Vote::default() }.fields();
    fields.extend([9, 10, 11, 12].map(|tag| bytes(tag, [3; 100_000])));
    let request = encode(&[message(3, vec![message(1, fields), bytes(2, CHAIN)])]);
    // Signatures as large as any key type makes them (ML-DSA-65).
    let answer = check_vote(&request).unwrap().answer(&[1; 3309], Some(&[2; 3309]), SIGNED_AT);
    assert!(answer.len() <= MAX_ANSWER_BYTES, "{} bytes", answer.len());
}

fn kind_of_error(message: &[u8]) -> (Option<RequestKind>, &'static str) {
    let error: DecodeError = Request::decode(message).unwrap_err();
    assert!(error.to_string().contains("expected"), "{error}");
    (error.kind(), error.name())
}

#[test]
fn a_broken_request_still_says_which_kind_it_was() {
    for (tag, kind) in [(1, RequestKind::PubKey), (3, RequestKind::Vote), (5, RequestKind::Proposal)] {
        // A field of a wrong wire type inside, a request of a wrong wire type, one that is cut off.
        assert_eq!(kind_of_error(&encode(&[message(tag, vec![number(1, 7)])])), (Some(kind), "protobuf"));
        assert_eq!(kind_of_error(&encode(&[number(tag, 7)])), (Some(kind), "protobuf"));
        assert_eq!(kind_of_error(&encode(&[bytes(tag, [0; 9])])[..5]), (Some(kind), "protobuf"));
        // Bytes after it that are no field.
        for trailing in [vec![0xff], vec![0x5a, 0x09]] {
            let broken = [encode(&[message(tag, vec![])]), trailing].concat();
            assert_eq!(kind_of_error(&broken), (Some(kind), "protobuf"));
        }
    }
}

#[test]
fn a_chain_id_that_is_not_utf8_is_an_error_with_its_kind() {
    let chain = [b'a', 0xff, b'b'];
    let expected = |kind| (Some(kind), "chain_id_not_utf8");
    assert_eq!(kind_of_error(&Vote::default().request(chain, false)), expected(RequestKind::Vote));
    assert_eq!(kind_of_error(&Proposal::default().request(chain)), expected(RequestKind::Proposal));
    assert_eq!(kind_of_error(&encode(&[message(1, vec![bytes(1, chain)])])), expected(RequestKind::PubKey));
}

#[test]
fn what_is_no_request_has_no_kind() {
    assert_eq!(kind_of_error(&[]), (None, "no_request"));
    assert_eq!(kind_of_error(&encode(&[bytes(11, "unknown")])), (None, "no_request"));
    assert_eq!(kind_of_error(&[0xff]), (None, "protobuf"));
    for tag in [2, 4, 6, 8, 10] {
        assert_eq!(kind_of_error(&encode(&[message(tag, vec![])])), (None, "response"));
    }
}

#[test]
fn raw_bytes_are_recognized_and_not_decoded() {
    let celestia = encode(&[message(9, vec![bytes(1, CHAIN), bytes(2, [1, 2, 3]), bytes(3, "compactBlock")])]);
    let v1 = encode(&[message(9, vec![bytes(1, [1, 2, 3])])]);
    for message in [celestia, v1, encode(&[bytes(9, [0xff; 7])])] {
        assert_eq!(Request::decode(&message), Ok(Request::Raw { tag: 9 }));
    }
}

#[test]
fn a_public_key_request_says_its_chain() {
    let request = Request::decode(&encode(&[message(1, vec![bytes(1, CHAIN)])]));
    assert_eq!(request, Ok(Request::PubKey { chain_id: CHAIN.to_owned() }));
    assert_eq!(Request::decode(&hex("0a00")), Ok(Request::PubKey { chain_id: String::new() }));
}

#[test]
fn a_later_request_in_one_message_replaces_an_earlier_one() {
    let (first, second) =
        (Vote { height: 5, round: 0, ..Vote::default() }, Vote { round: 0, height: 0, ..Vote::default() });
    let both = [first.request(CHAIN, false), second.request(CHAIN, false)].concat();
    // Merged, as protobuf has it, the height of the first would remain.
    assert_eq!(check_vote(&both), check_vote(&second.request(CHAIN, false)));
    let then_ping = [first.request(CHAIN, false), hex("3a00")].concat();
    assert_eq!(Request::decode(&then_ping), Ok(Request::Ping));
}

#[test]
fn fields_that_come_twice_are_merged_as_in_go() {
    let signed = |fields| check_vote(&encode(&[message(3, fields)])).unwrap().sign_bytes();
    let halves = vec![
        message(1, vec![number(1, 1), number(2, 9), message(5, vec![number(1, 5), number(2, 6)])]),
        bytes(2, "replaced"),
        message(1, vec![number(1, 2), number(3, 4), message(5, vec![number(1, 7)])]),
        bytes(2, CHAIN),
    ];
    // The vote is merged field by field, its timestamp replaced: 7 s and no nanoseconds.
    let whole = Vote { kind: 2, height: 9, round: 4, block_id: None, timestamp: Some((7, 0)), ..Vote::default() };
    assert_eq!(signed(halves), check_vote(&whole.request(CHAIN, false)).unwrap().sign_bytes());
}
