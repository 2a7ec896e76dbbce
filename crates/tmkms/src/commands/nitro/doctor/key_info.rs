//! The KMS key itself, as `aws kms describe-key` shows it.
use super::finding::{Finding, Say};
use crate::commands::nitro::asking::plain;
use serde_json::Value;

pub(super) fn judge(value: &Value, arns: &[String], say: Say<'_>) {
    let Some(key) = value.get("KeyMetadata").filter(|key| key.is_object()) else {
        let help = "give what `aws kms describe-key --key-id … --output json` printed";
        say(Finding::error("key", r#"expected {"KeyMetadata": {…}}, got something else"#, help));
        return;
    };
    let mut is_well = true;
    let mut say_not = |finding: Finding| {
        is_well = false;
        say(finding);
    };
    let shown = |name: &str| match key.get(name) {
        None | Some(Value::Null) => "none".to_owned(),
        Some(Value::String(text)) => plain(text),
        Some(other) => plain(&other.to_string()),
    };
    let arn = shown("Arn");
    if !arns.is_empty() && !arns.contains(&arn) {
        let found = format!("another key than the configuration's: expected {}, got {arn}", plain(&arns.join(" or ")));
        say_not(Finding::error("key", found, "ask for the key that stands in kms_key_arn"));
    }
    for (name, expected, help) in EXPECTED {
        let got = shown(name);
        if got != expected {
            say_not(Finding::error("key", format!("{name}: expected {expected}, got {got}"), help));
        }
    }
    let is_multi = key.get("MultiRegion").and_then(Value::as_bool) == Some(true)
        || key.get("MultiRegionConfiguration").is_some_and(|replicas| !replicas.is_null());
    if is_multi {
        let help = "a replica in another region has a policy of its own, which nobody looks at here: make a key of one region, \
                    and encrypt under it";
        say_not(Finding::error("key", "MultiRegion: expected false, got true", help));
    }
    if key.get("DeletionDate").is_some_and(|date| !date.is_null()) {
        let found =
            format!("DeletionDate: expected none, got {}: then the validator's key is lost", shown("DeletionDate"));
        say_not(Finding::error(
            "key",
            found,
            "cancel it at once, and enable the key: `aws kms cancel-key-deletion`, `aws kms enable-key`",
        ));
    }
    match shown("Origin").as_str() {
        "AWS_KMS" | "none" => {}
        other => {
            let found = format!("Origin: expected AWS_KMS, got {other}: its material is, or was, outside of KMS too");
            say_not(Finding::warning(
                "key",
                found,
                "whoever has that material can decrypt the ciphertext without any policy",
            ));
        }
    }
    if is_well {
        say(Finding::ok("key", format!("{arn}: enabled, of one region")));
    }
}

const EXPECTED: [(&str, &str, &str); 4] = [
    (
        "KeyState",
        "Enabled",
        "no enclave gets the validator's key until it is: `aws kms enable-key`; if it is to be deleted, cancel that at once",
    ),
    (
        "KeySpec",
        "SYMMETRIC_DEFAULT",
        "encrypt the validator's key under a symmetric key: Decrypt with an attestation is made for that",
    ),
    ("KeyUsage", "ENCRYPT_DECRYPT", "encrypt the validator's key under a key for encryption"),
    ("KeyManager", "CUSTOMER", "the policy of a key that AWS manages is not yours: make one of your own"),
];
