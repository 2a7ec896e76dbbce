//! What must hold for any message and any bytes: what is written is read back, what is cut or bent is refused or another
//! message, and a proof holds for nothing but what was proven.
#![allow(clippy::unwrap_used)]
mod samples;

use guard::{ChainId, Height, Identity, Position, Record, Round, Statement, Step, Trouble};
use proptest::prelude::*;
use samples::{NONCE, token};
use std::time::Instant;
use wire::control::{self, REQUEST_DOMAIN};
use wire::state::{self, ANSWER_DOMAIN};
use wire::token::Token;

fn any_record() -> impl Strategy<Value = Record> {
    let height = 0..=i64::MAX.cast_unsigned();
    let round = 0..=i32::MAX.cast_unsigned();
    let floor = (0..=state::MAX_SEQUENCE, height.clone(), round.clone(), 0..3_usize).prop_map(
        |(sequence, height, round, step)| {
            let height = Height::try_from(height.cast_signed()).unwrap();
            let round = Round::try_from(i64::from(round)).unwrap();
            Record::floor(sequence, Position { height, round, step: Step::ALL[step] })
        },
    );
    let signed = (0..=state::MAX_SEQUENCE, 1..=2_u8, height, round, any::<Option<u8>>()).prop_map(
        |(sequence, kind, height, round, hash)| {
            Record::of(sequence, Statement::parse(&samples::vote(kind, height.max(1), round, hash)).unwrap())
        },
    );
    prop_oneof![floor, signed]
}

fn any_state_request() -> impl Strategy<Value = state::Request> {
    let open = ("[!#-\\[\\]-~]{1,50}", prop::collection::vec(any::<u8>(), 0..2048), any::<[u8; 16]>());
    let open = open.prop_map(|(chain, key, life)| {
        let chain_id = ChainId::try_from(chain.as_str()).unwrap();
        state::Request::Open { identity: Identity { chain_id, public_key: key.into() }, life }
    });
    let commit = (any::<u64>(), any::<[u8; 32]>(), any_record())
        .prop_map(|(previous_sequence, previous, next)| state::Request::Commit { previous_sequence, previous, next });
    prop_oneof![open, Just(state::Request::Recover), commit]
}

fn any_state_answer() -> impl Strategy<Value = state::Answer> {
    let troubles = [Trouble::Superseded, Trouble::Failed, Trouble::Unknown, Trouble::Damaged];
    prop_oneof![
        any::<u64>().prop_map(|epoch| state::Answer::Opened { epoch }),
        any_record().prop_map(|record| state::Answer::Recovered { record }),
        (any::<u64>(), any::<[u8; 32]>()).prop_map(|(sequence, digest)| state::Answer::Committed { sequence, digest }),
        (0..4_usize, ".{0,300}")
            .prop_map(move |(index, detail)| state::Answer::Trouble { trouble: troubles[index], detail }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_state_request_comes_back_as_it_was_written(number: u64, request in any_state_request()) {
        prop_assert_eq!(state::Request::decode(&request.encode(number)), Ok((number, request)));
    }

    #[test]
    fn a_state_answer_comes_back_with_a_proof_that_holds(number: u64, answer in any_state_answer(), nonce: [u8; 32]) {
        let frame = answer.encode(number, &token(), &nonce);
        prop_assert!(frame.len() <= wire::frame::MAX_STATE_BYTES);
        let (got, decoded, proof, proven) = state::Answer::decode(&frame).unwrap();
        prop_assert_eq!((got, decoded), (number, answer));
        prop_assert!(token().verify(ANSWER_DOMAIN, &nonce, &proven, &proof));
    }

    #[test]
    fn records_have_the_same_digest_only_if_they_are_the_same(one in any_record(), other in any_record()) {
        prop_assert_eq!(state::digest(&one) == state::digest(&other), one == other);
        let mut later = one.clone();
        if let Some(sequence) = one.sequence().checked_add(1) {
            later = match one.statement() {
                Some(statement) => Record::of(sequence, statement.clone()),
                None => Record::floor(sequence, one.position()),
            };
        }
        prop_assert_eq!(state::digest(&one) == state::digest(&later), one == later);
        if one.statement().is_some() {
            prop_assert_ne!(state::digest(&one), state::digest(&Record::floor(one.sequence(), one.position())));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = state::Request::decode(&bytes);
        let _ = state::Answer::decode(&bytes);
        let _ = control::Request::decode(&bytes);
        let _ = control::Answer::decode(&bytes);
        let _ = wire::frame::read(&mut bytes.as_slice(), 256);
    }

    #[test]
    fn a_push_comes_back_as_it_was_written(
        secrets: [u8; 32], config in ".{0,2000}", parts in prop::array::uniform4(".{0,60}"), expires: Option<i64>,
        has_session: bool, has_credentials: bool,
    ) {
        let [id, secret, session, source] = parts;
        let credentials = has_credentials.then(|| control::Credentials {
            access_key_id: id.clone().into(),
            secret_access_key: secret.clone().into(),
            session_token: has_session.then(|| session.clone().into()),
            expires_at: expires,
            source: source.clone(),
        });
        let push = control::Push { token: Token::new(&secrets), config: config.clone().into(), credentials };
        let frame = control::Request::Push(Box::new(push)).encode(Some(&token()), &NONCE);
        let received = control::Request::decode(&frame).unwrap();
        prop_assert!(token().verify(REQUEST_DOMAIN, &NONCE, &received.proven, &received.proof));
        let control::Request::Push(got) = received.request else { panic!("it is no push any more") };
        prop_assert_eq!(got.token.expose(), &secrets);
        prop_assert_eq!(&*got.config, &config);
        prop_assert_eq!(got.credentials.is_some(), has_credentials);
        if let Some(got) = got.credentials {
            prop_assert_eq!((&*got.access_key_id, &*got.secret_access_key), (&id, &secret));
            prop_assert_eq!(got.session_token.as_deref(), has_session.then_some(&session));
            prop_assert_eq!((got.expires_at, got.source), (expires, source));
        }
    }
}

#[test]
fn control_answers_come_back_as_they_were_written() {
    for (name, answer) in samples::control_answers() {
        assert_eq!(control::Answer::decode(&answer.encode()), Ok(answer), "{name}");
    }
}

#[test]
fn control_requests_come_back_with_a_proof_that_holds() {
    for (name, request) in samples::control_requests() {
        let received = control::Request::decode(&request.encode(Some(&token()), &NONCE)).unwrap();
        assert!(token().verify(REQUEST_DOMAIN, &NONCE, &received.proven, &received.proof), "{name}");
        let same = match (&request, &received.request) {
            (control::Request::Logs { from, follow }, control::Request::Logs { from: got, follow: got_follow }) => {
                (from, follow) == (got, got_follow)
            }
            (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
        };
        assert!(same, "{name}");
    }
    let bare = control::Request::Status.encode(None, &NONCE);
    assert_eq!(control::Request::decode(&bare).unwrap().proof, [0; 32]);
}

/// What the four decoders make of bytes: whether a state answer's or a request's proof still holds.
fn proofs_that_hold(bytes: &[u8]) -> usize {
    let _ = (state::Request::decode(bytes), control::Answer::decode(bytes));
    let answer = state::Answer::decode(bytes)
        .is_ok_and(|(_, _, proof, proven)| token().verify(ANSWER_DOMAIN, &NONCE, &proven, &proof));
    let request = control::Request::decode(bytes)
        .is_ok_and(|received| token().verify(REQUEST_DOMAIN, &NONCE, &received.proven, &received.proof));
    usize::from(answer) + usize::from(request)
}

#[test]
fn every_truncation_and_every_flipped_bit_is_refused_or_no_longer_proven() {
    for (name, frame) in samples::frames() {
        for length in 0..frame.len() {
            assert_eq!(proofs_that_hold(&frame[..length]), 0, "{name} cut at {length}");
        }
        let mut bent = frame.clone();
        for bit in 0..frame.len() * 8 {
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(proofs_that_hold(&bent), 0, "{name} with bit {bit} flipped");
            bent[bit / 8] ^= 1 << (bit % 8);
        }
        bent.push(0);
        assert_eq!(proofs_that_hold(&bent), 0, "{name} with a byte more");
    }
}

#[test]
fn binary_messages_that_are_cut_or_have_a_byte_more_are_malformed() {
    let cuts = |frame: &[u8]| (0..frame.len()).map(|length| frame[..length].to_vec()).collect::<Vec<_>>();
    for (name, request) in samples::state_requests() {
        let frame = request.encode(1);
        for wrong in cuts(&frame).into_iter().chain([[&*frame, &[0]].concat()]) {
            assert!(state::Request::decode(&wrong).is_err(), "{name}: {} bytes", wrong.len());
        }
    }
    for (name, answer) in samples::state_answers() {
        let frame = answer.encode(1, &token(), &NONCE);
        for wrong in cuts(&frame).into_iter().chain([[&*frame, &[0]].concat()]) {
            assert!(state::Answer::decode(&wrong).is_err(), "{name}: {} bytes", wrong.len());
        }
    }
    for (name, request) in samples::control_requests() {
        let frame = request.encode(None, &NONCE);
        for wrong in cuts(&frame).into_iter().chain([[&**frame, &[0]].concat()]) {
            assert!(control::Request::decode(&wrong).is_err(), "{name}: {} bytes", wrong.len());
        }
    }
}

#[test]
fn an_answers_proof_holds_for_no_other_domain_nonce_number_or_record() {
    let answer = state::Answer::Recovered { record: samples::record() };
    let (_, _, proof, proven) = state::Answer::decode(&answer.encode(5, &token(), &NONCE)).unwrap();
    assert!(token().verify(ANSWER_DOMAIN, &NONCE, &proven, &proof));
    assert!(!token().verify(REQUEST_DOMAIN, &NONCE, &proven, &proof));
    assert!(!token().verify(ANSWER_DOMAIN, &[1; 32], &proven, &proof));
    assert!(!Token::new(&[1; 32]).verify(ANSWER_DOMAIN, &NONCE, &proven, &proof));
    let others = [
        answer.encode(6, &token(), &NONCE),
        state::Answer::Recovered { record: samples::floor() }.encode(5, &token(), &NONCE),
        state::Answer::Committed { sequence: 7, digest: state::digest(&samples::record()) }.encode(5, &token(), &NONCE),
    ];
    for other in others {
        let (_, _, other_proof, other_proven) = state::Answer::decode(&other).unwrap();
        assert!(!token().verify(ANSWER_DOMAIN, &NONCE, &other_proven, &proof));
        assert!(!token().verify(ANSWER_DOMAIN, &NONCE, &proven, &other_proof));
    }
}

#[test]
fn a_record_whose_sign_bytes_are_of_another_position_is_malformed() {
    let mut wrong = state::Answer::Recovered { record: samples::record() }.encode(1, &token(), &NONCE);
    // Behind number, proof, kind and sequence: the height's last byte.
    assert_eq!(wrong[8 + 32 + 1 + 8 + 7], 12);
    wrong[8 + 32 + 1 + 8 + 7] = 13;
    let error = state::Answer::decode(&wrong).unwrap_err().to_string();
    assert!(error.contains("expected position 13/1/precommit, got 12/1/precommit"), "{error}");
}

#[test]
fn a_troubles_text_is_cut_at_a_characters_end() {
    let detail = "ü".repeat(state::MAX_DETAIL_BYTES);
    let answer = state::Answer::Trouble { trouble: Trouble::Failed, detail };
    let frame = answer.encode(1, &token(), &NONCE);
    assert!(frame.len() <= wire::frame::MAX_STATE_BYTES);
    let Ok((_, state::Answer::Trouble { detail, .. }, ..)) = state::Answer::decode(&frame) else {
        panic!("no trouble")
    };
    assert_eq!(detail, "ü".repeat(state::MAX_DETAIL_BYTES / 2));
}

#[test]
fn requests_above_their_bounds_are_malformed_and_no_error_repeats_what_was_sent() {
    let long = |config: String| {
        let push = control::Push { config: config.into(), ..samples::push(true) };
        control::Request::Push(Box::new(push)).encode(Some(&token()), &NONCE)
    };
    assert!(control::Request::decode(&long("x".repeat(control::MAX_CONFIG_BYTES))).is_ok());
    let error = control::Request::decode(&long("x".repeat(control::MAX_CONFIG_BYTES + 1))).err().unwrap();
    assert!(error.to_string().contains("expected at most 1048576 bytes, got 1048577"), "{error}");
    let mut logs = control::Request::Logs { from: 1, follow: false }.encode(None, &NONCE).to_vec();
    logs.truncate(33);
    logs.extend(br#"{"from":"canary-of-a-test","follow":1}"#);
    let error = control::Request::decode(&logs).err().unwrap().to_string();
    assert!(!error.contains("canary"), "{error}");
    logs.resize(5000, b' ');
    let error = control::Request::decode(&logs).err().unwrap().to_string();
    assert!(error.contains("expected at most 4096"), "{error}");
}

#[test]
fn a_status_of_another_version_with_more_fields_is_read_and_with_fewer_refused() {
    let body = |text: &str| [&[4], text.as_bytes()].concat();
    let whole = String::from_utf8(control::Answer::Status(Box::new(samples::status())).encode()[1..].to_vec()).unwrap();
    let more = whole.replacen('{', r#"{"new":1,"#, 1);
    assert!(control::Answer::decode(&body(&more)).is_ok());
    assert!(control::Answer::decode(&body(r#"{"version":"0.1.0"}"#)).is_err());
    assert!(control::Answer::decode(&body(&"[".repeat(100_000))).is_err());
}

/// `cargo test --release -p wire --test properties -- --nocapture vote` prints it; the goal is 10 µs.
#[test]
fn a_votes_way_over_the_channel_costs_microseconds() {
    const TIMES: u32 = 2_000;
    let (floor, record) = (samples::floor(), samples::record());
    let begun = Instant::now();
    for number in 0..u64::from(TIMES) {
        let commit = state::Request::Commit {
            previous_sequence: floor.sequence(),
            previous: state::digest(&floor),
            next: record.clone(),
        };
        let (number, state::Request::Commit { next, .. }) = state::Request::decode(&commit.encode(number)).unwrap()
        else {
            panic!("no commit")
        };
        let answer = state::Answer::Committed { sequence: next.sequence(), digest: state::digest(&next) };
        let (_, _, proof, proven) = state::Answer::decode(&answer.encode(number, &token(), &NONCE)).unwrap();
        assert!(token().verify(ANSWER_DOMAIN, &NONCE, &proven, &proof));
    }
    let each = begun.elapsed() / TIMES;
    println!("request and answer, both digests and both sides of the proof: {each:?}");
    assert!(each.as_micros() < 1_000, "{each:?}");
}

#[test]
fn a_sequence_that_no_file_has_room_for_is_refused() {
    let answer = |sequence| {
        let position = Position::end_of(Height::try_from(5).unwrap());
        let answer = state::Answer::Recovered { record: Record::floor(sequence, position) };
        state::Answer::decode(&answer.encode(1, &token(), &NONCE))
    };
    assert!(answer(state::MAX_SEQUENCE).is_ok());
    for sequence in [state::MAX_SEQUENCE + 1, u64::MAX] {
        assert!(answer(sequence).unwrap_err().0.contains("sequence"));
    }
}
