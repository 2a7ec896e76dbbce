//! A policy that somebody else wrote: its statements and their elements, whatever their form. What is not understood is nothing.
use serde_json::Value;

/// The statements: a list, or one by itself.
pub(super) fn statements(policy: &Value) -> Vec<&Value> {
    match policy.get("Statement") {
        Some(Value::Array(list)) => list.iter().collect(),
        Some(single @ Value::Object(_)) => vec![single],
        _ => Vec::new(),
    }
}

/// How a statement is called: by its Sid, else by its place, from 1.
pub(super) fn label(index: usize, statement: &Value) -> String {
    match statement.get("Sid").and_then(Value::as_str) {
        Some(sid) if !sid.is_empty() => crate::commands::nitro::plain(sid),
        _ => format!("statement {}", index + 1),
    }
}

/// A text, or a list of texts. Truth values are texts to AWS.
pub(super) fn texts(value: Option<&Value>) -> Vec<String> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    };
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(one).collect(),
        Some(single) => one(single).into_iter().collect(),
        None => Vec::new(),
    }
}

/// Everybody whom a statement names: `*`, ARNs, accounts, services.
pub(super) fn principals(statement: &Value) -> Vec<String> {
    match statement.get("Principal") {
        Some(Value::Object(kinds)) => kinds.values().flat_map(|names| texts(Some(names))).collect(),
        other => texts(other),
    }
}

/// One operator on one key of a statement's condition; names in lower case, for AWS does not tell them apart.
pub(super) struct Test {
    pub operator: String,
    pub key: String,
    pub values: Vec<String>,
}

/// All of which have to hold.
pub(super) fn tests(statement: &Value) -> Vec<Test> {
    let operators = statement.get("Condition").and_then(Value::as_object).into_iter().flatten();
    let of_operator = |(operator, keys): (&String, &Value)| {
        let keys = keys.as_object().into_iter().flatten();
        let test = |(key, values): (&String, &Value)| Test {
            operator: operator.to_ascii_lowercase(),
            key: key.to_ascii_lowercase(),
            values: texts(Some(values)),
        };
        keys.map(test).collect::<Vec<_>>()
    };
    operators.flat_map(of_operator).collect()
}

/// Whether a statement is about an action.
pub(super) fn covers(statement: &Value, action: &str) -> bool {
    let named = |element: &str| texts(statement.get(element)).iter().any(|pattern| fits(pattern, action));
    if statement.get("Action").is_some() {
        named("Action")
    } else {
        statement.get("NotAction").is_some() && !named("NotAction")
    }
}

/// Whether an action fits a pattern, in which `*` stands for any number of characters and `?` for one, and capitals for nothing.
fn fits(pattern: &str, action: &str) -> bool {
    let action: Vec<char> = action.to_ascii_lowercase().chars().collect();
    // How much of the action what was read of the pattern can stand for.
    let mut reached = vec![false; action.len() + 1];
    reached[0] = true;
    for part in pattern.to_ascii_lowercase().chars() {
        if part == '*' {
            for at in 1..reached.len() {
                reached[at] |= reached[at - 1];
            }
        } else {
            for at in (1..reached.len()).rev() {
                reached[at] = reached[at - 1] && (part == '?' || part == action[at - 1]);
            }
            reached[0] = false;
        }
    }
    reached[action.len()]
}

#[cfg(test)]
mod test {
    use super::*;
    use serde_json::json;

    #[test]
    fn wildcards_stand_for_any_number_of_characters_or_for_one() {
        let table = [
            ("*", "kms:Decrypt", true),
            ("kms:*", "kms:Decrypt", true),
            ("KMS:decrypt", "kms:Decrypt", true),
            ("kms:GenerateDataKey*", "kms:GenerateDataKey", true),
            ("kms:GenerateDataKey", "kms:GenerateDataKeyPair", false),
            ("kms:*crypt", "kms:Decrypt", true),
            ("kms:*crypt", "kms:ReEncryptFrom", false),
            ("kms:De?rypt", "kms:Decrypt", true),
            ("kms:De?crypt", "kms:Decrypt", false),
            ("s3:*", "kms:Decrypt", false),
            ("", "kms:Decrypt", false),
            ("*e*e*", "kms:Decrypt", false),
        ];
        for (pattern, action, expected) in table {
            assert_eq!(fits(pattern, action), expected, "{pattern} {action}");
        }
        // It takes no longer for a pattern that was made to.
        assert!(!fits(&"*a".repeat(10_000), "kms:GenerateDataKeyPairWithoutPlaintext"));
    }

    #[test]
    fn elements_are_read_in_each_of_their_forms() {
        let statement = json!({ "Principal": { "AWS": ["a", "b"], "Service": "c" }, "NotAction": ["kms:Decrypt"],
            "Condition": { "StringEquals": { "Kms:X": "1", "kms:y": ["2", true] } } });
        assert_eq!(principals(&statement), ["a", "b", "c"]);
        assert_eq!(principals(&json!({ "Principal": "*" })), ["*"]);
        assert!(covers(&statement, "kms:Encrypt") && !covers(&statement, "kms:Decrypt"));
        let tests: Vec<_> = tests(&statement).into_iter().map(|test| (test.key, test.values)).collect();
        assert_eq!(tests, [("kms:x".into(), vec!["1".into()]), ("kms:y".into(), vec!["2".into(), "true".into()])]);
        assert_eq!(statements(&json!({ "Statement": statement })).len(), 1);
        for none in [json!(null), json!({ "Statement": 7 }), json!([])] {
            assert!(
                statements(&none).is_empty() && principals(&none).is_empty() && !covers(&none, "kms:Decrypt"),
                "{none}"
            );
        }
        assert_eq!(
            (label(0, &json!({ "Sid": "a\u{1b}" })), label(2, &json!({}))),
            ("a\u{fffd}".into(), "statement 3".into())
        );
    }
}
