//! The policy that is in force, as `aws kms get-key-policy` gives it, and how it differs from another one.
use super::compare::{Change, compare};
use super::dangers::dangers;
use crate::commands::nitro::{plain, plain_json};
use crate::failure::{Exit, Failure};
use crate::measurements::{Register, read_text};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;

/// A policy has at most 32 KiB, and inside of JSON more.
const MAX_FILE_BYTES: u64 = 256 * 1024;
const GET: &str =
    "give what `aws kms get-key-policy --key-id … --policy-name default --query Policy --output text` prints";

/// Reads a policy: by itself, or as the text `Policy` of what the command prints without `--query`.
///
/// # Errors
/// It cannot be read, or is no policy.
pub(crate) fn read(path: &Path) -> Result<Value, Failure> {
    let name = path.display();
    let text = read_text(path, MAX_FILE_BYTES)
        .map_err(|error| Failure::new(Exit::Usage, format!("cannot read {name}: {error}"), GET))?;
    parse(&text).map_err(|problem| Failure::new(Exit::Usage, format!("{name}: {problem}"), GET))
}

fn parse(text: &str) -> Result<Value, String> {
    let json = |text: &str| {
        serde_json::from_str::<Value>(text).map_err(|error| format!("expected a policy, got no JSON: {error}"))
    };
    let mut value = json(text)?;
    let inner = value.as_str().or_else(|| value.get("Policy").and_then(Value::as_str));
    if let Some(inner) = inner {
        value = json(inner)?;
    }
    let has_statements = match value.get("Statement") {
        Some(Value::Array(list)) => list.iter().all(Value::is_object),
        Some(statement) => statement.is_object(),
        None => false,
    };
    if has_statements {
        Ok(value)
    } else {
        Err(r#"expected a policy, {"Statement": […]}, got something else"#.to_owned())
    }
}

/// What a person reads of the difference, and how many statements differ.
pub(super) fn difference(wanted: &Value, present: &Value, known: &[Register]) -> (String, usize) {
    let mut text = String::new();
    let mut differing = 0;
    let changes = compare(wanted, present);
    let width = changes.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    // Into memory: nothing fails.
    let shown =
        |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), |value| plain_json(&value.to_string()));
    for (name, change) in &changes {
        differing += usize::from(*change != Change::Same);
        let what = match change {
            Change::Same => "same",
            Change::Changed(_) => "changed",
            Change::Added => "added: not in force yet",
            Change::Removed => "removed: in force, and not in this policy",
        };
        let _ = writeln!(text, "{name:width$}  {what}");
        if let Change::Changed(elements) = change {
            for element in elements {
                let name = plain(&element.name);
                let _ = writeln!(
                    text,
                    "  {name}\n    in force  {}\n    new       {}",
                    shown(&element.present),
                    shown(&element.wanted)
                );
            }
        }
    }
    for danger in dangers(present, known) {
        let place = danger.statement.map(|name| format!("{name}: ")).unwrap_or_default();
        let _ = writeln!(text, "danger in force: {place}{}", danger.what);
    }
    (text, differing)
}

#[cfg(test)]
mod tests {
    use super::super::statement::policy_value;
    use super::super::wanted::tests::{image, plain as plain_policy};
    use super::*;
    use serde_json::json;

    #[test]
    fn a_policy_is_read_in_each_form_in_which_aws_gives_it() {
        let policy = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Deny" }] });
        let text = policy.to_string();
        for given in
            [text.clone(), json!({ "Policy": text, "PolicyName": "default" }).to_string(), json!(text).to_string()]
        {
            assert_eq!(parse(&given), Ok(policy.clone()), "{given}");
        }
        assert!(parse(r#"{"Statement": {"Effect": "Allow"}}"#).is_ok());
        for (given, expected) in [
            ("", "got no JSON"),
            ("None", "got no JSON"),
            (r#"{"Policy": "x"}"#, "got no JSON"),
            ("{}", "got something else"),
            (r#"{"Policy": {"Statement": []}}"#, "got something else"),
            (r#"{"Statement": ["x"]}"#, "got something else"),
            (r#"{"Statement": 7}"#, "got something else"),
        ] {
            let problem = parse(given).unwrap_err();
            assert!(problem.contains(expected), "{given}: {problem}");
        }
        let failure = read(Path::new("/dev/zero")).unwrap_err();
        assert!(failure.problems[0].message.contains("at most 262144 bytes"), "{failure:?}");
    }

    #[test]
    fn what_a_hostile_policy_says_does_not_act_on_the_terminal() {
        let wanted = policy_value(&plain_policy().statements().unwrap());
        let mut present = wanted.clone();
        present["Statement"][0]["\u{1b}[2J"] = json!("\u{9b}1m");
        present["Statement"][1]["Sid"] = json!("\u{202e}");
        present["Statement"][2]["Condition"] =
            json!({ "StringLike": { "kms:RecipientAttestation:PCR0": "\u{1b}]0;x\u{7}" } });
        let (text, differing) = difference(&wanted, &present, &[image(0xab)]);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n') && !text.contains('\u{202e}'), "{text}");
        // A Sid that is another one is no difference.
        assert_eq!(differing, 2, "{text}");
    }
}
