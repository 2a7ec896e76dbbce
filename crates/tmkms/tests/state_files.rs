//! `tmkms state … --file` on what `tmkms nitro persist` keeps: locked while it is open, and whose a signature is.
#![allow(clippy::unwrap_used)] // A test may fail where a signer may not.
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use store::FileStore;
use store::file::{inspect, slot::Owner};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tmkms-state-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn state(&self, line: &str) -> (Option<i32>, String) {
        let arguments = std::iter::once("state").chain(line.split(' '));
        let mut command = Command::new(env!("CARGO_BIN_EXE_tmkms"));
        let output = command.args(arguments).current_dir(&self.0).env_remove("TMKMS_CONFIG_FILE").output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_that_is_in_use_is_shown_and_neither_repaired_nor_imported_over_nor_exported() {
    let folder = Folder::new("in-use");
    assert_eq!(folder.state("init --file state.json --chain-id a-1 --height 7").0, Some(0));
    let path = folder.0.join("state.json");
    let before = fs::read(&path).unwrap();
    // As persist opens it.
    let open = FileStore::open_for(&path, &Owner::unbound("a-1".try_into().unwrap())).unwrap();
    fs::write(folder.0.join("filepv.json"), r#"{"height":"100","round":1,"step":3}"#).unwrap();
    let commands = [
        "repair --file state.json --height 9",
        "repair --file state.json --height 3 --force --yes",
        "import --file state.json --from filepv filepv.json",
        "export --file state.json --to ours copy.json",
    ];
    for command in commands {
        let (code, text) = folder.state(command);
        assert_eq!(code, Some(4), "{command}: {text}");
        assert!(text.contains(&format!("in use by process {}", std::process::id())), "{command}: {text}");
    }
    assert_eq!(fs::read(&path).unwrap(), before);
    assert!(!folder.0.join("copy.json").exists());
    let (code, text) = folder.state("show --file state.json");
    assert!(code == Some(0) && text.contains("nothing at or below height 7 will be signed"), "{text}");
    drop(open);
    assert_eq!(folder.state("repair --file state.json --height 9").0, Some(0));
}

/// A key of CometBFT's vectors and a state that it signed.
fn vector(wanted: &str) -> (String, Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/vectors/v0.38.json");
    let vectors: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let keys = vectors["keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["type"] == wanted).unwrap();
    let public = key["priv_validator_key"]["pub_key"]["value"].as_str().unwrap().to_owned();
    let states = vectors["states"].as_array().unwrap().iter();
    let mut states = states.filter(|state| state["key_type"] == wanted).map(|state| &state["priv_validator_state"]);
    (public, states.find(|state| state.get("signature").is_some()).unwrap().clone())
}

#[test]
fn a_state_that_comes_to_the_parent_keeps_its_bytes_if_its_key_is_named_and_its_position_if_not() {
    for (own, other) in [("ed25519", "secp256k1"), ("secp256k1", "ed25519")] {
        let folder = Folder::new(&format!("comes-{own}"));
        let ((key, state), (another, _)) = (vector(own), vector(other));
        fs::write(folder.0.join("filepv.json"), state.to_string()).unwrap();
        let import = "import --chain-id test_chain_id --from filepv filepv.json --file";

        let (code, text) = folder.state(&format!("{import} wrong.json --public-key {another}"));
        assert!(code == Some(4) && text.contains("its signature is not by this chain's key"), "{text}");
        assert!(text.contains("tmkms state init --file wrong.json --chain-id test_chain_id --public-key"), "{text}");
        assert!(!folder.0.join("wrong.json").exists());

        assert_eq!(folder.state(&format!("{import} named.json --public-key {key}")).0, Some(0));
        let named = inspect(&folder.0.join("named.json")).unwrap();
        assert_eq!(named.held().unwrap().owner.pub_key, key);
        assert!(named.held().unwrap().record.statement().is_some());

        assert_eq!(folder.state(&format!("{import} unnamed.json")).0, Some(0));
        let unnamed = inspect(&folder.0.join("unnamed.json")).unwrap();
        assert!(unnamed.held().unwrap().owner.is_unbound() && unnamed.held().unwrap().record.statement().is_none());
        assert_eq!(unnamed.held().unwrap().record.position(), named.held().unwrap().record.position());

        // Of the file's own key a foreign signature is refused, too, though the command names none.
        let init = format!("init --file bound.json --chain-id test_chain_id --public-key {another} --new-validator");
        assert_eq!(folder.state(&init).0, Some(0));
        let (code, text) = folder.state(&format!("{import} bound.json"));
        assert!(code == Some(4) && text.contains("its signature is not by this chain's key"), "{text}");
    }
}

#[test]
fn a_state_goes_to_the_parent_and_back_as_it_was() {
    let folder = Folder::new("back");
    let (key, state) = vector("ed25519");
    fs::write(folder.0.join("filepv.json"), state.to_string()).unwrap();
    let commands = [
        format!("import --file one.json --chain-id test_chain_id --public-key {key} --from filepv filepv.json"),
        "export --file one.json --to ours moved.json".to_owned(),
        "import --file two.json --chain-id test_chain_id --from ours moved.json".to_owned(),
    ];
    for command in commands {
        let (code, text) = folder.state(&command);
        assert_eq!(code, Some(0), "{command}: {text}");
    }
    let [one, two] = ["one.json", "two.json"].map(|name| inspect(&folder.0.join(name)).unwrap());
    assert_eq!(one.held().unwrap().owner, two.held().unwrap().owner);
    assert_eq!(one.held().unwrap().record.statement(), two.held().unwrap().record.statement());
}

#[test]
fn a_file_with_one_intact_slot_is_repaired_for_the_key_that_stands_there() {
    const KEY: &str = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";
    for slot in [0, 1] {
        let folder = Folder::new(&format!("slot-{slot}"));
        assert_eq!(
            folder.state(&format!("init --file state.json --chain-id a-1 --public-key {KEY} --height 7")).0,
            Some(0)
        );
        let path = folder.0.join("state.json");
        let mut bytes = fs::read(&path).unwrap();
        bytes[slot * 4096 + 20] ^= 1;
        fs::write(&path, bytes).unwrap();
        let (code, text) = folder.state("show --file state.json");
        assert!(code == Some(4) && text.contains(KEY), "{text}");
        assert!(text.contains("tmkms state repair --file state.json --chain-id a-1 --height H"), "{text}");
        let (code, text) = folder.state("repair --file state.json --height 3");
        assert!(code == Some(0) && text.contains("nothing at or below height 7 will be signed"), "{text}");
        assert_eq!(inspect(&path).unwrap().held().unwrap().owner.pub_key, KEY);
    }
}
