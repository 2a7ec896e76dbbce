//! A node is answered before it gives up, however its validator's store delays.
use crate::fixture::{Chain, Signer, Started, settings};
use crate::node::{Listener, Node};
use crate::store::Mood;
use crate::wire::{PRECOMMIT, PREVOTE, vote};
use std::thread;
use std::time::{Duration, Instant};

/// A node reads an answer for that long.
const NODE_PATIENCE: Duration = Duration::from_secs(5);

fn four_nodes(chain_id: &str) -> (Started, Chain, Vec<Listener>, Vec<Node>) {
    let listeners: Vec<_> = (0..4).map(|_| Listener::unix()).collect();
    let mut signer = Signer::new();
    let chain = signer.chain(settings(chain_id, 1));
    listeners.iter().for_each(|listener| signer.connect(&chain, listener));
    let started = signer.start();
    let nodes = listeners.iter().map(Listener::accept).collect();
    (started, chain, listeners, nodes)
}

/// All ask for one precommit at once: each one's error, if there is one, and how long it waited.
fn ask_at_once(nodes: Vec<Node>, chain_id: &'static str) -> Vec<(Option<String>, Duration)> {
    let asked: Vec<_> = nodes
        .into_iter()
        .map(|mut node| {
            thread::spawn(move || {
                let begun = Instant::now();
                let error = node.ask_vote(chain_id, vote(PRECOMMIT, 1, 0, 1)).err();
                (error, begun.elapsed())
            })
        })
        .collect();
    asked.into_iter().map(|asked| asked.join().unwrap()).collect()
}

#[test]
fn four_nodes_are_answered_in_time_while_everything_takes_as_long_as_it_may() {
    let (_started, chain, _listeners, mut nodes) = four_nodes("late-1");
    nodes[0].ask_vote("late-1", vote(PREVOTE, 1, 0, 1)).unwrap();
    chain.store.set(Mood::Delays { commit: Duration::from_millis(1_200), recovery: Duration::from_millis(2_200) });
    for (error, took) in ask_at_once(nodes, "late-1") {
        assert!(error.is_some() && took < NODE_PATIENCE, "{error:?} after {took:?}");
    }
    assert_eq!(chain.store.commits().len(), 1, "nothing but the first prevote");
}

#[test]
fn while_a_disk_hangs_for_one_node_the_others_are_told_that_it_is_busy() {
    let (_started, chain, _listeners, nodes) = four_nodes("hangs-1");
    chain.store.set(Mood::Slow(Duration::from_secs(7)));
    let answers = ask_at_once(nodes, "hangs-1");
    let in_time: Vec<_> = answers.iter().filter(|(_, took)| *took < NODE_PATIENCE).collect();
    assert_eq!(in_time.len(), 3, "{answers:?}");
    assert!(in_time.iter().all(|(error, _)| error.as_ref().unwrap().contains("it is busy")), "{answers:?}");
    assert_eq!(chain.store.commits().len(), 1, "one commit for all that asked for the same");
}

#[test]
fn a_vote_is_signed_after_a_lost_answer_and_a_slow_recovery() {
    let (_started, chain, _listeners, mut nodes) = four_nodes("slow-1");
    nodes[0].ask_vote("slow-1", vote(PREVOTE, 1, 0, 1)).unwrap();
    chain.store.set(Mood::Delays { commit: Duration::from_millis(700), recovery: Duration::from_millis(1_200) });
    let store = chain.store.clone();
    let healer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(1_000));
        store.set(Mood::Healthy);
    });
    let begun = Instant::now();
    let answered = nodes[0].ask_vote("slow-1", vote(PRECOMMIT, 1, 0, 1)).unwrap();
    assert!(begun.elapsed() < NODE_PATIENCE && chain.is_signed(&answered));
    healer.join().unwrap();
}
