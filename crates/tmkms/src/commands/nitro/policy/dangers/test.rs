//! Policies with one thing wrong, and what is said of them.
use super::super::statement::policy_value;
use super::super::wanted::Wanted;
use super::super::wanted::tests::{full, image, plain as plain_policy};
use super::*;
use serde_json::json;

const ROOT: &str = "arn:aws:iam::111122223333:root";

fn generated(wanted: &Wanted) -> Value {
    policy_value(&wanted.statements().unwrap())
}

/// What is said of the plain policy with one more statement, called "New".
fn said_of(statement: &Value) -> Vec<String> {
    let mut policy = generated(&plain_policy());
    let mut statement = statement.clone();
    statement["Sid"] = json!("New");
    policy["Statement"].as_array_mut().unwrap().push(statement);
    let found = dangers(&policy, &[image(0xab)]);
    assert!(found.iter().all(|danger| danger.statement.as_deref() == Some("New")), "{found:?}");
    found.into_iter().map(|danger| danger.what).collect()
}

fn allow(principal: &Value, action: &Value) -> Value {
    json!({ "Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*" })
}

#[test]
fn nothing_is_said_of_what_this_command_writes() {
    for wanted in [plain_policy(), full(), Wanted { ceremony: None, ..full() }, Wanted { instance: None, ..full() }] {
        assert_eq!(dangers(&generated(&wanted), &wanted.known_images()), []);
    }
}

#[test]
fn an_allow_to_everybody_or_to_an_account_is_told() {
    for (principal, expected) in [
        (json!("*"), "everybody, in every account"),
        (json!({ "AWS": "*" }), "everybody, in every account"),
        (json!({ "AWS": ROOT }), "hands the decision to IAM"),
        (json!({ "AWS": ["arn:aws:iam::111122223333:role/a", "444455556666"] }), "the account 444455556666"),
    ] {
        let said = said_of(&allow(&principal, &json!("kms:DescribeKey")));
        assert!(said.len() == 1 && said[0].contains(expected), "{said:?}");
    }
    let but =
        json!({ "Effect": "Allow", "NotPrincipal": { "AWS": ROOT }, "Action": "kms:DescribeKey", "Resource": "*" });
    assert!(said_of(&but)[0].contains("everybody but"));
    assert_eq!(said_of(&allow(&json!({ "AWS": "arn:aws:iam::111122223333:role/a" }), &json!("kms:Encrypt"))), [""; 0]);
}

#[test]
fn an_allow_without_the_images_measurement_is_told_with_the_deny_that_still_stops_it() {
    let role = json!({ "AWS": "arn:aws:iam::111122223333:role/a" });
    for (action, named) in [
        (json!("kms:Decrypt"), "allows kms:Decrypt without"),
        (json!(["kms:De*"]), "allows kms:Decrypt without"),
        (json!("kms:CreateGrant"), "only NotToAnotherKey stops it"),
        (json!("kms:ReEncryptTo"), "only NotToAnotherKey stops it"),
        (json!("kms:*"), "only ToNothingElse and NoDataKeys and NotToAnotherKey stops it"),
        (json!("*"), "kms:GenerateDataKeyPairWithoutPlaintext"),
    ] {
        let said = said_of(&allow(&role, &action));
        assert!(said.len() == 1 && said[0].contains(named), "{said:?}");
    }
    let not = json!({ "Effect": "Allow", "Principal": role, "NotAction": "kms:Decrypt", "Resource": "*" });
    let said = said_of(&not);
    assert!(said.len() == 1 && said[0].contains("kms:ReEncryptFrom") && !said[0].contains("kms:Decrypt"), "{said:?}");
}

#[test]
fn conditions_that_hold_without_an_attestation_do_not_bind() {
    let key = "kms:RecipientAttestation:ImageSha384";
    let image = "AB".repeat(48);
    let with = |operator: &str, key: &str, value: &str| {
        let mut statement = allow(&json!({ "AWS": "arn:aws:iam::111122223333:role/a" }), &json!("kms:Decrypt"));
        statement["Condition"] = json!({ operator: { key: value } });
        said_of(&statement)
    };
    for (operator, key) in [
        ("StringEquals", key),
        ("StringEqualsIgnoreCase", "KMS:recipientattestation:IMAGESHA384"),
        ("StringLike", key),
        ("StringEquals", "kms:RecipientAttestation:PCR0"),
    ] {
        assert_eq!(with(operator, key, &image), [""; 0], "{operator} {key}");
    }
    for (operator, key, value) in [
        ("StringEqualsIfExists", key, image.as_str()),
        ("ForAllValues:StringEquals", key, &image),
        ("StringNotEquals", key, &image),
        ("StringEquals", "kms:RecipientAttestation:PCR8", &image),
        ("StringEquals", "kms:ViaService", "ec2.eu-central-1.amazonaws.com"),
        ("Null", "kms:RecipientAttestation:PCR4", "false"),
    ] {
        let said = with(operator, key, value);
        assert!(said.len() == 1 && said[0].contains("only ToNothingElse stops it"), "{operator} {key}: {said:?}");
    }
    let said = with("StringLike", key, "*");
    assert!(said.iter().any(|what| what.contains("only ToNothingElse stops it")), "{said:?}");
}

#[test]
fn zeros_and_images_that_nobody_gave_are_told_wherever_they_stand() {
    for (effect, operator) in [("Allow", "StringEqualsIgnoreCase"), ("Deny", "StringNotEqualsIgnoreCase")] {
        let with = |key: &str, value: &str| {
            let mut statement = allow(&json!({ "AWS": "arn:aws:iam::111122223333:role/a" }), &json!("kms:Encrypt"));
            statement["Effect"] = json!(effect);
            statement["Condition"] = json!({ operator: { key: ["ab".repeat(48), value.to_owned()] } });
            said_of(&statement)
        };
        let image = "kms:RecipientAttestation:ImageSha384";
        assert!(with(image, &"00".repeat(48))[0].contains("of zeros"));
        assert!(with("kms:RecipientAttestation:PCR4", &"00".repeat(48))[0].contains("of zeros"));
        let said = with(image, &"12".repeat(48));
        assert!(said.len() == 1 && said[0].contains(&format!("names the image {}", "12".repeat(48))), "{said:?}");
        assert_eq!(with("kms:RecipientAttestation:PCR4", &"12".repeat(48)), [""; 0]);
        assert!(!with(image, "\u{1b}[2J")[0].contains('\u{1b}'));
    }
}

#[test]
fn a_policy_whose_deny_is_missing_narrow_or_of_two_conditions_is_told() {
    let missing = |policy: &Value| {
        let found = dangers(policy, &[image(0xab)]);
        found.into_iter().filter(|danger| danger.statement.is_none()).map(|danger| danger.what).collect::<Vec<_>>()
    };
    let good = generated(&plain_policy());
    let place = good["Statement"].as_array().unwrap().iter().position(|one| one["Sid"] == "ToNothingElse").unwrap();
    let pcr4 = json!({ "kms:RecipientAttestation:ImageSha384": "ab".repeat(48), "kms:RecipientAttestation:PCR4": "cd".repeat(48) });
    let changes: [(&str, Value); 6] = [
        ("Effect", json!("Allow")),
        ("Principal", json!({ "AWS": "arn:aws:iam::111122223333:role/a" })),
        ("Action", json!("kms:GenerateDataKey*")),
        ("Resource", json!("arn:aws:kms:eu-central-1:111122223333:key/another")),
        ("Condition", json!({ "StringNotEqualsIgnoreCase": pcr4 })),
        ("Condition", json!({ "Null": { "kms:RecipientAttestation:ImageSha384": "true" } })),
    ];
    for (element, value) in changes {
        let mut policy = good.clone();
        policy["Statement"][place][element] = value.clone();
        let said = missing(&policy);
        assert!(
            said.len() == 1 && said[0].contains("no statement denies kms:Decrypt to everybody"),
            "{element} {value}: {said:?}"
        );
    }
    assert!(missing(&json!({ "Statement": [] }))[0].contains("kms:Decrypt and kms:ReEncryptFrom"));
    assert_eq!(missing(&good), [""; 0]);
}
