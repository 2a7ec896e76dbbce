//! The whole way of one release, against literal answers: what is asked, what is opened, and what is refused.
#![allow(clippy::unwrap_used)]
mod kms_support;

use base64ct::{Base64, Encoding};
use enclave::kms::{KmsError, Recipient};
use kms_support::*;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PLAINTEXT: &[u8] = b"the secret key's bytes";

#[test]
fn a_plaintext_that_kms_encrypted_to_the_document_comes_out() {
    for plaintext in [PLAINTEXT, &[1], &[2; 4096]] {
        let kms = Kms::answering(vec![decrypted(&sealed(plaintext, &public_key()))]);
        assert_eq!(kms.decrypt(&FakeNsm::default()).ok().unwrap().as_slice(), plaintext);
    }
}

#[test]
fn the_request_is_what_kms_documents() {
    let nsm = FakeNsm::default();
    let kms = Kms::answering(vec![decrypted(&sealed(PLAINTEXT, &public_key()))]);
    kms.decrypt_at(&nsm, UNIX_EPOCH + Duration::from_secs(1_440_938_160)).ok().unwrap();
    let request = kms.requests.lock().unwrap().remove(0);
    let text = String::from_utf8(request).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST / HTTP/1.1\r\n"), "{head}");
    for line in [
        "content-type: application/x-amz-json-1.1",
        "host: kms.test",
        "x-amz-date: 20150830T123600Z",
        "x-amz-target: TrentService.Decrypt",
        "connection: close",
    ] {
        assert!(head.lines().any(|found| found == line), "{line}: {head}");
    }
    let signed = "Credential=AKIDEXAMPLE/20150830/us-east-1/kms/aws4_request, \
                  SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature=";
    assert!(head.contains(&format!("authorization: AWS4-HMAC-SHA256 {signed}")), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let document = Base64::encode_string(&nsm.documents.lock().unwrap()[0].public_key);
    let expected = serde_json::json!({
        "CiphertextBlob": Base64::encode_string(CIPHERTEXT),
        "KeyId": ARN,
        "EncryptionContext": {"chain": "test-1"},
        "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        "Recipient": {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": document},
    });
    assert_eq!(body, expected);
}

#[test]
fn every_call_has_a_fresh_document_of_the_same_key() {
    let nsm = FakeNsm::default();
    let answers = vec![decrypted(&sealed(PLAINTEXT, &public_key())); 2];
    let kms = Kms::answering(answers);
    kms.decrypt(&nsm).ok().unwrap();
    kms.decrypt(&nsm).ok().unwrap();
    let documents = nsm.documents.lock().unwrap();
    let [first, second] = documents.as_slice() else { panic!("{} documents", documents.len()) };
    assert_eq!((first.nonce.len(), first.user_data.len(), first.public_key.len()), (32, 48, 294));
    assert_ne!(first.nonce, second.nonce);
    assert_eq!((&first.public_key, &first.user_data), (&second.public_key, &second.user_data));
}

#[test]
fn an_envelope_for_another_key_and_damaged_ones_give_one_and_the_same_error() {
    let (key, iv, content) = encrypted(PLAINTEXT, &public_key());
    let of = |key: &[u8], content: &[u8]| envelope(key, &iv, content, Length::Indefinite, Content::Primitive);
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let other = Recipient::generate().ok().unwrap();
    let nsm = FakeNsm::default();
    let context = BTreeMap::new();
    let asking = Kms::answering(vec![]);
    let _ = asking.client.decrypt(&nsm, &other, &credentials(), &request(&context), SystemTime::now());
    let foreign = sealed(PLAINTEXT, &nsm.documents.lock().unwrap()[0].public_key);
    let texts = [
        foreign,
        of(&flipped(&key, 9), &content),
        of(&key, &flipped(&content, content.len() - 17)),
        of(&[0; 256], &content),
    ]
    .map(|envelope| {
        let error = Kms::answering(vec![decrypted(&envelope)]).refusal();
        assert!(matches!(error, KmsError::UnreadableEnvelope), "{error}");
        error.to_string()
    });
    assert!(texts.iter().all(|text| *text == texts[0]));
}

#[test]
fn a_plaintext_in_the_answer_is_refused_and_not_used() {
    for envelope in [String::new(), Base64::encode_string(&sealed(PLAINTEXT, &public_key()))] {
        let body = format!(
            r#"{{"Plaintext":"{}","CiphertextForRecipient":"{envelope}","KeyId":"{ARN}"}}"#,
            Base64::encode_string(PLAINTEXT)
        );
        let error = Kms::answering(vec![answer(200, &body)]).refusal();
        assert!(matches!(error, KmsError::PlaintextInAnswer), "{error}");
        assert!(!error.to_string().contains(&Base64::encode_string(PLAINTEXT)));
    }
    let envelope = Base64::encode_string(&sealed(PLAINTEXT, &public_key()));
    for empty in ["null", "\"\""] {
        let body = format!(r#"{{"Plaintext":{empty},"CiphertextForRecipient":"{envelope}","KeyId":"{ARN}"}}"#);
        assert!(Kms::answering(vec![answer(200, &body)]).decrypt(&FakeNsm::default()).is_ok());
    }
}

#[test]
fn an_answer_from_another_key_is_refused_and_both_are_named() {
    let other = ARN.replace("1234abcd", "ffffffff");
    let answer = decrypted(&sealed(PLAINTEXT, &public_key())).replace(ARN, &other);
    let error = Kms::answering(vec![answer]).refusal();
    assert!(matches!(&error, KmsError::OtherKey { expected, got } if expected == ARN && *got == other), "{error}");
}

#[test]
fn an_unpinned_key_is_not_named_and_must_be_of_the_region() {
    let (nsm, context) = (FakeNsm::default(), BTreeMap::new());
    let good = decrypted(&sealed(PLAINTEXT, &public_key()));
    let kms = Kms::answering(vec![good.clone(), good.replace("us-east-1", "eu-west-1")]);
    let wanted = enclave::kms::DecryptRequest { key_arn: None, ..request(&context) };
    let decrypt = || kms.client.decrypt(&nsm, &RECIPIENT, &credentials(), &wanted, SystemTime::now());
    assert_eq!(decrypt().ok().unwrap().as_slice(), PLAINTEXT);
    assert!(matches!(decrypt().err().unwrap(), KmsError::WrongRegion(_)));
    let body = String::from_utf8(kms.requests.lock().unwrap()[0].clone()).unwrap();
    assert!(!body.contains("KeyId") && !body.contains("EncryptionContext"), "{body}");
}

#[test]
fn what_cannot_be_asked_is_refused_before_anything_is_sent() {
    let (nsm, context) = (FakeNsm::default(), BTreeMap::new());
    let kms = Kms::answering(vec![]);
    let ask = |wanted: enclave::kms::DecryptRequest<'_>, credentials: enclave::kms::Credentials| {
        kms.client.decrypt(&nsm, &RECIPIENT, &credentials, &wanted, SystemTime::now()).err().unwrap()
    };
    let elsewhere = ARN.replace("us-east-1", "eu-west-1");
    let error = ask(enclave::kms::DecryptRequest { key_arn: Some(&elsewhere), ..request(&context) }, credentials());
    let text = error.to_string();
    assert!(text.contains("us-east-1") && text.contains("aws_region = \"eu-west-1\""), "{text}");
    let alias = enclave::kms::DecryptRequest { key_arn: Some("alias/validator"), ..request(&context) };
    assert!(matches!(ask(alias, credentials()), KmsError::InvalidKeyArn(_)));
    let long = vec![0; 6145];
    for ciphertext in [&[], long.as_slice()] {
        let wanted = enclave::kms::DecryptRequest { ciphertext, ..request(&context) };
        assert!(matches!(ask(wanted, credentials()), KmsError::CiphertextLength { .. }));
    }
    let mut crafted = credentials();
    crafted.session_token = Some("x\r\nX-Amz-Target: TrentService.Encrypt".to_owned());
    assert!(matches!(ask(request(&context), crafted), KmsError::UnusableCredentials { .. }));
    assert!(kms.requests.lock().unwrap().is_empty() && nsm.documents.lock().unwrap().is_empty());
}

#[test]
fn a_broken_security_module_is_told() {
    let nsm = FakeNsm { is_broken: true, ..FakeNsm::default() };
    let error = Kms::answering(vec![]).decrypt(&nsm).err().unwrap();
    assert!(matches!(error, KmsError::Nsm(_)) && error.to_string().contains("InternalError"), "{error}");
}

#[test]
fn answers_that_are_not_kmss_are_malformed() {
    let arn = format!(r#""KeyId":"{ARN}""#);
    for body in [
        "".to_owned(),
        "[]".to_owned(),
        "<html>".to_owned(),
        "{}".to_owned(),
        format!("{{{arn}}}"),
        r#"{"CiphertextForRecipient":"AAAA"}"#.to_owned(),
        format!(r#"{{{arn},"CiphertextForRecipient":"AAAA"}}"#),
        format!(r#"{{{arn},"CiphertextForRecipient":"not base64!"}}"#),
        format!(r#"{{{arn},"CiphertextForRecipient":"{}"}}"#, "A".repeat(12_000)),
        r#"{"KeyId":"alias/x","CiphertextForRecipient":"AAAA"}"#.to_owned(),
    ] {
        let error = Kms::answering(vec![answer(200, &body)]).refusal();
        assert!(matches!(error, KmsError::Malformed(_)), "{body}: {error}");
    }
}
