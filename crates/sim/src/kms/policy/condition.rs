//! Conditions: operators with AWS's meaning of a key that is missing and of operators that negate.
use super::{fits, malformed};
use crate::kms::error::Answer;
use serde_json::Value;
use std::collections::BTreeMap;

/// The values of condition keys in one request, by the key's name in lower case (AWS doesn't tell names apart by case).
#[derive(Default, Clone)]
pub struct Context {
    values: BTreeMap<String, String>,
}

impl Context {
    /// Sets a key that the request has.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.values.insert(key.to_ascii_lowercase(), value.into());
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equals,
    NotEquals,
    EqualsIgnoreCase,
    NotEqualsIgnoreCase,
    Like,
    NotLike,
    Bool,
    Null,
}

/// One operator on one key. All of a statement's conditions have to hold.
#[derive(Clone)]
pub struct Condition {
    operator: Operator,
    /// `…IfExists`: holds where the key is missing.
    if_exists: bool,
    key: String,
    values: Vec<String>,
}

impl Condition {
    /// Whether it holds.
    pub fn holds(&self, context: &Context) -> bool {
        let found = context.get(&self.key);
        if self.operator == Operator::Null {
            let missing = if found.is_none() { "true" } else { "false" };
            return self.values.iter().any(|value| value.eq_ignore_ascii_case(missing));
        }
        let negated = matches!(self.operator, Operator::NotEquals | Operator::NotEqualsIgnoreCase | Operator::NotLike);
        match found {
            // A missing key fits nothing; so what negates holds.
            None => negated || self.if_exists,
            Some(found) => self.values.iter().any(|value| self.equal(value, found)) != negated,
        }
    }

    fn equal(&self, value: &str, found: &str) -> bool {
        match self.operator {
            Operator::Equals | Operator::NotEquals => value == found,
            Operator::EqualsIgnoreCase | Operator::NotEqualsIgnoreCase | Operator::Bool => {
                value.to_lowercase() == found.to_lowercase()
            }
            Operator::Like | Operator::NotLike => fits(value, found),
            Operator::Null => false,
        }
    }
}

/// Parses the element `Condition`.
pub fn parse(value: &Value) -> Answer<Vec<Condition>> {
    let operators = value.as_object().ok_or_else(|| malformed("Condition is an object of operators"))?;
    let mut conditions = Vec::new();
    for (name, keys) in operators {
        let (operator, if_exists) = operator(name)?;
        let keys =
            keys.as_object().ok_or_else(|| malformed(format!("Condition {name} is an object of condition keys")))?;
        for (key, values) in keys {
            known_key(key)?;
            let values = scalars(values, key)?;
            let truth = matches!(operator, Operator::Bool | Operator::Null);
            if truth && values.iter().any(|value| !["true", "false"].contains(&value.to_ascii_lowercase().as_str())) {
                return Err(malformed(format!("Condition {name} of {key} takes true or false")));
            }
            conditions.push(Condition { operator, if_exists, key: key.to_ascii_lowercase(), values });
        }
    }
    Ok(conditions)
}

fn operator(name: &str) -> Answer<(Operator, bool)> {
    if name.starts_with("ForAllValues:") || name.starts_with("ForAnyValue:") {
        return Err(malformed(format!(
            "Condition operator {name}: sets of values are not supported by this development KMS"
        )));
    }
    let (base, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |base| (base, true));
    let operator = match base {
        "StringEquals" => Operator::Equals,
        "StringNotEquals" => Operator::NotEquals,
        "StringEqualsIgnoreCase" => Operator::EqualsIgnoreCase,
        "StringNotEqualsIgnoreCase" => Operator::NotEqualsIgnoreCase,
        "StringLike" => Operator::Like,
        "StringNotLike" => Operator::NotLike,
        "Bool" => Operator::Bool,
        "Null" if !if_exists => Operator::Null,
        _ => return Err(malformed(format!("Condition operator {name} is not supported by this development KMS"))),
    };
    Ok((operator, if_exists))
}

fn known_key(key: &str) -> Answer<()> {
    const KEYS: [&str; 5] =
        ["aws:principalarn", "aws:principalaccount", "kms:calleraccount", "kms:viaservice", "aws:securetransport"];
    let lower = key.to_ascii_lowercase();
    let pcr = lower.strip_prefix("kms:recipientattestation:").is_some_and(|name| {
        name == "imagesha384"
            || name.strip_prefix("pcr").is_some_and(|number| number.parse::<u8>().is_ok_and(|n| n < 32))
    });
    let context = lower.strip_prefix("kms:encryptioncontext:").is_some_and(|name| !name.is_empty());
    if pcr || context || KEYS.contains(&lower.as_str()) {
        return Ok(());
    }
    Err(malformed(format!("Condition key {key} is not supported by this development KMS")))
}

/// A string or a truth value, or a list of at least one.
fn scalars(value: &Value, key: &str) -> Answer<Vec<String>> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(truth) => Ok(truth.to_string()),
        _ => Err(malformed(format!("Condition key {key} takes a string or a list of strings"))),
    };
    match value {
        Value::Array(list) if !list.is_empty() => list.iter().map(one).collect(),
        single => Ok(vec![one(single)?]),
    }
}
