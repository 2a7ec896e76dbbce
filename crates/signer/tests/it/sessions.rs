//! What a node is answered, request by request, over Unix sockets and secret connections.
use crate::fixture::{Chain, Signer, max_height, one, settings};
use crate::node::Listener;
use crate::store::Mood;
use crate::wire::{self, PRECOMMIT, PREVOTE, Sum, Timestamp, Vote, ask_key, proposal, vote};
use guard::{Record, Trouble};
use signer::connection::Socket;
use signer::{Connection, End, NodeLog, Session, SignExtensions, Stop, Timing};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_height_is_signed_from_the_key_to_the_precommit() {
    for listener in Listener::both() {
        let (started, chain) = one("full-1", &listener);
        let mut node = listener.accept();
        node.ping();
        let Sum::PubKeyResponse(key) = node.ask(ask_key("full-1")) else { panic!("no key") };
        assert_eq!(key.bytes, chain.validator.public_key().as_bytes());
        assert_eq!(chain.store.attempts(), 0, "neither ping nor key touch the store");

        let proposed = node.ask_proposal("full-1", proposal(7, 0, 1)).unwrap();
        assert!(chain.is_signed_proposal(&proposed));
        let prevoted = node.ask_vote("full-1", vote(PREVOTE, 7, 0, 1)).unwrap();
        assert!(chain.is_signed(&prevoted) && prevoted.extension_signature.is_empty());
        let asked = Vote { extension: b"price".to_vec(), ..vote(PRECOMMIT, 7, 0, 1) };
        let precommitted = node.ask_vote("full-1", asked.clone()).unwrap();
        assert!(chain.is_signed(&precommitted) && !precommitted.extension_signature.is_empty());
        let (signature, extension_signature) =
            (precommitted.signature.clone(), precommitted.extension_signature.clone());
        assert_eq!(precommitted, Vote { signature, extension_signature, ..asked }, "the rest is echoed");

        node.ping(); // An answer is counted when it is at the socket; this one comes after.
        let snapshot = started.chain("full-1");
        assert_eq!((snapshot.signatures, snapshot.repeats), (3, 0));
        assert_eq!(snapshot.last_signed.map(|last| (last.height, last.round, last.step)), Some((7, 0, 3)));
        assert_eq!((snapshot.commits.count, snapshot.answers.count), (3, 3));
        assert_eq!(chain.store.commits().len(), 3);
    }
}

#[test]
fn a_nil_precommit_gets_no_extension_signature() {
    let listener = Listener::unix();
    let (_started, chain) = one("nil-1", &listener);
    let nil = Vote { block_id: None, ..vote(PRECOMMIT, 3, 0, 0) };
    let answered = listener.accept().ask_vote("nil-1", nil).unwrap();
    assert!(chain.is_signed(&answered) && answered.extension_signature.is_empty());
}

#[test]
fn extensions_are_left_unsigned_if_the_configuration_says_so() {
    let listener = Listener::unix();
    let mut signer = Signer::new();
    let never = signer::ValidatorSettings { sign_extensions: SignExtensions::Never, ..settings("never-1", 1) };
    let chain = signer.chain(never);
    signer.connect(&chain, &listener);
    let _started = signer.start();
    let answered = listener.accept().ask_vote("never-1", vote(PRECOMMIT, 3, 0, 1)).unwrap();
    assert!(chain.is_signed(&answered) && answered.extension_signature.is_empty());
}

#[test]
fn an_extension_of_a_mebibyte_is_signed_and_left_out_of_the_answer() {
    for listener in Listener::both() {
        let (_started, chain) = one("large-1", &listener);
        let mut node = listener.accept();
        let asked = Vote { extension: vec![3; 1 << 20], ..vote(PRECOMMIT, 3, 0, 1) };
        let answered = node.ask_vote("large-1", asked.clone()).unwrap();
        assert!(answered.extension.is_empty());
        assert!(chain.is_signed(&Vote { extension: asked.extension, ..answered }));
        node.ping();
    }
}

#[test]
fn a_repeat_with_another_timestamp_gets_the_recorded_one_and_its_signature() {
    for listener in Listener::both() {
        let (started, chain) = one("repeat-1", &listener);
        let mut node = listener.accept();
        let first = node.ask_vote("repeat-1", vote(PREVOTE, 5, 2, 1)).unwrap();
        let timestamp = Some(Timestamp { seconds: 1_800_000_000, nanos: 1 });
        let again = node.ask_vote("repeat-1", Vote { timestamp, ..vote(PREVOTE, 5, 2, 1) }).unwrap();
        assert_eq!(again, first);
        assert!(chain.is_signed(&again));
        assert_eq!((chain.store.commits().len(), started.chain("repeat-1").repeats), (1, 1));
    }
}

#[test]
fn a_refusal_says_why_and_the_session_goes_on() {
    for listener in Listener::both() {
        let (started, chain) = one("refuse-1", &listener);
        let mut node = listener.accept();
        node.ask_vote("refuse-1", vote(PREVOTE, 5, 1, 0xaa)).unwrap();
        for (request, expected) in [
            (vote(PREVOTE, 5, 1, 0xbb), ["conflicting prevote at 5/1/prevote", "AAAA", "BBBB"]),
            (vote(PREVOTE, 4, 9, 0xbb), ["height regression", "5/1/prevote", "4/9/prevote"]),
            (vote(PRECOMMIT, 5, 0, 0xbb), ["round regression", "5/1/prevote", "5/0/precommit"]),
        ] {
            let refusal = node.ask_vote("refuse-1", request).unwrap_err();
            assert!(expected.iter().all(|part| refusal.contains(part)), "{refusal}");
        }
        let refusal = node.ask_proposal("refuse-1", proposal(5, 1, 0xaa)).unwrap_err();
        assert!(refusal.contains("step regression"), "{refusal}");
        let other = node.ask_vote("other-1", vote(PREVOTE, 6, 0, 1)).unwrap_err();
        assert!(other.contains("refuse-1") && other.contains("other-1"), "{other}");
        let Sum::PubKeyResponse(key) = node.ask(ask_key("other-1")) else { panic!("no key") };
        assert!(key.error.unwrap().description.contains("wrong chain") && key.bytes.is_empty());

        node.ask_vote("refuse-1", vote(PREVOTE, 6, 0, 1)).unwrap();
        assert_eq!(chain.store.commits().len(), 2);
        let refusals = started.chain("refuse-1").refusals;
        let count = |name| refusals.iter().find(|count| count.reason == name).map_or(0, |count| count.count);
        let names = ["conflict", "height_regression", "round_regression", "step_regression", "wrong_chain"];
        assert_eq!(names.map(count), [1, 1, 1, 1, 2]);
    }
}

#[test]
fn nothing_is_signed_above_the_maximal_height() {
    let listener = Listener::unix();
    let mut signer = Signer::new();
    let chain = signer.chain(signer::ValidatorSettings { max_height: max_height(10), ..settings("max-1", 1) });
    signer.connect(&chain, &listener);
    let _started = signer.start();
    let mut node = listener.accept();
    node.ask_vote("max-1", vote(PREVOTE, 10, 0, 1)).unwrap();
    assert!(node.ask_vote("max-1", vote(PREVOTE, 11, 0, 1)).unwrap_err().contains("max_height 10"));
}

#[test]
fn requests_that_no_honest_node_makes_are_answered_and_the_session_goes_on() {
    for listener in Listener::both() {
        let (started, chain) = one("odd-1", &listener);
        let mut node = listener.accept();
        let short = wire::BlockId { hash: vec![1; 20], parts: wire::block(1).unwrap().parts };
        for odd in [
            vote(0, 5, 0, 1),
            vote(3, 5, 0, 1),
            vote(32, 5, 0, 1),
            vote(PREVOTE, -5, 0, 1),
            vote(PREVOTE, 0, 0, 1),
            vote(PREVOTE, 5, -1, 1),
            Vote { block_id: Some(short), ..vote(PREVOTE, 5, 0, 1) },
            Vote { extension: vec![1], ..vote(PREVOTE, 5, 0, 1) },
            Vote { timestamp: Some(Timestamp { seconds: i64::MAX, nanos: 0 }), ..vote(PREVOTE, 5, 0, 1) },
        ] {
            node.ask_vote("odd-1", odd).unwrap_err();
        }
        node.ask_vote("", vote(PREVOTE, 5, 0, 1)).unwrap_err();
        node.ask_vote(&"x".repeat(51), vote(PREVOTE, 5, 0, 1)).unwrap_err();
        node.ask_vote("odd-1 ", vote(PREVOTE, 5, 0, 1)).unwrap_err();
        let pol = wire::Proposal { pol_round: 0, ..proposal(5, 0, 1) };
        node.ask_proposal("odd-1", pol).unwrap_err();
        // A vote request whose vote is no protobuf, and raw bytes (tag 9) that this signer does not sign.
        node.send(&[4, 0x1a, 2, 0x0a, 0x05]);
        assert!(matches!(node.receive(), Some(Sum::SignedVote(answer)) if answer.error.is_some()));
        node.send(&[4, 0x4a, 2, 0x0a, 0]);
        assert!(matches!(node.receive(), Some(Sum::RawResponse(answer)) if answer.error.is_some()));

        assert!(chain.store.commits().is_empty(), "none of this moved the record");
        node.ask_vote("odd-1", vote(PREVOTE, 1, 0, 1)).unwrap();
        let counts = started.chain("odd-1").invalid_requests;
        assert!(counts.iter().map(|count| count.count).sum::<u64>() >= 13, "{counts:?}");
    }
}

#[test]
fn what_cannot_be_answered_ends_the_session_and_the_next_one_is_served() {
    let listener = Listener::unix();
    let (_started, _chain) = one("garbage-1", &listener);
    let mut bytes = b"GET / HTTP/1.1\r\n\r\n".to_vec();
    bytes.resize(200, 0xff);
    for garbage in [
        vec![0],                      // an empty frame
        vec![0xff; 11],               // a length that does not end
        vec![0xff, 0xff, 0xff, 0x7f], // 256 MiB announced
        vec![2, 0x42, 0],             // a response
        vec![3, 0xf2, 0x3f, 0],       // an unknown tag
        vec![2, 0xff, 0xff],          // no tag
        bytes,
    ] {
        let mut node = listener.accept();
        node.send(&garbage);
        assert!(node.is_closed(), "{garbage:02x?}");
    }
    listener.accept().ping();
}

#[test]
fn requests_in_pieces_and_several_at_once_are_answered_in_order() {
    for listener in Listener::both() {
        let (_started, _chain) = one("pieces-1", &listener);
        let mut node = listener.accept();
        let request = wire::delimited(wire::sign_vote("pieces-1", vote(PREVOTE, 2, 0, 1)));
        let ping = wire::delimited(Sum::Ping(wire::Empty {}));
        for byte in &request {
            node.send(&[*byte]);
        }
        node.send(&[&ping[..], &request, &ping].concat());
        let answers: Vec<_> = (0..4).map(|_| node.receive().unwrap()).collect();
        assert!(matches!(&answers[0], Sum::SignedVote(answer) if answer.error.is_none()));
        assert_eq!(answers[2], answers[0]);
        assert!(matches!((&answers[1], &answers[3]), (Sum::Pong(_), Sum::Pong(_))));
    }
}

#[test]
fn of_two_nodes_that_ask_for_different_blocks_at_one_position_exactly_one_is_answered() {
    let listeners = Listener::both();
    let mut signer = Signer::new();
    let chain = signer.chain(settings("two-1", 1));
    for listener in &listeners {
        signer.connect(&chain, listener);
    }
    let started = signer.start();
    let mut nodes = listeners.each_ref().map(Listener::accept);
    for height in 1..=200 {
        let outcomes: Vec<_> = thread::scope(|scope| {
            let ask = |(tag, node): (usize, &mut crate::node::Node)| {
                let tag = u8::try_from(tag).unwrap() + 1;
                node.ask_vote("two-1", vote(PRECOMMIT, height, 0, tag))
            };
            let threads: Vec<_> = nodes.iter_mut().enumerate().map(|pair| scope.spawn(move || ask(pair))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (signed, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!((signed.len(), refused.len()), (1, 1));
        assert!(chain.is_signed(&signed[0].clone().unwrap()));
        assert!(refused[0].clone().unwrap_err().contains("conflicting precommit"));
    }
    assert_eq!(chain.store.commits().len(), 200);
    assert_eq!(started.chain("two-1").signatures, 200);
}

#[test]
fn one_key_that_is_registered_twice_has_one_guard() {
    let listeners = [Listener::unix(), Listener::unix()];
    let mut signer = Signer::new();
    let first = signer.chain(settings("twice-1", 1));
    let second = signer.chain(settings("twice-1", 1));
    signer.connect(&first, &listeners[0]);
    signer.connect(&second, &listeners[1]);
    let _started = signer.start();
    let mut nodes = listeners.each_ref().map(Listener::accept);
    nodes[0].ask_vote("twice-1", vote(PREVOTE, 1, 0, 1)).unwrap();
    nodes[1].ask_vote("twice-1", vote(PREVOTE, 1, 0, 2)).unwrap_err();
    assert_eq!((first.store.commits().len(), second.store.attempts()), (1, 0), "the second store is never opened");
}

#[test]
fn a_store_that_recovers_within_the_patience_costs_no_vote() {
    let listener = Listener::unix();
    let (started, chain) = one("recovers-1", &listener);
    let mut node = listener.accept();
    node.ask_vote("recovers-1", vote(PREVOTE, 1, 0, 1)).unwrap();
    chain.store.set(Mood::Failing(Trouble::Failed));
    let store = chain.store.clone();
    let healer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(700));
        store.set(Mood::Healthy);
    });
    let begun = Instant::now();
    let answered = node.ask_vote("recovers-1", vote(PRECOMMIT, 1, 0, 1)).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(700) && chain.is_signed(&answered));
    healer.join().unwrap();
    assert!(started.chain("recovers-1").store_errors.iter().any(|count| count.reason == "failed" && count.count > 3));
}

#[test]
fn a_dead_store_is_an_error_after_some_seconds_while_others_are_answered() {
    let listeners = [Listener::unix(), Listener::unix(), Listener::unix()];
    let mut signer = Signer::new();
    let (dead, alive) = (signer.chain(settings("dead-1", 1)), signer.chain(settings("alive-1", 2)));
    signer.connect(&dead, &listeners[0]);
    signer.connect(&dead, &listeners[1]);
    signer.connect(&alive, &listeners[2]);
    let _started = signer.start();
    let [mut asks, mut pings, mut votes] = listeners.each_ref().map(Listener::accept);
    dead.store.set(Mood::Failing(Trouble::Failed));
    let asked = thread::spawn(move || {
        let begun = Instant::now();
        (asks.ask_vote("dead-1", vote(PREVOTE, 1, 0, 1)), begun.elapsed(), asks)
    });
    for height in 1..=10 {
        let begun = Instant::now();
        pings.ping();
        assert!(matches!(pings.ask(ask_key("dead-1")), Sum::PubKeyResponse(_)));
        votes.ask_vote("alive-1", vote(PREVOTE, height, 0, 1)).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1));
        thread::sleep(Duration::from_millis(100));
    }
    let (answer, took, mut asks) = asked.join().unwrap();
    assert!(answer.unwrap_err().contains("told to fail"));
    assert!((Duration::from_millis(2000)..Duration::from_millis(4500)).contains(&took), "{took:?}");
    asks.ping();
    dead.store.set(Mood::Healthy);
    asks.ask_vote("dead-1", vote(PREVOTE, 1, 0, 1)).unwrap();
}

#[test]
fn damage_and_fencing_are_answered_at_once() {
    for (chain_id, trouble) in [("damaged-1", Trouble::Damaged), ("fenced-1", Trouble::Superseded)] {
        let listener = Listener::unix();
        let (_started, chain) = one(chain_id, &listener);
        chain.store.set(Mood::Failing(trouble));
        let begun = Instant::now();
        listener.accept().ask_vote(chain_id, vote(PREVOTE, 1, 0, 1)).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(2));
        assert_eq!(chain.store.attempts(), 1);
    }
}

#[test]
fn a_panic_in_one_store_ends_that_session_only_and_its_guard_recovers() {
    let listeners = [Listener::unix(), Listener::unix()];
    let mut signer = Signer::new();
    let (first, second) = (signer.chain(settings("panic-1", 1)), signer.chain(settings("calm-1", 2)));
    signer.connect(&first, &listeners[0]);
    signer.connect(&second, &listeners[1]);
    let _started = signer.start();
    let [mut panics, mut calm] = listeners.each_ref().map(Listener::accept);
    first.store.set(Mood::Panics);
    panics.send(&wire::delimited(wire::sign_vote("panic-1", vote(PREVOTE, 1, 0, 1))));
    assert!(panics.is_closed());
    calm.ask_vote("calm-1", vote(PREVOTE, 1, 0, 1)).unwrap();
    let mut again = listeners[0].accept();
    let answered = again.ask_vote("panic-1", vote(PREVOTE, 1, 0, 1)).unwrap();
    assert!(first.is_signed(&answered));
}

/// A session on a pair of sockets, of which the other end has sent `bytes` and then closed its half. Says why it ended,
/// and what it answered.
fn answers_to(chain: &Chain, bytes: &[u8]) -> (End, Vec<u8>) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(bytes).unwrap();
    theirs.shutdown(Shutdown::Write).unwrap();
    let endpoint = "unix:///pair".parse().unwrap();
    let socket = Socket::Unix(Arc::new(ours));
    let connection = Connection::over(socket, &endpoint, None, &Timing::default()).unwrap();
    let end = Session::new(Arc::clone(&chain.validator), connection, Stop::new(), &NodeLog::new("pair"), false).run();
    let mut answers = Vec::new();
    theirs.read_to_end(&mut answers).unwrap();
    (end, answers)
}

/// Requests with bytes changed, left out and put in: whatever comes, it is answered or the session ends, and of all
/// that is signed no two are for one position.
#[test]
fn no_bytes_end_more_than_their_own_session() {
    let chain = Signer::new().chain(settings("fuzzed-1", 1));
    let requests = [
        wire::delimited(wire::sign_vote("fuzzed-1", vote(PRECOMMIT, 1, 0, 1))),
        wire::delimited(wire::sign_proposal("fuzzed-1", proposal(1, 0, 1))),
        wire::delimited(ask_key("fuzzed-1")),
    ];
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |limit: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % limit
    };
    let mut closed = 0;
    for _ in 0..20_000 {
        let mut bytes = requests[below(requests.len())].clone();
        for _ in 0..=below(3) {
            let at = below(bytes.len());
            match below(3) {
                0 => bytes[at] = u8::try_from(below(256)).unwrap(),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, u8::try_from(below(256)).unwrap()),
            }
        }
        let (end, answer) = answers_to(&chain, &bytes);
        assert!(matches!(end, End::Closed | End::Cut | End::Frame(_) | End::Unreadable(_)), "{end}: {bytes:02x?}");
        if matches!(end, End::Closed) {
            assert!(!answer.is_empty(), "not answered: {bytes:02x?}");
            closed += 1;
        }
    }
    assert!(closed > 1000, "{closed}");
    let positions: Vec<_> = chain.store.commits().iter().map(Record::position).collect();
    assert!(positions.len() > 3 && positions.is_sorted_by(|one, next| one < next), "{positions:?}");
}

#[test]
fn a_public_key_request_with_an_endless_chain_id_is_refused_without_repeating_it() {
    let listener = Listener::unix();
    let mut signer = Signer::new();
    let chain = signer.chain(settings("long-id-1", 1));
    signer.connect(&chain, &listener);
    let started = signer.start();
    let mut node = listener.accept();
    let Sum::PubKeyResponse(answer) = node.ask(ask_key(&"x".repeat(1 << 20))) else { panic!("another answer") };
    let text = answer.error.unwrap().description;
    assert!(text.contains("expected 1 to 50 bytes, got 1048576") && text.len() < 200, "{text}");
    assert_eq!(started.chain("long-id-1").invalid_requests[0].reason, "chain_id_too_long");
    node.ping();
}
