//! What a stranger hands on: a file of evidence and an envelope. Read or refused; what is read is written the same, hashes the same, and is
//! judged without a panic.
#![no_main]
use enclave::unseal::envelope::Envelope;
use evidence::{Evidence, Expected, Facts, Freshness, judge};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(evidence) = Evidence::parse(bytes) {
        let again = Evidence::parse(evidence.text().as_bytes()).expect("what was written is read");
        assert_eq!(again, evidence);
        assert_eq!(again.statement.user_data(), evidence.statement.user_data());
        assert!(evidence.statement.user_data().len() <= 512);
        let facts = Facts {
            module_id: String::new(),
            timestamp_ms: u64::from(bytes.first().copied().unwrap_or_default()),
            pcrs: BTreeMap::from([(0, vec![1; 48])]),
            public_key: None,
            user_data: Some(evidence.document.clone()),
            nonce: Some(evidence.document.clone()),
        };
        let expected = Expected {
            pcrs: facts.pcrs.clone(),
            nonce: Some(bytes.to_vec()),
            freshness: Some(Freshness { now_ms: u64::MAX, max_age_ms: 0 }),
            public_keys: vec!["AAAA".to_owned()],
            chain_id: Some("a-1".to_owned()),
            ..Expected::default()
        };
        // Whatever the document says here, it is not this statement's hash.
        let problems = judge(&facts, &evidence.statement, &expected);
        assert!(!problems.is_empty());
        problems.iter().for_each(|problem| assert!(problem.to_string().len() < 1 << 20));
    }
    if let Some(envelope) = Envelope::parse(bytes) {
        assert!((1..=6144).contains(&envelope.data_key.len()));
        assert!(envelope.open(&[7; 32], &BTreeMap::new()).is_err());
    }
});
