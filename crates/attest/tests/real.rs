//! A document that AWS signed for a real enclave, and everything that may be done to it.
#![allow(clippy::unwrap_used)]
mod support;

use attest::{Document, Fingerprint, Malformed, Place, Roots, Timestamp, Untrusted};
use support::{believed, real};

const MADE_AT: Timestamp = Timestamp(1_736_179_625);
/// From the leaf certificate: three hours.
const NOT_BEFORE: Timestamp = Timestamp(1_736_179_622);
const NOT_AFTER: Timestamp = Timestamp(1_736_190_425);

#[test]
fn a_real_document_is_read() {
    let document = Document::parse(&real()).unwrap();
    assert_eq!(document.module_id(), "i-0bee92034f3d60691-enc01943c5eaab3ad6a");
    assert_eq!(document.timestamp_ms(), 1_736_179_625_472);
    assert_eq!(document.made_at(), MADE_AT);
    assert_eq!(document.pcrs().keys().copied().collect::<Vec<_>>(), (0..16).collect::<Vec<_>>());
    assert!(document.pcrs()[&0].starts_with(&[0x8b, 0xb1, 0x59, 0xf2]));
    assert_eq!(document.cabundle().len(), 4);
    assert_eq!(Fingerprint::of(&document.cabundle()[0]), Roots::aws().pinned());
}

#[test]
fn a_real_document_verifies_under_the_root_of_aws_while_its_leaf_lives() {
    let document = Document::parse(&real()).unwrap();
    for at in [NOT_BEFORE, MADE_AT, NOT_AFTER] {
        let verified = document.verify(&Roots::aws(), at).unwrap();
        assert!(!verified.is_debug());
        assert_eq!(verified.pcrs(), document.pcrs());
        assert_eq!((verified.public_key(), verified.user_data()), (document.public_key(), document.user_data()));
        assert_eq!((verified.nonce(), verified.module_id()), (document.nonce(), document.module_id()));
        assert_eq!(verified.timestamp_ms(), document.timestamp_ms());
    }
}

#[test]
fn a_real_document_does_not_verify_when_its_leaf_does_not_live() {
    let document = Document::parse(&real()).unwrap();
    let early = Timestamp(NOT_BEFORE.0 - 1);
    let late = Timestamp(NOT_AFTER.0 + 1);
    let place = Place::Leaf;
    assert_eq!(
        document.verify(&Roots::aws(), early).unwrap_err(),
        Untrusted::NotYetValid { place, not_before: NOT_BEFORE, at: early }
    );
    assert_eq!(
        document.verify(&Roots::aws(), late).unwrap_err(),
        Untrusted::Expired { place, not_after: NOT_AFTER, at: late }
    );
}

#[test]
fn a_real_document_does_not_verify_under_another_root() {
    let document = Document::parse(&real()).unwrap();
    let roots = Roots::of(&document.cabundle()[1]);
    let error = document.verify(&roots, MADE_AT).unwrap_err();
    assert_eq!(error, Untrusted::Root { expected: roots.pinned(), got: Roots::aws().pinned() });
    assert!(error.to_string().contains("641A0321A3E244EFE456463195D606317ED7CDCC3C1756E09893F3C68F79BB5B"), "{error}");
}

#[test]
fn the_tag_of_cose_sign1_is_accepted_and_no_other() {
    let tagged = [&[0xD2], real().as_slice()].concat();
    assert!(believed(&tagged, &Roots::aws(), MADE_AT));
    let other = [&[0xD1], real().as_slice()].concat();
    assert_eq!(Document::parse(&other).unwrap_err(), Malformed::Tag { expected: 18, got: 17 });
    let twice = [&[0xD2], tagged.as_slice()].concat();
    assert!(matches!(Document::parse(&twice), Err(Malformed::Type { field: "COSE_Sign1", .. })));
}

#[test]
fn no_byte_of_a_real_document_can_be_changed() {
    let original = real();
    let mut document = original.clone();
    for at in 0..original.len() {
        // One bit of each byte, so that all eight are met within a field.
        document[at] ^= 1 << (at % 8);
        assert!(!believed(&document, &Roots::aws(), MADE_AT), "byte {at}");
        document[at] = original[at];
    }
    assert!(believed(&document, &Roots::aws(), MADE_AT));
}

#[test]
fn no_shorter_or_longer_document_is_read() {
    let original = real();
    for length in 0..original.len() {
        assert!(Document::parse(&original[..length]).is_err(), "{length} bytes");
    }
    let longer = [original.as_slice(), &[0]].concat();
    assert_eq!(Document::parse(&longer).unwrap_err(), Malformed::Trailing { field: "document", got_bytes: 1 });
}

#[test]
fn the_bytes_of_a_document_are_not_its_identity() {
    let mut bytes = real();
    let tail = bytes.len() - 96;
    let (r, s) = p384::ecdsa::Signature::from_slice(&bytes[tail..]).unwrap().split_scalars();
    let other = p384::ecdsa::Signature::from_scalars(r, -s).unwrap();
    bytes[tail..].copy_from_slice(&other.to_bytes());
    assert_ne!(bytes, real());
    assert!(believed(&bytes, &Roots::aws(), MADE_AT));
}
