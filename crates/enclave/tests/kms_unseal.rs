//! What `aws kms encrypt --plaintext fileb://…` makes of each form of a key, and what is none.
#![allow(clippy::unwrap_used)]
use base64ct::{Base64, Encoding};
use enclave::unseal::{UnsealError, consensus_key, identity_key};
use signer::keys::{Algorithm, Problem, PublicKey};

const SEED: [u8; 32] = *b"a test seed that is text, 32 lng";

fn json() -> String {
    let public = consensus_key(&SEED, Algorithm::Ed25519, None).ok().unwrap();
    let pair = [SEED.as_slice(), public.public_key().as_bytes()].concat();
    format!(
        r#"{{
  "address": "{}",
  "pub_key": {{ "type": "tendermint/PubKeyEd25519", "value": "{}" }},
  "priv_key": {{ "type": "tendermint/PrivKeyEd25519", "value": "{}" }}
}}"#,
        public.public_key().address(),
        public.public_key().base64(),
        Base64::encode_string(&pair)
    )
}

fn endings(content: &[u8]) -> [Vec<u8>; 3] {
    ["", "\n", "\r\n"].map(|end| [content, end.as_bytes()].concat())
}

#[test]
fn every_form_of_one_ed25519_key_gives_that_key() {
    let public = *consensus_key(&SEED, Algorithm::Ed25519, None).ok().unwrap().public_key();
    let pair = [SEED.as_slice(), public.as_bytes()].concat();
    let forms = [
        SEED.to_vec(),
        pair.clone(),
        Base64::encode_string(&SEED).into_bytes(),
        Base64::encode_string(&pair).into_bytes(),
        json().into_bytes(),
    ];
    for form in &forms {
        for plaintext in endings(form) {
            let key = consensus_key(&plaintext, Algorithm::Ed25519, Some(&public));
            assert!(key.is_ok(), "{} bytes: {}", plaintext.len(), key.err().unwrap());
        }
    }
    for form in &forms[..4] {
        for plaintext in endings(form) {
            assert_eq!(identity_key(&plaintext, Some(&public)).ok().unwrap().public_key(), &public);
        }
    }
}

#[test]
fn every_form_of_a_secp256k1_key_gives_that_key() {
    let public = *consensus_key(&SEED, Algorithm::Secp256k1, None).ok().unwrap().public_key();
    assert_eq!(public.algorithm(), Algorithm::Secp256k1);
    for form in [SEED.to_vec(), Base64::encode_string(&SEED).into_bytes()] {
        for plaintext in endings(&form) {
            assert!(consensus_key(&plaintext, Algorithm::Secp256k1, Some(&public)).is_ok());
        }
    }
}

#[test]
fn a_raw_secret_is_taken_as_it_is_whatever_it_looks_like() {
    let mut looks: Vec<[u8; 32]> = vec![[b'\n'; 32], [b' '; 32], [b'A'; 32], [b'{'; 32], [b'0'; 32], [0; 32]];
    looks.push(*b"-----BEGIN PRIVATE KEY-----\nabc\n");
    looks.push(*b"abcdefghijklmnopqrstuvwxyz01234\r");
    for secret in looks {
        let expected = ed25519(&secret);
        for plaintext in endings(&secret) {
            let key = consensus_key(&plaintext, Algorithm::Ed25519, None).ok().unwrap();
            assert_eq!(key.public_key(), &expected, "{secret:?}");
        }
    }
}

fn ed25519(seed: &[u8; 32]) -> PublicKey {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).unwrap();
    PublicKey::Ed25519(pair.public_key().as_ref().try_into().unwrap())
}

#[test]
fn another_key_than_the_pinned_one_is_refused_with_both_public_keys() {
    let other = ed25519(&[9; 32]);
    let got = ed25519(&SEED);
    for error in [
        consensus_key(&SEED, Algorithm::Ed25519, Some(&other)).err().unwrap(),
        identity_key(&SEED, Some(&other)).err().unwrap(),
    ] {
        let text = error.to_string();
        assert!(text.contains(&other.to_string()) && text.contains(&got.to_string()), "{text}");
    }
    let right = ed25519(&SEED);
    let error = consensus_key(&SEED, Algorithm::Secp256k1, Some(&right)).err().unwrap();
    assert!(matches!(error, UnsealError::OtherKey { .. }), "{error}");
}

#[test]
fn what_is_no_key_is_refused_without_a_byte_of_it() {
    let hex = "5eed".repeat(16);
    let cases: [(&[u8], Algorithm); 9] = [
        (b"", Algorithm::Ed25519),
        (b"\n", Algorithm::Ed25519),
        (&SEED[..31], Algorithm::Ed25519),
        (b"a test seed that is text, 33 longX", Algorithm::Ed25519),
        (hex.as_bytes(), Algorithm::Ed25519),
        (hex.as_bytes(), Algorithm::Secp256k1),
        (&[7; 64], Algorithm::Ed25519),
        (&[7; 64], Algorithm::Secp256k1),
        (&[0; 32], Algorithm::Secp256k1),
    ];
    for (plaintext, algorithm) in cases {
        let error = consensus_key(plaintext, algorithm, None).err();
        let text = error.unwrap_or_else(|| panic!("{} bytes were taken", plaintext.len())).to_string();
        assert!(!text.contains("5eed") && !text.contains("seed that is text"), "{text}");
    }
    for length in 0..300 {
        let _ = consensus_key(&vec![b'A'; length], Algorithm::Ed25519, None);
    }
    let long = vec![b'{'; 5000];
    assert!(consensus_key(&long, Algorithm::Ed25519, None).is_err());
}

#[test]
fn a_validators_key_file_does_not_become_an_identity() {
    let error = identity_key(json().as_bytes(), None).err().unwrap();
    assert!(matches!(error, UnsealError::Key(Problem::OtherFormat { .. })), "{error}");
}

#[test]
fn a_key_file_of_another_algorithm_is_refused_by_name() {
    let error = consensus_key(json().as_bytes(), Algorithm::Secp256k1, None).err().unwrap();
    assert!(matches!(error, UnsealError::Key(Problem::OtherAlgorithm { .. })), "{error}");
}
