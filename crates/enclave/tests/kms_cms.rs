//! `CiphertextForRecipient`: real samples, both kinds of length, both forms of content, and everything that is none.
#![allow(clippy::unwrap_used)]
mod kms_support;

use enclave::kms::cms::{Envelope, MAX_ENVELOPE_BYTES};
use kms_support::{Content, Length, OAEP, definite, envelope};

/// From AWS KMS, by way of the tests of the crate `cms` 0.3 (Apache-2.0 or MIT).
const SAMPLES: [(&[u8], usize); 4] = [
    (include_bytes!("kms_samples/kms_ciphertext_for_recipient_1.ber"), 16),
    (include_bytes!("kms_samples/kms_ciphertext_for_recipient_2.ber"), 48),
    (include_bytes!("kms_samples/kms_ciphertext_for_recipient_3.ber"), 16),
    (include_bytes!("kms_samples/kms_ciphertext_for_recipient_4.ber"), 4112),
];

const KEY: [u8; 256] = [5; 256];
const IV: [u8; 16] = [6; 16];

fn refusal(bytes: &[u8]) -> String {
    Envelope::parse(bytes).unwrap_err().to_string()
}

#[test]
fn real_samples_of_kms_are_read() {
    for (sample, content_bytes) in SAMPLES {
        let envelope = Envelope::parse(sample).unwrap();
        assert_eq!(envelope.content.len(), content_bytes);
    }
    let first = Envelope::parse(SAMPLES[0].0).unwrap();
    assert_eq!(first.content, *b"\xcc\x74\xad\xf6\x5d\x97\x3c\x8b\x72\xcd\x51\xe1\xb9\x27\xf0\xf0");
    assert_eq!(first.iv, b"\x37\x34\x3d\xf1\x47\x0d\xf6\x25\xee\xb6\xf4\xbf\xd2\xf1\xac\xc3");
    assert_eq!((first.encrypted_key[0], first.encrypted_key[255]), (0x29, 0x03));
}

#[test]
fn every_cut_of_a_real_sample_is_refused() {
    for (sample, _) in SAMPLES {
        for end in 0..sample.len() {
            assert!(Envelope::parse(&sample[..end]).is_err(), "cut at {end} of {}", sample.len());
        }
        assert!(refusal(&[sample, &[0]].concat()).contains("follow"));
    }
}

#[test]
fn both_kinds_of_length_and_both_forms_of_content_give_the_same() {
    let content: Vec<u8> = (0..=250).cycle().take(2000).collect();
    for length in [Length::Definite, Length::Indefinite] {
        for form in [Content::Primitive, Content::Pieces(1000), Content::Pieces(7), Content::Pieces(5000)] {
            let bytes = envelope(&KEY, &IV, &content, length, form);
            let read = Envelope::parse(&bytes).unwrap_or_else(|error| panic!("{length:?} {form:?}: {error}"));
            assert_eq!((read.encrypted_key, read.iv, &read.content), (&KEY, &IV, &content), "{length:?} {form:?}");
        }
    }
}

#[test]
fn lengths_longer_than_they_need_to_be_are_read_as_ber_says() {
    let short = envelope(&KEY, &IV, &[1; 16], Length::Indefinite, Content::Primitive);
    let at = short.windows(2).position(|pair| pair == [0x80, 0x10]).unwrap();
    let long = [&short[..at], &[0x80, 0x84, 0, 0, 0, 0x10], &short[at + 2..]].concat();
    assert_eq!(Envelope::parse(&long), Envelope::parse(&short));
}

#[test]
fn other_algorithms_and_versions_are_refused_by_name() {
    let good = envelope(&KEY, &IV, &[1; 16], Length::Definite, Content::Primitive);
    let changed = |from: &[u8], to: &[u8]| {
        assert_eq!(from.len(), to.len());
        let at = good.windows(from.len()).position(|window| window == from).unwrap();
        [&good[..at], to, &good[at + from.len()..]].concat()
    };
    let sha256 = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";
    for (bytes, reason) in [
        (changed(b"\x01\x07\x03", b"\x01\x07\x02"), "EnvelopedData"),
        (changed(b"\x01\x07\x01", b"\x01\x07\x05"), "type data"),
        (changed(b"\x01\x01\x07", b"\x01\x01\x01"), "RSAES-OAEP"),
        (changed(b"\x01\x01\x08", b"\x01\x01\x09"), "MGF1"),
        (changed(sha256, b"\x60\x86\x48\x01\x65\x03\x04\x02\x02"), "SHA-256"),
        (changed(b"\x03\x04\x01\x2a", b"\x03\x04\x01\x02"), "AES-256-CBC"),
        (changed(b"\x02\x01\x02\x31", b"\x02\x01\x00\x31"), "version of EnvelopedData"),
        (changed(b"\x02\x01\x02\x80", b"\x02\x01\x00\x80"), "version of the recipient"),
    ] {
        assert!(refusal(&bytes).contains(reason), "{reason}: {}", refusal(&bytes));
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let of = |key: &[u8], iv: &[u8], content: &[u8]| {
        refusal(&envelope(key, iv, content, Length::Indefinite, Content::Pieces(9)))
    };
    assert!(of(&[5; 255], &IV, &[1; 16]).contains("256 bytes"));
    assert!(of(&[5; 257], &IV, &[1; 16]).contains("256 bytes"));
    assert!(of(&KEY, &[6; 15], &[1; 16]).contains("IV"));
    assert!(of(&KEY, &IV, &[]).contains("whole blocks"));
    assert!(of(&KEY, &IV, &[1; 17]).contains("whole blocks"));
    assert!(refusal(&vec![0x30; MAX_ENVELOPE_BYTES + 1]).contains("too long"));
}

#[test]
fn hostile_lengths_and_nesting_are_refused() {
    let nested = [0x30_u8, 0x80].repeat(4000);
    let two =
        definite(0x30, &[definite(0x02, &[2]), definite(0x80, &[7; 32]), OAEP.to_vec(), definite(0x04, &KEY)].concat());
    let two_recipients = {
        let set = definite(0x31, &[two.clone(), two].concat());
        let enveloped = definite(0x30, &[definite(0x02, &[2]), set].concat());
        let kind = definite(0x06, b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03");
        definite(0x30, &[kind, definite(0xa0, &enveloped)].concat())
    };
    for bytes in [
        b"".as_slice(),
        b"\x30",
        b"\x30\x80",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x88\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x30\x80\x06\x80",
        &nested,
        &two_recipients,
    ] {
        assert!(Envelope::parse(bytes).is_err(), "{:?}", &bytes[..bytes.len().min(20)]);
    }
}
