//! The KMS key: its policy, its grants, and the key itself, from what AWS's command line printed elsewhere. AWS is not asked.
use super::Case;
use super::configuration::{Basis, errors};
use super::finding::{Finding, Say};
use super::{grants, key_info};
use crate::commands::nitro::asking::plain;
use crate::commands::nitro::policy::dangers::{dangers, images};
use crate::commands::nitro::policy::present;
use crate::measurements::{Register, read_text};
use crate::state::shell_word;
use serde_json::Value;
use std::path::Path;

/// The largest answer of AWS that is read, in bytes: some hundreds of grants.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// For how many KMS keys the commands are shown.
const MOST_COMMANDS: usize = 4;

pub(super) fn examine(case: &Case, basis: &Basis, say: Say<'_>) {
    let arns = arns(basis);
    let policy = match &case.policy {
        None => {
            skipped(
                "policy",
                "--policy",
                "get-key-policy",
                "--policy-name default --query Policy --output text > key-policy.json",
                &arns,
                say,
            );
            None
        }
        Some(file) => match present::read(file) {
            Ok(policy) => {
                judge(&policy, basis, say);
                Some(policy)
            }
            Err(failure) => {
                errors("policy", failure, say);
                None
            }
        },
    };
    match &case.grants {
        None => skipped("grants", "--grants", "list-grants", "--output json > grants.json", &arns, say),
        Some(file) => match read(file) {
            Ok(value) => grants::judge(&value, policy.as_ref(), say),
            Err(problem) => say(Finding::error(
                "grants",
                problem,
                "give what `aws kms list-grants --key-id … --output json` printed",
            )),
        },
    }
    match &case.key_info {
        None => skipped("key", "--key-info", "describe-key", "--output json > key-info.json", &arns, say),
        Some(file) => match read(file) {
            Ok(value) => key_info::judge(&value, &arns, say),
            Err(problem) => {
                say(Finding::error(
                    "key",
                    problem,
                    "give what `aws kms describe-key --key-id … --output json` printed",
                ));
            }
        },
    }
}

/// The KMS keys that the configuration names.
fn arns(basis: &Basis) -> Vec<String> {
    let mut arns: Vec<String> = Vec::new();
    let keys = basis.config.iter().flat_map(|(config, _)| config.kms_keys());
    for arn in keys.filter_map(|key| key.key_arn.clone()) {
        if !arns.contains(&arn) {
            arns.push(arn);
        }
    }
    arns
}

fn skipped(check: &'static str, option: &str, operation: &str, rest: &str, arns: &[String], say: Say<'_>) {
    let unknown = ["KEY-ARN".to_owned()];
    let arns = if arns.is_empty() { &unknown[..] } else { arns };
    let mut help = format!(
        "run this on another machine than the parent, whose role needs no such right, and give the file as {option}:"
    );
    for arn in arns.iter().take(MOST_COMMANDS) {
        help.push_str(&format!("\n  aws kms {operation} --key-id {} {rest}", shell_word(&plain(arn))));
    }
    say(Finding::skipped(check, format!("no {option}"), help));
}

fn read(path: &Path) -> Result<Value, String> {
    let text = read_text(path, MAX_FILE_BYTES).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_str(&text)
        .map_err(|error| format!("{}: expected JSON, got something else: {error}", path.display()))
}

fn judge(policy: &Value, basis: &Basis, say: Say<'_>) {
    let own: Vec<Register> = basis.images.iter().map(|(_, image)| image.clone()).collect();
    let named = images(policy);
    // Without measurements each image that it names may be one of ours.
    let known = if own.is_empty() { &named } else { &own };
    let found = dangers(policy, known);
    for danger in &found {
        let name = danger.statement.as_deref().map(|name| format!("{name}: ")).unwrap_or_default();
        let help = "write a policy with `tmkms nitro policy --measurements …`, and have one of its administrators put it; \
                    --present shows what differs";
        let text = format!("{name}{}", danger.what);
        say(if danger.is_stopped {
            Finding::warning("policy", text, help)
        } else {
            Finding::error("policy", text, help)
        });
    }
    for (file, image) in basis.images.iter().filter(|(_, image)| !named.contains(image)) {
        let text = format!("expected the image {image}, of {file}, to be named, got no statement with it");
        let help = "if that is the image that is to sign, and no other, put a policy that names it: `tmkms nitro policy --measurements …`";
        say(Finding::error("policy", text, help));
    }
    let list = |images: &[Register]| images.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if own.is_empty() {
        let text = format!("it names these images, which were not compared: {}", list(&named));
        say(Finding::note("policy", text, "give --measurements with what your own build printed"));
    } else if found.is_empty() && own.iter().all(|image| named.contains(image)) {
        say(Finding::ok("policy", format!("nothing dangerous in it; released to the image {}", list(&own))));
    }
}

#[cfg(test)]
#[path = "key_policy/tests.rs"]
mod tests;
