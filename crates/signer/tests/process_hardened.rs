//! A hardened process, alone in its test binary because it cannot be softened again.
#![allow(clippy::unwrap_used)]
mod process_status;

use process_status::{bytes_of, hold_threads};
use rustix::process::{DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit};
use signer::process::{Weakness, harden};

/// The goal for 256 chains is 64 MiB in all: their stacks may take a quarter of it.
const MAX_STACKS_BYTES: u64 = 16 << 20;

#[test]
fn a_hardened_process_leaves_no_core_and_its_threads_stay_small() {
    let weaknesses = harden();

    assert_eq!(getrlimit(Resource::Core), Rlimit { current: Some(0), maximum: Some(0) });
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    assert!(!weaknesses.iter().any(|weakness| matches!(weakness, Weakness::CoreLimit(_) | Weakness::Dumpable(_))));
    // Whether memory can be locked depends on who runs the test; that it was, or was said not to be, does not.
    assert_eq!(weaknesses.is_empty(), bytes_of("VmLck") > 0, "{weaknesses:?}");

    let before = bytes_of("VmRSS");
    let during = hold_threads(256, || bytes_of("VmRSS"));
    assert!(during - before < MAX_STACKS_BYTES, "resident memory went from {before} to {during} bytes");
}
