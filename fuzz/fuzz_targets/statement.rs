//! The guard's own parser of canonical bytes: what it accepts says one thing only.
#![no_main]
use guard::{Extension, Statement};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(statement) = Statement::parse(bytes) {
        assert_eq!(statement.bytes(), bytes);
        assert!(statement.equals_but_for_time(&statement));
    }
    if let Ok(extension) = Extension::parse(bytes.into()) {
        assert_eq!(extension.bytes(), bytes);
    }
});
