//! What is seen from outside: Prometheus' page and the snapshot.
use crate::fixture::one;
use crate::node::Listener;
use crate::store::Mood;
use crate::wire::{PRECOMMIT, PREVOTE, vote};
use guard::Trouble;
use signer::metrics::{Snapshot, State};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn the_page_shows_what_happened() {
    let listener = Listener::unix();
    let (started, chain) = one("page-1", &listener);
    let labels = format!("chain_id=\"page-1\",validator=\"{}\"", chain.validator.address());
    let before = started.metrics.render();
    assert!(before.contains(&format!("tmkms_refusals_total{{{labels},reason=\"conflict\"}} 0\n")));
    assert!(!before.contains("tmkms_last_signed_height{"), "unknown is not 0");

    let mut node = listener.accept();
    node.ask_vote("page-1", vote(PREVOTE, 7, 2, 1)).unwrap();
    node.ask_vote("page-1", vote(PREVOTE, 7, 2, 2)).unwrap_err();
    node.ask_vote("page-1", vote(PREVOTE, 0, 0, 1)).unwrap_err();
    node.ping();
    let page = started.metrics.render();
    for line in [
        "tmkms_build_info{version=\"1.2.3\",commit=\"abc\"} 1".to_owned(),
        format!("tmkms_last_signed_height{{{labels}}} 7"),
        format!("tmkms_last_signed_round{{{labels}}} 2"),
        format!("tmkms_last_signed_step{{{labels}}} 2"),
        format!("tmkms_signatures_total{{{labels},step=\"prevote\"}} 1"),
        format!("tmkms_signatures_total{{{labels},step=\"precommit\"}} 0"),
        format!("tmkms_refusals_total{{{labels},reason=\"conflict\"}} 1"),
        format!("tmkms_invalid_requests_total{{{labels},reason=\"height\"}} 1"),
        format!("tmkms_commit_seconds_count{{{labels}}} 1"),
        format!("tmkms_answer_seconds_bucket{{{labels},le=\"+Inf\"}} 1"),
        format!("tmkms_connection_up{{{labels},node=\"{}\"}} 1", listener.address()),
        format!("tmkms_connects_total{{{labels},node=\"{}\"}} 1", listener.address()),
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}

/// The text format: each family once, with help and type before its values, and a number at the end of each line.
#[test]
fn the_page_is_well_formed() {
    let listener = Listener::unix();
    let (started, _chain) = one("form-1", &listener);
    listener.accept().ask_vote("form-1", vote(PREVOTE, 7, 2, 1)).unwrap();
    let page = started.metrics.render();
    assert!(page.ends_with('\n'));
    let mut family = String::new();
    let mut seen = Vec::new();
    for line in page.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(["gauge", "counter", "histogram"].contains(&kind) && name == family);
        } else if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split_once(' ').unwrap().0.to_owned();
            assert!(!seen.contains(&family), "{family} twice");
            seen.push(family.clone());
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(&family), "{line} in {family}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    assert!(seen.len() > 12);
}

#[test]
fn health_fails_when_votes_stop_while_the_node_stays_connected() {
    let listener = Listener::unix();
    let (started, _chain) = one("health-1", &listener);
    let mut node = listener.accept();
    node.ping();
    let limit = Duration::from_millis(400);
    let state = || started.metrics.snapshot(limit).chains[0].state;
    thread::sleep(limit + Duration::from_millis(50));
    assert_eq!(state(), State::Waiting, "connected, and never asked");
    node.ask_vote("health-1", vote(PRECOMMIT, 1, 0, 1)).unwrap();
    assert_eq!(state(), State::Signing);
    thread::sleep(limit + Duration::from_millis(50));
    node.ping();
    let snapshot = started.metrics.snapshot(limit);
    assert!(snapshot.chains[0].connections[0].up && snapshot.chains[0].state == State::Stalled && !snapshot.healthy);
    node.ask_vote("health-1", vote(PRECOMMIT, 2, 0, 1)).unwrap();
    assert!(started.metrics.snapshot(limit).healthy);
}

/// The last signature is seconds old, and there will be none.
#[test]
fn a_state_that_only_a_person_can_mend_is_unhealthy_at_once_until_it_is_mended() {
    let listener = Listener::unix();
    let (started, chain) = one("mended-1", &listener);
    let mut node = listener.accept();
    node.ask_vote("mended-1", vote(PRECOMMIT, 1, 0, 1)).unwrap();
    let judged = || {
        let chain = started.chain("mended-1");
        (chain.state, chain.stopped_by.unwrap_or_default())
    };
    for (height, trouble) in [(2, Trouble::Superseded), (4, Trouble::Damaged)] {
        chain.store.set(Mood::Failing(trouble));
        node.ask_vote("mended-1", vote(PRECOMMIT, height, 0, 1)).unwrap_err();
        assert_eq!(judged(), (State::Stopped, "the signing state could not be saved: told to fail".to_owned()));
        assert!(!started.snapshot().healthy);
        chain.store.set(Mood::Healthy);
        node.ask_vote("mended-1", vote(PRECOMMIT, height + 1, 0, 1)).unwrap();
        assert_eq!(judged(), (State::Signing, String::new()));
    }
    chain.store.set(Mood::Failing(Trouble::Failed));
    node.ask_vote("mended-1", vote(PRECOMMIT, 6, 0, 1)).unwrap_err();
    assert_eq!(judged().0, State::Signing, "a full disk may pass by itself");
    chain.store.set(Mood::Healthy);
    chain.store.roll_back();
    node.ask_vote("mended-1", vote(PRECOMMIT, 7, 0, 1)).unwrap_err();
    let (state, reason) = judged();
    assert!(state == State::Stopped && reason.contains("put back while in use"), "{reason}");
}

#[test]
fn a_chain_whose_node_never_comes_is_not_well() {
    let listener = Listener::unix();
    let address = listener.address();
    drop(listener);
    let mut signer = crate::fixture::Signer::new();
    let chain = signer.chain(crate::fixture::settings("never-2", 1));
    signer.connect_to(&chain, &address, true);
    let started = signer.start();
    thread::sleep(Duration::from_millis(100));
    let snapshot = started.metrics.snapshot(Duration::from_millis(50));
    assert_eq!((snapshot.chains[0].state, snapshot.healthy), (State::Unconnected, false));
}

#[test]
fn a_lost_connection_shows() {
    let listener = Listener::unix();
    let (started, _chain) = one("lost-1", &listener);
    listener.accept().ping();
    listener.accept().ping();
    let begun = Instant::now();
    while started.chain("lost-1").connections[0].connects < 2 {
        assert!(begun.elapsed() < Duration::from_secs(5));
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_snapshot_survives_json() {
    let listener = Listener::unix();
    let (started, _chain) = one("json-1", &listener);
    listener.accept().ask_vote("json-1", vote(PREVOTE, 7, 2, 1)).unwrap();
    let mut snapshot = started.snapshot();
    snapshot.uptime_seconds = 1.5;
    snapshot.chains[0].last_signed.as_mut().unwrap().seconds_ago = 0.25;
    let json = serde_json::to_string(&snapshot).unwrap();
    assert!(json.contains("\"state\":\"signing\""));
    assert_eq!(serde_json::from_str::<Snapshot>(&json).unwrap(), snapshot);
}

#[test]
fn a_chain_that_is_no_longer_served_is_not_shown_and_its_counters_go_on_when_it_returns() {
    let listener = Listener::unix();
    let (started, chain) = one("gone-1", &listener);
    let mut node = listener.accept();
    node.ask_vote("gone-1", vote(PREVOTE, 7, 2, 1)).unwrap();
    node.ping();
    let id = guard::ChainId::try_from("gone-1").unwrap();
    started.metrics.retire(&id, chain.validator.address());
    assert!(!started.metrics.render().contains("gone-1"));
    assert!(started.metrics.snapshot(Duration::ZERO).chains.is_empty());

    let counters = started.metrics.validator(&id, chain.validator.address());
    let snapshot = started.metrics.snapshot(Duration::from_secs(600));
    assert_eq!((snapshot.chains[0].signatures, snapshot.chains[0].state), (1, State::Waiting));
    assert!(snapshot.chains[0].connections.is_empty(), "its connections come back when they are made");
    let address = listener.address();
    assert!(counters.connection(&address).failures.load(std::sync::atomic::Ordering::Relaxed) < 1_000);
    assert_eq!(started.metrics.snapshot(Duration::ZERO).chains[0].connections.len(), 1);
    counters.keep_connections(&[]);
    assert!(started.metrics.snapshot(Duration::ZERO).chains[0].connections.is_empty());
}
