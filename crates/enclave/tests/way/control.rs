//! The control port: who may do what, and what a stranger can do to it.
use crate::world::{Attested, Module, World, read_answers, token};
use evidence::Statement;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use wire::control::{Answer, ChainStatus, Request};

const GOOD: &str = "a-1 1 5555 5000";

fn code(answers: &[Answer]) -> Option<&str> {
    match answers.last() {
        Some(Answer::Failed(failure)) => Some(&failure.code),
        _ => None,
    }
}

fn refused(world: &World) -> bool {
    let pages = format!("{:?}", world.ask(&Request::Metrics, None));
    pages.contains("tmkms_enclave_control_refused_total")
}

#[test]
fn the_first_good_push_sets_the_token_and_others_are_refused_from_then_on() {
    let world = World::new();
    assert_eq!(code(&world.push_as(GOOD, &token(2), 1).answers), Some("token"), "it must prove what it carries");
    world.push_with("nonsense", 7).failure();
    world.push_with(GOOD, 1).serving();
    for (proven_by, carried) in [(7, 7), (1, 7), (7, 1)] {
        let pushed = world.push_as("b-1 2 5555 5001", &token(proven_by), carried);
        assert_eq!(code(&pushed.answers), Some("token"), "{proven_by} {carried}");
    }
    assert_eq!(world.status().chains.len(), 1);
    assert!(refused(&world));
    world.push_with("a-1 1 5555 5000\nb-1 2 5555 5001", 1).serving();
}

#[test]
fn a_proof_of_another_connection_is_worth_nothing() {
    let world = World::new();
    world.push(GOOD).serving();
    let (_first, nonce) = world.connect();
    let frame = Request::Logs { from: 0, follow: false }.encode(Some(&token(1)), &nonce);
    let (mut second, _) = world.connect();
    wire::frame::write(&mut second, &frame).unwrap();
    assert_eq!(code(&read_answers(&mut second)), Some("token"));
}

#[test]
fn the_log_needs_a_proof_and_status_and_metrics_need_none() {
    let world = World::new();
    let logs = Request::Logs { from: 0, follow: false };
    world.log.push("a line\n");
    assert_eq!(code(&world.ask(&logs, Some(&token(1)))), Some("token"), "nobody has pushed yet");
    world.push_with("nonsense", 3).failure();
    assert!(matches!(world.ask(&logs, Some(&token(3))).last(), Some(Answer::LogEnd { dropped: 0 })));
    world.push(GOOD).serving();
    assert_eq!(code(&world.ask(&logs, Some(&token(3)))), Some("token"));
    assert_eq!(code(&world.ask(&logs, None)), Some("token"));
    let answers = world.ask(&logs, Some(&token(1)));
    assert!(matches!(&answers[0], Answer::Log(line) if line.number == 1 && line.text == "a line"), "{answers:?}");
    assert!(matches!(world.ask(&Request::Status, None)[..], [Answer::Status(_)]));
    let answers = world.ask(&Request::Metrics, None);
    let [Answer::Metrics(page)] = &answers[..] else { panic!("{answers:?}") };
    assert!(page.metrics.contains("tmkms_enclave_phase{phase=\"serving\"} 1"));
    assert!(page.metrics.contains("tmkms_enclave_kms_calls_total{outcome=\"released\"} 1"));
    assert!(page.metrics.contains("tmkms_enclave_credentials_expire_seconds"));
    assert!(page.healthy && page.health == "healthy\n" && page.status.contains("\"a-1\""));
}

#[test]
fn whoever_follows_the_log_gets_new_lines_and_leaves_room_for_others() {
    let world = World::new();
    world.push(GOOD).serving();
    let follow = Request::Logs { from: 0, follow: true };
    let mut followers: Vec<_> = (0..4)
        .map(|_| {
            let (mut stream, nonce) = world.connect();
            wire::frame::write(&mut stream, &follow.encode(Some(&token(1)), &nonce)).unwrap();
            stream
        })
        .collect();
    world.log.push("one");
    for stream in &mut followers {
        let bytes = wire::frame::read(stream, 1 << 16).unwrap().unwrap();
        assert!(matches!(Answer::decode(&bytes), Ok(Answer::Log(line)) if line.text == "one"));
    }
    assert_eq!(code(&world.ask(&follow, Some(&token(1)))), Some("busy"));
    assert!(matches!(world.ask(&Request::Status, None)[..], [Answer::Status(_)]));
    drop(followers);
    world.log.close();
}

#[test]
fn strangers_who_say_nothing_or_nonsense_cost_a_place_and_no_more() {
    let world = World::new();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], b"tmkw"] {
        let stream = wire::endpoint::Enclave::Unix { base: world.folder.0.join("vm") };
        let mut stream = stream.connect(5050, Duration::from_secs(5)).unwrap();
        stream.write_all(garbage).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(read_to_end(&mut stream) < 1 << 12);
    }
    let (mut stream, _) = world.connect();
    stream.write_all(&u32::MAX.to_be_bytes()).unwrap();
    assert!(read_answers(&mut stream).is_empty());
    let (mut stream, _) = world.connect();
    wire::frame::write(&mut stream, &[99; 40]).unwrap();
    assert_eq!(code(&read_answers(&mut stream)), Some("request"));

    world.push(GOOD).serving();
}

#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    let world = World::new();
    let enclave = wire::endpoint::Enclave::Unix { base: world.folder.0.join("vm") };
    let silent = || enclave.connect(5050, Duration::from_secs(5)).unwrap();
    // Some have said hello, some not.
    let mut said_hello: Vec<_> = (0..5).map(|_| world.connect().0).collect();
    let _silent: Vec<_> = (0..5).map(|_| silent()).collect();
    assert!(matches!(world.ask(&Request::Status, None)[..], [Answer::Status(_)]));
    assert_eq!(read_to_end(&mut said_hello[0]), 0, "the oldest was hung up on");
    assert!(format!("{:?}", world.ask(&Request::Metrics, None)).contains("too-many"));
    world.push(GOOD).serving();
    // Nor followers and silent ones together.
    let follow = Request::Logs { from: 0, follow: true };
    let _followers: Vec<_> = (0..4)
        .map(|_| {
            let (mut stream, nonce) = world.connect();
            wire::frame::write(&mut stream, &follow.encode(Some(&token(1)), &nonce)).unwrap();
            stream
        })
        .collect();
    for _ in 0..3 {
        let _silent: Vec<_> = (0..10).map(|_| silent()).collect();
        assert_eq!(world.push(GOOD).serving().unchanged, ["a-1"]);
    }
    world.log.close();
}

/// A flood of strangers, seen with the image in the emulator: nobody got the log to its end.
#[test]
fn whoever_has_proven_the_token_reads_the_log_to_its_end_whatever_strangers_do_and_however_fast_it_grows() {
    let world = World::new();
    world.push(GOOD).serving();
    for number in 0..1500 {
        world.log.push(&format!("{number} {}", "x".repeat(300)));
    }
    let before = world.log.next();
    let (mut stream, nonce) = world.connect();
    let request = Request::Logs { from: 0, follow: false };
    wire::frame::write(&mut stream, &request.encode(Some(&token(1)), &nonce)).unwrap();
    let first = wire::frame::read(&mut stream, 1 << 16).unwrap().unwrap();
    assert!(matches!(Answer::decode(&first), Ok(Answer::Log(_))));
    let enclave = wire::endpoint::Enclave::Unix { base: world.folder.0.join("vm") };
    for _ in 0..30 {
        drop(enclave.connect(5050, Duration::from_secs(5)).unwrap());
    }
    let _silent: Vec<_> = (0..10).map(|_| enclave.connect(5050, Duration::from_secs(5)).unwrap()).collect();
    world.log.push("later");
    let answers = read_answers(&mut stream);
    assert!(matches!(answers.last(), Some(Answer::LogEnd { .. })), "{:?}", answers.last());
    let last =
        answers.iter().rev().find_map(|answer| if let Answer::Log(line) = answer { Some(line.number) } else { None });
    assert!(last.unwrap() + 1 >= before, "{last:?} of {before}");
    world.log.close();
}

#[test]
fn a_follower_is_ended_when_another_token_counts() {
    let world = World::new();
    world.push_with("nonsense", 7).failure();
    let follow = |number| {
        let (mut stream, nonce) = world.connect();
        let request = Request::Logs { from: 0, follow: true };
        wire::frame::write(&mut stream, &request.encode(Some(&token(number)), &nonce)).unwrap();
        stream
    };
    world.log.push("before");
    let mut stranger = follow(7);
    let first = wire::frame::read(&mut stranger, 1 << 16).unwrap().unwrap();
    assert!(matches!(Answer::decode(&first), Ok(Answer::Log(line)) if line.text == "before"));
    world.push_with("nonsense", 1).failure();
    let mut operator = follow(1);
    world.push_with(GOOD, 1).serving();
    world.log.push("after");
    assert!(matches!(&read_answers(&mut stranger)[..], [Answer::LogEnd { .. }]));
    // The same token goes on when it begins to rule.
    let lines: Vec<_> = (0..2).map(|_| wire::frame::read(&mut operator, 1 << 16).unwrap().unwrap()).collect();
    assert!(matches!(Answer::decode(&lines[1]), Ok(Answer::Log(line)) if line.text == "after"));
    world.log.close();
}

fn read_to_end(stream: &mut std::os::unix::net::UnixStream) -> usize {
    use std::io::Read;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes.len()
}

#[test]
fn a_document_is_made_over_what_is_served_with_the_askers_bytes_in_the_nonce_alone() {
    let attested = Attested::default();
    let module = Module { attested: Some(Arc::clone(&attested)), ..Module::default() };
    let world = World::with(module, Some("[chains]\nallowed = [\"a-1\", \"b-1\"]\n"));
    let ask = |nonce: &[u8]| world.ask(&Request::Attest { nonce: nonce.to_vec() }, None);
    assert_eq!(code(&ask(b"12345678")), Some("not-serving"), "nothing is held yet");
    world.push("a-1 1 5555 5000\nb-1 2 5556 5001").serving();
    let answers = ask(b"the nonce of a delegator");
    let [Answer::Attested(answer)] = &answers[..] else { panic!("{answers:?}") };
    let Statement::Signer(said) = serde_json::from_str(&answer.statement).unwrap() else { panic!("{answer:?}") };
    let status = world.status();
    let keys = |key: fn(&ChainStatus) -> String| status.chains.iter().map(key).collect::<Vec<_>>();
    assert_eq!(said.chains.iter().map(|chain| chain.chain_id.clone()).collect::<Vec<_>>(), ["a-1", "b-1"]);
    assert_eq!(
        said.chains.iter().map(|chain| chain.public_key.clone()).collect::<Vec<_>>(),
        keys(|c| c.public_key.clone())
    );
    assert_eq!(said.chains.iter().map(|chain| chain.address.clone()).collect::<Vec<_>>(), keys(|c| c.address.clone()));
    assert_eq!((Some(said.config_sha256), said.software.version.as_str()), (status.config_sha256, "1.2.3"));
    let policy = Sha256::digest(b"[chains]\nallowed = [\"a-1\", \"b-1\"]\n");
    assert_eq!(said.policy_sha256.map(|text| text.len()), Some(policy.len() * 2));

    let [public_key, nonce, user_data] = attested.lock().unwrap().clone();
    assert_eq!((public_key, nonce.as_deref()), (None, Some(&b"the nonce of a delegator"[..])));
    assert_eq!(user_data, Some(evidence::user_data("tmkms signer attestation v1", &answer.statement)));
    // The same life has the same name.
    let [Answer::Attested(again)] = &ask(b"another nonce")[..] else { panic!("an attestation") };
    assert_eq!(again.statement, answer.statement);
}

#[test]
fn a_nonce_that_is_too_short_or_too_long_is_refused_and_so_is_what_the_module_refuses() {
    let world = World::new();
    world.push(GOOD).serving();
    let ask = |length: usize| world.ask(&Request::Attest { nonce: vec![1; length] }, None);
    for length in [0, 7, 257] {
        let answers = ask(length);
        assert!(format!("{answers:?}").contains(&format!("expected 8 to 256 bytes, got {length}")), "{answers:?}");
    }
    for length in [8, 256] {
        assert_eq!(code(&ask(length)), Some("module"));
    }
}

/// A task is JSON that nobody proved anything for, read on a connection's small stack, in every image.
#[test]
fn a_ceremony_asked_of_a_signer_is_refused_and_nested_json_ends_nothing() {
    let world = World::new();
    let ask = |task: &str| {
        let mut frame = vec![6];
        frame.extend_from_slice(&[0; 32]);
        for part in [task.as_bytes(), b"a nonce of a test", b""] {
            frame.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
            frame.extend_from_slice(part);
        }
        frame.push(0);
        let (mut stream, _) = world.connect();
        wire::frame::write(&mut stream, &frame).unwrap();
        read_answers(&mut stream)
    };
    assert_eq!(code(&ask("{\"task\":\"offer\"}")), Some("not-a-ceremony"));
    for depth in [100, 126, 127, 1000] {
        let nested = format!("{{\"more\":{}{},\"task\":\"offer\"}}", "[".repeat(depth), "]".repeat(depth));
        let answers = ask(&nested);
        assert!(matches!(code(&answers), Some("request" | "not-a-ceremony")), "{depth}: {answers:?}");
    }
    world.push(GOOD).serving();
}
