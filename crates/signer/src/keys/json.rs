//! CometBFT's `priv_validator_key.json` (`privval/file.go`, `FilePVKey`), read without copying its secret.
use super::pair::KeyPair;
use super::{Algorithm, Problem, decode};
use serde::Deserialize;

/// The file, borrowed: a value with an escape in it would need a buffer of serde_json's that nobody zeroizes, so such
/// a file is refused before it is parsed. Unknown fields are skipped, as CometBFT does.
#[derive(Deserialize)]
struct KeyJson<'file> {
    #[serde(borrow)]
    address: Option<&'file str>,
    #[serde(borrow)]
    pub_key: Option<Typed<'file>>,
    #[serde(borrow)]
    priv_key: Option<Typed<'file>>,
}

#[derive(Clone, Copy, Deserialize)]
struct Typed<'file> {
    #[serde(rename = "type")]
    name: &'file str,
    value: &'file str,
}

/// Key types of some CometBFT line that this version does not sign with.
const UNSUPPORTED: [(&str, &str); 4] = [
    ("cometbft/PrivKeyBls12_381", "bls12_381"),
    ("cometbft/PrivKeyMlDsa65", "ml_dsa_65"),
    ("tendermint/PrivKeySecp256k1eth", "secp256k1eth"),
    ("tendermint/PrivKeySr25519", "sr25519"),
];

/// Reads the file; `algorithm` is what the configuration says, if it says it.
pub(super) fn decode(contents: &[u8], algorithm: Option<Algorithm>) -> Result<KeyPair, Problem> {
    if contents.contains(&b'\\') {
        return Err(Problem::JsonEscape);
    }
    let file: KeyJson<'_> = serde_json::from_slice(contents).map_err(|error| syntax(&error))?;
    let private = file.priv_key.ok_or(Problem::JsonField { field: "priv_key" })?;
    let public = file.pub_key.ok_or(Problem::JsonField { field: "pub_key" })?;
    let address = file.address.ok_or(Problem::JsonField { field: "address" })?;

    let found = algorithm_of(private.name)?;
    if let Some(expected) = algorithm.filter(|expected| *expected != found) {
        return Err(Problem::OtherAlgorithm { expected, found });
    }
    let pair = private_key(private.value, found)?;
    check_public_key(public, &pair)?;
    check_address(address, &pair)?;
    Ok(pair)
}

/// serde_json's own text may quote values of the file, the secret among them: only the place is kept.
fn syntax(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    if error.is_data() { Problem::JsonShape { line, column } } else { Problem::JsonSyntax { line, column } }
}

fn algorithm_of(type_name: &str) -> Result<Algorithm, Problem> {
    match type_name {
        "tendermint/PrivKeyEd25519" => Ok(Algorithm::Ed25519),
        "tendermint/PrivKeySecp256k1" => Ok(Algorithm::Secp256k1),
        _ => Err(match UNSUPPORTED.iter().find(|(name, _)| *name == type_name) {
            Some((_, name)) => Problem::UnsupportedType { name },
            None => Problem::UnknownType { name: shown_type(type_name) },
        }),
    }
}

/// A type's name as far as it may be shown: in a file with its fields mixed up it could be the secret.
fn shown_type(name: &str) -> Option<Box<str>> {
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_'));
    let is_known_kind = ["tendermint/", "cometbft/", "ethermint/"].iter().any(|kind| name.starts_with(kind));
    (is_name && is_known_kind && name.len() <= 40).then(|| name.into())
}

/// CometBFT writes ed25519 as seed‖public, 64 bytes, and secp256k1 as 32; nothing else is one of its keys.
fn private_key(value: &str, algorithm: Algorithm) -> Result<KeyPair, Problem> {
    let expected_chars = match algorithm {
        Algorithm::Ed25519 => 88,
        Algorithm::Secp256k1 => 44,
    };
    if value.len() != expected_chars {
        return Err(Problem::JsonLength { algorithm, expected_chars, got_chars: value.len() });
    }
    decode::from_base64(value.as_bytes(), algorithm)
}

fn check_public_key(stored: Typed<'_>, pair: &KeyPair) -> Result<(), Problem> {
    let derived = *pair.public();
    let claimed = decode::claimed_public_key(stored.value, derived.algorithm());
    if stored.name == derived.comet_type() && claimed == Some(derived) {
        return Ok(());
    }
    // What stands where the public key belongs could be the secret.
    let shown = claimed.filter(|key| key.as_bytes() != pair.secret().expose());
    Err(Problem::PublicKey { stored: shown, derived })
}

fn check_address(stored: &str, pair: &KeyPair) -> Result<(), Problem> {
    let derived = pair.public().address();
    if stored.eq_ignore_ascii_case(&derived.to_string()) {
        return Ok(());
    }
    let is_address = stored.len() == 40 && stored.bytes().all(|byte| byte.is_ascii_hexdigit());
    Err(Problem::Address { stored: is_address.then(|| stored.into()), derived })
}
