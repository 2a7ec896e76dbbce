//! What a node says of itself and of its chain's validators. Every value may be anything.
use super::http::Server;
use crate::commands::nitro::asking::plain;
use host::credentials::seconds_of_rfc3339;
use serde_json::Value;
use std::time::Duration;

/// How long each question may take.
const LIMIT: Duration = Duration::from_secs(5);
/// A page has a hundred validators.
const MOST_PAGES: u64 = 20;
/// The most of a name that is shown.
const MAX_NAME_CHARS: usize = 128;

/// The page `/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeStatus {
    pub version: String,
    pub network: String,
    pub height: u64,
    /// When the latest block was made, in seconds since 1970; none if it is not told.
    pub block_time: Option<i64>,
    pub is_catching_up: bool,
}

/// A member of the validator set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub public_key: String,
    pub power: i64,
}

pub(super) fn status(server: &Server) -> Result<NodeStatus, String> {
    parse_status(&ask(server, "/status")?)
}

/// The member of that address, if there is one, and how many members were looked at.
pub(super) fn member(server: &Server, address: &str) -> Result<(Option<Member>, u64), String> {
    let mut seen: u64 = 0;
    for page in 1..=MOST_PAGES {
        let result = ask(server, &format!("/validators?per_page=100&page={page}"))?;
        let (members, total) = parse_validators(&result)?;
        if let Some(found) = members.iter().find(|member| is_of(member, address)) {
            return parse_member(found).map(|member| (Some(member), seen));
        }
        let count = u64::try_from(members.len()).unwrap_or(u64::MAX);
        seen = seen.saturating_add(count);
        if count == 0 || seen >= total {
            return Ok((None, seen));
        }
    }
    Err(format!("expected at most {} validators, got more", MOST_PAGES * 100))
}

/// The `result` of an answer.
fn ask(server: &Server, path: &str) -> Result<Value, String> {
    let body = server.get(path, LIMIT).map_err(|error| format!("{server}{path}: {error}"))?;
    parse_result(&body).map_err(|error| format!("{server}{path}: {error}"))
}

fn parse_result(body: &[u8]) -> Result<Value, String> {
    let mut value: Value =
        serde_json::from_slice(body).map_err(|error| format!("expected a node's JSON, got something else: {error}"))?;
    if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
        let text = error.get("data").or_else(|| error.get("message")).and_then(Value::as_str);
        return Err(format!("the node refuses: {}", name(text.unwrap_or("it does not say why"))));
    }
    match value.get_mut("result").map(Value::take) {
        Some(result) if result.is_object() => Ok(result),
        _ => Err(r#"expected {"result": {…}}, got something else: this is no node's RPC"#.to_owned()),
    }
}

fn parse_status(result: &Value) -> Result<NodeStatus, String> {
    let (node, sync) = (&result["node_info"], &result["sync_info"]);
    let text = |value: &Value, what: &str| match value.as_str() {
        Some(text) if !text.is_empty() => Ok(name(text)),
        _ => Err(format!("/status: expected {what}, got none")),
    };
    Ok(NodeStatus {
        version: text(&node["version"], "node_info.version")?,
        network: text(&node["network"], "node_info.network")?,
        height: number(&sync["latest_block_height"])
            .and_then(|height| u64::try_from(height).ok())
            .ok_or("/status: expected sync_info.latest_block_height, a number, got none")?,
        block_time: sync["latest_block_time"].as_str().and_then(seconds_of_rfc3339),
        is_catching_up: sync["catching_up"].as_bool().ok_or("/status: expected sync_info.catching_up, got none")?,
    })
}

fn parse_validators(result: &Value) -> Result<(&Vec<Value>, u64), String> {
    let members = result["validators"].as_array().ok_or("/validators: expected a list of validators, got none")?;
    let total = number(&result["total"]).and_then(|total| u64::try_from(total).ok());
    Ok((members, total.ok_or("/validators: expected the total, a number, got none")?))
}

fn is_of(member: &Value, address: &str) -> bool {
    member["address"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(address))
}

fn parse_member(member: &Value) -> Result<Member, String> {
    let key = member["pub_key"]["value"].as_str().ok_or("/validators: expected its pub_key.value, got none")?;
    let power = number(&member["voting_power"]).ok_or("/validators: expected its voting_power, a number, got none")?;
    Ok(Member { public_key: name(key), power })
}

/// CometBFT writes numbers of 64 bits as texts.
fn number(value: &Value) -> Option<i64> {
    value.as_str().map_or_else(|| value.as_i64(), |text| text.parse().ok())
}

/// A text of the node, safe and short.
fn name(text: &str) -> String {
    plain(&text.chars().take(MAX_NAME_CHARS).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const STATUS: &str = r#"{"jsonrpc":"2.0","id":-1,"result":{"node_info":{"id":"x","network":"test-1","version":"0.38.12"},
        "sync_info":{"latest_block_height":"12","latest_block_time":"2026-11-24T05:06:07.123456789Z","catching_up":false},
        "validator_info":{"address":"AA","voting_power":"10"}}}"#;

    #[test]
    fn a_nodes_status_is_read() {
        let read = parse_status(&parse_result(STATUS.as_bytes()).unwrap()).unwrap();
        let expected = NodeStatus {
            version: "0.38.12".to_owned(),
            network: "test-1".to_owned(),
            height: 12,
            block_time: Some(1_795_496_767),
            is_catching_up: false,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn anything_else_is_an_error_that_says_what_was_expected() {
        let of = |text: &str| parse_result(text.as_bytes()).and_then(|result| parse_status(&result)).unwrap_err();
        assert!(of("<html>").contains("expected a node's JSON"));
        assert!(of(&"[".repeat(100_000)).contains("expected a node's JSON"));
        assert!(of("[]").contains("this is no node's RPC") && of(r#"{"result":7}"#).contains("no node's RPC"));
        let refused = of("{\"error\":{\"code\":-32603,\"message\":\"m\",\"data\":\"must\\u001b[2J\"}}");
        assert_eq!(refused, "the node refuses: must\u{fffd}[2J");
        for (from, to, expected) in [
            ("test-1", "", "expected node_info.network"),
            ("\"12\"", "-12", "expected sync_info.latest_block_height"),
            ("\"12\"", "\"99999999999999999999\"", "expected sync_info.latest_block_height"),
            ("false", "\"no\"", "expected sync_info.catching_up"),
        ] {
            assert!(of(&STATUS.replace(from, to)).contains(expected), "{from}");
        }
        let long = STATUS.replace("0.38.12", &"9".repeat(100_000));
        assert_eq!(parse_status(&parse_result(long.as_bytes()).unwrap()).unwrap().version.len(), MAX_NAME_CHARS);
    }

    #[test]
    fn a_member_is_found_by_its_address_whatever_its_capitals() {
        let member = json!({ "address": "AbCd", "pub_key": { "type": "tendermint/PubKeyEd25519", "value": "k" }, "voting_power": "10" });
        assert!(is_of(&member, "aBCD") && !is_of(&member, "AB") && !is_of(&json!(7), "AB"));
        assert_eq!(parse_member(&member), Ok(Member { public_key: "k".to_owned(), power: 10 }));
        assert!(parse_member(&json!({ "pub_key": "x" })).is_err());
        assert!(parse_validators(&json!({ "validators": [], "total": "x" })).is_err());
        assert!(parse_validators(&json!({ "validators": {} , "total": "0" })).is_err());
    }
}
