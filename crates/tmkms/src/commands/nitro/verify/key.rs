//! A public key as people have it: base64, hexadecimal, a node's JSON or a chain's.
use base64ct::{Base64, Encoding};
use serde_json::Value;
use std::str::FromStr;

/// A public key, in base64 of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenKey(pub String);

/// Of ed25519, and of a compressed secp256k1 point.
const LENGTHS: [usize; 2] = [32, 33];

impl FromStr for GivenKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let inner = match serde_json::from_str::<Value>(text) {
            // {"type": …, "value": …} of a node, {"@type": …, "key": …} of a chain.
            Ok(Value::Object(object)) => {
                let field = object.get("value").or_else(|| object.get("key")).and_then(Value::as_str);
                field.ok_or("expected a public key's JSON with `value` or `key`")?.to_owned()
            }
            _ => text.to_owned(),
        };
        let bytes = hexadecimal(&inner).or_else(|| Base64::decode_vec(&inner).ok());
        let bytes = bytes.filter(|bytes| LENGTHS.contains(&bytes.len()));
        let shown: String = inner.chars().take(80).collect();
        let bytes = bytes.ok_or_else(|| {
            format!(
                "expected a public key of 32 bytes (ed25519) or 33 (secp256k1) in base64 or hexadecimal, got {shown:?}"
            )
        })?;
        Ok(Self(Base64::encode_string(&bytes)))
    }
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit()) && LENGTHS.contains(&(text.len() / 2));
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    is_hex.then(|| (0..text.len()).step_by(2).map(byte).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_in_each_of_its_forms() {
        let base64 = "dnmLMz2ZVQyzxRzptqAoPd7DNy8wuTkACslXxqJQskU=";
        let hex = "76798b333d99550cb3c51ce9b6a0283ddec3372f30b939000ac957c6a250b245";
        for text in [
            base64.to_owned(),
            format!(" {base64}\n"),
            hex.to_owned(),
            hex.to_uppercase(),
            format!("{{\"type\":\"tendermint/PubKeyEd25519\",\"value\":\"{base64}\"}}"),
            format!("{{\"@type\":\"/cosmos.crypto.ed25519.PubKey\",\"key\":\"{base64}\"}}"),
        ] {
            assert_eq!(text.parse(), Ok(GivenKey(base64.to_owned())), "{text}");
        }
        assert_eq!("02".repeat(33).parse::<GivenKey>().map(|key| key.0.len()), Ok(44));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in [
            "",
            "AAAA",
            "{}",
            "{\"value\": 1}",
            "90721FF709A9BB2F299266DB6337835CE868B9E9",
            &"é".repeat(32),
            &"ab".repeat(64),
        ] {
            assert!(text.parse::<GivenKey>().unwrap_err().contains("public key"), "{text}");
        }
    }
}
