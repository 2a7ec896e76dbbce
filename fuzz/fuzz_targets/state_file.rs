//! The state file: any bytes are judged without a panic, and a slot that is accepted is the only way to write it.
#![no_main]
use libfuzzer_sys::fuzz_target;
use store::file::{self, slot};

fuzz_target!(|bytes: &[u8]| {
    let length = u64::try_from(bytes.len()).expect("a length");
    let inspection = file::look_at(bytes, length);
    assert!(inspection.held().is_none() || inspection.problem.is_none());
    let Some(bytes) = bytes.first_chunk() else { return };
    if let Ok(held) = slot::decode(bytes) {
        let again = slot::encode(&held.owner, held.epoch, &held.record).expect("what was read can be written");
        assert!(*bytes == again, "two different slots say the same");
    }
});
