//! What `tmkms nitro policy` writes, attacked: each statement stops what succeeds without it, and allows what fails without it.
mod bench;

use bench::{Bench, DENIED, Deed, Document, IAM_ADMIN, Kind, deed, everything_to, recipient};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const SIGNER: &str = "arn:aws:sts::111122223333:assumed-role/validator/i-0abc";
const CEREMONY: &str = "arn:aws:sts::111122223333:assumed-role/ceremony/i-0abc";
const ADMIN: &str = "arn:aws:sts::111122223333:assumed-role/break-glass/ann";
const NOT_ALLOWED: &str = "because no resource-based policy allows";

const IMAGE: Document = Some((0xab, 4));
const NEW_IMAGE: Document = Some((0xcd, 4));
const CEREMONY_IMAGE: Document = Some((0xce, 5));
const ELSEWHERE: Document = Some((0xab, 5));
const OTHER_IMAGE: Document = Some((0xac, 4));
const DEBUG_MODE: Document = Some((0, 0));

/// What somebody added to the key's policy: more than is good, to the account (so that IAM decides) and to the signer's and the ceremony's role.
fn with_over_grants(mut policy: Value) -> Value {
    let everybody = ["root", "role/validator", "role/ceremony"].map(|name| format!("arn:aws:iam::111122223333:{name}"));
    let list = policy["Statement"].as_array_mut().unwrap();
    list.push(everything_to(&everybody.each_ref().map(String::as_str)));
    policy
}

fn without(mut policy: Value, sid: &str) -> Value {
    let list = policy["Statement"].as_array_mut().unwrap();
    let before = list.len();
    list.retain(|statement| statement["Sid"] != sid);
    assert_eq!(list.len() + 1, before, "{sid} is no statement");
    policy
}

/// What each Deny stops, though somebody allowed it.
fn attacks() -> Vec<(&'static str, Kind, Deed)> {
    use Kind::{Both, OneInstance, Plain, Upgrade, WithCeremony};
    let mut attacks = Vec::new();
    for document in [None, OTHER_IMAGE, NEW_IMAGE, CEREMONY_IMAGE, DEBUG_MODE] {
        attacks.push(("ToNothingElse", Plain, deed(SIGNER, "Decrypt", document)));
        attacks.push(("ToNothingElse", Plain, deed(IAM_ADMIN, "Decrypt", document)));
    }
    for document in [None, OTHER_IMAGE, DEBUG_MODE] {
        attacks.push(("ToNothingElse", Upgrade, deed(SIGNER, "Decrypt", document)));
        attacks.push(("ToNothingElse", WithCeremony, deed(CEREMONY, "Decrypt", document)));
    }
    attacks.push(("ToNoOtherInstance", OneInstance, deed(SIGNER, "Decrypt", ELSEWHERE)));
    attacks.push(("ToNoOtherInstance", OneInstance, deed(IAM_ADMIN, "Decrypt", ELSEWHERE)));
    attacks.push(("ToNoOtherInstance", Both, deed(SIGNER, "Decrypt", ELSEWHERE)));
    for operation in ["GenerateDataKey", "GenerateDataKeyPair"] {
        for document in [None, IMAGE, OTHER_IMAGE, DEBUG_MODE] {
            for kind in [Plain, WithCeremony] {
                attacks.push(("NoDataKeys", kind, deed(SIGNER, operation, document)));
                attacks.push(("NoDataKeys", kind, deed(IAM_ADMIN, operation, document)));
            }
        }
        attacks.push(("NoDataKeys", Plain, deed(CEREMONY, operation, CEREMONY_IMAGE)));
    }
    for operation in ["GenerateDataKeyWithoutPlaintext", "GenerateDataKeyPairWithoutPlaintext"] {
        attacks.push(("NoDataKeys", Plain, deed(SIGNER, operation, None)));
        attacks.push(("NoDataKeys", WithCeremony, deed(CEREMONY, operation, None)));
    }
    for operation in ["ReEncryptFrom", "ReEncryptTo", "CreateGrant", "ReplicateKey"] {
        attacks.push(("NotToAnotherKey", Plain, deed(SIGNER, operation, None)));
        attacks.push(("NotToAnotherKey", Plain, deed(IAM_ADMIN, operation, None)));
        attacks.push(("NotToAnotherKey", WithCeremony, deed(CEREMONY, operation, CEREMONY_IMAGE)));
    }
    for operation in ["PutKeyPolicy", "DisableKey", "ScheduleKeyDeletion"] {
        attacks.push(("NobodyElseChangesThis", Plain, deed(SIGNER, operation, IMAGE)));
        attacks.push(("NobodyElseChangesThis", Plain, deed(IAM_ADMIN, operation, None)));
        attacks.push(("NobodyElseChangesThis", WithCeremony, deed(CEREMONY, operation, CEREMONY_IMAGE)));
    }
    attacks
}

/// What each Allow is there for.
fn uses() -> Vec<(&'static str, Kind, Deed)> {
    use Kind::{Both, OneInstance, Plain, Upgrade, WithCeremony};
    let mut uses = Vec::new();
    for operation in ["DescribeKey", "GetKeyPolicy", "PutKeyPolicy", "ListGrants", "Encrypt"] {
        uses.push(("Administration", Plain, deed(ADMIN, operation, None)));
    }
    for kind in [Plain, Upgrade, WithCeremony, OneInstance, Both] {
        uses.push(("ReleaseToTheImage", kind, deed(SIGNER, "Decrypt", IMAGE)));
    }
    uses.push(("ReleaseToTheImage", Upgrade, deed(SIGNER, "Decrypt", NEW_IMAGE)));
    for kind in [WithCeremony, Both] {
        uses.push(("CeremonyEncrypts", kind, deed(CEREMONY, "Encrypt", None)));
        uses.push(("CeremonyInItsImage", kind, deed(CEREMONY, "Decrypt", CEREMONY_IMAGE)));
        uses.push(("CeremonyInItsImage", kind, deed(CEREMONY, "GenerateDataKey", CEREMONY_IMAGE)));
    }
    uses
}

#[test]
fn each_deny_stops_what_succeeds_without_it_though_the_key_and_iam_allow_it() {
    let bench = Bench::start("denies");
    for (sid, kind, attack) in attacks() {
        let policy = with_over_grants(bench.policy(kind));
        let refused = bench.attempt(&policy, &attack).expect_err(&format!("{sid} {kind:?} {attack:?}"));
        assert!(refused.contains(DENIED), "{sid} {kind:?} {attack:?}: {refused}");
        let done = bench.attempt(&without(policy, sid), &attack);
        assert_eq!(done, Ok(()), "{sid} {kind:?} {attack:?}");
    }
}

#[test]
fn each_allow_is_needed_for_what_it_allows() {
    let bench = Bench::start("allows");
    for (sid, kind, used) in uses() {
        let policy = bench.policy(kind);
        assert_eq!(bench.attempt(&policy, &used), Ok(()), "{sid} {kind:?} {used:?}");
        let refused = bench.attempt(&without(policy, sid), &used).expect_err(&format!("{sid} {kind:?} {used:?}"));
        assert!(refused.contains(NOT_ALLOWED), "{sid} {kind:?} {used:?}: {refused}");
    }
}

#[test]
fn no_statement_goes_untested() {
    let bench = Bench::start("all");
    let written: BTreeSet<(String, String)> = [Kind::Plain, Kind::WithCeremony, Kind::Both]
        .into_iter()
        .flat_map(|kind| bench.policy(kind)["Statement"].as_array().unwrap().clone())
        .map(|statement| (statement["Effect"].as_str().unwrap().into(), statement["Sid"].as_str().unwrap().into()))
        .collect();
    let tested = |effect: &str, list: Vec<(&str, Kind, Deed)>| {
        list.into_iter().map(|(sid, ..)| (effect.to_owned(), sid.to_owned())).collect::<BTreeSet<_>>()
    };
    assert_eq!(tested("Allow", uses()).union(&tested("Deny", attacks())).cloned().collect::<BTreeSet<_>>(), written);
}

#[test]
fn without_over_grants_nobody_has_more_than_his_part() {
    use Kind::{Both, Plain, WithCeremony};
    let bench = Bench::start("parts");
    let nothing: &[(Kind, Deed)] = &[
        (Plain, deed(ADMIN, "Decrypt", None)),
        (Plain, deed(ADMIN, "Decrypt", IMAGE)),
        (Plain, deed(ADMIN, "DisableKey", None)),
        (Plain, deed(ADMIN, "ScheduleKeyDeletion", None)),
        (Plain, deed(ADMIN, "CreateGrant", None)),
        (Plain, deed(SIGNER, "Encrypt", IMAGE)),
        (Plain, deed(SIGNER, "GenerateDataKey", IMAGE)),
        (Plain, deed(SIGNER, "PutKeyPolicy", IMAGE)),
        (Plain, deed(IAM_ADMIN, "Encrypt", None)),
        (Plain, deed(IAM_ADMIN, "DescribeKey", None)),
        (Plain, deed("arn:aws:iam::444455556666:user/stranger", "Decrypt", IMAGE)),
        (WithCeremony, deed(SIGNER, "Decrypt", CEREMONY_IMAGE)),
        (WithCeremony, deed(SIGNER, "Encrypt", None)),
        (WithCeremony, deed(SIGNER, "GenerateDataKey", CEREMONY_IMAGE)),
        (WithCeremony, deed(CEREMONY, "Decrypt", IMAGE)),
        (WithCeremony, deed(CEREMONY, "GenerateDataKey", None)),
        (WithCeremony, deed(CEREMONY, "GenerateDataKeyPair", CEREMONY_IMAGE)),
        (Both, deed(SIGNER, "Decrypt", ELSEWHERE)),
    ];
    for (kind, attempted) in nothing {
        let refused = bench.attempt(&bench.policy(*kind), attempted);
        assert!(refused.is_err(), "{kind:?} {attempted:?}");
    }
}

/// Without any Deny, what each Allow's own condition keeps out.
#[test]
fn the_conditions_of_the_allows_keep_others_out_by_themselves() {
    use Kind::{OneInstance, Plain, WithCeremony};
    let bench = Bench::start("conditions");
    let table: &[(&str, Kind, Deed)] = &[
        ("ReleaseToTheImage", Plain, deed(SIGNER, "Decrypt", None)),
        ("ReleaseToTheImage", Plain, deed(SIGNER, "Decrypt", OTHER_IMAGE)),
        ("ReleaseToTheImage", Plain, deed(SIGNER, "Decrypt", DEBUG_MODE)),
        ("ReleaseToTheImage", OneInstance, deed(SIGNER, "Decrypt", ELSEWHERE)),
        ("CeremonyInItsImage", WithCeremony, deed(CEREMONY, "Decrypt", IMAGE)),
        ("CeremonyInItsImage", WithCeremony, deed(CEREMONY, "GenerateDataKey", OTHER_IMAGE)),
    ];
    for (sid, kind, attack) in table {
        let mut policy = bench.policy(*kind);
        let list = policy["Statement"].as_array_mut().unwrap();
        list.retain(|statement| statement["Effect"] == "Allow");
        let refused = bench.attempt(&policy, attack).expect_err(&format!("{sid} {attack:?}"));
        assert!(refused.contains(NOT_ALLOWED), "{sid} {attack:?}: {refused}");
        let list = policy["Statement"].as_array_mut().unwrap();
        let statement = list.iter_mut().find(|statement| statement["Sid"] == *sid).unwrap();
        statement.as_object_mut().unwrap().remove("Condition").unwrap();
        assert_eq!(bench.attempt(&policy, attack), Ok(()), "{sid} {attack:?}");
    }
}

/// What remains, and what the explanation says of it.
#[test]
fn an_administrator_can_still_let_himself_decrypt_by_changing_the_policy() {
    let bench = Bench::start("admin");
    let policy = bench.policy(Kind::Plain);
    assert!(bench.attempt(&policy, &deed(ADMIN, "Decrypt", None)).unwrap_err().contains(DENIED));
    assert_eq!(bench.attempt(&policy, &deed(ADMIN, "PutKeyPolicy", None)), Ok(()));
    let mine = json!({ "Statement": everything_to(&[ADMIN]) });
    assert_eq!(bench.attempt(&mine, &deed(ADMIN, "Decrypt", None)), Ok(()));
    assert!(bench.command("--explain").contains("who can change a policy can let himself decrypt"));
}

#[test]
fn the_statement_for_iam_lets_the_ceremony_have_randomness_in_its_image_alone() {
    let bench = Bench::start("random");
    let options = Kind::WithCeremony.options();
    let explained = bench.command(&format!("{options} --explain"));
    let (_, rest) = explained.split_once("\nIn IAM\n").unwrap();
    let statement = &rest[rest.find('{').unwrap()..rest.find("\n\n").unwrap()];
    let statement: Value = serde_json::from_str(statement).unwrap();
    let random = |document: Document| {
        let request = json!({ "NumberOfBytes": 32, "Recipient": recipient(document) });
        bench.call(CEREMONY, "GenerateRandom", &request)
    };
    assert!(random(CEREMONY_IMAGE).unwrap_err().contains("no identity-based policy allows"));
    let role = "arn:aws:iam::111122223333:role/ceremony";
    bench.service.principals.set_iam(role, &json!({ "Statement": statement }).to_string()).unwrap();
    assert!(random(CEREMONY_IMAGE).unwrap()["CiphertextForRecipient"].is_string());
    for document in [None, IMAGE, OTHER_IMAGE, DEBUG_MODE] {
        assert!(random(document).unwrap_err().contains("no identity-based policy allows"), "{document:?}");
    }
}
