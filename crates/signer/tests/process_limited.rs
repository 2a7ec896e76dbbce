//! A process with a finite limit on locked memory and no capability, alone in its test binary as limits last.
#![allow(clippy::unwrap_used)]
mod process_status;

use process_status::{bytes_of, hold_threads};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use signer::process::{Weakness, harden};

/// What systemd gives by default.
const LIMIT_BYTES: u64 = 8 << 20;

#[test]
fn a_finite_limit_is_reported_with_its_remedy_and_never_stops_a_thread() {
    let limit = Rlimit { current: Some(LIMIT_BYTES), maximum: Some(LIMIT_BYTES) };
    setrlimit(Resource::Memlock, limit).unwrap();
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none }).unwrap();

    let weaknesses = harden();

    let text = match weaknesses.as_slice() {
        [weakness @ Weakness::MemoryLimit { bytes: LIMIT_BYTES }] => weakness.to_string(),
        other => panic!("expected the limit of {LIMIT_BYTES} bytes, got {other:?}"),
    };
    assert!(text.contains("LimitMEMLOCK=infinity"), "{text}");
    assert_eq!(bytes_of("VmLck"), 0);
    assert!(hold_threads(256, || bytes_of("VmSize")) > LIMIT_BYTES);
}
