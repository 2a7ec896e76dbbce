//! Whatever the bytes, nobody panics; and nothing that was changed is believed.
mod support;

use attest::{Document, Roots, Timestamp};
use proptest::prelude::*;
use support::real;

const MADE_AT: Timestamp = Timestamp(1_736_179_625);

fn look_at(bytes: &[u8]) -> bool {
    match Document::parse(bytes) {
        Ok(document) => document.verify(&Roots::aws(), MADE_AT).is_ok(),
        Err(error) => error.to_string().is_empty(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(!look_at(&bytes));
    }

    #[test]
    fn any_payload_is_read_or_refused(payload in proptest::collection::vec(any::<u8>(), 1..600)) {
        prop_assert!(!look_at(&support::envelope(&[0xA1, 0x01, 0x38, 0x22], &payload, &[1; 96])));
    }

    #[test]
    fn any_change_to_a_real_document_is_refused(at in 0..4781usize, take in 0..40usize, put in proptest::collection::vec(any::<u8>(), 0..40)) {
        let original = real();
        let mut bytes = original.clone();
        let end = (at + take).min(bytes.len());
        bytes.splice(at..end, put);
        prop_assert_eq!(look_at(&bytes), bytes == original);
    }
}
