//! A statement of a key policy: what it says, why, and how it is written.
use super::principal::Principal;
use serde_json::{Value, json};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Allow { "Allow" } else { "Deny" })
    }
}

/// Whom a statement is about.
#[derive(Clone, Debug)]
pub(super) enum Who {
    Everybody,
    These(Vec<Principal>),
}

#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub sid: &'static str,
    pub effect: Effect,
    pub who: Who,
    pub actions: &'static [&'static str],
    pub condition: Option<Value>,
    /// What it allows or stops, and what remains possible.
    pub explanation: String,
}

impl Statement {
    /// The elements in the order in which people write them.
    fn elements(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let principal = match &self.who {
            Who::Everybody => json!("*"),
            Who::These(principals) => json!({ "AWS": one_or_list(principals.iter().map(Principal::as_str)) }),
        };
        let always = [
            ("Sid", json!(self.sid)),
            ("Effect", json!(self.effect.to_string())),
            ("Principal", principal),
            ("Action", one_or_list(self.actions.iter())),
            ("Resource", json!("*")),
        ];
        always.into_iter().chain(self.condition.clone().map(|condition| ("Condition", condition)))
    }
}

/// One text by itself, several as a list, as people write policies.
pub(super) fn one_or_list(texts: impl Iterator<Item = impl ToString>) -> Value {
    let mut texts: Vec<Value> = texts.map(|text| Value::from(text.to_string())).collect();
    if texts.len() == 1 { texts.remove(0) } else { Value::from(texts) }
}

/// The policy as AWS takes it; the same statements are always the same text.
pub(super) fn policy_text(statements: &[Statement]) -> String {
    let of_element =
        |(name, value): (&str, Value)| format!("      \"{name}\": {}", format!("{value:#}").replace('\n', "\n      "));
    let of_statement = |statement: &Statement| {
        let elements: Vec<String> = statement.elements().map(of_element).collect();
        format!("    {{\n{}\n    }}", elements.join(",\n"))
    };
    let statements: Vec<String> = statements.iter().map(of_statement).collect();
    format!("{{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n{}\n  ]\n}}\n", statements.join(",\n"))
}

/// The same as a value, for comparing.
pub(super) fn policy_value(statements: &[Statement]) -> Value {
    let of_statement = |statement: &Statement| {
        statement.elements().map(|(name, value)| (name.to_owned(), value)).collect::<serde_json::Map<_, _>>()
    };
    let statements: Vec<Value> = statements.iter().map(|statement| Value::from(of_statement(statement))).collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_what_the_value_says() {
        let who = Who::These(vec!["arn:aws:iam::111122223333:role/a".parse().unwrap()]);
        let condition = Some(json!({ "StringEquals": { "kms:RecipientAttestation:PCR4": ["a", "b"] } }));
        let explanation = String::new();
        let allow =
            Statement { sid: "One", effect: Effect::Allow, who, actions: &["kms:Decrypt"], condition, explanation };
        let deny = Statement {
            sid: "Two",
            effect: Effect::Deny,
            who: Who::Everybody,
            actions: &["kms:CreateGrant", "kms:ReEncrypt*"],
            condition: None,
            explanation: String::new(),
        };
        let statements = [allow, deny];
        let text = policy_text(&statements);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), policy_value(&statements));
        let order = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"];
        let places: Vec<usize> = order.iter().map(|name| text.find(&format!("\"{name}\"")).unwrap()).collect();
        assert!(places.is_sorted(), "{text}");
        assert!(text.contains("\n      \"Action\": \"kms:Decrypt\",\n"), "{text}");
    }
}
