//! The service: redialling, stopping, and one bad connection among others.
use crate::fixture::{Signer, one, settings, test_key, test_secret};
use crate::node::Listener;
use crate::store::Mood;
use crate::wire::{self, PRECOMMIT, PREVOTE, vote};
use ::wire::endpoint::Parent;
use signer::connection::Socket;
use signer::keys::IdentityKey;
use signer::secret_connection::{PeerId, SecretStream};
use signer::{
    Connection, ConnectionSettings, End, Endpoint, NodeLog, STACK_BYTES, Service, Session, StartError, Stop, Timing,
};
use std::io::{Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Name resolution, a handshake, votes with an extension of 1 MiB, a panic's backtrace: all that a thread does.
#[test]
fn a_session_needs_less_than_half_of_its_stack() {
    let listener = Listener::tcp();
    let mut signer = Signer::new();
    let chain = signer.chain(settings("stack-1", 1));
    let port = listener.address().rsplit(':').next().unwrap().to_owned();
    let validator = Arc::clone(&chain.validator);
    let session = thread::Builder::new().stack_size(STACK_BYTES / 2).spawn(move || {
        let endpoint = format!("tcp://localhost:{port}").parse().unwrap();
        let timing = Timing::default();
        let socket = Socket::dial(&endpoint, timing.connect).unwrap();
        let identity = IdentityKey::random().ok().unwrap();
        let connection = Connection::over(socket, &endpoint, Some(&identity), &timing).unwrap();
        let end = Session::new(validator, connection, Stop::new(), &NodeLog::new("node"), true).run();
        assert!(std::backtrace::Backtrace::force_capture().to_string().contains("service"));
        end
    });
    let mut node = listener.accept();
    let large = wire::Vote { extension: vec![1; 1 << 20], ..vote(PRECOMMIT, 1, 0, 1) };
    node.ask_vote("stack-1", large).unwrap();
    node.ask_vote("stack-1", vote(PREVOTE, 1, 0, 1)).unwrap_err();
    drop(node);
    assert!(matches!(session.unwrap().join().unwrap(), End::Closed));
}

#[test]
fn a_service_that_is_held_dials_nobody_before_it_is_released_and_can_be_given_up() {
    let listener = Listener::unix();
    let mut signer = Signer::new();
    let settings = |signer: &mut Signer| ConnectionSettings {
        validator: signer.chain(settings("held-1", 1)).validator,
        endpoint: listener.address().parse().unwrap(),
        identity: None,
        reconnect: true,
    };
    let given_up = Service::hold(None, vec![settings(&mut signer)], Timing::default()).unwrap();
    let held = Service::hold(None, vec![settings(&mut signer)], Timing::default()).unwrap();
    assert!(given_up.finish(Duration::ZERO));
    assert!(listener.try_accept_raw(Duration::from_millis(100)).is_none());
    held.release();
    listener.accept().ask_vote("held-1", vote(PREVOTE, 1, 0, 1)).unwrap();
    assert!(held.finish(Duration::from_secs(5)));
}

/// What an enclave dials: a port of its parent, where another program forwards to the node.
#[test]
fn a_port_of_the_parent_is_dialled_raw_and_as_a_secret_connection() {
    let listener = Listener::unix();
    let path = std::path::PathBuf::from(listener.address().strip_prefix("unix://").unwrap());
    let parent = Parent::Unix { base: path.with_file_name("vm") };
    std::os::unix::fs::symlink(&path, path.with_file_name("vm_5000")).unwrap();
    let mut signer = Signer::new();
    let validator = signer.chain(settings("vsock-1", 1)).validator;
    let endpoint = Endpoint::Vsock { port: 5000, secret: false, peer_id: None };
    let connection = ConnectionSettings { validator, endpoint: endpoint.clone(), identity: None, reconnect: true };
    let service = Service::start_from(Some(&parent), vec![connection], Timing::default()).unwrap();
    listener.accept().ask_vote("vsock-1", vote(PREVOTE, 1, 0, 1)).unwrap();
    assert!(service.finish(Duration::from_secs(5)));
    assert_eq!(Socket::dial(&endpoint, Duration::from_secs(1)).unwrap_err().kind(), std::io::ErrorKind::Unsupported);

    let secret = Endpoint::Vsock { port: 5000, secret: true, peer_id: None };
    let served = thread::spawn(move || {
        let socket = Socket::dial_from(Some(&parent), &secret, Duration::from_secs(5)).unwrap();
        let identity = IdentityKey::random().ok().unwrap();
        Connection::over(socket, &secret, Some(&identity), &Timing::default()).map(|connection| connection.peer())
    });
    let node = IdentityKey::random().ok().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let stream = SecretStream::handshake(listener.accept_raw(), &node, None, until).unwrap();
    assert_eq!(served.join().unwrap().unwrap(), Some(PeerId::of(&node.public_bytes())));
    drop(stream);
}

#[test]
fn a_node_that_is_not_there_yet_is_found_soon_after_it_comes() {
    let listener = Listener::unix();
    let address = listener.address();
    let path = std::path::PathBuf::from(address.strip_prefix("unix://").unwrap());
    let (away, back) = (path.with_extension("away"), path.clone());
    std::fs::rename(&path, &away).unwrap();
    let (started, _chain) = one("late-1", &listener);
    thread::sleep(Duration::from_millis(600));
    assert!(started.chain("late-1").connections[0].failures > 1);
    std::fs::rename(&away, &back).unwrap();
    let begun = Instant::now();
    listener.accept().ping();
    assert!(begun.elapsed() < Duration::from_millis(1500), "the redial's cap is 1 s: {:?}", begun.elapsed());
}

#[test]
fn without_reconnect_the_service_ends_after_the_first_session() {
    let listener = Listener::unix();
    let mut signer = Signer::new();
    let chain = signer.chain(settings("once-1", 1));
    signer.connect_to(&chain, &listener.address(), false);
    let started = signer.start();
    let mut node = listener.accept();
    node.ping();
    drop(node);
    started.service().wait();
    assert!(listener.try_accept_raw(Duration::from_millis(200)).is_none());
}

#[test]
fn one_bad_node_never_stops_another() {
    let (bad, good, tcp) = (Listener::tcp(), Listener::unix(), Listener::tcp());
    let mut signer = Signer::new();
    let chains = [("bad-1", 1), ("good-1", 2), ("tcp-1", 3)].map(|(id, seed)| signer.chain(settings(id, seed)));
    for (chain, listener) in chains.iter().zip([&bad, &good, &tcp]) {
        signer.connect(chain, listener);
    }
    signer.connect_to(&chains[1], "unix:///nonexistent/node.sock", true);
    signer.connect_to(&chains[2], "tcp://name.invalid:1", true);
    let _started = signer.start();
    let (mut good, mut tcp) = (good.accept(), tcp.accept());
    for height in 1..=8 {
        let mut socket = bad.accept_raw();
        let _ = socket.write_all(&[u8::try_from(height).unwrap(); 64]);
        good.ask_vote("good-1", vote(PREVOTE, height, 0, 1)).unwrap();
        tcp.ask_vote("tcp-1", vote(PREVOTE, height, 0, 1)).unwrap();
    }
    bad.accept().ping();
}

#[test]
fn stopping_while_a_record_is_being_saved_finishes_and_answers_the_vote() {
    for listener in Listener::both() {
        let (started, chain) = one("stop-1", &listener);
        let mut node = listener.accept();
        node.ping();
        chain.store.set(Mood::Slow(Duration::from_millis(500)));
        node.send(&wire::delimited(wire::sign_vote("stop-1", vote(PREVOTE, 1, 0, 1))));
        thread::sleep(Duration::from_millis(150));
        assert!(started.finish(Duration::from_secs(5)), "it waits for the vote");
        assert!(matches!(node.receive(), Some(wire::Sum::SignedVote(answer)) if answer.error.is_none()));
        assert!(node.is_closed());
        assert_eq!(chain.store.commits().len(), 1);
    }
}

#[test]
fn a_store_that_hangs_does_not_hold_up_the_end_for_longer_than_is_allowed() {
    let listener = Listener::unix();
    let (started, chain) = one("hang-1", &listener);
    let mut node = listener.accept();
    chain.store.set(Mood::Slow(Duration::from_secs(3)));
    node.send(&wire::delimited(wire::sign_vote("hang-1", vote(PREVOTE, 1, 0, 1))));
    thread::sleep(Duration::from_millis(150));
    let begun = Instant::now();
    assert!(!started.finish(Duration::from_millis(300)), "and it says so");
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn stopping_wakes_whoever_waits_and_begins_nothing_new() {
    for listener in Listener::both() {
        let (started, _chain) = one("wake-1", &listener);
        let mut node = listener.accept();
        node.ping();
        let begun = Instant::now();
        assert!(started.finish(Duration::from_secs(5)));
        assert!(begun.elapsed() < Duration::from_secs(1));
        assert!(node.is_closed());
        assert!(listener.try_accept_raw(Duration::from_millis(200)).is_none());
    }
    // In a handshake that waits, and while waiting to dial again.
    let (silent, absent) = (Listener::tcp(), "unix:///nonexistent/node.sock");
    let mut signer = Signer::new();
    let chain = signer.chain(settings("wake-2", 1));
    signer.connect(&chain, &silent);
    signer.connect_to(&chain, absent, true);
    let started = signer.start();
    let _socket = silent.accept_raw();
    thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    assert!(started.finish(Duration::from_secs(5)));
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[test]
fn one_key_for_votes_and_for_the_handshake_is_refused() {
    let mut signer = Signer::new();
    let chain = signer.chain(settings("roles-1", 1));
    let same = format!("{}\n", base64(&test_secret(1)));
    let identity = Some(Arc::new(IdentityKey::decode(same.as_bytes()).ok().unwrap()));
    assert_eq!(identity.as_ref().unwrap().public_key(), test_key(1).public_key());
    let endpoint: signer::Endpoint = "tcp://node:1".parse().unwrap();
    let validator = chain.validator;
    let settings = |identity, endpoint| ConnectionSettings {
        validator: Arc::clone(&validator),
        endpoint,
        identity,
        reconnect: true,
    };
    let shared = Service::start(vec![settings(identity, endpoint.clone())], Timing::default());
    assert!(matches!(shared.err(), Some(StartError::SharedKey(_))));
    let none = Service::start(vec![settings(None, endpoint)], Timing::default());
    assert!(none.err().unwrap().to_string().contains("secret_key"));
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let digit = char::from(DIGITS[(word >> (18 - 6 * index)) as usize & 63]);
            text.push(if index <= chunk.len() { digit } else { '=' });
        }
    }
    text
}

#[test]
fn a_silent_node_and_one_that_drips_its_request_are_left() {
    let listener = Listener::unix();
    let mut signer = Signer::new();
    signer.timing.idle = Duration::from_millis(300);
    let chain = signer.chain(settings("silent-1", 1));
    signer.connect(&chain, &listener);
    let _started = signer.start();
    let begun = Instant::now();
    assert!(listener.accept().is_closed());
    assert!(begun.elapsed() >= Duration::from_millis(250));
    let mut node = listener.accept();
    let begun = Instant::now();
    while node.try_send(&[0xff, 0xff][..1]).is_ok() && begun.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_millis(100));
        if begun.elapsed() < Duration::from_millis(150) {
            // The rest of a length of 127 × 127 bytes, and then a body that never ends in time.
            let _ = node.try_send(&[0x7f]);
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    listener.accept().ping();
}

#[test]
fn a_node_that_drips_an_encrypted_frame_is_left_as_soon() {
    let listener = Listener::tcp();
    let mut signer = Signer::new();
    signer.timing.idle = Duration::from_millis(300);
    let chain = signer.chain(settings("drip-1", 1));
    signer.connect(&chain, &listener);
    let _started = signer.start();
    let mut node = listener.accept();
    let begun = Instant::now();
    // Each byte comes well within the longest silence; the frame would take 104 s.
    while node.try_send_raw(&[0]).is_ok() && begun.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_millis(100));
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    listener.accept().ping();
}

#[test]
fn a_node_that_does_not_read_is_left() {
    let listener = Listener::unix();
    let mut signer = Signer::new();
    signer.timing.write = Duration::from_millis(300);
    let chain = signer.chain(settings("deaf-1", 1));
    signer.connect(&chain, &listener);
    let _started = signer.start();
    let mut socket = listener.accept_raw();
    let Socket::Unix(stream) = &socket else { unreachable!("a Unix socket") };
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let pings = [2, 0x3a, 0].repeat(1000);
    let begun = Instant::now();
    // Until it hangs up, its answers fill the buffers; then writing fails.
    loop {
        match socket.write_all(&pings) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            _ => assert!(begun.elapsed() < Duration::from_secs(10), "it never hung up"),
        }
    }
    let _ = socket.read(&mut [0; 16]);
    listener.accept().ping();
}
