//! `tmkms state import --from filepv` with the files of every CometBFT line: whose state it is, told by its signature.
#![allow(clippy::unwrap_used)] // A test may fail where a signer may not.
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const LINES: [&str; 6] = ["v0.34", "v0.37", "v0.38", "v0.39", "v0.40", "v1.0"];

struct House(PathBuf);

impl House {
    /// A configuration of that chain with that key of the vectors, and no state.
    fn new(name: &str, chain_id: &str, key: &Value) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tmkms-import-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let house = Self(folder);
        house.write("key.json", &key["priv_validator_key"].to_string());
        let key_type = key["type"].as_str().unwrap();
        let config = format!(
            "[[chain]]\nid = \"{chain_id}\"\nkey_format = {{ type = \"hex\" }}\nstate_file = \"state.json\"\n\
             [[providers.softsign]]\nchain_ids = [\"{chain_id}\"]\nkey_format = \"json\"\nalgorithm = \"{key_type}\"\npath = \"key.json\"\n"
        );
        house.write("tmkms.toml", &config);
        house
    }

    fn write(&self, name: &str, text: &str) {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(self.0.join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn import(&self, state: &Value) -> Output {
        self.write("filepv.json", &state.to_string());
        let _ = fs::remove_file(self.0.join("state.json"));
        let arguments = ["state", "import", "--from", "filepv", "filepv.json"];
        Command::new(env!("CARGO_BIN_EXE_tmkms")).args(arguments).current_dir(&self.0).output().unwrap()
    }

    fn refuses(&self, state: &Value, why: &str) {
        let output = self.import(state);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{state}: {text}");
        assert!(text.contains(why), "{state}: expected {why:?}, got {text}");
        assert!(!self.0.join("state.json").exists(), "{state}");
    }

    fn accepts(&self, state: &Value) -> String {
        let output = self.import(state);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(0), "{state}: {text}");
        text
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn vectors(line: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../e2e/vectors/{line}.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The line's keys that this signer knows.
fn keys(vectors: &Value) -> Vec<&Value> {
    let known = |key: &&Value| key["type"] == "ed25519" || key["type"] == "secp256k1";
    vectors["keys"].as_array().unwrap().iter().filter(known).collect()
}

/// The states in which something was signed, with the type of their key.
fn signed(vectors: &Value) -> Vec<(&Value, Value)> {
    let states = vectors["states"].as_array().unwrap().iter();
    let all = states.map(|state| (&state["key_type"], state["priv_validator_state"].clone()));
    all.filter(|(_, state)| state.get("signature").is_some()).collect()
}

#[test]
fn a_state_is_taken_over_by_the_key_that_signed_it_and_by_no_other() {
    for line in LINES {
        let vectors = vectors(line);
        let (mut taken, mut refused) = (0, 0);
        for key in keys(&vectors) {
            let house = House::new(&format!("{line}-{}", key["type"].as_str().unwrap()), "test_chain_id", key);
            let address = key["priv_validator_key"]["address"].as_str().unwrap();
            for (of, state) in signed(&vectors) {
                if *of == key["type"] {
                    let text = house.accepts(&state);
                    assert!(text.contains("last signed 3/2/") && !text.contains("is taken from you"), "{text}");
                    taken += 1;
                } else {
                    house.refuses(&state, &format!("its signature is not by this chain's key (address {address})"));
                    refused += 1;
                }
            }
        }
        assert_eq!((taken, refused), (6, 6), "{line}");
    }
}

#[test]
fn a_state_whose_signature_or_chain_is_not_right_is_refused() {
    let vectors = vectors("v0.38");
    let states = signed(&vectors);
    for key in keys(&vectors) {
        let name = key["type"].as_str().unwrap();
        let house = House::new(&format!("wrong-{name}"), "test_chain_id", key);
        let own: Vec<_> = states.iter().filter(|(of, _)| **of == key["type"]).map(|(_, state)| state).collect();
        let mut state = own[0].clone();
        // Another statement's, one that is too short, and one without form.
        for signature in [own[1]["signature"].clone(), "AAAA".into(), "A".repeat(86).into()] {
            state["signature"] = if signature.as_str().unwrap().len() == 86 {
                format!("{}==", signature.as_str().unwrap()).into()
            } else {
                signature
            };
            house.refuses(&state, "its signature is not by this chain's key");
        }
        let elsewhere = House::new(&format!("elsewhere-{name}"), "elsewhere-1", key);
        elsewhere.refuses(own[0], "the state of another chain: expected \"elsewhere-1\", got \"test_chain_id\"");
    }
}

#[test]
fn a_state_without_a_signature_is_taken_over_and_its_owner_said_to_be_unknown() {
    let vectors = vectors("v0.38");
    let house = House::new("unsigned", "test_chain_id", keys(&vectors)[0]);
    let mut state = signed(&vectors)[0].1.clone();
    state.as_object_mut().unwrap().remove("signature");
    assert!(house.accepts(&state).contains("that it is this key's state is taken from you"));
    state.as_object_mut().unwrap().remove("signbytes");
    assert!(house.accepts(&state).contains("the file names neither chain nor key"));
}
