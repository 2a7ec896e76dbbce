//! What is dangerous in a key's policy, whoever wrote it.
use super::reading::{Test, covers, label, principals, statements, tests, texts};
use crate::commands::nitro::plain;
use crate::measurements::Register;
use serde_json::Value;

/// Operations that give out the key, or a way to it.
const RELEASING: [&str; 9] = [
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyPair",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:GenerateDataKeyPairWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
    "kms:CreateGrant",
    "kms:ReplicateKey",
];
/// Those that a grant from before can allow, and that then release the key: a Deny must stand against them whatever the Allows are.
const RELEASING_BY_GRANT: [&str; 2] = ["kms:Decrypt", "kms:ReEncryptFrom"];
/// Both are PCR0.
const IMAGE_KEYS: [&str; 2] = ["kms:recipientattestation:imagesha384", "kms:recipientattestation:pcr0"];

/// Something dangerous in a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Danger {
    /// The statement, by its Sid or its place; none where it is one that is missing.
    pub statement: Option<String>,
    /// What it is, and what follows. Safe on a terminal.
    pub what: String,
    /// Whether another statement, a Deny, keeps it from coming true.
    pub is_stopped: bool,
}

/// Everything dangerous in a key's policy. `known` are the images that may have something of the key.
pub(crate) fn dangers(policy: &Value, known: &[Register]) -> Vec<Danger> {
    let mut found = Vec::new();
    for (index, statement) in statements(policy).into_iter().enumerate() {
        let name = || Some(label(index, statement));
        let is_allow = statement["Effect"] == "Allow";
        let mut say = |what: String| found.push(Danger { statement: name(), what, is_stopped: false });
        if is_allow {
            of_principals(statement, &mut say);
        }
        if is_allow && let Some((what, is_stopped)) = of_actions(policy, statement) {
            found.push(Danger { statement: name(), what, is_stopped });
        }
        let mut say = |what: String| found.push(Danger { statement: name(), what, is_stopped: false });
        of_measurements(statement, known, &mut say);
    }
    let free: Vec<&str> = RELEASING_BY_GRANT.into_iter().filter(|action| denial(policy, action).is_none()).collect();
    if !free.is_empty() {
        let what = format!(
            "no statement denies {} to everybody without the image's measurement: a grant (`aws kms list-grants`), or an Allow that is \
             added later, releases the key",
            free.join(" and ")
        );
        found.push(Danger { statement: None, what, is_stopped: false });
    }
    found
}

fn of_principals(statement: &Value, say: &mut impl FnMut(String)) {
    if statement.get("NotPrincipal").is_some() {
        say("allows something to everybody but those whom it names".to_owned());
    }
    for name in principals(statement) {
        if name == "*" {
            say("allows something to everybody, in every account".to_owned());
        } else if is_account(&name) {
            let name = plain(&name);
            say(format!(
                "allows something to the account {name}, which hands the decision to IAM: to every administrator of that account"
            ));
        }
    }
}

/// An account's number, or its root.
fn is_account(name: &str) -> bool {
    name.ends_with(":root") || (name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What an Allow gives to calls without an attestation, and whether Denies stop all of it.
fn of_actions(policy: &Value, statement: &Value) -> Option<(String, bool)> {
    if tests(statement).iter().any(binds_to_image) {
        return None;
    }
    let allowed = RELEASING.into_iter().filter(|action| covers(statement, action));
    let (denied, free): (Vec<&str>, Vec<&str>) = allowed.partition(|action| denial(policy, action).is_some());
    if !free.is_empty() {
        let what = format!("allows {} without a condition on kms:RecipientAttestation:ImageSha384", free.join(", "));
        return Some((what, false));
    }
    if denied.is_empty() {
        return None;
    }
    let mut by: Vec<String> = denied.iter().filter_map(|action| denial(policy, action)).collect();
    by.dedup();
    let what = format!(
        "allows {} without a condition on kms:RecipientAttestation:ImageSha384; only {} stops it",
        denied.join(", "),
        by.join(" and ")
    );
    Some((what, true))
}

/// Every image that a policy names, as far as it is written as one.
pub(crate) fn images(policy: &Value) -> Vec<Register> {
    let mut found = Vec::new();
    for test in statements(policy).into_iter().flat_map(tests).filter(|test| IMAGE_KEYS.contains(&test.key.as_str())) {
        for image in test.values.iter().filter_map(|value| value.parse().ok()) {
            if !found.contains(&image) {
                found.push(image);
            }
        }
    }
    found
}

/// Whether a test holds for calls with the attestation of a named image alone. `…IfExists` and `ForAllValues:` hold without one.
fn binds_to_image(test: &Test) -> bool {
    let exact = matches!(test.operator.as_str(), "stringequals" | "stringequalsignorecase");
    let like = test.operator == "stringlike" && !test.values.iter().any(|value| value.contains(['*', '?']));
    IMAGE_KEYS.contains(&test.key.as_str()) && (exact || like)
}

/// The Deny that keeps an action from everybody without the measurement of an image, or from everybody.
pub(crate) fn denial(policy: &Value, action: &str) -> Option<String> {
    let is_but_for_images = |test: &Test| {
        let negated = ["stringnotequals", "stringnotequalsignorecase"];
        let operator = test.operator.strip_suffix("ifexists").unwrap_or(&test.operator);
        IMAGE_KEYS.contains(&test.key.as_str()) && negated.contains(&operator)
    };
    let denies = |statement: &Value| {
        let tests = tests(statement);
        // Of several tests all must hold: two keys in one Deny let through what fits one of them.
        let has_condition = statement.get("Condition").is_some();
        statement["Effect"] == "Deny"
            && principals(statement).iter().any(|name| name == "*")
            && texts(statement.get("Resource")).iter().any(|resource| resource == "*")
            && covers(statement, action)
            && (!has_condition || matches!(tests.as_slice(), [test] if is_but_for_images(test)))
    };
    let mut found = statements(policy).into_iter().enumerate().filter(|(_, statement)| denies(statement));
    found.next().map(|(index, statement)| label(index, statement))
}

fn of_measurements(statement: &Value, known: &[Register], say: &mut impl FnMut(String)) {
    for test in tests(statement).iter().filter(|test| test.key.starts_with("kms:recipientattestation:")) {
        for value in &test.values {
            let is_image = IMAGE_KEYS.contains(&test.key.as_str());
            if !value.is_empty() && value.bytes().all(|byte| byte == b'0') {
                say("names a measurement of zeros, which is that of every enclave in debug mode".to_owned());
            } else if is_image && !known.iter().any(|image| image.to_string().eq_ignore_ascii_case(value)) {
                say(format!("names the image {}, which is none of those that were given", plain(value)));
            }
        }
    }
}

#[cfg(test)]
mod test;
