//! Grants of a KMS key: AWS looks at them beside the policy, and only a Deny in the policy stops what one gives.
use super::finding::{Finding, Say};
use crate::commands::nitro::asking::plain;
use crate::commands::nitro::policy::dangers::denial;
use crate::state::shell_word;
use serde_json::Value;

/// How many grants are told one by one.
const MOST_TOLD: usize = 64;
/// Beginnings of operations that give out the key, or a way to it.
const RELEASING: [&str; 4] = ["Decrypt", "GenerateDataKey", "ReEncrypt", "CreateGrant"];

pub(super) fn judge(value: &Value, policy: Option<&Value>, say: Say<'_>) {
    let Some(grants) = value.get("Grants").and_then(Value::as_array) else {
        let help = "give what `aws kms list-grants --key-id … --output json` printed";
        say(Finding::error("grants", r#"expected {"Grants": […]}, got something else"#, help));
        return;
    };
    let is_cut = value.get("Truncated").and_then(Value::as_bool) == Some(true)
        || ["NextToken", "NextMarker"].iter().any(|key| value.get(key).is_some_and(Value::is_string));
    if is_cut {
        let help = "ask for all of them: without --max-items, and without --no-paginate";
        say(Finding::warning("grants", "expected all grants, got the first of them", help));
    }
    for grant in grants.iter().take(MOST_TOLD) {
        one(grant, policy, say);
    }
    if let Some(more) = grants.len().checked_sub(MOST_TOLD).filter(|more| *more > 0) {
        say(Finding::error(
            "grants",
            format!("{more} more grants, which were not looked at"),
            "retire or revoke the others first",
        ));
    }
    if grants.is_empty() && !is_cut {
        say(Finding::ok("grants", "there are none"));
    }
}

fn one(grant: &Value, policy: Option<&Value>, say: Say<'_>) {
    let text = |key: &str| grant.get(key).and_then(Value::as_str).map(plain);
    let (id, grantee) = (
        text("GrantId").unwrap_or_default(),
        text("GranteePrincipal").unwrap_or_else(|| "nobody who is named".to_owned()),
    );
    let operations = grant.get("Operations").and_then(Value::as_array);
    let Some(operations) = operations.map(|list| list.iter().filter_map(Value::as_str).collect::<Vec<_>>()) else {
        say(Finding::error(
            "grants",
            format!("grant {id}: expected a list of Operations, got none"),
            "ask for it again",
        ));
        return;
    };
    let dangerous: Vec<&str> = operations
        .iter()
        .copied()
        .filter(|operation| RELEASING.iter().any(|start| operation.starts_with(start)))
        .collect();
    let listed = |operations: &[&str]| plain(&operations.join(", "));
    if dangerous.is_empty() {
        let found = format!("grant {id} lets {grantee} {}", listed(&operations));
        say(Finding::note("grants", found, "it does not release the key; revoke it if nobody needs it"));
        return;
    }
    // A constraint fixes an encryption context, and anybody can name the same.
    let constraint = match grant.get("Constraints") {
        Some(Value::Object(constraints)) if !constraints.is_empty() => {
            ", with a constraint, which binds it to no enclave"
        }
        _ => "",
    };
    let found =
        format!("grant {id} lets {grantee} {}{constraint}: {}", listed(&dangerous), stopped(&dangerous, policy));
    let key = text("KeyId").unwrap_or_else(|| "KEY-ARN".to_owned());
    let help = format!(
        "AWS looks at grants beside the policy: find out who made it, and as an administrator revoke it:\n  aws kms \
         revoke-grant --key-id {} --grant-id {}",
        shell_word(&key),
        shell_word(&id)
    );
    say(Finding::error("grants", found, help));
}

/// Whether a Deny of the policy stands against it.
fn stopped(operations: &[&str], policy: Option<&Value>) -> String {
    let Some(policy) = policy else {
        return "whether a Deny of the policy stops it is not known without --policy".to_owned();
    };
    let denied = |operation: &&&str| denial(policy, &format!("kms:{operation}")).is_some();
    let (stopped, free): (Vec<&str>, Vec<&str>) = operations.iter().partition(|operation| denied(operation));
    if !free.is_empty() {
        return format!("no Deny of the policy stops {}", plain(&free.join(", ")));
    }
    let mut by: Vec<String> =
        stopped.iter().filter_map(|operation| denial(policy, &format!("kms:{operation}"))).collect();
    by.dedup();
    format!("only the policy's {} stops it, for whoever comes without the image's measurement", by.join(" and "))
}
