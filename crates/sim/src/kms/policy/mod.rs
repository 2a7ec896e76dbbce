//! Key policies and IAM policies: parsed strictly, so that what this service would not evaluate as AWS does is refused when it is put.
mod condition;
mod decide;
#[cfg(test)]
mod tests;

pub use condition::Context;
pub use decide::{Ask, Verdict, decide};

use super::error::{Answer, Failure, fail};
use condition::Condition;
use serde_json::{Map, Value};

/// AWS's limit for a key policy.
pub const MAX_POLICY_BYTES: usize = 32 * 1024;

/// What a policy hangs on: only a key's names principals.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Attached {
    Key,
    Identity,
}

#[derive(Clone)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Clone)]
struct Statement {
    effect: Effect,
    principals: Vec<Who>,
    actions: Vec<String>,
    resources: Vec<String>,
    conditions: Vec<Condition>,
}

/// One principal of a statement.
#[derive(Clone, PartialEq, Eq)]
enum Who {
    Everyone,
    /// `arn:aws:iam::ACCOUNT:root` or the number: in an Allow it hands the decision to that account's IAM.
    Account(String),
    Arn(String),
    /// A service of AWS: never a caller here.
    Service,
}

/// AWS's name for a policy that is not one. The text says what is wrong, more than AWS's does.
pub fn malformed(text: impl Into<String>) -> Failure {
    fail("MalformedPolicyDocumentException", text)
}

impl Policy {
    /// Parses a policy.
    ///
    /// # Errors
    /// `MalformedPolicyDocumentException`: it is not one, or it has an element that this service doesn't evaluate (named in the text).
    pub fn parse(json: &str, attached: Attached) -> Answer<Self> {
        if json.len() > MAX_POLICY_BYTES {
            return Err(fail(
                "LimitExceededException",
                format!("The policy is {} bytes, at most {MAX_POLICY_BYTES}", json.len()),
            ));
        }
        let value: Value = serde_json::from_str(json).map_err(|error| malformed(format!("Not JSON: {error}")))?;
        let object = value.as_object().ok_or_else(|| malformed("A policy is a JSON object"))?;
        only(object, "the policy", &["Version", "Id", "Statement"])?;
        match object.get("Version").map(|version| version.as_str().unwrap_or_default()) {
            None | Some("2012-10-17" | "2008-10-17") => {}
            Some(other) => return Err(malformed(format!("Version must be 2012-10-17, got {other}"))),
        }
        let statements = match object.get("Statement") {
            Some(Value::Array(list)) if !list.is_empty() => list.iter().collect(),
            Some(single @ Value::Object(_)) => vec![single],
            _ => return Err(malformed("Statement must be a statement, or a list of at least one")),
        };
        let statements = statements.into_iter().map(|value| statement(value, attached)).collect::<Answer<_>>()?;
        Ok(Self { statements })
    }
}

fn statement(value: &Value, attached: Attached) -> Answer<Statement> {
    let object = value.as_object().ok_or_else(|| malformed("A statement is a JSON object"))?;
    for unsupported in ["NotAction", "NotPrincipal", "NotResource"] {
        if object.contains_key(unsupported) {
            return Err(malformed(format!(
                "{unsupported} is not supported by this development KMS: name what is meant instead"
            )));
        }
    }
    only(object, "a statement", &["Sid", "Effect", "Principal", "Action", "Resource", "Condition"])?;
    let effect = match object.get("Effect").and_then(Value::as_str) {
        Some("Allow") => Effect::Allow,
        Some("Deny") => Effect::Deny,
        _ => return Err(malformed("Effect must be Allow or Deny")),
    };
    let principals = match (object.get("Principal"), attached) {
        (Some(value), Attached::Key) => principals(value)?,
        (None, Attached::Identity) => vec![Who::Everyone],
        (None, Attached::Key) => return Err(malformed("A statement of a key policy must have a Principal")),
        (Some(_), Attached::Identity) => return Err(malformed("A statement of an IAM policy has no Principal")),
    };
    let actions = strings(object.get("Action"), "Action")?;
    if let Some(bad) = actions.iter().find(|action| *action != "*" && !action.to_ascii_lowercase().starts_with("kms:"))
    {
        return Err(malformed(format!("Action {bad}: only kms: actions and * are known here")));
    }
    let resources = strings(object.get("Resource"), "Resource")?;
    let conditions = match object.get("Condition") {
        None => Vec::new(),
        Some(value) => condition::parse(value)?,
    };
    Ok(Statement { effect, principals, actions, resources, conditions })
}

fn principals(value: &Value) -> Answer<Vec<Who>> {
    if value.as_str() == Some("*") {
        return Ok(vec![Who::Everyone]);
    }
    let object = value.as_object().filter(|object| !object.is_empty());
    let object = object.ok_or_else(|| malformed("Principal must be \"*\" or an object such as {\"AWS\": ARN}"))?;
    let mut found = Vec::new();
    for (kind, value) in object {
        let names = strings(Some(value), "Principal")?;
        match kind.as_str() {
            "AWS" => found.extend(names.iter().map(|name| who(name)).collect::<Answer<Vec<_>>>()?),
            "Service" => found.push(Who::Service),
            other => {
                return Err(malformed(format!(
                    "Principal of the kind {other} is not supported by this development KMS"
                )));
            }
        }
    }
    Ok(found)
}

fn who(name: &str) -> Answer<Who> {
    let is_account = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if name == "*" {
        return Ok(Who::Everyone);
    }
    if is_account(name) {
        return Ok(Who::Account(name.to_owned()));
    }
    let parts: Vec<&str> = name.splitn(6, ':').collect();
    let [_, _, service, "", account, resource] = parts[..] else {
        return Err(malformed(format!("Invalid principal in policy: {name}")));
    };
    let kinds = ["user/", "role/", "assumed-role/", "federated-user/"];
    match (parts[0], service, resource) {
        ("arn", "iam", "root") if is_account(account) => Ok(Who::Account(account.to_owned())),
        // As in AWS: no wildcard stands for a part of a principal's name.
        ("arn", "iam" | "sts", _)
            if is_account(account)
                && kinds.iter().any(|kind| resource.starts_with(kind))
                && !name.contains(['*', '?']) =>
        {
            Ok(Who::Arn(name.to_owned()))
        }
        _ => Err(malformed(format!("Invalid principal in policy: {name}"))),
    }
}

/// A string, or a list of at least one.
fn strings(value: Option<&Value>, name: &str) -> Answer<Vec<String>> {
    let wrong = || malformed(format!("{name} must be a string or a list of strings"));
    match value {
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(list)) if !list.is_empty() => {
            list.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}

fn only(object: &Map<String, Value>, what: &str, known: &[&str]) -> Answer<()> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(malformed(format!("{key}: not an element of {what}"))),
        None => Ok(()),
    }
}

/// Whether `text` fits `pattern`, where `*` stands for any number of characters and `?` for one.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut here) = (0, 0);
    let mut star = None;
    while here < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, here));
                at += 1;
            }
            Some(one) if *one == '?' || *one == text[here] => {
                at += 1;
                here += 1;
            }
            _ => {
                // The last star takes one character more.
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                here = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}
