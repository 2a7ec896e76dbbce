//! The configuration: any text gives a configuration or a list of faults, never a panic.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|text: &str| {
    if let Err(faults) = tmkms::config::parse(text, Path::new("tmkms.toml")) {
        assert!(!faults.to_string().is_empty());
    }
});
