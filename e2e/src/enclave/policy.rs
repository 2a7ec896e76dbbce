//! The policies of the keys in KMS.
use super::{ACCOUNT, ROLE};
use serde_json::{Value, json};

/// Before the measurement is known: nobody may decrypt.
pub(super) fn open_policy() -> String {
    json!({"Version": "2012-10-17", "Statement": [administration()]}).to_string()
}

fn administration() -> Value {
    let root = format!("arn:aws:iam::{ACCOUNT}:root");
    let actions = ["kms:CreateKey", "kms:DescribeKey", "kms:Encrypt", "kms:GetKeyPolicy", "kms:PutKeyPolicy"];
    json!({"Sid": "administration", "Effect": "Allow", "Principal": {"AWS": root}, "Action": actions, "Resource": "*"})
}

/// The policy of docs/operations-nitro.md: released to that measurement, denied to everything else.
#[must_use]
pub fn key_policy(pcr0: &str) -> String {
    let image = json!({"kms:RecipientAttestation:ImageSha384": pcr0});
    let others = ["kms:Decrypt", "kms:GenerateDataKey*"];
    let outright = ["kms:ReEncrypt*", "kms:CreateGrant", "kms:ReplicateKey"];
    json!({"Version": "2012-10-17", "Statement": [
        administration(),
        {"Sid": "release", "Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "kms:Decrypt", "Resource": "*",
         "Condition": {"StringEqualsIgnoreCase": image}},
        {"Sid": "nobody-else", "Effect": "Deny", "Principal": "*", "Action": others, "Resource": "*",
         "Condition": {"StringNotEqualsIgnoreCase": image}},
        {"Sid": "never", "Effect": "Deny", "Principal": "*", "Action": outright, "Resource": "*"},
    ]})
    .to_string()
}
