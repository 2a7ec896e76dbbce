//! Every refusal of KMS and every failure of the way to it: told apart, with a remedy, and without a secret.
#![allow(clippy::unwrap_used)]
mod kms_support;

use base64ct::{Base64, Encoding};
use enclave::kms::{Client, Dial, Endpoint, KmsError, Region, WrongRegion};
use kms_support::*;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

fn of(status: u16, kind: &str, message: &str) -> KmsError {
    let error = Kms::answering(vec![refusal(status, kind, message)]).refusal();
    let text = error.to_string();
    for secret in [SECRET, TOKEN, &Base64::encode_string(CIPHERTEXT)] {
        assert!(!text.contains(secret) && !format!("{error:?}").contains(secret), "{text}");
    }
    error
}

#[test]
fn access_denied_prints_the_measurements_and_the_statement() {
    let words = "User: arn:aws:sts::111122223333:assumed-role/validator/i-0abc is not authorized to perform: kms:Decrypt on this resource \
                 because no resource-based policy allows the kms:Decrypt action";
    let error = of(400, "AccessDeniedException", words);
    let KmsError::AccessDenied(denied) = &error else { panic!("{error}") };
    assert_eq!(denied.pcrs.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    let text = error.to_string();
    for part in
        [&"cd".repeat(48), "PCR1 0101", "kms:RecipientAttestation:ImageSha384", "role/validator", "put-key-policy"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

type IsRight = fn(&KmsError) -> bool;

#[test]
fn each_name_of_kms_has_its_own_variant_and_remedy() {
    let cases: [(u16, &str, IsRight, &str); 18] = [
        (400, "ExpiredTokenException", |e| matches!(e, KmsError::ExpiredCredentials), "push-config"),
        (400, "UnrecognizedClientException", |e| matches!(e, KmsError::UnknownCredentials), "`credentials`"),
        (403, "InvalidClientTokenId", |e| matches!(e, KmsError::UnknownCredentials), "`credentials`"),
        (403, "MissingAuthenticationToken", |e| matches!(e, KmsError::UnknownCredentials), "`credentials`"),
        (403, "SignatureDoesNotMatch", |e| matches!(e, KmsError::InvalidSignature), "secret_access_key"),
        (400, "InvalidSignatureException", |e| matches!(e, KmsError::InvalidSignature), "secret_access_key"),
        (403, "RequestExpired", |e| matches!(e, KmsError::ClockSkew { .. }), "five minutes"),
        (400, "InvalidCiphertextException", |e| matches!(e, KmsError::InvalidCiphertext), "encryption_context"),
        (400, "IncorrectKeyException", |e| matches!(e, KmsError::InvalidCiphertext), "kms_key_arn"),
        (400, "DisabledException", |e| matches!(e, KmsError::KeyUnusable { .. }), "enable"),
        (400, "NotFoundException", |e| matches!(e, KmsError::KeyUnusable { .. }), "kms_key_arn"),
        (400, "KMSInvalidStateException", |e| matches!(e, KmsError::KeyUnusable { .. }), "pending deletion"),
        (400, "com.amazonaws.kms#NotFoundException", |e| matches!(e, KmsError::KeyUnusable { .. }), "describe-key"),
        (400, "ValidationException", |e| matches!(e, KmsError::Refused { .. }), "ValidationException"),
        (400, "Brand New\nException", |e| matches!(e, KmsError::Refused { .. }), "HTTP status 400"),
        (500, "KMSInternalException", |e| matches!(e, KmsError::Unavailable { .. }), "again later"),
        (503, "", |e| matches!(e, KmsError::Unavailable { .. }), "HTTP status 503"),
        (400, "ThrottlingException", |e| matches!(e, KmsError::Throttled { .. }), "quota"),
    ];
    for (status, kind, is_right, remedy) in cases {
        let words = "arn:aws:kms:us-east-1:111122223333:key/1 is pending deletion.";
        let kms = Kms::with_repeated(refusal(status, kind, words));
        let error = kms.refusal();
        assert!(is_right(&error), "{kind}: {error:?}");
        assert!(error.to_string().contains(remedy), "{kind}: {error}");
        assert!(!error.to_string().contains('\n'), "{kind}: {error}");
    }
}

#[test]
fn the_name_may_stand_in_the_header_alone() {
    let answer =
        "HTTP/1.1 400 X\r\nx-amzn-ErrorType: DisabledException:http://x/\r\nContent-Length: 0\r\n\r\n".to_owned();
    assert!(matches!(Kms::answering(vec![answer]).refusal(), KmsError::KeyUnusable { .. }));
}

#[test]
fn words_that_repeat_the_token_or_the_ciphertext_are_not_shown() {
    let canonical = format!("The Canonical String should have been 'POST\n/\n\nx-amz-security-token:{TOKEN}\n'");
    for kind in ["InvalidSignatureException", "ValidationException", "AccessDeniedException", "DisabledException"] {
        of(400, kind, &canonical);
        of(400, kind, &format!("Value '{}' failed", Base64::encode_string(CIPHERTEXT)));
        of(400, kind, SECRET);
    }
    let text = of(400, "ValidationException", "a\u{1b}[31mb\r\nc").to_string();
    assert!(text.contains("a?[31mb??c"), "{text}");
}

#[test]
fn throttling_is_waited_out_with_a_fresh_document_each_time() {
    let nsm = FakeNsm::default();
    let throttled = refusal(400, "ThrottlingException", "Rate exceeded");
    let internal = refusal(500, "KMSInternalException", "");
    let kms = Kms::answering(vec![throttled, internal, decrypted(&sealed(b"x", &public_key()))]);
    assert_eq!(kms.decrypt(&nsm).ok().unwrap().as_slice(), b"x");
    let documents = nsm.documents.lock().unwrap();
    assert_eq!(documents.len(), 3);
    assert!(documents[0].nonce != documents[1].nonce && documents[1].nonce != documents[2].nonce);
}

#[test]
fn throttling_without_end_is_given_up_at_the_deadline() {
    let started = Instant::now();
    let error = Kms::with_repeated(refusal(429, "", "")).refusal();
    assert!(matches!(error, KmsError::Throttled { attempts, .. } if attempts > 2), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_wrong_clock_is_told_with_both_times_and_the_difference() {
    let date = "Sun, 30 Aug 2015 12:36:00 GMT";
    let kms_time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
    let answer =
        refusal(400, "InvalidSignatureException", "Signature not yet current: 20150830T130000Z is still later than …")
            .replacen("\r\n", &format!("\r\nDate: {date}\r\n"), 1);
    for (ours, side) in
        [(kms_time + Duration::from_secs(1440), "1440 s ahead"), (kms_time - Duration::from_secs(600), "600 s behind")]
    {
        let kms = Kms::answering(vec![answer.clone()]);
        let text = kms.decrypt_at(&FakeNsm::default(), ours).err().unwrap().to_string();
        assert!(text.contains("2015-08-30T12:36:00Z") && text.contains(side), "{text}");
    }
    // With a clock that is right the same refusal is the secret's fault.
    let same = refusal(400, "InvalidSignatureException", "The request signature we calculated does not match")
        .replacen("\r\n", &format!("\r\nDate: {date}\r\n"), 1);
    let error = Kms::answering(vec![same]).decrypt_at(&FakeNsm::default(), kms_time).err().unwrap();
    assert!(matches!(error, KmsError::InvalidSignature), "{error}");
}

#[test]
fn a_host_that_serves_another_region_is_told() {
    let error = of(400, "InvalidSignatureException", "Credential should be scoped to a valid region. ");
    assert!(
        matches!(&error, KmsError::WrongRegion(WrongRegion::Host { asked: "us-east-1", host }) if host == HOST),
        "{error}"
    );
}

fn with_dial(dial: Dial) -> KmsError {
    let client = Client::new(Endpoint::aws(Region::find("us-east-1").unwrap(), 8000), dial).with_limits(quick());
    let context = BTreeMap::new();
    client
        .decrypt(&FakeNsm::default(), &RECIPIENT, &credentials(), &request(&context), SystemTime::now())
        .err()
        .unwrap()
}

#[test]
fn a_missing_proxy_and_one_that_hangs_up_name_the_command_to_start() {
    let refused: Dial = Box::new(|_| Err(io::ErrorKind::ConnectionRefused.into()));
    let hung_up: Dial = Box::new(|_| Ok(std::os::unix::net::UnixStream::pair()?.0));
    for dial in [refused, hung_up] {
        let error = with_dial(dial);
        assert!(matches!(error, KmsError::NoRoute { port: 8000, .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("vsock-proxy 8000 kms.us-east-1.amazonaws.com 443"), "{text}");
        assert!(text.contains("tmkms nitro proxy -p 8000 -t kms.us-east-1.amazonaws.com:443"), "{text}");
    }
}

#[test]
fn a_proxy_that_says_nothing_is_given_up_at_the_deadline() {
    let kept = std::sync::Mutex::new(Vec::new());
    let started = Instant::now();
    let error = with_dial(Box::new(move |_| {
        let (near, far) = std::os::unix::net::UnixStream::pair()?;
        kept.lock().unwrap().push(far);
        Ok(near)
    }));
    assert!(matches!(&error, KmsError::NoRoute { reason, .. } if reason.contains("in time")), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_certificate_of_another_name_or_another_root_is_refused_before_anything_is_sent() {
    let other_name = pki("kms.evil.example");
    let (right, other_root) = (pki(HOST), pki(HOST));
    for (root, config) in [(other_name.root.clone(), other_name.config), (right.root, other_root.config)] {
        let kms = Kms::with(&root, move |stream, _, requests| serve(stream, &config, b"", requests));
        let error = kms.refusal();
        assert!(matches!(&error, KmsError::Tls { host, .. } if host == HOST), "{error:?}");
        assert!(error.to_string().contains("certificate"), "{error}");
        assert!(kms.requests.lock().unwrap().is_empty());
    }
}

#[test]
fn an_expired_certificate_is_refused_and_the_clock_is_named() {
    let expired = pki_with(HOST, rustls::DEFAULT_VERSIONS, |leaf| leaf.not_after = rcgen::date_time_ymd(2001, 1, 1));
    let kms =
        Kms::with(&expired.root.clone(), move |stream, _, requests| serve(stream, &expired.config, b"", requests));
    let text = kms.refusal().to_string();
    assert!(text.contains("expired") && text.contains("check the clock"), "{text}");
    assert!(kms.requests.lock().unwrap().is_empty());
}

#[test]
fn a_host_with_tls_1_2_alone_is_spoken_to_as_some_fips_hosts_are() {
    let old = pki_with(HOST, &[&rustls::version::TLS12], |_| {});
    let answer = decrypted(&sealed(b"x", &public_key()));
    let kms = Kms::with(&old.root.clone(), move |stream, _, requests| {
        serve(stream, &old.config, answer.as_bytes(), requests);
    });
    assert_eq!(kms.decrypt(&FakeNsm::default()).ok().unwrap().as_slice(), b"x");
}

#[test]
fn a_development_root_is_not_trusted_for_amazons_hosts() {
    let mine = pki("kms.us-east-1.amazonaws.com");
    let config = mine.config;
    let error = with_dial(Box::new(move |_| {
        let (near, far) = std::os::unix::net::UnixStream::pair()?;
        let config = Arc::clone(&config);
        std::thread::spawn(move || serve(far, &config, b"", &std::sync::Mutex::default()));
        Ok(near)
    }));
    assert!(matches!(error, KmsError::Tls { .. }), "{error:?}");
}

#[test]
fn a_server_that_speaks_no_tls_is_told_so() {
    let error = with_dial(Box::new(|_| {
        let (near, mut far) = std::os::unix::net::UnixStream::pair()?;
        std::thread::spawn(move || {
            let _ = far.read(&mut [0; 1]);
            let _ = far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            let _ = io::copy(&mut far, &mut io::sink());
        });
        Ok(near)
    }));
    assert!(matches!(error, KmsError::Tls { .. }), "{error:?}");
}

#[test]
fn an_answer_that_is_cut_or_endless_or_drips_is_given_up() {
    let cut = Kms::answering(vec!["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{".to_owned()]).refusal();
    assert!(matches!(cut, KmsError::Interrupted { .. }), "{cut:?}");
    let endless = Kms::answering(vec![format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(100_000))]).refusal();
    assert!(matches!(endless, KmsError::Malformed(_)), "{endless:?}");
    let started = Instant::now();
    let pki = pki(HOST);
    let root = pki.root.clone();
    let dripping = Kms::with(&root, move |stream, _, _| {
        let mut stream =
            rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::clone(&pki.config)).unwrap(), stream);
        while stream.write_all(b"H").and_then(|()| stream.flush()).is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let error = dripping.refusal();
    assert!(matches!(error, KmsError::Interrupted { .. } | KmsError::Malformed(_)), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
}
