//! The evaluator against tables: who, what, with which document, and the verdict.
use super::*;
use crate::kms::principals::Principal;
use Verdict::{Allowed, DeniedByIdentity, DeniedByKey, NotAllowedByIdentity, NotAllowedByKey};
use serde_json::json;

const ACCOUNT: &str = "111122223333";
const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/6f3a4bd1-62b1-4ba3-9fb5-2bb8a3cc0d6e";
const SESSION: &str = "arn:aws:sts::111122223333:assumed-role/validator/i-0123456789abcdef0";
const ROLE: &str = "arn:aws:iam::111122223333:role/validator";
const ADMIN: &str = "arn:aws:iam::111122223333:user/admin";

fn measurement(byte: &str) -> String {
    byte.repeat(48)
}

fn ask(policy: Option<&Value>, identity: &[Value], who: &str, action: &str, keys: &[(&str, &str)]) -> Verdict {
    let policy = policy.map(|value| Policy::parse(&value.to_string(), Attached::Key).ok().expect("a policy"));
    let identity: Vec<Policy> = identity
        .iter()
        .map(|value| Policy::parse(&value.to_string(), Attached::Identity).ok().expect("a policy"))
        .collect();
    let mut context = Context::default();
    keys.iter().for_each(|(name, value)| context.set(name, *value));
    let principal = Principal { arn: who.to_owned() };
    let resource = if policy.is_some() { KEY } else { "*" };
    decide(&Ask { action, resource, principal: &principal, context: &context }, policy.as_ref(), &identity)
}

fn iam(action: &str) -> Vec<Value> {
    vec![json!({ "Version": "2012-10-17", "Statement": { "Effect": "Allow", "Action": action, "Resource": "*" } })]
}

/// The policy that nitro.md calls good: the Allow has the condition, and a Deny has it for everyone.
fn good() -> Value {
    let image = json!({ "kms:RecipientAttestation:PCR0": measurement("ab") });
    json!({ "Version": "2012-10-17", "Statement": [
        { "Sid": "Admin", "Effect": "Allow", "Principal": { "AWS": ADMIN },
          "Action": ["kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy", "kms:Encrypt"], "Resource": "*" },
        { "Sid": "Release", "Effect": "Allow", "Principal": { "AWS": ROLE }, "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
          "Resource": "*", "Condition": { "StringEqualsIgnoreCase": image } },
        { "Sid": "OnlyTheImage", "Effect": "Deny", "Principal": "*", "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
          "Resource": "*", "Condition": { "StringNotEqualsIgnoreCase": image } },
        { "Sid": "NoWayAround", "Effect": "Deny", "Principal": "*",
          "Action": ["kms:ReEncrypt*", "kms:CreateGrant", "kms:ReplicateKey"], "Resource": "*" },
    ]})
}

fn with(mut policy: Value, statement: Value) -> Value {
    policy["Statement"].as_array_mut().unwrap().push(statement);
    policy
}

#[test]
fn the_good_policy_releases_to_its_image_only() {
    let (right, wrong, zeros) = (measurement("ab"), measurement("ac"), measurement("00"));
    let pcr0 = "kms:RecipientAttestation:PCR0";
    let table: &[(&str, &str, Option<&str>, Verdict)] = &[
        (SESSION, "kms:Decrypt", Some(&right), Allowed),
        (SESSION, "kms:GenerateDataKey", Some(&right), Allowed),
        (SESSION, "kms:Decrypt", Some(&wrong), DeniedByKey),
        (SESSION, "kms:Decrypt", Some(&zeros), DeniedByKey),
        (SESSION, "kms:Decrypt", None, DeniedByKey),
        (SESSION, "kms:GenerateDataKeyPair", Some(&wrong), DeniedByKey),
        (SESSION, "kms:GenerateDataKeyPair", Some(&right), NotAllowedByKey),
        (SESSION, "kms:Encrypt", Some(&right), NotAllowedByKey),
        (SESSION, "kms:PutKeyPolicy", Some(&right), NotAllowedByKey),
        (ADMIN, "kms:Encrypt", None, Allowed),
        (ADMIN, "kms:PutKeyPolicy", None, Allowed),
        (ADMIN, "kms:Decrypt", None, DeniedByKey),
        (ADMIN, "kms:Decrypt", Some(&right), NotAllowedByKey),
        (ADMIN, "kms:ReEncryptFrom", None, DeniedByKey),
        (ADMIN, "kms:CreateGrant", Some(&right), DeniedByKey),
        ("arn:aws:iam::111122223333:role/validator2", "kms:Decrypt", Some(&right), NotAllowedByKey),
    ];
    for (who, action, image, expected) in table {
        let keys: Vec<(&str, &str)> = image.map(|image| (pcr0, image)).into_iter().collect();
        assert_eq!(ask(Some(&good()), &[], who, action, &keys), *expected, "{who} {action} {image:?}");
        // Nothing that IAM allows gets around it.
        if *expected == DeniedByKey {
            assert_eq!(ask(Some(&good()), &iam("kms:*"), who, action, &keys), DeniedByKey, "{who} {action} {image:?}");
        }
    }
}

#[test]
fn an_allow_elsewhere_defeats_the_condition_and_a_deny_beats_the_allow() {
    let allow = json!({ "Effect": "Allow", "Principal": { "AWS": ROLE }, "Action": "kms:Decrypt", "Resource": "*",
        "Condition": { "StringEquals": { "kms:RecipientAttestation:ImageSha384": measurement("ab") } } });
    let only_allow = json!({ "Version": "2012-10-17", "Statement": [allow] });
    assert_eq!(ask(Some(&only_allow), &[], SESSION, "kms:Decrypt", &[]), NotAllowedByKey);
    let delegated = json!({ "Effect": "Allow", "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") }, "Action": "kms:*", "Resource": "*" });
    let defeated = with(only_allow, delegated.clone());
    assert_eq!(ask(Some(&defeated), &[], SESSION, "kms:Decrypt", &[]), NotAllowedByIdentity);
    assert_eq!(ask(Some(&defeated), &iam("kms:Decrypt"), SESSION, "kms:Decrypt", &[]), Allowed);
    assert_eq!(ask(Some(&with(good(), delegated)), &iam("kms:*"), SESSION, "kms:Decrypt", &[]), DeniedByKey);
}

#[test]
fn a_policy_of_zeros_lets_a_debug_enclave_in_as_awss_does() {
    let zeros = measurement("00");
    let policy = json!({ "Statement": { "Effect": "Allow", "Principal": { "AWS": ROLE }, "Action": "kms:Decrypt", "Resource": "*",
        "Condition": { "StringEquals": { "kms:RecipientAttestation:PCR0": zeros } } } });
    assert_eq!(ask(Some(&policy), &[], SESSION, "kms:Decrypt", &[("kms:RecipientAttestation:PCR0", &zeros)]), Allowed);
    assert_eq!(ask(Some(&policy), &[], SESSION, "kms:Decrypt", &[]), NotAllowedByKey);
}

#[test]
fn operators_have_awss_meaning_of_missing_keys_and_of_negation() {
    let key = "kms:EncryptionContext:chain_id";
    let table: &[(&str, Value, Option<&str>, bool)] = &[
        ("StringEquals", json!("a"), Some("a"), true),
        ("StringEquals", json!("a"), Some("A"), false),
        ("StringEquals", json!(["b", "a"]), Some("a"), true),
        ("StringEquals", json!("a*"), Some("ab"), false),
        ("StringEquals", json!("a"), None, false),
        ("StringEqualsIfExists", json!("a"), None, true),
        ("StringEqualsIfExists", json!("a"), Some("b"), false),
        ("StringNotEquals", json!("a"), Some("a"), false),
        ("StringNotEquals", json!(["a", "b"]), Some("b"), false),
        ("StringNotEquals", json!(["a", "b"]), Some("c"), true),
        ("StringNotEquals", json!("a"), None, true),
        ("StringEqualsIgnoreCase", json!("AB"), Some("ab"), true),
        ("StringEqualsIgnoreCase", json!("AB"), None, false),
        ("StringNotEqualsIgnoreCase", json!("AB"), Some("ab"), false),
        ("StringNotEqualsIgnoreCase", json!("AB"), Some("abc"), true),
        ("StringNotEqualsIgnoreCase", json!("AB"), None, true),
        ("StringLike", json!("test-*"), Some("test-1"), true),
        ("StringLike", json!("test-?"), Some("test-12"), false),
        ("StringLike", json!("*"), None, false),
        ("StringNotLike", json!("test-*"), Some("main-1"), true),
        ("StringNotLike", json!("test-*"), None, true),
        ("Null", json!("true"), None, true),
        ("Null", json!(true), Some("a"), false),
        ("Null", json!("false"), Some("a"), true),
        ("Null", json!("false"), None, false),
        ("Bool", json!("true"), Some("true"), true),
        ("Bool", json!(false), Some("true"), false),
        ("Bool", json!("false"), None, false),
    ];
    for (operator, value, found, holds) in table {
        let policy = json!({ "Statement": { "Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*",
            "Condition": { *operator: { key: value } } } });
        let keys: Vec<(&str, &str)> = found.map(|found| (key, found)).into_iter().collect();
        let expected = if *holds { Allowed } else { NotAllowedByKey };
        assert_eq!(ask(Some(&policy), &[], SESSION, "kms:Decrypt", &keys), expected, "{operator} {value} {found:?}");
    }
}

#[test]
fn all_keys_and_all_operators_of_a_statement_have_to_hold() {
    let policy = json!({ "Statement": { "Effect": "Allow", "Principal": { "AWS": ROLE }, "Action": "kms:Decrypt", "Resource": KEY, "Condition": {
        "StringEquals": { "KMS:RecipientAttestation:pcr4": "aa", "kms:EncryptionContext:chain_id": "test-1" },
        "StringLike": { "aws:PrincipalArn": "arn:aws:iam::*:role/val*" },
    } } });
    let all = [("kms:RecipientAttestation:PCR4", "aa"), ("kms:EncryptionContext:chain_id", "test-1")];
    assert_eq!(ask(Some(&policy), &[], SESSION, "kms:Decrypt", &all), Allowed);
    assert_eq!(ask(Some(&policy), &[], SESSION, "kms:Decrypt", &all[..1]), NotAllowedByKey);
    assert_eq!(ask(Some(&policy), &[], SESSION, "kms:Decrypt", &all[1..]), NotAllowedByKey);
}

#[test]
fn principals_and_accounts_are_told_apart() {
    let stranger = "arn:aws:iam::444455556666:user/admin";
    let allow = |principal: Value| json!({ "Statement": { "Effect": "Allow", "Principal": principal, "Action": "kms:Decrypt", "Resource": "*" } });
    let table: &[(Value, &str, bool, Verdict)] = &[
        (json!({ "AWS": ADMIN }), ADMIN, false, Allowed),
        (json!({ "AWS": [ROLE, ADMIN] }), ADMIN, false, Allowed),
        (json!({ "AWS": SESSION }), SESSION, false, Allowed),
        (json!({ "AWS": ROLE }), ADMIN, true, NotAllowedByKey),
        (json!({ "AWS": ACCOUNT }), ADMIN, false, NotAllowedByIdentity),
        (json!({ "AWS": ACCOUNT }), ADMIN, true, Allowed),
        (json!({ "AWS": ACCOUNT }), "arn:aws:iam::111122223333:root", false, Allowed),
        (json!({ "AWS": ACCOUNT }), stranger, true, NotAllowedByKey),
        (json!({ "AWS": "*" }), stranger, false, NotAllowedByIdentity),
        (json!({ "AWS": stranger }), stranger, true, Allowed),
        (json!({ "AWS": "444455556666" }), stranger, false, NotAllowedByIdentity),
        (json!({ "Service": "ec2.amazonaws.com" }), ADMIN, true, NotAllowedByKey),
    ];
    for (principal, who, by_iam, expected) in table {
        let identity = if *by_iam { iam("kms:Decrypt") } else { Vec::new() };
        assert_eq!(
            ask(Some(&allow(principal.clone())), &identity, who, "kms:Decrypt", &[]),
            *expected,
            "{principal} {who}"
        );
    }
}

#[test]
fn iam_decides_what_uses_no_key_and_its_deny_wins() {
    assert_eq!(ask(None, &[], SESSION, "kms:GenerateRandom", &[]), NotAllowedByIdentity);
    assert_eq!(ask(None, &iam("kms:Generate*"), SESSION, "kms:GenerateRandom", &[]), Allowed);
    let conditioned = json!({ "Statement": { "Effect": "Allow", "Action": "kms:GenerateRandom", "Resource": "*",
        "Condition": { "StringEquals": { "kms:RecipientAttestation:PCR0": "ab" } } } });
    assert_eq!(ask(None, std::slice::from_ref(&conditioned), SESSION, "kms:GenerateRandom", &[]), NotAllowedByIdentity);
    assert_eq!(
        ask(None, &[conditioned], SESSION, "kms:GenerateRandom", &[("kms:RecipientAttestation:PCR0", "ab")]),
        Allowed
    );
    let deny = json!({ "Statement": { "Effect": "Deny", "Action": "KMS:decrypt", "Resource": KEY } });
    let everyone = json!({ "Statement": { "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*" } });
    assert_eq!(ask(Some(&everyone), &[deny], SESSION, "kms:Decrypt", &[]), DeniedByIdentity);
}

#[test]
fn what_is_not_evaluated_is_refused_by_name() {
    let base = json!({ "Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*" });
    let set = |name: &str, value: Value| {
        let mut statement = base.clone();
        statement[name] = value;
        statement
    };
    let table = [
        (set("NotAction", json!("kms:Decrypt")), "NotAction"),
        (set("NotPrincipal", json!("*")), "NotPrincipal"),
        (set("NotResource", json!("*")), "NotResource"),
        (set("Effect", json!("allow")), "Effect"),
        (set("Action", json!("s3:GetObject")), "s3:GetObject"),
        (set("Action", json!([])), "Action"),
        (set("Principal", json!({ "AWS": "arn:aws:iam::111122223333:role/*" })), "Invalid principal"),
        (set("Principal", json!({ "AWS": "validator" })), "Invalid principal"),
        (set("Principal", json!({ "Federated": "x" })), "Federated"),
        (set("Condition", json!({ "ForAllValues:StringEquals": { "aws:PrincipalArn": "x" } })), "ForAllValues"),
        (set("Condition", json!({ "ForAnyValue:StringEquals": { "aws:PrincipalArn": "x" } })), "ForAnyValue"),
        (set("Condition", json!({ "ArnLike": { "aws:PrincipalArn": "x" } })), "ArnLike"),
        (set("Condition", json!({ "StringEquals": { "aws:SourceIp": "x" } })), "aws:SourceIp"),
        (set("Condition", json!({ "StringEquals": { "kms:RecipientAttestation:PCR32": "x" } })), "PCR32"),
        (set("Condition", json!({ "Null": { "aws:PrincipalArn": "x" } })), "true or false"),
        (set("Conditions", json!({})), "Conditions"),
    ];
    for (statement, named) in table {
        let text = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
        let failure = Policy::parse(&text, Attached::Key).err().unwrap_or_else(|| panic!("accepted: {text}"));
        assert_eq!(failure.kind, "MalformedPolicyDocumentException");
        assert!(failure.message.contains(named), "{named}: {}", failure.message);
    }
    for text in ["", "[]", "{}", r#"{"Statement":[]}"#, r#"{"Version":"2020-01-01","Statement":[]}"#] {
        assert!(Policy::parse(text, Attached::Key).is_err(), "{text}");
    }
}

#[test]
fn wildcards_stand_for_any_number_of_characters_or_for_one() {
    let table = [
        ("*", "", true),
        ("kms:*", "kms:Decrypt", true),
        ("kms:GenerateDataKey*", "kms:GenerateDataKey", true),
        ("*a*b*", "xxaxxbxx", true),
        ("*a*b", "xxaxxbxx", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("", "a", false),
        ("*ab", "aab", true),
    ];
    for (pattern, text, expected) in table {
        assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
    }
}
