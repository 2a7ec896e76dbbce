//! Two policies, statement by statement: what putting the one in the place of the other would change.
use super::reading::{label, principals, statements, texts};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// What becomes of one statement.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    Same,
    /// Elements that differ.
    Changed(Vec<Element>),
    /// Not in force yet.
    Added,
    /// In force, and not in the new policy.
    Removed,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Element {
    pub name: String,
    pub present: Option<Value>,
    pub wanted: Option<Value>,
}

/// Each statement's name and what becomes of it: those of the new policy in its order, then those that go. Statements are paired by Sid,
/// what is left by its content. The order of values, a list of one, and capitals where AWS ignores them make no difference; the policy's
/// `Id` and `Version` are not looked at, for they decide nothing here.
pub(super) fn compare(wanted: &Value, present: &Value) -> Vec<(String, Change)> {
    let mut left: Vec<(usize, &Value)> = statements(present).into_iter().enumerate().collect();
    let mut take = |is: &dyn Fn(&Value) -> bool| {
        let at = left.iter().position(|(_, statement)| is(statement))?;
        Some(left.remove(at).1)
    };
    let sid = |statement: &Value| statement.get("Sid").and_then(Value::as_str).map(str::to_owned);
    let wanted = statements(wanted);
    let by_sid: Vec<_> =
        wanted.iter().map(|new| take(&|old| old.get("Sid").is_some() && sid(old) == sid(new))).collect();
    let pairs: Vec<_> = wanted
        .iter()
        .zip(by_sid)
        .map(|(new, old)| (*new, old.or_else(|| take(&|old| differences(new, old).is_empty()))))
        .collect();
    let named = pairs.into_iter().enumerate().map(|(index, (new, old))| {
        let change = match old.map(|old| differences(new, old)) {
            None => Change::Added,
            Some(differences) if differences.is_empty() => Change::Same,
            Some(differences) => Change::Changed(differences),
        };
        (label(index, new), change)
    });
    let mut changes: Vec<_> = named.collect();
    changes.extend(left.into_iter().map(|(index, old)| (label(index, old), Change::Removed)));
    changes
}

fn differences(wanted: &Value, present: &Value) -> Vec<Element> {
    let (new, old) = (canonical(wanted), canonical(present));
    let names: BTreeSet<&String> = new.keys().chain(old.keys()).filter(|name| *name != "Sid").collect();
    let differ = names.into_iter().filter(|name| new.get(*name) != old.get(*name));
    let element = |name: &String| Element {
        name: name.clone(),
        present: present.get(name).cloned(),
        wanted: wanted.get(name).cloned(),
    };
    differ.map(element).collect()
}

/// A statement in the one form that all that mean the same have.
fn canonical(statement: &Value) -> Map<String, Value> {
    let element = |(name, value): (&String, &Value)| {
        let value = match name.as_str() {
            "Principal" if value == "*" || value.is_object() => principal(statement, value),
            "Action" | "NotAction" => set(texts(Some(value)).into_iter().map(|action| action.to_ascii_lowercase())),
            "Resource" | "NotResource" => set(texts(Some(value)).into_iter()),
            "Condition" => condition(value),
            _ => value.clone(),
        };
        (name.clone(), value)
    };
    statement.as_object().into_iter().flatten().map(element).collect()
}

fn set(texts: impl Iterator<Item = String>) -> Value {
    json!(texts.collect::<BTreeSet<_>>())
}

/// `"*"` and `{"AWS": "*"}` are one.
fn principal(statement: &Value, value: &Value) -> Value {
    match value.as_object() {
        Some(kinds) if kinds.keys().any(|kind| kind != "AWS") => Value::from(
            kinds
                .iter()
                .map(|(kind, names)| (kind.clone(), set(texts(Some(names)).into_iter())))
                .collect::<Map<_, _>>(),
        ),
        _ => json!({ "AWS": set(principals(statement).into_iter()) }),
    }
}

fn condition(value: &Value) -> Value {
    let of_operator = |(operator, keys): (&String, &Value)| {
        let ignores_case = operator.to_ascii_lowercase().contains("ignorecase");
        let of_key = |(key, values): (&String, &Value)| {
            let values = texts(Some(values)).into_iter();
            let values = values.map(|value| if ignores_case { value.to_lowercase() } else { value });
            (key.to_ascii_lowercase(), set(values))
        };
        let keys: Map<_, _> = keys.as_object().into_iter().flatten().map(of_key).collect();
        (operator.to_ascii_lowercase(), Value::from(keys))
    };
    Value::from(value.as_object().into_iter().flatten().map(of_operator).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::super::statement::policy_value;
    use super::super::wanted::tests::{full, image, plain};
    use super::*;

    fn changes(wanted: &Value, present: &Value) -> Vec<(String, Change)> {
        compare(wanted, present).into_iter().filter(|(_, change)| *change != Change::Same).collect()
    }

    #[test]
    fn a_policy_is_the_same_in_whatever_form_it_is_written() {
        let wanted = policy_value(&full().statements().unwrap());
        assert_eq!(changes(&wanted, &wanted), []);
        let mut present = wanted.clone();
        let list = present["Statement"].as_array_mut().unwrap();
        for statement in list.iter_mut() {
            statement["Resource"] = json!(["*"]);
            if statement["Principal"] == "*" {
                statement["Principal"] = json!({ "AWS": ["*"] });
            }
            if let Some(actions) = statement["Action"].as_array_mut() {
                actions.reverse();
            }
        }
        list[1]["Condition"] = json!({ "StringEqualsIgnoreCase": {
            "KMS:RecipientAttestation:PCR4": ["04".repeat(48)],
            "kms:RecipientAttestation:ImageSha384": ["CD".repeat(48), "AB".repeat(48)] } });
        list[1].as_object_mut().unwrap().remove("Sid");
        list.reverse();
        assert_eq!(changes(&wanted, &present), []);
        let one = json!({ "Statement": wanted["Statement"][0] });
        assert_eq!(changes(&one, &json!({ "Statement": [wanted["Statement"][0]] })), []);
    }

    #[test]
    fn what_differs_is_told_by_its_element_with_both_values() {
        let wanted = policy_value(&plain().statements().unwrap());
        let mut upgrade = plain();
        upgrade.images.push(image(0xcd));
        let present = policy_value(&upgrade.statements().unwrap());
        let found = changes(&wanted, &present);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ReleaseToTheImage", "ToNothingElse"]);
        let Change::Changed(elements) = &found[0].1 else { panic!("{found:?}") };
        let of = |value: &Option<Value>| {
            value.clone().unwrap()["StringEqualsIgnoreCase"]["kms:RecipientAttestation:ImageSha384"].clone()
        };
        assert_eq!(elements[0].name, "Condition");
        assert_eq!(
            (of(&elements[0].present), of(&elements[0].wanted)),
            (json!(["ab".repeat(48), "cd".repeat(48)]), json!("ab".repeat(48)))
        );
    }

    #[test]
    fn an_element_that_is_missing_or_means_something_else_differs() {
        let wanted = policy_value(&plain().statements().unwrap());
        for (sid, element, value) in [
            ("ToNothingElse", "Effect", json!("Allow")),
            ("ToNothingElse", "Condition", Value::Null),
            ("ToNothingElse", "NotPrincipal", json!("*")),
            (
                "ToNothingElse",
                "Condition",
                json!({ "StringNotEquals": { "kms:RecipientAttestation:ImageSha384": "ab".repeat(48) } }),
            ),
            ("Administration", "Principal", json!({ "Service": "arn:aws:iam::111122223333:role/break-glass" })),
            ("NotToAnotherKey", "Action", json!(["kms:ReEncrypt*", "kms:CreateGrant"])),
        ] {
            let mut present = wanted.clone();
            let list = present["Statement"].as_array_mut().unwrap();
            list.iter_mut().find(|one| one["Sid"] == sid).unwrap()[element] = value;
            let found = changes(&wanted, &present);
            assert_eq!(found.len(), 1);
            assert!(
                matches!(&found[0].1, Change::Changed(list) if list.len() == 1 && list[0].name == element),
                "{found:?}"
            );
        }
    }

    #[test]
    fn statements_come_and_go() {
        let wanted = policy_value(&plain().statements().unwrap());
        let root = json!({ "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::111122223333:root" }, "Action": "kms:*", "Resource": "*" });
        let present = json!({ "Version": "2012-10-17", "Statement": [root, wanted["Statement"][0]] });
        let found = compare(&wanted, &present);
        let told: Vec<(&str, bool, bool)> = found
            .iter()
            .map(|(name, change)| (name.as_str(), *change == Change::Added, *change == Change::Removed))
            .collect();
        assert_eq!(told[..2], [("Administration", false, false), ("ReleaseToTheImage", true, false)]);
        assert_eq!(told.last(), Some(&("statement 1", false, true)));
        // Two of one Sid, which AWS would not take: one is the pair, the other goes.
        let twice = json!({ "Statement": [wanted["Statement"][0], wanted["Statement"][0]] });
        let one = json!({ "Statement": [wanted["Statement"][0]] });
        assert_eq!(changes(&one, &twice), [("Administration".to_owned(), Change::Removed)]);
    }
}
