//! Every limit of AWS's specification, section 3.2.2: at the bound it is read, beyond it is refused by its name.
#![allow(clippy::unwrap_used)]
mod support;

use attest::{Document, Malformed};
use support::{Chain, NOW, bytes, cbor, envelope, pcrs};

fn refused(document: &[u8]) -> Malformed {
    let error = Document::parse(document).unwrap_err();
    assert!(error.to_string().starts_with("not an attestation document: "), "{error}");
    error
}

fn length(field: &'static str, min_bytes: usize, max_bytes: usize, got_bytes: usize) -> Malformed {
    Malformed::Length { field, min_bytes, max_bytes, got_bytes }
}

#[test]
fn what_the_enclave_gave_is_read_back_and_null_is_none() {
    let chain = Chain::new();
    let document = Document::parse(&chain.document()).unwrap();
    assert_eq!((document.public_key(), document.nonce()), (Some(&b"key"[..]), Some(&b"nonce"[..])));
    assert_eq!(document.user_data(), None);
    assert_eq!(document.verify(&chain.roots(), NOW).unwrap().pcr(31), Some(&[9; 48][..]));
}

#[test]
fn the_three_optional_fields_may_be_absent() {
    let chain = Chain::new();
    let mut fields = chain.fields();
    fields.truncate(6);
    let document = Document::parse(&chain.sign(&fields)).unwrap();
    assert_eq!((document.public_key(), document.user_data(), document.nonce()), (None, None, None));
    document.verify(&chain.roots(), NOW).unwrap();
}

#[test]
fn every_other_field_must_be_there() {
    let chain = Chain::new();
    for field in ["module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"] {
        assert_eq!(refused(&chain.document_with(field, None)), Malformed::MissingField { field });
        let null = cbor(|e| e.null());
        let error = refused(&chain.document_with(field, Some(null)));
        assert!(matches!(&error, Malformed::Type { field: got, .. } if *got == field), "{error}");
    }
}

#[test]
fn no_field_is_there_twice_and_none_is_unknown() {
    let chain = Chain::new();
    for index in 0..9 {
        let mut fields = chain.fields();
        let doubled = fields[index].clone();
        let field = doubled.0;
        fields.remove((index + 1) % 9);
        fields.push(doubled);
        assert_eq!(refused(&chain.sign(&fields)), Malformed::DuplicateField { field });
    }
    let mut fields = chain.fields();
    fields[8].0 = "Nonce";
    assert_eq!(refused(&chain.sign(&fields)), Malformed::UnknownField { got: "Nonce".into() });
    fields.push(("nonce", bytes(b"")));
    assert_eq!(refused(&chain.sign(&fields)), Malformed::Count { field: "payload", min: 6, max: 9, got: 10 });
}

#[test]
fn fields_that_the_enclave_fills_have_their_limits() {
    let chain = Chain::new();
    for (field, min, max) in [("public_key", 1, 1024), ("user_data", 0, 512), ("nonce", 0, 512)] {
        for fits in [min, max] {
            Document::parse(&chain.document_with(field, Some(bytes(&vec![1; fits])))).unwrap();
        }
        let over = chain.document_with(field, Some(bytes(&vec![1; max + 1])));
        assert_eq!(refused(&over), length(field, min, max, max + 1));
    }
    let empty = chain.document_with("public_key", Some(bytes(b"")));
    assert_eq!(refused(&empty), length("public_key", 1, 1024, 0));
}

#[test]
fn the_modules_own_fields_have_their_limits() {
    let chain = Chain::new();
    let text = |text: &str| Some(cbor(|e| e.str(text)));
    assert_eq!(refused(&chain.document_with("module_id", text(""))), length("module_id", 1, 256, 0));
    assert_eq!(refused(&chain.document_with("module_id", text(&"m".repeat(257)))), length("module_id", 1, 256, 257));
    let digest = Malformed::Digest { expected: "SHA384", got: "SHA256".into() };
    assert_eq!(refused(&chain.document_with("digest", text("SHA256"))), digest);
    let zero = cbor(|e| e.u64(0));
    assert_eq!(refused(&chain.document_with("timestamp", Some(zero))), Malformed::Timestamp { min_ms: 1, got_ms: 0 });
    let negative = cbor(|e| e.i64(-1));
    assert!(matches!(refused(&chain.document_with("timestamp", Some(negative))), Malformed::Type { .. }));
}

#[test]
fn certificates_have_their_limits() {
    let chain = Chain::new();
    let bundle = |lengths: &[usize]| {
        Some(cbor(|e| {
            e.array(u64::try_from(lengths.len()).unwrap())?;
            lengths.iter().try_for_each(|length| e.bytes(&vec![1; *length]).map(drop))?;
            Ok(e)
        }))
    };
    for (value, error) in [
        (bundle(&[]), Malformed::Count { field: "cabundle", min: 1, max: 8, got: 0 }),
        (bundle(&[1; 9]), Malformed::Count { field: "cabundle", min: 1, max: 8, got: 9 }),
        (bundle(&[1024, 1025]), length("cabundle's certificate", 1, 1024, 1025)),
        (bundle(&[0]), length("cabundle's certificate", 1, 1024, 0)),
    ] {
        assert_eq!(refused(&chain.document_with("cabundle", value)), error);
    }
    Document::parse(&chain.document_with("cabundle", bundle(&[1024; 8]))).unwrap();
    for wrong in [0, 1025] {
        let document = chain.document_with("certificate", Some(bytes(&vec![1; wrong])));
        assert_eq!(refused(&document), length("certificate", 1, 1024, wrong));
    }
}

#[test]
fn pcrs_have_their_limits() {
    let chain = Chain::new();
    let with = |values: &[(u64, &[u8])]| chain.document_with("pcrs", Some(pcrs(values)));
    let value: &[u8] = &[1; 48];
    let all: Vec<_> = (0..32).map(|index| (index, value)).collect();
    assert_eq!(Document::parse(&with(&all)).unwrap().pcrs().len(), 32);
    for fits in [32, 48, 64] {
        Document::parse(&with(&[(0, &vec![1; fits])])).unwrap();
    }
    assert_eq!(refused(&with(&[])), Malformed::Count { field: "pcrs", min: 1, max: 32, got: 0 });
    let more: Vec<_> = (0..33).map(|index| (index, value)).collect();
    assert_eq!(refused(&with(&more)), Malformed::Count { field: "pcrs", min: 1, max: 32, got: 33 });
    assert_eq!(refused(&with(&[(32, value)])), Malformed::PcrIndex { max: 31, got: 32 });
    assert_eq!(refused(&with(&[(256, value)])), Malformed::PcrIndex { max: 31, got: 256 });
    assert_eq!(refused(&with(&[(3, value), (3, value)])), Malformed::DuplicatePcr { index: 3 });
    let short = Malformed::PcrLength { index: 1, expected_bytes: [32, 48, 64], got_bytes: 47 };
    assert_eq!(refused(&with(&[(1, &value[1..])])), short);
}

#[test]
fn the_envelope_has_its_limits() {
    const ES384: &[u8] = &[0xA1, 0x01, 0x38, 0x22];
    let signed = |payload: &[u8], signature: usize| envelope(ES384, payload, &vec![1; signature]);
    assert_eq!(refused(&[]), length("document", 1, 16512, 0));
    assert_eq!(refused(&vec![0; 16513]), length("document", 1, 16512, 16513));
    assert_eq!(refused(&signed(&[], 96)), length("payload", 1, 16384, 0));
    assert_eq!(refused(&signed(&[1; 16385], 96)), length("payload", 1, 16384, 16385));
    assert_eq!(refused(&signed(&[1], 95)), length("signature", 96, 96, 95));
    assert_eq!(refused(&[0x83]), Malformed::Count { field: "COSE_Sign1", min: 4, max: 4, got: 3 });
    let trailing = Malformed::Trailing { field: "payload", got_bytes: 1 };
    let chain = Chain::new();
    let mut fields = chain.fields();
    fields[8].1.push(0);
    assert_eq!(refused(&chain.sign(&fields)), trailing);
}

#[test]
fn only_es384_and_no_other_parameter_is_accepted() {
    let chain = Chain::new();
    let algorithm = |got| Malformed::Algorithm { expected: -35, got };
    // An emulator's unsigned documents say {1: -1}; ES256 is {1: -7}.
    for (header, error) in [
        (&[0xA1, 0x01, 0x20][..], algorithm(-1)),
        (&[0xA1, 0x01, 0x26], algorithm(-7)),
        (&[0xA0], Malformed::Count { field: "protected header", min: 1, max: 1, got: 0 }),
        (&[0xA2, 0x01, 0x38, 0x22, 0x04, 0x00], Malformed::Count { field: "protected header", min: 1, max: 1, got: 2 }),
        (&[0xA1, 0x04, 0x38, 0x22], Malformed::HeaderParameter { expected: 1, got: 4 }),
        (&[0xA1, 0x01, 0x38, 0x22, 0x00], Malformed::Trailing { field: "protected header", got_bytes: 1 }),
    ] {
        assert_eq!(refused(&chain.envelope(header, b"payload")), error);
    }
    let mut unprotected = chain.document();
    unprotected.splice(6..7, [0xA1, 0x04, 0x00]);
    assert_eq!(refused(&unprotected), Malformed::Count { field: "unprotected header", min: 0, max: 0, got: 1 });
}

#[test]
fn items_of_indefinite_length_are_refused() {
    let chain = Chain::new();
    for (field, value) in [
        ("pcrs", vec![0xBF, 0xFF]),
        ("cabundle", vec![0x9F, 0xFF]),
        ("nonce", vec![0x5F, 0x41, 0x01, 0xFF]),
        ("module_id", vec![0x7F, 0x61, b'm', 0xFF]),
    ] {
        let error = refused(&chain.document_with(field, Some(value)));
        assert!(matches!(&error, Malformed::Type { field: got, .. } if *got == field), "{error}");
    }
}
