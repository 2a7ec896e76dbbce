//! Keys, addresses and signatures as every CometBFT line makes them: the golden vectors of its own code.
#![allow(clippy::unwrap_used)]
mod key_folder;

use guard::{ChainId, Committed, Extension, Guard, Height, Identity, Record, Statement, Store, StoreError};
use key_folder::KeyFolder;
use serde_json::Value;
use signer::keys::{ConsensusKey, KeyFormat, Problem, Signed};

/// The lines whose vectors there must be.
const LINES: [&str; 6] = ["v0.34", "v0.37", "v0.38", "v0.39", "v0.40", "v1.0"];

fn lines() -> impl Iterator<Item = (&'static str, Value)> {
    LINES.into_iter().map(|line| {
        let path = format!("{}/../../e2e/vectors/{line}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        (line, serde_json::from_str(&text).unwrap())
    })
}

fn entries<'file>(file: &'file Value, name: &str) -> std::slice::Iter<'file, Value> {
    file[name].as_array().unwrap_or_else(|| panic!("no {name}")).iter()
}

fn base16(value: &Value) -> Vec<u8> {
    let hex = value.as_str().unwrap();
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

/// The line's keys of types that we sign with, by name.
fn keys(file: &Value) -> Vec<(String, ConsensusKey)> {
    entries(file, "keys")
        .filter_map(|case| {
            let json = serde_json::to_vec_pretty(&case["priv_validator_key"]).unwrap();
            let key = ConsensusKey::decode(&json, KeyFormat::Json, None).ok()?;
            Some((case["type"].as_str().unwrap().to_owned(), key))
        })
        .collect()
}

/// A store of a key that never signed, which keeps every record. What is on disk is not the matter here.
struct NeverSigned(Record);

impl Store for NeverSigned {
    fn recover(&mut self) -> Result<Record, StoreError> {
        Ok(self.0.clone())
    }

    fn commit(&mut self, _previous: &Record, next: &Record) -> Result<Committed, StoreError> {
        self.0 = next.clone();
        Ok(Committed::durably(next))
    }
}

/// Through a guard, as there is no other way. None where the guard refuses.
fn sign(key: &ConsensusKey, statement: Statement, extension: Option<Extension>) -> Option<Signed> {
    let chain_id = ChainId::try_from(statement.chain_id()).ok()?;
    let identity = Identity { chain_id, public_key: key.public_key().as_bytes().into() };
    let mut guard = Guard::new(identity, NeverSigned(Record::floor(0, guard::Position::end_of(Height::ZERO))));
    guard.authorize(statement, extension).ok().and_then(|permit| key.sign(permit).ok())
}

#[test]
fn every_lines_key_files_give_its_public_keys_and_addresses() {
    let folder = KeyFolder::new();
    for (line, file) in lines() {
        for case in entries(&file, "keys") {
            let kind = case["type"].as_str().unwrap();
            let json = serde_json::to_vec_pretty(&case["priv_validator_key"]).unwrap();
            let path = folder.file(&format!("{line}-{kind}.json"), json);
            match ConsensusKey::read(&path, KeyFormat::Json, None) {
                Ok(key) => {
                    let public = key.public_key();
                    assert_eq!(public.algorithm().name(), kind);
                    assert_eq!(public.as_bytes(), base16(&case["pub_key"]["value"]), "{line} {kind}");
                    assert_eq!(public.address().as_bytes().as_slice(), base16(&case["pub_key"]["address"]));
                    assert_eq!(Value::from(public.address().to_string()), case["priv_validator_key"]["address"]);
                    let shown: Value = serde_json::from_str(&public.comet_json()).unwrap();
                    assert_eq!(shown, case["priv_validator_key"]["pub_key"], "{line} {kind}");
                }
                Err(error) => match error.problem() {
                    Problem::UnsupportedType { name } => assert_eq!(*name, kind),
                    other => panic!("{line} {kind}: {other}"),
                },
            }
        }
        let names: Vec<_> = keys(&file).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["ed25519", "secp256k1"], "{line}");
    }
}

#[test]
fn raw_private_keys_of_go_give_the_same_keys() {
    for (line, file) in lines() {
        for (name, key) in keys(&file) {
            let case = entries(&file, "keys").find(|case| case["type"] == name.as_str()).unwrap();
            let raw = ConsensusKey::decode(&base16(&case["priv_key"]), KeyFormat::Raw, name.parse().ok()).ok().unwrap();
            assert_eq!(raw.public_key(), key.public_key(), "{line} {name}");
        }
    }
}

#[test]
fn votes_and_proposals_are_signed_as_go_signs_them() {
    for (line, file) in lines() {
        let keys = keys(&file);
        let mut signed = 0;
        for case in entries(&file, "votes").chain(entries(&file, "proposals")) {
            if case["sign_bytes"].is_null() {
                continue;
            }
            let Ok(statement) = Statement::parse(&base16(&case["sign_bytes"])) else { continue };
            for (name, key) in &keys {
                let Some(answer) = sign(key, statement.clone(), None) else { continue };
                assert_eq!(
                    answer.signature.as_slice(),
                    base16(&case["signatures"][name]),
                    "{line} {name} {}",
                    case["name"]
                );
                assert_eq!(answer.timestamp, statement.timestamp());
                assert_eq!(answer.extension_signature, None);
                signed += 1;
            }
        }
        assert!(signed >= 40, "{line}: only {signed} signatures were compared");
    }
}

/// The sign bytes of a precommit for a block: what an extension is authorized with.
fn precommit(height: i64, round: i64, chain_id: &str) -> Vec<u8> {
    let mut message = vec![0x08, 0x02, 0x11];
    message.extend(height.to_le_bytes());
    if round != 0 {
        message.push(0x19);
        message.extend(round.to_le_bytes());
    }
    message.extend([0x22, 0x48, 0x0A, 0x20]);
    message.extend([0xAB; 32]);
    message.extend([0x12, 0x24, 0x08, 0x01, 0x12, 0x20]);
    message.extend([0xCD; 32]);
    message.extend([0x2A, 0x00, 0x32, u8::try_from(chain_id.len()).unwrap()]);
    message.extend(chain_id.as_bytes());
    let length = u8::try_from(message.len()).unwrap();
    let mut bytes = if length < 128 { vec![length] } else { vec![length, 1] };
    bytes.extend(message);
    bytes
}

#[test]
fn vote_extensions_are_signed_as_go_signs_them() {
    for (line, file) in lines() {
        let keys = keys(&file);
        let mut signed = 0;
        // Height 0 and an empty chain id are no vote's, and Go gives only a digest of the longest bytes.
        let is_signable =
            |case: &&Value| case["height"] != 0 && case["chain_id"] != "" && !case["sign_bytes"].is_null();
        for case in entries(&file, "extensions").filter(is_signable) {
            let (height, round) = (case["height"].as_i64().unwrap(), case["round"].as_i64().unwrap());
            let precommit = Statement::parse(&precommit(height, round, case["chain_id"].as_str().unwrap())).unwrap();
            for (name, key) in &keys {
                let extension = Extension::parse(base16(&case["sign_bytes"]).into()).unwrap();
                let answer = sign(key, precommit.clone(), Some(extension)).unwrap();
                let expected = base16(&case["signatures"][name]);
                assert_eq!(answer.extension_signature.unwrap().as_slice(), expected, "{line} {name} {}", case["name"]);
                assert_ne!(answer.signature.as_slice(), expected);
                signed += 1;
            }
        }
        let has_extensions = !matches!(line, "v0.34" | "v0.37");
        assert_eq!(signed >= 10, has_extensions, "{line}: {signed} extension signatures were compared");
    }
}

#[test]
fn a_key_does_not_sign_what_was_allowed_to_another() {
    let key = |seed: u8| ConsensusKey::decode(&[seed; 32], KeyFormat::Raw, None).ok().unwrap();
    let hex = "2b08021103000000000000001902000000000000002a0608f49a8ded05320d746573745f636861696e5f6964";
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
    let chain_id = ChainId::try_from("test_chain_id").unwrap();
    let identity = Identity { chain_id, public_key: key(1).public_key().as_bytes().into() };
    let mut guard = Guard::new(identity, NeverSigned(Record::never_signed()));
    let mut permit = || guard.authorize(Statement::parse(&bytes).unwrap(), None).unwrap();
    assert!(key(2).sign(permit()).is_err());
    assert!(key(1).sign(permit()).is_ok());
}
