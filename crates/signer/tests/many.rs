//! What many connections cost: in a process of its own, whose memory nothing else uses.
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(dead_code, reason = "the modules are those of the other tests, of which this one needs a part")]

#[path = "it/fixture.rs"]
mod fixture;
#[path = "it/node.rs"]
mod node;
#[path = "it/store.rs"]
mod store;
#[path = "it/wire.rs"]
mod wire;

use fixture::{Signer, one, settings};
use node::{Listener, Node};
use signer::metrics::State;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use wire::{PRECOMMIT, PREVOTE, vote};

/// The tests here measure the process, so one runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn two_hundred_and_fifty_six_chains_fit_in_64_mib_and_are_connected_at_once() {
    for listen in [Listener::unix, Listener::tcp] {
        many_chains(&(0..256).map(|_| listen()).collect::<Vec<_>>());
    }
}

fn many_chains(listeners: &[Listener]) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut signer = Signer::new();
    for (index, listener) in listeners.iter().enumerate() {
        let chain = signer.chain(settings(&format!("chain-{index}"), u8::try_from(index).unwrap()));
        signer.connect(&chain, listener);
    }
    let begun = Instant::now();
    let started = signer.start();
    let mut nodes: Vec<_> = listeners.iter().map(Listener::accept).collect();
    nodes.iter_mut().for_each(Node::ping);
    let took = begun.elapsed();
    for (index, node) in nodes.iter_mut().enumerate() {
        node.ask_vote(&format!("chain-{index}"), vote(PRECOMMIT, 1, 0, 1)).unwrap();
    }
    let resident = resident_kib();
    println!("{} … : {took:?} until connected, {resident} KiB with the nodes' side", listeners[0].address());
    // The goal is 2 s; the limit leaves room for a machine that is busy with other things.
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert!(resident < 64 * 1024, "{resident} KiB, the nodes' side included");
    assert!(started.snapshot().chains.iter().all(|chain| chain.state == State::Signing));
    let begun = Instant::now();
    assert!(started.finish(Duration::from_secs(5)));
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_thousand_dropped_connections_in_a_row_cost_nothing_that_lasts() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let listener = Listener::unix();
    let (started, chain) = one("drops-1", &listener);
    // Redials wait for up to 1 s, so most of the thousand come over many connections at once.
    drop(started);
    let mut signer = Signer::new();
    for _ in 0..100 {
        signer.connect(&chain, &listener);
    }
    let started = signer.start();
    let before = resident_kib();
    for count in 0..1000 {
        let mut socket = listener.accept_raw();
        match count % 4 {
            0 => {}
            1 => socket.write_all(&[0xff; 300]).unwrap(),
            2 => socket.write_all(&[0x80, 0x80, 0x40]).unwrap(),
            _ => socket.write_all(&wire::delimited(wire::ask_key("drops-1"))).unwrap(),
        }
    }
    let mut node = listener.accept();
    assert!(chain.is_signed(&node.ask_vote("drops-1", vote(PREVOTE, 1, 0, 1)).unwrap()));
    assert!(resident_kib() < before + 16 * 1024);
    assert!(started.finish(Duration::from_secs(5)));
}
