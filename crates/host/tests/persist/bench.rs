//! How much the way to the parent adds to a commit. Not a test: `cargo test --release -p host --test persist -- --ignored bench`.
use crate::world::{World, end, identity, vote};
use guard::{Guard, Store};
use std::time::{Duration, Instant};
use store::FileStore;

const COMMITS: u64 = 3_000;

/// The median and the 99th percentile of a commit.
fn commits<S: Store>(store: S) -> [Duration; 2] {
    let mut guard = Guard::new(identity(), store);
    guard.recover().unwrap();
    let mut times: Vec<_> = (1..=COMMITS)
        .map(|height| {
            let request = vote(height, 1);
            let begun = Instant::now();
            let _ = guard.authorize(request, None).unwrap();
            begun.elapsed()
        })
        .collect();
    times.sort();
    [times[times.len() / 2], times[times.len() * 99 / 100]]
}

#[test]
#[ignore = "a benchmark"]
fn bench_a_commit_on_the_parent_against_one_on_this_host() {
    for _ in 0..3 {
        let world = World::with_state();
        let here = commits(FileStore::open(&world.state(), &identity()).unwrap());
        let world = World::with_state();
        let persist = world.persist();
        let there = commits(world.store("u", 1, &identity(), &crate::world::TOKEN));
        end(persist);
        let ratio = there[0].as_secs_f64() / here[0].as_secs_f64();
        println!("commit p50/p99: file {here:?}, through persist {there:?}; p50 ratio {ratio:.2}");
    }
}
