//! Attestation documents: any bytes are read or refused without a panic, and nothing but AWS's own signature is believed.
#![no_main]
use attest::{Document, Fingerprint, Roots, Timestamp};
use libfuzzer_sys::fuzz_target;

/// The seed that AWS signed, and when; anything that is believed must say the same as it does.
const REAL: &[u8] = include_bytes!("../seeds/attestation_document/real");
const MADE_AT: Timestamp = Timestamp(1_736_179_625);

fuzz_target!(|bytes: &[u8]| {
    let Ok(document) = Document::parse(bytes) else { return };
    if let Ok(verified) = document.verify(&Roots::aws(), MADE_AT) {
        let real = Document::parse(REAL).expect("the real document");
        assert!(document == real, "a document that AWS did not sign is believed");
        assert_eq!(verified.pcrs(), real.pcrs());
    }
    // With its own root believed, whatever stands below it is parsed and judged.
    let root = document.cabundle().first().expect("a document has a root");
    let roots = Roots::of(root);
    assert_eq!(roots.pinned(), Fingerprint::of(root));
    if let Err(error) = document.verify(&roots, document.made_at()) {
        assert!(!error.to_string().is_empty());
    }
});
