//! Operations by themselves: limits, names of errors, recipients, states; without network and signatures.
use super::*;
use crate::kms::policy::Policy;
use crate::kms::principals::Principal;
use crate::kms::recipient::Evidence;
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use base64ct::{Base64, Encoding as _};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

const NOW: i64 = 1_800_000_000;
const REGION: &str = "eu-central-1";
const ACCOUNT: &str = "111122223333";
const USER: &str = "arn:aws:iam::111122223333:user/developer";
const STRANGER: &str = "arn:aws:iam::444455556666:user/stranger";

static RSA: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let der: PublicKeyX509Der = key.public_key().as_der().unwrap();
    der.as_ref().to_vec()
});

/// Takes any bytes for a document: `age:KEY`, where the age is in seconds, with a PCR0 of 48 bytes 0xab.
struct Anything;

impl Verifier for Anything {
    fn verify(&self, document: &[u8], now: i64) -> Result<Evidence, String> {
        let text = std::str::from_utf8(document).map_err(|_| "no text".to_owned())?;
        let (age, key) = text.split_once(':').ok_or("no colon")?;
        let made = now - age.parse::<i64>().map_err(|error| error.to_string())?;
        let public_key = match key {
            "rsa" => Some(RSA.clone()),
            "none" => None,
            other => Some(other.as_bytes().to_vec()),
        };
        let pcrs = BTreeMap::from([(0, vec![0xab; 48])]);
        Ok(Evidence { pcrs, public_key, timestamp_millis: u64::try_from(made * 1000).unwrap() })
    }
}

struct Bench {
    service: Service,
    dir: PathBuf,
}

impl Bench {
    fn start(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("sim-service-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let service = Service {
            region: REGION.into(),
            account: ACCOUNT.into(),
            keys: Keys::open(&dir, REGION, ACCOUNT).unwrap().into(),
            principals: Principals::default(),
            faults: Arc::default(),
            verifier: Arc::new(Anything),
            log: Log::default(),
        };
        let iam = json!({ "Statement": { "Effect": "Allow", "Action": "kms:*", "Resource": "*" } });
        service.principals.set_iam(USER, &iam.to_string()).unwrap();
        Self { service, dir }
    }

    fn call_as(&self, who: &str, operation: &str, json: &Value, faults: &[Fault]) -> Answer<Value> {
        let principal = Principal { arn: who.into() };
        let mut logged = Logged::default();
        let call = Call {
            service: &self.service,
            operation,
            json,
            principal,
            faults,
            now: NOW,
            recipient: None,
            logged: &mut logged,
        };
        { call }.run()
    }

    fn ok(&self, operation: &str, json: &Value) -> Value {
        self.call_as(USER, operation, json, &[])
            .unwrap_or_else(|failure| panic!("{operation}: {}: {}", failure.kind, failure.message))
    }

    fn error(&self, operation: &str, json: &Value) -> (&'static str, String) {
        let failure = self.call_as(USER, operation, json, &[]).expect_err("it was accepted");
        (failure.kind, failure.message)
    }

    fn key(&self) -> String {
        self.ok("CreateKey", &json!({}))["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn b64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

fn recipient(document: &str) -> Value {
    json!({ "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": b64(document.as_bytes()) })
}

#[test]
fn sizes_are_those_of_the_real_service() {
    let bench = Bench::start("sizes");
    let key = bench.key();
    let largest = bench.ok("Encrypt", &json!({ "KeyId": key, "Plaintext": b64(&[1; 4096]) }));
    let back = bench.ok("Decrypt", &json!({ "CiphertextBlob": largest["CiphertextBlob"] }));
    assert_eq!(back["Plaintext"], b64(&[1; 4096]));
    assert!(back.get("CiphertextForRecipient").is_none());
    let (kind, text) = bench.error("Encrypt", &json!({ "KeyId": key, "Plaintext": b64(&[1; 4097]) }));
    assert_eq!(kind, "ValidationException");
    assert!(text.contains("'plaintext'") && text.contains("less than or equal to 4096"), "{text}");
    assert_eq!(bench.error("Encrypt", &json!({ "KeyId": key, "Plaintext": "" })).0, "ValidationException");
    assert_eq!(bench.error("Decrypt", &json!({ "CiphertextBlob": b64(&[1; 6145]) })).0, "ValidationException");
    assert_eq!(bench.error("Decrypt", &json!({ "CiphertextBlob": b64(&[1; 6144]) })).0, "InvalidCiphertextException");
    for count in [0, 1025] {
        assert_eq!(bench.error("GenerateRandom", &json!({ "NumberOfBytes": count })).0, "ValidationException");
    }
    assert_eq!(bench.error("GenerateRandom", &json!({ "NumberOfBytes": "8" })).0, "SerializationException");
    assert_eq!(bench.error("GenerateDataKey", &json!({ "KeyId": key })).0, "ValidationException");
}

#[test]
fn a_ciphertext_is_bound_to_its_key_its_context_and_each_of_its_bytes() {
    let bench = Bench::start("bound");
    let (key, other) = (bench.key(), bench.key());
    let context = json!({ "a": "b", "c": "d" });
    let made = bench.ok("Encrypt", &json!({ "KeyId": key, "Plaintext": b64(b"x"), "EncryptionContext": context }));
    let blob = Base64::decode_vec(made["CiphertextBlob"].as_str().unwrap()).unwrap();
    let decrypt = |blob: &[u8], context: Value| json!({ "CiphertextBlob": b64(blob), "EncryptionContext": context });
    assert_eq!(bench.ok("Decrypt", &decrypt(&blob, context.clone()))["KeyId"], key);
    for wrong in [
        json!({}),
        json!({ "a": "b" }),
        json!({ "a": "bc", "c": "d" }),
        json!({ "ab": "", "c": "d" }),
        json!({ "a": "B", "c": "d" }),
    ] {
        assert_eq!(bench.error("Decrypt", &decrypt(&blob, wrong)), ("InvalidCiphertextException", String::new()));
    }
    for at in 0..blob.len() {
        let mut wrong = blob.clone();
        wrong[at] ^= 1;
        let kind = bench.error("Decrypt", &decrypt(&wrong, context.clone())).0;
        // In the header's id it names a key that is not there, of which nothing is told.
        let expected = if (5..21).contains(&at) { "AccessDeniedException" } else { "InvalidCiphertextException" };
        assert_eq!(kind, expected, "byte {at}");
    }
    let mut request = decrypt(&blob, context);
    request["KeyId"] = other.into();
    assert_eq!(bench.error("Decrypt", &request).0, "IncorrectKeyException");
    request["KeyId"] = "alias/none".into();
    assert_eq!(bench.error("Decrypt", &request).0, "NotFoundException");
}

#[test]
fn a_recipient_gets_an_envelope_and_no_plaintext() {
    let bench = Bench::start("recipient");
    let key = bench.key();
    let made = bench.ok("Encrypt", &json!({ "KeyId": key, "Plaintext": b64(b"x") }));
    let fresh = recipient("0:rsa");
    let requests = [
        ("Decrypt", json!({ "CiphertextBlob": made["CiphertextBlob"], "Recipient": fresh })),
        ("GenerateRandom", json!({ "NumberOfBytes": 32, "Recipient": fresh })),
        ("GenerateDataKey", json!({ "KeyId": key, "KeySpec": "AES_256", "Recipient": fresh })),
    ];
    for (operation, request) in requests {
        let answer = bench.ok(operation, &request);
        assert!(answer["Plaintext"].is_null(), "{operation}");
        let envelope = Base64::decode_vec(answer["CiphertextForRecipient"].as_str().unwrap()).unwrap();
        assert_eq!(envelope[..2], [0x30, 0x80], "{operation}");
        let beside = bench.call_as(USER, operation, &request, &[Fault::PlaintextBeside]).ok().unwrap();
        assert!(beside["Plaintext"].is_string() && beside["CiphertextForRecipient"].is_string(), "{operation}");
    }
}

#[test]
fn a_recipient_that_is_wrong_is_refused_whatever_the_policy_says() {
    let bench = Bench::start("wrong");
    let mut other = recipient("0:rsa");
    other["KeyEncryptionAlgorithm"] = "RSAES_OAEP_SHA_1".into();
    let table = [
        (recipient("301:rsa"), "has expired"),
        (recipient("-301:rsa"), "ahead of the service's clock"),
        (recipient("0:none"), "no public key"),
        (recipient("0:ed25519"), "not RSA-2048"),
        (recipient("nonsense"), "not valid: no colon"),
        (recipient(""), "1 to 262144 bytes"),
        (other, "RSAES_OAEP_SHA_256"),
        (json!({}), "RSAES_OAEP_SHA_256"),
        (json!("x"), "RSAES_OAEP_SHA_256"),
    ];
    for (recipient, expected) in table {
        let (kind, text) = bench.error("GenerateRandom", &json!({ "NumberOfBytes": 8, "Recipient": recipient }));
        assert_eq!(kind, "ValidationException", "{expected}");
        assert!(text.contains(expected), "{expected}: {text}");
    }
    for edge in ["300:rsa", "-300:rsa"] {
        bench.ok("GenerateRandom", &json!({ "NumberOfBytes": 8, "Recipient": recipient(edge) }));
    }
}

#[test]
fn condition_keys_of_a_recipient_are_there_only_where_a_recipient_is_verified() {
    let bench = Bench::start("conditions");
    let key = bench.key();
    let policy = json!({ "Statement": [
        { "Effect": "Allow", "Principal": { "AWS": USER }, "Action": "kms:*", "Resource": "*" },
        { "Effect": "Deny", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*",
          "Condition": { "StringNotEquals": { "kms:RecipientAttestation:PCR0": "ab".repeat(48) } } },
    ]});
    bench.ok("PutKeyPolicy", &json!({ "KeyId": key, "Policy": policy.to_string() }));
    // Encrypt takes no recipient: the parameter is ignored, and the condition can't hold.
    let request = json!({ "KeyId": key, "Plaintext": b64(b"x"), "Recipient": recipient("0:rsa") });
    assert_eq!(bench.error("Encrypt", &request).0, "AccessDeniedException");
}

#[test]
fn states_are_told_after_the_policy_was_asked() {
    let bench = Bench::start("states");
    let key = bench.key();
    let named = json!({ "KeyId": key });
    let encrypt = json!({ "KeyId": key, "Plaintext": b64(b"x") });
    bench.ok("DisableKey", &named);
    assert_eq!(bench.error("Encrypt", &encrypt), ("DisabledException", format!("{key} is disabled.")));
    assert_eq!(bench.call_as(STRANGER, "Encrypt", &encrypt, &[]).err().unwrap().kind, "AccessDeniedException");
    bench.ok("EnableKey", &named);
    let scheduled = bench.ok("ScheduleKeyDeletion", &json!({ "KeyId": key, "PendingWindowInDays": 7 }));
    assert_eq!(scheduled["DeletionDate"], NOW + 7 * 86_400);
    for (operation, request) in [("Encrypt", &encrypt), ("EnableKey", &named), ("ScheduleKeyDeletion", &named)] {
        let expected = ("KMSInvalidStateException", format!("{key} is pending deletion."));
        assert_eq!(bench.error(operation, request), expected, "{operation}");
    }
    bench.ok("CancelKeyDeletion", &named);
    assert_eq!(bench.ok("DescribeKey", &named)["KeyMetadata"]["KeyState"], "Disabled");
    let reopened = Keys::open(&bench.dir, REGION, ACCOUNT).unwrap();
    assert_eq!(reopened.find(&key).ok().unwrap().state.name(), "Disabled");
    assert!(Keys::open(&bench.dir, "us-east-1", ACCOUNT).unwrap().find(&key).is_err());
}

#[test]
fn a_policy_that_locks_its_author_out_is_refused_unless_told_otherwise() {
    let bench = Bench::start("lockout");
    let policy = json!({ "Statement": { "Effect": "Allow", "Principal": { "AWS": STRANGER }, "Action": "kms:*", "Resource": "*" } });
    let mut request = json!({ "Policy": policy.to_string() });
    let (kind, text) = bench.error("CreateKey", &request);
    assert_eq!(kind, "MalformedPolicyDocumentException");
    assert!(text.contains("will not allow you to update"), "{text}");
    request["KeyId"] = bench.key().into();
    assert_eq!(bench.error("PutKeyPolicy", &request).0, "MalformedPolicyDocumentException");
    request["BypassPolicyLockoutSafetyCheck"] = true.into();
    bench.ok("PutKeyPolicy", &request);
    assert_eq!(bench.error("PutKeyPolicy", &request).0, "AccessDeniedException");
}

#[test]
fn what_is_not_there_has_the_real_services_names() {
    let bench = Bench::start("names");
    assert_eq!(bench.error("Sign", &json!({})).0, "UnknownOperationException");
    assert_eq!(bench.error("DescribeKey", &json!({})).0, "ValidationException");
    let missing = format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-4333-8444-555555555555");
    let expected = ("NotFoundException", format!("Key '{missing}' does not exist"));
    assert_eq!(bench.error("DescribeKey", &json!({ "KeyId": missing })), expected);
    assert_eq!(bench.error("CreateKey", &json!({ "KeySpec": "RSA_2048" })).0, "UnsupportedOperationException");
    assert_eq!(bench.error("CreateKey", &json!({ "MultiRegion": true })).0, "UnsupportedOperationException");
    assert_eq!(bench.error("CreateKey", &json!({ "Policy": "{}" })).0, "MalformedPolicyDocumentException");
    assert!(Policy::parse(&keys::default_policy(ACCOUNT), crate::kms::policy::Attached::Key).is_ok());
}
