//! Every rule of the chain, broken alone: AWS's section 3.2.3 and RFC 5280, section 6.
#![allow(clippy::unwrap_used)]
mod support;

use attest::{Document, Place, Roots, Timestamp, Untrusted};
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, KeyUsagePurpose};
use std::time::Duration;
use support::{Chain, LEAF, NOW, bytes, pcrs};

fn refused(chain: &Chain) -> Untrusted {
    let document = Document::parse(&chain.document()).unwrap();
    let error = document.verify(&chain.roots(), NOW).unwrap_err();
    assert!(error.to_string().starts_with("the attestation document is not trusted: "), "{error}");
    error
}

fn broken(place: usize, change: impl Fn(&mut CertificateParams)) -> Untrusted {
    refused(&Chain::with(|index, params| {
        if index == place {
            change(params);
        }
    }))
}

fn place(index: usize) -> Place {
    if index == LEAF { Place::Leaf } else { Place::CaBundle(index) }
}

#[test]
fn an_unbroken_chain_is_believed_and_only_under_its_own_root() {
    let chain = Chain::new();
    let document = Document::parse(&chain.document()).unwrap();
    document.verify(&chain.roots(), NOW).unwrap();
    for other in [Roots::aws(), Chain::new().roots(), Roots::of(&chain.certificates[1])] {
        let expected = other.pinned();
        assert_eq!(
            document.verify(&other, NOW).unwrap_err(),
            Untrusted::Root { expected, got: chain.roots().pinned() }
        );
    }
}

#[test]
fn every_certificate_has_its_dates_and_the_bounds_are_included() {
    let second = Duration::from_secs(1);
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(NOW.0);
    for index in 0..=LEAF {
        let error = broken(index, |params| params.not_after = now - second);
        let place = place(index);
        assert_eq!(error, Untrusted::Expired { place, not_after: Timestamp(NOW.0 - 1), at: NOW });
        let error = broken(index, |params| params.not_before = now + second);
        assert_eq!(error, Untrusted::NotYetValid { place, not_before: Timestamp(NOW.0 + 1), at: NOW });
        let chain = Chain::with(|at, params| {
            if at == index {
                (params.not_before, params.not_after) = (now, now);
            }
        });
        Document::parse(&chain.document()).unwrap().verify(&chain.roots(), NOW).unwrap();
    }
}

#[test]
fn every_authority_needs_its_flag() {
    for index in 0..LEAF {
        let place = Place::CaBundle(index);
        let error = |got| Untrusted::NotACa { place, expected: "critical, CA:TRUE", got };
        assert_eq!(broken(index, |params| params.is_ca = IsCa::NoCa), error("none"));
        assert_eq!(broken(index, |params| params.is_ca = IsCa::ExplicitNoCa), error("CA:FALSE"));
        // The same extension, not critical.
        let soft = broken(index, |params| {
            params.is_ca = IsCa::NoCa;
            let value = vec![0x30, 0x03, 0x01, 0x01, 0xFF];
            params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 19], value)];
        });
        assert_eq!(soft, error("not critical, CA:TRUE"));
    }
}

#[test]
fn no_authority_has_more_below_it_than_its_path_length() {
    for index in 0..LEAF - 1 {
        let below = LEAF - 1 - index;
        let max = below - 1;
        let limit = BasicConstraints::Constrained(u8::try_from(max).unwrap());
        let error = broken(index, |params| params.is_ca = IsCa::Ca(limit));
        assert_eq!(error, Untrusted::PathLength { place: Place::CaBundle(index), max, got: below });
    }
}

#[test]
fn every_key_is_for_its_use() {
    for index in 0..LEAF {
        for usages in [vec![], vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign]] {
            let error = broken(index, |params| params.key_usages.clone_from(&usages));
            assert!(
                matches!(&error, Untrusted::KeyUsage { place: Place::CaBundle(at), expected: "keyCertSign", .. } if *at == index),
                "{error}"
            );
        }
    }
    for usages in [vec![], vec![KeyUsagePurpose::KeyCertSign]] {
        let error = broken(LEAF, |params| params.key_usages.clone_from(&usages));
        assert!(matches!(error, Untrusted::KeyUsage { place: Place::Leaf, expected: "digitalSignature", .. }));
    }
}

#[test]
fn the_leaf_is_no_authority() {
    for limit in [BasicConstraints::Unconstrained, BasicConstraints::Constrained(0)] {
        let error = broken(LEAF, |params| params.is_ca = IsCa::Ca(limit));
        assert!(matches!(error, Untrusted::LeafIsCa { got: "CA:TRUE", .. }), "{error}");
    }
    let chain = Chain::with(|index, params| {
        if index == LEAF {
            params.is_ca = IsCa::NoCa;
        }
    });
    Document::parse(&chain.document()).unwrap().verify(&chain.roots(), NOW).unwrap();
}

#[test]
fn a_critical_extension_that_nobody_understands_is_refused() {
    for index in 0..=LEAF {
        let extension = |critical| {
            let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 1], vec![5, 0]);
            extension.set_criticality(critical);
            vec![extension]
        };
        let error = broken(index, |params| params.custom_extensions = extension(true));
        assert!(
            matches!(&error, Untrusted::CriticalExtension { place: at, got, .. } if *at == place(index) && got == "1.3.6.1.4.1.1"),
            "{error}"
        );
        let chain = Chain::with(|_, params| params.custom_extensions = extension(false));
        Document::parse(&chain.document()).unwrap().verify(&chain.roots(), NOW).unwrap();
    }
}

#[test]
fn an_extension_that_is_there_twice_is_refused() {
    let error = broken(2, |params| {
        params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![3, 2, 2, 4])];
    });
    assert!(matches!(error, Untrusted::DuplicateExtension { place: Place::CaBundle(2), .. }), "{error}");
}

#[test]
fn a_certificate_names_the_one_above_it_and_is_signed_by_it() {
    let (one, two) = (Chain::new(), Chain::new());
    for index in 1..=LEAF {
        // The same names with other keys: only the signature tells.
        let mut chain = Chain::new();
        chain.certificates[index].clone_from(&one.certificates[index]);
        let error = refused(&chain);
        let issuer = Place::CaBundle(index - 1);
        assert_eq!(error, Untrusted::CertificateSignature { place: place(index), issuer });
    }
    for index in 1..LEAF {
        // The certificate above is taken out: a right signature under another name is not there.
        let mut chain = Chain::with(|at, params| {
            params.is_ca = if at == LEAF { IsCa::NoCa } else { IsCa::Ca(BasicConstraints::Unconstrained) };
        });
        chain.certificates.remove(index);
        assert!(matches!(refused(&chain), Untrusted::Issuer { .. }));
    }
    let renamed = Chain::with(|index, params| {
        if index == LEAF - 1 {
            params.distinguished_name.push(DnType::CommonName, "somebody");
        }
    });
    Document::parse(&renamed.document()).unwrap().verify(&renamed.roots(), NOW).unwrap();
    let mut mixed = two;
    mixed.certificates[LEAF - 1].clone_from(&renamed.certificates[LEAF - 1]);
    assert!(matches!(refused(&mixed), Untrusted::CertificateSignature { .. } | Untrusted::Issuer { .. }));
}

#[test]
fn a_key_on_another_curve_is_refused() {
    let chain = Chain::with_leaf(&rcgen::PKCS_ECDSA_P256_SHA256, |_, _| {});
    assert!(matches!(refused(&chain), Untrusted::KeyAlgorithm { place: Place::Leaf, .. }));
    let chain = Chain::with_leaf(&rcgen::PKCS_ED25519, |_, _| {});
    assert!(matches!(refused(&chain), Untrusted::KeyAlgorithm { place: Place::Leaf, .. }));
}

#[test]
fn what_is_no_certificate_is_refused() {
    let mut chain = Chain::new();
    chain.certificates[LEAF].push(0);
    assert!(matches!(refused(&chain), Untrusted::Certificate { place: Place::Leaf, .. }));
    let mut chain = Chain::new();
    chain.certificates[2] = vec![0x30, 0x00];
    assert!(matches!(refused(&chain), Untrusted::Certificate { place: Place::CaBundle(2), .. }));
}

#[test]
fn only_the_leaf_signs_the_document_and_all_of_it() {
    let (chain, other) = (Chain::new(), Chain::new());
    let mut fields = chain.fields();
    let forged = Document::parse(&other.sign(&fields)).unwrap();
    assert_eq!(forged.verify(&chain.roots(), NOW).unwrap_err(), Untrusted::DocumentSignature);
    // A right signature over other measurements.
    let mut document = chain.document();
    let tail = document.split_off(document.len() - 98);
    fields[3].1 = pcrs(&[(0, &[8; 48]), (31, &[9; 48])]);
    let mut swapped = chain.sign(&fields);
    swapped.truncate(swapped.len() - 98);
    swapped.extend(tail);
    let swapped = Document::parse(&swapped).unwrap();
    assert_eq!(swapped.verify(&chain.roots(), NOW).unwrap_err(), Untrusted::DocumentSignature);
}

#[test]
fn zeros_in_pcr0_or_no_pcr0_mean_debug_mode() {
    let chain = Chain::new();
    let zeros: &[u8] = &[0; 48];
    let mut one = [0; 48];
    one[47] = 1;
    for (values, debug) in [(pcrs(&[(0, zeros)]), true), (pcrs(&[(1, &one)]), true), (pcrs(&[(0, &one)]), false)] {
        let document = Document::parse(&chain.document_with("pcrs", Some(values))).unwrap();
        assert_eq!(document.verify(&chain.roots(), NOW).unwrap().is_debug(), debug);
    }
    let other = chain.document_with("nonce", Some(bytes(b"other")));
    assert_eq!(Document::parse(&other).unwrap().verify(&chain.roots(), NOW).unwrap().nonce(), Some(&b"other"[..]));
}
