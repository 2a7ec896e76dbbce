//! What KMS encrypts to an enclave: any bytes are an envelope of the one shape, or refused.
#![no_main]
use enclave::kms::cms::{Envelope, MAX_ENVELOPE_BYTES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(envelope) = Envelope::parse(bytes) {
        assert!(bytes.len() <= MAX_ENVELOPE_BYTES);
        assert!(!envelope.content.is_empty() && envelope.content.len() % 16 == 0);
        assert!(envelope.content.len() + envelope.encrypted_key.len() < bytes.len());
        // The content's forms say the same: nothing of the envelope hangs on how it came.
        let again = Envelope::parse(bytes).expect("what was read once is read twice");
        assert_eq!(again, envelope);
    }
});
