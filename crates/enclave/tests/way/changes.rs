//! Pushing again: the same, a difference, and what cannot change in a life.
use crate::world::World;
use guard::Trouble;
use std::time::Duration;

fn released(world: &World) -> Vec<u8> {
    std::mem::take(&mut world.kms.lock().unwrap().released)
}

#[test]
fn the_same_configuration_again_only_replaces_credentials() {
    let world = World::new();
    let a = world.node(5000);
    world.push("a-1 1 5555 5000").serving();
    let mut session = a.accept();
    assert_eq!(released(&world), [1]);
    let serving = world.push("a-1 1 5555 5000").serving();
    assert_eq!((serving.unchanged, serving.credentials_refreshed), (vec!["a-1".to_owned()], true));
    assert!(session.is_up() && released(&world).is_empty());
    assert_eq!(world.status().credentials.unwrap().source, "a test");
}

#[test]
fn a_difference_touches_the_chains_that_differ_and_no_other() {
    let world = World::new();
    let nodes = [5000, 5001, 5002, 5003].map(|port| world.node(port));
    world.push("a-1 1 5555 5000\nb-1 2 5555 5001\nc-1 3 5555 5002").serving();
    let mut sessions: Vec<_> = nodes[..3].iter().map(|node| node.accept()).collect();
    assert_eq!(released(&world), [1, 2, 3]);

    // a goes, b gets another node, c stays, d comes.
    let serving = world.push("b-1 2 5555 5003\nc-1 3 5555 5002\nd-1 4 5555 5000").serving();
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(serving.added, names(&["d-1"]));
    assert_eq!(serving.removed, names(&["a-1"]));
    assert_eq!(serving.changed, names(&["b-1"]));
    assert_eq!(serving.unchanged, names(&["c-1"]));
    assert_eq!(released(&world), [4], "keys that are here are not asked for again");
    assert!(sessions[2].is_up(), "undisturbed");
    assert!(!sessions[0].is_up() && !sessions[1].is_up());
    nodes[3].accept().prevote("b-1", 1, 1).unwrap();
    nodes[0].accept().prevote("d-1", 1, 1).unwrap();
    let status = world.status();
    let ids: Vec<_> = status.chains.iter().map(|chain| chain.id.as_str()).collect();
    assert_eq!(ids, ["b-1", "c-1", "d-1"]);
    assert_eq!(status.chains[0].connections.len(), 1);
    let pages = format!("{:?}", world.ask(&wire::control::Request::Metrics, None));
    assert!(!pages.contains("a-1") && pages.contains("d-1"));
}

#[test]
fn what_a_key_signed_is_remembered_after_its_chain_was_removed_whatever_the_parent_says_then() {
    let world = World::new();
    let a = world.node(5000);
    world.push("a-1 1 5555 5000\nb-1 2 5555 5001").serving();
    a.accept().prevote("a-1", 7, 1).unwrap();
    world.push("b-1 2 5555 5001").serving();
    // The parent puts an old record back meanwhile.
    world.records.lock().unwrap().records.clear();
    world.push("a-1 1 5555 5000\nb-1 2 5555 5001").serving();
    let mut session = a.accept();
    session.prevote("a-1", 7, 2).unwrap_err();
    session.prevote("a-1", 6, 1).unwrap_err();
    session.prevote("a-1", 8, 1).unwrap();
}

#[test]
fn a_live_guards_height_and_port_need_a_restart_and_other_keys_do_not() {
    let world = World::new();
    let a = world.node(5000);
    world.push("a-1 1 5555 5000 max=10").serving();
    let mut session = a.accept();
    for changed in ["a-1 1 5555 5000 max=11", "a-1 1 5555 5000", "a-1 1 5556 5000 max=10"] {
        let failure = world.push(changed).failure();
        assert_eq!((failure.code.as_str(), failure.chain.as_deref()), ("restart", Some("a-1")), "{changed}");
        assert!(failure.reason.contains("needs a restart of the enclave"), "{failure}");
    }
    assert!(session.is_up());
    // Another key on that chain is another record.
    let serving = world.push("a-1 9 5556 5000 max=11").serving();
    assert_eq!(serving.changed, ["a-1"]);
    assert!(!session.is_up());
    a.accept().prevote("a-1", 11, 1).unwrap();
}

#[test]
fn one_key_for_votes_and_for_the_handshake_is_refused_and_one_ciphertext_is_released_once() {
    let world = World::new();
    let failure = world.push("a-1 1 5555 5000 secret=1").failure();
    assert_eq!(failure.code, "key");
    released(&world);
    // One key for two chains, and one identity for both.
    world.push("a-1 1 5555 5000 secret=8\nb-1 1 5555 5001 secret=8").serving();
    let mut all = released(&world);
    all.sort_unstable();
    assert_eq!(all, [1, 8]);
    let status = world.status();
    assert_eq!(status.chains[0].public_key, status.chains[1].public_key);
    world.push("a-1 1 5555 5000 secret=8").serving();
    assert!(released(&world).is_empty());
}

#[test]
fn a_key_that_signed_votes_in_this_life_is_no_identity_later_and_no_identity_signs_votes() {
    let world = World::new();
    world.push("a-1 1 5555 5000 secret=8").serving();
    world.push("a-1 2 5555 5000 secret=9").serving();
    for roles_changed in ["a-1 2 5555 5000 secret=1", "a-1 8 5555 5000", "b-1 9 5555 5000"] {
        let failure = world.push(roles_changed).failure();
        assert_eq!(failure.code, "key", "{roles_changed}: {failure}");
    }
    world.push("a-1 1 5555 5000 secret=8").serving();
}

#[test]
fn the_record_of_a_key_that_no_chain_has_any_more_is_let_go_and_opened_again_when_it_returns() {
    let world = World::new();
    let a = world.node(5000);
    let let_go = || std::mem::take(&mut world.records.lock().unwrap().let_go);
    world.push("a-1 1 5555 5000\nb-1 2 5556 5001").serving();
    a.accept().prevote("a-1", 7, 1).unwrap();
    assert!(let_go().is_empty());
    world.push("b-1 2 5556 5001").serving();
    assert_eq!(let_go(), [("a-1".to_owned(), 5555)]);
    world.push("a-1 3 5555 5000\nb-1 2 5556 5001").serving();
    let went = let_go();
    assert!(!went.is_empty() && went.iter().all(|(chain, _)| chain == "a-1"), "others are kept: {went:?}");
    assert!(a.accept().is_up());
    world.push("a-1 1 5555 5000\nb-1 2 5556 5001").serving();
    let mut session = a.accept();
    session.prevote("a-1", 7, 2).unwrap_err();
    session.prevote("a-1", 8, 1).unwrap();
    // One that is replaced at once is let go before its successor's record is opened, also by a push that fails.
    let_go();
    world.records.lock().unwrap().trouble.insert(5557, Trouble::Damaged);
    world.push("a-1 4 5557 5000\nb-1 2 5556 5001").failure();
    assert_eq!(let_go().iter().filter(|(chain, _)| chain == "a-1").count(), 2, "that key and the wrong one before");
    session.prevote("a-1", 9, 1).unwrap();
}

#[test]
fn a_pusher_that_goes_away_does_not_stop_its_push() {
    let world = World::new();
    let a = world.node(5000);
    world.kms.lock().unwrap().delay = Duration::from_millis(200);
    let (mut stream, nonce) = world.connect();
    let request = World::a_push("a-1 1 5555 5000", 1);
    wire::frame::write(&mut stream, &request.encode(Some(&crate::world::token(1)), &nonce)).unwrap();
    drop(stream);
    assert!(a.accept().is_up());
}

#[test]
fn two_pushes_at_once_come_one_after_the_other() {
    let world = World::new();
    let (a, b) = (world.node(5000), world.node(5001));
    world.kms.lock().unwrap().delay = Duration::from_millis(300);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| world.push("a-1 1 5555 5000"));
        std::thread::sleep(Duration::from_millis(100));
        let second = world.push("a-1 1 5555 5000\nb-1 2 5555 5001");
        assert!(format!("{:?}", second.answers[0]).contains("another push"), "{second:?}");
        first.join().unwrap().serving();
        assert_eq!(second.serving().unchanged, ["a-1"]);
    });
    assert!(a.accept().is_up() && b.accept().is_up());
}

#[test]
fn the_end_answers_what_is_asked_and_then_lets_go() {
    let mut world = World::new();
    let a = world.node(5000);
    world.push("a-1 1 5555 5000").serving();
    let mut session = a.accept();
    session.prevote("a-1", 1, 1).unwrap();
    world.end().unwrap();
    assert!(!session.is_up());
}
