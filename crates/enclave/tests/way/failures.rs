//! A failure at each phase, and the good push after it.
use crate::world::{CANARIES, Module, World};
use enclave::release::Withheld;
use guard::Trouble;
use std::time::Duration;
use wire::control::{Answer, Phase};

const GOOD: &str = "a-1 1 5555 5000\nb-1 2 5556 5001";

fn phases(world: &World) -> (Phase, Option<String>) {
    let status = world.status();
    (status.phase, status.failure.map(|failure| failure.code))
}

#[test]
fn a_push_goes_through_every_phase_and_ends_with_sessions() {
    let world = World::new();
    let (a, b) = (world.node(5000), world.node(5001));
    assert_eq!(phases(&world), (Phase::Waiting, None));
    let pushed = world.push(GOOD);
    let mut seen: Vec<Phase> = pushed
        .answers
        .iter()
        .filter_map(|answer| match answer {
            Answer::Progress(progress) => Some(progress.phase),
            _ => None,
        })
        .collect();
    seen.dedup();
    assert_eq!(seen, [Phase::Checking, Phase::Releasing, Phase::Recovering, Phase::Serving]);
    let serving = pushed.serving();
    assert_eq!((serving.added.len(), serving.credentials_refreshed), (2, true));
    a.accept().prevote("a-1", 7, 1).unwrap();
    assert!(b.accept().is_up());
    let status = world.status();
    assert_eq!((status.phase, status.failure), (Phase::Serving, None));
    assert_eq!(status.pcrs.into_iter().collect::<Vec<_>>(), [(0, "ab".repeat(48))]);
    assert_eq!(status.chains[0].position.as_deref(), Some("7/0/prevote"));
    assert_eq!((status.chains[0].state.as_str(), status.chains[1].state.as_str()), ("signing", "waiting"));
}

#[test]
fn a_failure_at_each_phase_is_told_and_shown_and_nothing_is_served_until_a_good_push() {
    let world = World::new();
    let (a, b) = (world.node(5000), world.node(5001));
    let none_serves = || a.try_accept(Duration::from_millis(50)).is_none() && b.try_accept(Duration::ZERO).is_none();

    let failure = world.push("nonsense").failure();
    assert_eq!((failure.phase, failure.code.as_str()), (Phase::Checking, "config"));
    let failure = world.push("panic").failure();
    assert_eq!((failure.phase, failure.code.as_str()), (Phase::Checking, "config"));
    let failure = world.push("").failure();
    assert!(failure.reason.contains("no chain"), "{failure}");
    assert!(none_serves());

    let denied = Withheld { code: "kms-access-denied", reason: "no statement allows it".to_owned() };
    world.kms.lock().unwrap().withheld.insert(2, denied);
    let failure = world.push(GOOD).failure();
    assert_eq!((failure.phase, failure.code.as_str()), (Phase::Releasing, "kms-access-denied"));
    assert_eq!(failure.chain.as_deref(), Some("b-1"));
    assert_eq!(phases(&world), (Phase::Waiting, Some("kms-access-denied".to_owned())));
    assert!(none_serves(), "the first chain's key was released, and is not used");
    assert!(world.records.lock().unwrap().opened.is_empty());
    world.kms.lock().unwrap().withheld.clear();

    world.records.lock().unwrap().trouble.insert(5556, Trouble::Damaged);
    let failure = world.push(GOOD).failure();
    assert_eq!((failure.phase, failure.code.as_str()), (Phase::Recovering, "state"));
    assert_eq!(failure.chain.as_deref(), Some("b-1"));
    assert!(none_serves());
    world.records.lock().unwrap().trouble.clear();

    // What a failed push asked for does not bind the next: neither port nor height of the chain that was ready.
    world.push("a-1 1 6000 5000 max=9\nb-1 2 5556 5001").serving();
    assert_eq!(phases(&world), (Phase::Serving, None));
    a.accept().prevote("a-1", 9, 1).unwrap();
    assert!(b.accept().is_up());
    assert!(world.kms.lock().unwrap().batches >= 2);
}

#[test]
fn a_parent_whose_persist_comes_a_little_late_is_waited_for() {
    let world = World::new();
    let a = world.node(5000);
    world.records.lock().unwrap().trouble.insert(5555, Trouble::Unknown);
    let records = std::sync::Arc::clone(&world.records);
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        records.lock().unwrap().trouble.clear();
    });
    world.push("a-1 1 5555 5000").serving();
    late.join().unwrap();
    a.accept().prevote("a-1", 1, 1).unwrap();
}

#[test]
fn a_failed_change_leaves_what_was_served_as_it_was() {
    let world = World::new();
    let (a, c) = (world.node(5000), world.node(5002));
    world.push("a-1 1 5555 5000").serving();
    let mut session = a.accept();
    world.records.lock().unwrap().trouble.insert(5557, Trouble::Damaged);
    let failure = world.push("a-1 1 5555 5002\nc-1 3 5557 5003").failure();
    assert_eq!(failure.code, "state");
    assert!(session.is_up() && c.try_accept(Duration::from_millis(50)).is_none());
    assert_eq!(phases(&world), (Phase::Serving, Some("state".to_owned())));
    assert_eq!(world.status().chains[0].connections[0].address, "vsock://5000");
    // The same configuration again says that all is well.
    world.push("a-1 1 5555 5000").serving();
    assert_eq!(phases(&world), (Phase::Serving, None));
}

#[test]
fn a_debug_enclave_needs_leave_of_the_configuration() {
    let debug = || Module { pcr0: [0; 48], ..Module::default() };
    let world = World::with(debug(), None);
    let status = world.status();
    assert!(status.debug && status.pcrs.is_empty());
    let failure = world.push("a-1 1 5555 5000").failure();
    assert_eq!((failure.phase, failure.code.as_str()), (Phase::Checking, "debug"));
    assert!(failure.remedy.contains("allow_debug"), "{}", failure.remedy);
    world.push("allow_debug\na-1 1 5555 5000").serving();

    let world = World::with(debug(), Some("[debug]\nallowed = false"));
    let failure = world.push("allow_debug\na-1 1 5555 5000").failure();
    assert_eq!(failure.code, "debug");
    assert!(failure.reason.contains("policy"), "{failure}");
}

#[test]
fn without_randomness_or_with_a_wrong_policy_it_is_broken_and_says_why() {
    let broken = [
        (Module { randomness: false, ..Module::default() }, None, "randomness"),
        (Module::default(), Some("[kms]\nkey_arn = \"x\""), "policy"),
    ];
    for (module, policy, code) in broken {
        let mut world = World::with(module, policy);
        assert_eq!(phases(&world), (Phase::Broken, Some(code.to_owned())));
        assert_eq!(world.push("a-1 1 5555 5000").failure().code, code);
        assert_eq!(world.end().unwrap_err().0.code, code);
    }
}

#[test]
fn a_failing_security_module_is_told_whenever_it_fails() {
    // Two draws are of the self-check, the third is this life's number.
    for draws in 0..3 {
        let mut world = World::with(Module { draws: draws.into(), ..Module::default() }, None);
        assert_eq!(phases(&world), (Phase::Broken, Some("randomness".to_owned())), "{draws}");
        assert_eq!(world.end().unwrap_err().0.code, "randomness");
    }
}

#[test]
fn a_push_of_nothing_but_faults_leaves_a_status_that_can_be_read() {
    let world = World::new();
    let garbage = "\u{1}".repeat(wire::control::MAX_CONFIG_BYTES - 16);
    let failure = world.push(&garbage).failure();
    assert!(failure.reason.contains("more bytes") && failure.reason.len() < 17 << 10, "{}", failure.reason.len());
    assert_eq!(world.status().failure.unwrap().reason, failure.reason);
    let answers = world.ask(&wire::control::Request::Metrics, None);
    let [Answer::Metrics(page)] = &answers[..] else { panic!() };
    assert!(page.health.len() < 17 << 10, "{}", page.health.len());
}

#[test]
fn no_secret_is_in_any_answer_status_or_log() {
    let mut world = World::new();
    let _a = world.node(5000);
    let mut shown = String::new();
    let denied = Withheld { code: "kms-access-denied", reason: "no".to_owned() };
    world.kms.lock().unwrap().withheld.insert(1, denied);
    shown += &format!("{:?}", world.push("a-1 1 5555 5000"));
    world.kms.lock().unwrap().withheld.clear();
    shown += &format!("{:?}", world.push("a-1 1 5555 5000"));
    shown += &format!("{:?}", world.ask(&wire::control::Request::Metrics, None));
    shown += &format!("{:?}", world.status());
    shown += &format!("{:?}", world.log.read(0));
    world.end().unwrap();
    for canary in CANARIES {
        assert!(!shown.contains(canary), "{canary}");
    }
    assert!(!shown.contains("AKIDEXAMPLE"));
}
