//! What AWS's command line prints, good and with one thing wrong.
use super::super::finding::tests::said;
use super::super::tests::{Folder, case};
use super::*;
use serde_json::json;

const ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/419bf6c0-cea2-4590-9b70-fe9baaee4beb";

fn image(byte: u8) -> Register {
    Register(vec![byte; 48])
}

fn policy() -> Value {
    let image = |operator: &str| json!({ operator: { "kms:RecipientAttestation:ImageSha384": "ab".repeat(48) } });
    let role = |name: &str| json!({ "AWS": format!("arn:aws:iam::111122223333:role/{name}") });
    json!({ "Version": "2012-10-17", "Statement": [
        { "Sid": "Administration", "Effect": "Allow", "Principal": role("break-glass"), "Action": ["kms:PutKeyPolicy"], "Resource": "*" },
        { "Sid": "ReleaseToTheImage", "Effect": "Allow", "Principal": role("validator"), "Action": "kms:Decrypt", "Resource": "*",
          "Condition": image("StringEqualsIgnoreCase") },
        { "Sid": "ToNothingElse", "Effect": "Deny", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*",
          "Condition": image("StringNotEqualsIgnoreCase") },
        { "Sid": "NotToAnotherKey", "Effect": "Deny", "Principal": "*", "Resource": "*",
          "Action": ["kms:ReEncrypt*", "kms:CreateGrant", "kms:ReplicateKey", "kms:GenerateDataKey*"] },
    ] })
}

fn of_policy(policy: &Value, images: &[Register]) -> String {
    let images = images.iter().map(|image| ("m.json".to_owned(), image.clone())).collect();
    said(|say| judge(policy, &Basis { images, ..Basis::default() }, say))
}

#[test]
fn a_policy_that_releases_to_the_image_alone_is_well() {
    let expected = format!("ok policy: nothing dangerous in it; released to the image {}\n", "ab".repeat(48));
    assert_eq!(of_policy(&policy(), &[image(0xab)]), expected);
    // Without measurements the image's name says nothing, and everything else does.
    let text = of_policy(&policy(), &[]);
    assert!(
        text.starts_with(&format!(
            "note policy: it names these images, which were not compared: {}\n",
            "ab".repeat(48)
        )),
        "{text}"
    );
}

#[test]
fn dangers_are_errors_and_one_that_a_deny_stops_is_a_warning() {
    let mut open = policy();
    open["Statement"].as_array_mut().unwrap().remove(2);
    let text = of_policy(&open, &[]);
    assert!(
        text.contains("error policy: no statement denies kms:Decrypt to everybody without the image's measurement"),
        "{text}"
    );
    let mut root = policy();
    let all = json!({ "Sid": "All", "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::111122223333:role/x" }, "Action": "kms:*", "Resource": "*" });
    root["Statement"].as_array_mut().unwrap().push(all);
    let text = of_policy(&root, &[image(0xab)]);
    assert!(
        text.starts_with("warning policy: All: allows kms:Decrypt, ")
            && text.contains("only ToNothingElse and NotToAnotherKey stops it"),
        "{text}"
    );
    assert!(!text.contains("ok policy"), "{text}");
    let text = of_policy(&policy(), &[image(0xcd)]);
    assert!(text.contains("which is none of those that were given"), "{text}");
    assert!(
        text.contains(&format!(
            "expected the image {}, of m.json, to be named, got no statement with it",
            "cd".repeat(48)
        )),
        "{text}"
    );
}

fn grant(operations: &Value) -> Value {
    json!({ "Grants": [{ "KeyId": ARN, "GrantId": "0c23\u{1b}", "GranteePrincipal": "arn:aws:iam::111122223333:role/x",
        "Operations": operations }], "Truncated": false })
}

fn of_grants(value: &Value, policy: Option<&Value>) -> String {
    said(|say| grants::judge(value, policy, say))
}

#[test]
fn a_grant_that_releases_the_key_is_an_error_that_says_whether_a_deny_stops_it() {
    assert_eq!(of_grants(&json!({ "Grants": [] }), None), "ok grants: there are none\n");
    let policy = policy();
    for operation in [
        "Decrypt",
        "GenerateDataKey",
        "GenerateDataKeyPairWithoutPlaintext",
        "ReEncryptFrom",
        "ReEncryptTo",
        "CreateGrant",
    ] {
        let text = of_grants(&grant(&json!(["Encrypt", operation])), Some(&policy));
        let expected = format!(
            "error grants: grant 0c23\u{fffd} lets arn:aws:iam::111122223333:role/x {operation}: only the policy's "
        );
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.contains(&format!("aws kms revoke-grant --key-id {ARN} --grant-id ")), "{text}");
    }
    let text = of_grants(&grant(&json!(["Decrypt"])), None);
    assert!(text.contains("whether a Deny of the policy stops it is not known without --policy"), "{text}");
    let text = of_grants(&grant(&json!(["Decrypt"])), Some(&json!({ "Statement": [] })));
    assert!(text.contains("no Deny of the policy stops Decrypt"), "{text}");
    // A constraint is one on the encryption context, and binds to no enclave.
    let mut constrained = grant(&json!(["Decrypt"]));
    constrained["Grants"][0]["Constraints"] = json!({ "EncryptionContextSubset": { "chain": "test-1" } });
    let text = of_grants(&constrained, Some(&policy));
    assert!(
        text.starts_with("error grants: ") && text.contains("with a constraint, which binds it to no enclave: only"),
        "{text}"
    );
}

#[test]
fn other_grants_are_noted_and_a_list_that_is_cut_or_none_is_not_taken_for_all() {
    let text = of_grants(&grant(&json!(["Encrypt", "DescribeKey"])), None);
    assert!(
        text.starts_with(
            "note grants: grant 0c23\u{fffd} lets arn:aws:iam::111122223333:role/x Encrypt, DescribeKey\n"
        ),
        "{text}"
    );
    for (key, value) in [("Truncated", json!(true)), ("NextToken", json!("x")), ("NextMarker", json!("x"))] {
        let mut cut = json!({ "Grants": [] });
        cut[key] = value;
        let text = of_grants(&cut, None);
        assert!(
            text.starts_with("warning grants: expected all grants, got the first of them")
                && !text.contains("there are none"),
            "{text}"
        );
    }
    for none in [json!(null), json!([]), json!({ "Grants": 7 })] {
        assert!(of_grants(&none, None).starts_with("error grants: expected {\"Grants\": […]}"), "{none}");
    }
    assert!(
        of_grants(&grant(&json!("Decrypt")), None).starts_with("error grants: grant 0c23\u{fffd}: expected a list")
    );
    let many = json!({ "Grants": vec![json!({ "GrantId": "a", "Operations": ["Encrypt"] }); 66] });
    assert!(of_grants(&many, None).contains("error grants: 2 more grants, which were not looked at"));
}

fn key() -> Value {
    json!({ "KeyMetadata": { "Arn": ARN, "KeyState": "Enabled", "KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyManager": "CUSTOMER", "MultiRegion": false, "Origin": "AWS_KMS" } })
}

#[test]
fn a_key_that_is_disabled_multi_region_or_another_one_is_an_error() {
    let of = |value: &Value| said(|say| key_info::judge(value, &[ARN.to_owned()], say));
    assert_eq!(of(&key()), format!("ok key: {ARN}: enabled, of one region\n"));
    for (name, value, expected) in [
        ("KeyState", json!("PendingDeletion"), "error key: KeyState: expected Enabled, got PendingDeletion"),
        ("KeyState", json!(null), "error key: KeyState: expected Enabled, got none"),
        ("KeySpec", json!("RSA_2048"), "error key: KeySpec: expected SYMMETRIC_DEFAULT, got RSA_2048"),
        ("KeyUsage", json!("SIGN_VERIFY"), "error key: KeyUsage: "),
        ("KeyManager", json!("AWS"), "error key: KeyManager: "),
        ("MultiRegion", json!(true), "error key: MultiRegion: expected false, got true"),
        ("MultiRegionConfiguration", json!({ "ReplicaKeys": [] }), "error key: MultiRegion: "),
        ("DeletionDate", json!(1_795_496_767.5), "error key: DeletionDate: expected none, got 1795496767.5"),
        ("Origin", json!("EXTERNAL"), "warning key: Origin: expected AWS_KMS, got EXTERNAL"),
        ("Arn", json!("arn:other\u{1b}"), "error key: another key than the configuration's: expected arn:aws"),
    ] {
        let mut key = key();
        key["KeyMetadata"][name] = value;
        let text = of(&key);
        assert!(text.starts_with(expected) && !text.contains("ok key") && !text.contains('\u{1b}'), "{name}: {text}");
    }
    assert!(of(&json!([])).contains("expected {\"KeyMetadata\": {…}}, got something else"));
}

#[test]
fn what_is_not_given_has_the_command_to_get_it_and_what_cannot_be_read_is_an_error() {
    let folder = Folder::new();
    let mut case = case(&folder);
    let text = said(|say| examine(&case, &Basis::default(), say));
    assert_eq!(text.matches("run this on another machine than the parent").count(), 3, "{text}");
    for command in [
        "get-key-policy --key-id KEY-ARN --policy-name default",
        "list-grants --key-id KEY-ARN",
        "describe-key --key-id KEY-ARN",
    ] {
        assert!(text.contains(&format!("\n  aws kms {command}")), "{text}");
    }
    folder.write("x.json", "no JSON", 0o600);
    for file in ["x.json", "none.json"] {
        (case.policy, case.grants, case.key_info) =
            (Some(folder.file(file)), Some(folder.file(file)), Some(folder.file(file)));
        let text = said(|say| examine(&case, &Basis::default(), say));
        assert_eq!(text.lines().filter(|line| line.starts_with("error ")).count(), 3, "{text}");
    }
}
