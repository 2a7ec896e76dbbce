//! The statements of a validator's key policy, each with what it is for. A Deny beats every Allow and every grant, so the Denies are
//! what counts; negated conditions hold as well where there is no attestation, and with several values only where none fits.
use super::principal::Principal;
use super::statement::{Effect, Statement, Who, one_or_list};
use super::wanted::{Ceremony, Wanted};
use crate::measurements::Register;
use serde_json::{Value, json};

const IMAGE: &str = "kms:RecipientAttestation:ImageSha384";
const INSTANCE: &str = "kms:RecipientAttestation:PCR4";

/// All of them, in the order in which they are written.
pub(super) fn of(wanted: &Wanted) -> Vec<Statement> {
    let mut statements = vec![administration(wanted)];
    if !wanted.images.is_empty() {
        statements.push(release(wanted));
    }
    if let Some(ceremony) = &wanted.ceremony {
        if !ceremony.data_keys_only {
            statements.push(ceremony_encrypts(wanted, ceremony));
        }
        statements.push(ceremony_in_its_image(ceremony));
    }
    statements.push(to_nothing_else(wanted));
    statements.extend(wanted.instance.as_ref().map(|instance| to_no_other_instance(wanted, instance)));
    statements.extend([no_data_keys(wanted), not_to_another_key(), nobody_else_changes_this(wanted)]);
    statements
}

/// What IAM must allow the ceremony's role, for no key is involved in it.
pub(super) fn ceremony_in_iam(ceremony: &Ceremony) -> String {
    format!(
        r#"{{
  "Effect": "Allow",
  "Action": "kms:GenerateRandom",
  "Resource": "*",
  "Condition": {{
    "StringEqualsIgnoreCase": {{
      "{IMAGE}": "{}"
    }}
  }}
}}"#,
        ceremony.image
    )
}

fn images(images: &[Register]) -> Value {
    one_or_list(images.iter())
}

fn names<T: ToString>(names: &[T]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

fn administration(wanted: &Wanted) -> Statement {
    let ceremony = wanted.ceremony.as_ref().map(|ceremony| &ceremony.role);
    let decrypting: Vec<&Principal> = wanted.roles.iter().chain(ceremony).collect();
    let explanation = format!(
        "{} may read and change this policy, list grants, and encrypt under this KMS key; not decrypt. But who can change a policy can let \
         himself decrypt: this is the way that remains. Give it a second factor and no other use, and have CloudTrail raise an alarm at \
         every PutKeyPolicy, at CreateGrant, and at a Decrypt by anybody but {}.",
        names(&wanted.admins),
        names(&decrypting)
    );
    Statement {
        sid: "Administration",
        effect: Effect::Allow,
        who: Who::These(wanted.admins.clone()),
        actions: &["kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy", "kms:ListGrants", "kms:Encrypt"],
        condition: None,
        explanation,
    }
}

fn release(wanted: &Wanted) -> Statement {
    let mut is = json!({ IMAGE: images(&wanted.images) });
    let mut explanation = format!(
        "{} may have the key decrypted with the attestation of an enclave of this image, and KMS seals it to that enclave. It keeps \
         nobody out by itself, because permissions add up: that is for the Denies below. ",
        names(&wanted.roles)
    );
    if let Some(instance) = &wanted.instance {
        is[INSTANCE] = json!(instance.to_string());
        explanation
            .push_str("Only on the instance of PCR4: another instance with this role and image is another signer. ");
    } else {
        explanation.push_str(
            "Whoever has such a role's credentials and the image can still start a second enclave with the key: --pcr4 binds it to one \
             instance. ",
        );
    }
    if wanted.images.len() > 1 {
        explanation.push_str(&format!(
            "{} images stand here, which is for the time of an upgrade: as long as the old one does, the old image, with its bugs, can have \
             the key. When the new one signs, write the policy with its --measurements alone, and put that.",
            wanted.images.len()
        ));
    }
    Statement {
        sid: "ReleaseToTheImage",
        effect: Effect::Allow,
        who: Who::These(wanted.roles.clone()),
        actions: &["kms:Decrypt"],
        condition: Some(json!({ "StringEqualsIgnoreCase": is })),
        explanation,
    }
}

fn ceremony_encrypts(wanted: &Wanted, ceremony: &Ceremony) -> Statement {
    let shared = if wanted.roles.iter().any(|role| role.is_same(&ceremony.role)) {
        " Here that is the role of a signer's parent, too: give the ceremony a role of its own."
    } else {
        ""
    };
    let explanation = format!(
        "{} may encrypt what the ceremony's image has made. AWS cannot bind Encrypt to an attestation: whoever has this role, in an enclave \
         or not, can encrypt a key of his own under this KMS key, and offer it to the signer in the place of yours. What catches that is \
         the public key and the encryption context in the signer's measured policy ([chains.public_keys], [kms] \
         encryption_context): set both. Leave the ceremony out of the policy when the key is made.{shared}",
        ceremony.role
    );
    Statement {
        sid: "CeremonyEncrypts",
        effect: Effect::Allow,
        who: Who::These(vec![ceremony.role.clone()]),
        actions: &["kms:Encrypt"],
        condition: None,
        explanation,
    }
}

fn ceremony_in_its_image(ceremony: &Ceremony) -> Statement {
    let explanation = format!(
        "{} may decrypt, and make data keys, inside an enclave of the ceremony's image alone. As long as this stands, that image can \
         have the validator's key: it must be one that you built and trust as much as the signer's.",
        ceremony.role
    );
    Statement {
        sid: "CeremonyInItsImage",
        effect: Effect::Allow,
        who: Who::These(vec![ceremony.role.clone()]),
        actions: &["kms:Decrypt", "kms:GenerateDataKey"],
        condition: Some(json!({ "StringEqualsIgnoreCase": { IMAGE: ceremony.image.to_string() } })),
        explanation,
    }
}

fn to_nothing_else(wanted: &Wanted) -> Statement {
    Statement {
        sid: "ToNothingElse",
        effect: Effect::Deny,
        who: Who::Everybody,
        actions: &["kms:Decrypt"],
        condition: Some(json!({ "StringNotEqualsIgnoreCase": { IMAGE: images(&wanted.known_images()) } })),
        explanation: "Nobody decrypts with another measurement or with none: no other image, no enclave in debug mode, no administrator \
                      of the account, no grant, and no Allow that is added here or in IAM later. This is the statement that keeps the key in."
            .to_owned(),
    }
}

fn to_no_other_instance(wanted: &Wanted, instance: &Register) -> Statement {
    let mut is_not = json!({ INSTANCE: instance.to_string() });
    let mut explanation =
        "Nor with the right image on another instance. It is a Deny of its own, because two conditions in one \
                           must both hold. A new instance needs a new policy."
            .to_owned();
    if let Some(ceremony) = &wanted.ceremony {
        is_not[IMAGE] = json!(ceremony.image.to_string());
        explanation.push_str(" The ceremony's image may run on any instance.");
    }
    Statement {
        sid: "ToNoOtherInstance",
        effect: Effect::Deny,
        who: Who::Everybody,
        actions: &["kms:Decrypt"],
        condition: Some(json!({ "StringNotEqualsIgnoreCase": is_not })),
        explanation,
    }
}

fn no_data_keys(wanted: &Wanted) -> Statement {
    let ceremony = wanted.ceremony.as_ref();
    let but = if ceremony.is_some() { "but the ceremony's image" } else { "at all" };
    let explanation = format!(
        "Nobody {but} makes data keys or data key pairs, the signer's image neither: a data key is a ciphertext under this KMS key \
         whose plaintext its maker knows, and could be offered to the signer as a key. The forms without a plaintext are denied to \
         everybody, for they take no attestation."
    );
    Statement {
        sid: "NoDataKeys",
        effect: Effect::Deny,
        who: Who::Everybody,
        // GenerateDataKeyPair and the two …WithoutPlaintext as well.
        actions: &["kms:GenerateDataKey*"],
        condition: ceremony
            .map(|ceremony| json!({ "StringNotEqualsIgnoreCase": { IMAGE: ceremony.image.to_string() } })),
        explanation,
    }
}

/// Not here, because they are no way out of a symmetric key of KMS's own in one Region, and what a key is never changes:
/// `DeriveSharedSecret` and `Sign` (keys of another kind), `ImportKeyMaterial` (keys of another origin, and it brings material in),
/// `UpdatePrimaryRegion` (needs a replica), aliases and tags (they only steer IAM policies, which the Denies beat).
fn not_to_another_key() -> Statement {
    Statement {
        sid: "NotToAnotherKey",
        effect: Effect::Deny,
        who: Who::Everybody,
        actions: &["kms:ReEncrypt*", "kms:CreateGrant", "kms:ReplicateKey"],
        condition: None,
        explanation: "ReEncrypt moves the ciphertext under another KMS key, a replica in another Region has a policy of its own, and \
                      a grant is an Allow that is not in the policy. Grants from before this policy stay (`aws kms list-grants`); the \
                      Denies beat them."
            .to_owned(),
    }
}

fn nobody_else_changes_this(wanted: &Wanted) -> Statement {
    let explanation = format!(
        "Nobody but {} changes this policy, whatever IAM allows; nor disables the KMS key or has it deleted, which would lose the \
         validator's key where there is no copy (those two an administrator can do only after allowing them here). Whoever may decide who \
         assumes such a role has it: protect that, too.",
        names(&wanted.admins)
    );
    Statement {
        sid: "NobodyElseChangesThis",
        effect: Effect::Deny,
        who: Who::Everybody,
        actions: &["kms:PutKeyPolicy", "kms:DisableKey", "kms:ScheduleKeyDeletion"],
        condition: Some(json!({ "StringNotEquals": { "aws:PrincipalArn": one_or_list(wanted.admins.iter()) } })),
        explanation,
    }
}

#[cfg(test)]
mod tests {
    use super::super::wanted::tests::{full, plain};
    use super::*;

    fn find(statements: &[Statement], sid: &str) -> Statement {
        statements.iter().find(|statement| statement.sid == sid).cloned().unwrap()
    }

    #[test]
    fn the_signers_image_may_decrypt_and_nothing_else() {
        let statements = of(&plain());
        let sids: Vec<&str> = statements.iter().map(|statement| statement.sid).collect();
        let expected = [
            "Administration",
            "ReleaseToTheImage",
            "ToNothingElse",
            "NoDataKeys",
            "NotToAnotherKey",
            "NobodyElseChangesThis",
        ];
        assert_eq!(sids, expected);
        let release = find(&statements, "ReleaseToTheImage");
        assert_eq!(release.actions, ["kms:Decrypt"]);
        assert_eq!(release.condition.unwrap()["StringEqualsIgnoreCase"], json!({ IMAGE: "ab".repeat(48) }));
        assert!(find(&statements, "NoDataKeys").condition.is_none());
        let allowed = statements.iter().filter(|statement| statement.effect == Effect::Allow);
        let allowed: Vec<&str> = allowed.flat_map(|statement| statement.actions.iter().copied()).collect();
        assert_eq!(allowed.iter().filter(|action| **action == "kms:Decrypt").count(), 1, "{allowed:?}");
        assert!(!allowed.iter().any(|action| action.contains("DataKey") || action.contains('*')), "{allowed:?}");
    }

    #[test]
    fn a_ceremony_of_data_keys_alone_lets_nobody_encrypt() {
        let mut wanted = full();
        wanted.ceremony.as_mut().unwrap().data_keys_only = true;
        let statements = of(&wanted);
        assert!(statements.iter().all(|statement| statement.sid != "CeremonyEncrypts"));
        let ceremony = find(&statements, "CeremonyInItsImage");
        assert_eq!(ceremony.actions, ["kms:Decrypt", "kms:GenerateDataKey"]);
    }

    #[test]
    fn before_the_ceremony_there_is_no_signer_to_release_to() {
        let alone = Wanted { images: Vec::new(), roles: Vec::new(), instance: None, ..full() };
        let statements = of(&alone);
        assert!(statements.iter().all(|statement| statement.sid != "ReleaseToTheImage"));
        let condition = find(&statements, "ToNothingElse").condition.unwrap();
        assert_eq!(condition["StringNotEqualsIgnoreCase"], json!({ IMAGE: "ce".repeat(48) }));
    }

    #[test]
    fn each_measurement_stands_where_it_belongs() {
        let statements = of(&full());
        let (old, new, ceremony) = ("ab".repeat(48), "cd".repeat(48), "ce".repeat(48));
        let condition = |sid: &str, operator: &str| find(&statements, sid).condition.unwrap()[operator].clone();
        let positive = "StringEqualsIgnoreCase";
        let negated = "StringNotEqualsIgnoreCase";
        let pcr4 = "04".repeat(48);
        assert_eq!(condition("ReleaseToTheImage", positive), json!({ IMAGE: [old, new], INSTANCE: pcr4 }));
        assert_eq!(condition("CeremonyInItsImage", positive), json!({ IMAGE: ceremony }));
        assert_eq!(condition("ToNothingElse", negated), json!({ IMAGE: [old, new, ceremony] }));
        assert_eq!(condition("ToNoOtherInstance", negated), json!({ INSTANCE: pcr4, IMAGE: ceremony }));
        assert_eq!(condition("NoDataKeys", negated), json!({ IMAGE: ceremony }));
        let admins = ["arn:aws:iam::111122223333:role/break-glass", "arn:aws:iam::111122223333:user/ann"];
        assert_eq!(condition("NobodyElseChangesThis", "StringNotEquals"), json!({ "aws:PrincipalArn": admins }));
    }

    #[test]
    fn explanations_tell_what_remains_possible() {
        let statements = of(&full());
        let says = |sid: &str, what: &str| {
            let text = find(&statements, sid).explanation;
            assert!(text.contains(what), "{sid}: {text}");
        };
        says("Administration", "who can change a policy can let himself decrypt");
        says("Administration", "second factor");
        says("ReleaseToTheImage", "for the time of an upgrade");
        says("CeremonyEncrypts", "AWS cannot bind Encrypt to an attestation");
        says("CeremonyEncrypts", "encrypt a key of his own");
        assert!(!find(&statements, "CeremonyEncrypts").explanation.contains("a role of its own"));
        let mut shared = full();
        shared.ceremony.as_mut().unwrap().role = shared.roles[0].clone();
        assert!(find(&of(&shared), "CeremonyEncrypts").explanation.contains("a role of its own"));
        assert!(find(&of(&plain()), "ReleaseToTheImage").explanation.contains("second enclave"));
    }
}
