//! The state file: any bytes are judged without a panic, and what is accepted is written back the same.
#![no_main]
use libfuzzer_sys::fuzz_target;
use store::file;

fuzz_target!(|bytes: &[u8]| {
    let length = u64::try_from(bytes.len()).expect("a length");
    let inspection = file::look_at(bytes, length);
    let _ = inspection.held();
});
