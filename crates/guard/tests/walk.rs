//! An exhaustive walk through a small world: every pair of messages, every answer of the store, every death.
mod world;

use guard::{Record, Step};
use world::{Ask, Exhaustive, Flaw, OUTCOMES, Outcome, World};

/// All positions of two heights and two rounds, each with two contents and a second timestamp.
fn full_world() -> Vec<Ask> {
    let mut asks = vec![];
    for height in 1..=2 {
        for round in 0..=1 {
            for step in Step::ALL {
                let other = if step == Step::Proposal { Some(b'B') } else { None };
                asks.push(Ask::new(height, round, step, Some(b'A'), 10));
                asks.push(Ask::new(height, round, step, Some(b'A'), 11));
                asks.push(Ask::new(height, round, step, other, 10));
            }
        }
    }
    asks
}

/// Two positions that follow each other, each with a conflict and a second timestamp.
fn tiny_world() -> Vec<Ask> {
    vec![
        Ask::new(1, 0, Step::Prevote, Some(b'A'), 10),
        Ask::new(1, 0, Step::Prevote, Some(b'A'), 11),
        Ask::new(1, 0, Step::Prevote, None, 10),
        Ask::new(1, 0, Step::Precommit, Some(b'A'), 10),
        Ask::new(1, 0, Step::Precommit, Some(b'B'), 10),
    ]
}

/// Walks every history of that many steps; returns how many histories, permits and refusals there were.
fn walk(asks: &[Ask], outcomes: &[Outcome], steps: usize, flaw: Flaw) -> [u64; 4] {
    let mut chooser = Exhaustive::default();
    let mut seen = [0; 4];
    loop {
        let mut world = World::new(Record::never_signed(), flaw);
        for _ in 0..steps {
            world.step(asks, outcomes, &mut chooser);
        }
        for (total, count) in seen.iter_mut().zip([1, world.permits, world.refusals, world.troubles]) {
            *total += count;
        }
        if !chooser.advance() {
            return seen;
        }
    }
}

fn report(name: &str, [histories, permits, refusals, troubles]: [u64; 4]) {
    println!("{name}: {histories} histories, {permits} permits, {refusals} refusals, {troubles} troubles");
    assert!(histories > 1000 && permits > 1000 && refusals > 1000 && troubles > 1000, "the walk hardly walked");
}

#[test]
fn no_pair_of_messages_breaks_the_rule_whatever_the_store_answers_and_whoever_dies() {
    report("pairs", walk(&full_world(), &OUTCOMES, 2, Flaw::None));
}

#[test]
fn no_three_steps_of_a_tiny_world_break_the_rule() {
    report("triples", walk(&tiny_world(), &OUTCOMES, 3, Flaw::None));
}

#[test]
fn no_four_steps_around_a_late_or_failed_commit_break_the_rule() {
    let asks = &tiny_world()[1..3];
    report("fours", walk(asks, &[Outcome::Committed, Outcome::FailedInCache, Outcome::Late], 4, Flaw::None));
}

#[test]
#[should_panic(expected = "a power cut would take back")]
fn the_walk_notices_a_store_that_acknowledges_what_only_the_cache_has() {
    walk(&tiny_world(), &OUTCOMES, 2, Flaw::AcknowledgesTheCache);
}

#[test]
#[should_panic(expected = "a power cut would take back")]
fn the_walk_notices_a_store_that_trusts_what_it_reads_after_a_failed_sync() {
    walk(&tiny_world(), &OUTCOMES, 3, Flaw::TrustsReads);
}

#[test]
#[should_panic(expected = "double sign")]
fn the_walk_notices_a_store_without_compare_and_swap() {
    walk(&tiny_world(), &OUTCOMES, 3, Flaw::NoCompareAndSwap);
}
