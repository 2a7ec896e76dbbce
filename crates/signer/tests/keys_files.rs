//! Key files: every form that is read, every way to be wrong with its remedy, and how new ones are written.
#![allow(clippy::unwrap_used)]
mod key_folder;

use base64ct::{Base64, Encoding};
use key_folder::{KeyFolder, mode_of};
use rustix::fs::{CWD, Mode, mkfifoat};
use signer::keys::{
    Algorithm, ConsensusKey, IdentityKey, KeyFileError, KeyFormat, MAX_KEY_FILE_BYTES, Problem, generate, import,
};
use std::path::Path;

/// TEST KEY of tmkms's own repository (tests/support/signing_ed25519.key): its seed is this text.
const TEST_SEED: &[u8; 32] = b"TEST KEY ONLY: DO **NOT** USE!!!";
/// TEST KEY: the same file as tmkms has it, without a newline.
const TEST_BASE64: &str = "VEVTVCBLRVkgT05MWTogRE8gKipOT1QqKiBVU0UhISE=";
/// TEST KEY of tmkms's own repository (tests/support/priv_validator_mock.json).
const TEST_JSON: &str = r#"{
  "comment": "TEST KEY ONLY: DO **NOT** USE!!",
  "address": "275184F7F3BB2D1EB56FB91F0DC9E0FE6FB64097",
  "pub_key": {
    "type": "tendermint/PubKeyEd25519",
    "value": "Dicjr17rwt2WMy+Wo/hLGc2qPpx03kvyUJCJGqh1MXM="
  },
  "last_height": "0",
  "last_round": "0",
  "last_step": 0,
  "priv_key": {
    "type": "tendermint/PrivKeyEd25519",
    "value": "qIoGOuRm6GHobrRGq9t2I388pnWO7ZB9FE0R+M8TM6oOJyOvXuvC3ZYzL5aj+EsZzao+nHTeS/JQkIkaqHUxcw=="
  }
}"#;
/// The private value of [`TEST_JSON`], which must never be in an error.
const TEST_JSON_SECRET: &str =
    "qIoGOuRm6GHobrRGq9t2I388pnWO7ZB9FE0R+M8TM6oOJyOvXuvC3ZYzL5aj+EsZzao+nHTeS/JQkIkaqHUxcw==";

fn read(path: &Path, format: KeyFormat) -> Result<ConsensusKey, KeyFileError> {
    ConsensusKey::read(path, format, None)
}

fn public(contents: impl AsRef<[u8]>, format: KeyFormat, algorithm: Option<Algorithm>) -> String {
    match ConsensusKey::decode(contents.as_ref(), format, algorithm) {
        Ok(key) => key.public_key().to_string(),
        Err(problem) => panic!("expected a key, got: {problem}"),
    }
}

fn refused(contents: impl AsRef<[u8]>, format: KeyFormat, algorithm: Option<Algorithm>) -> Problem {
    match ConsensusKey::decode(contents.as_ref(), format, algorithm) {
        Ok(key) => panic!("expected a refusal, got the key {}", key.public_key()),
        Err(problem) => problem,
    }
}

fn error_of<T>(result: Result<T, KeyFileError>) -> KeyFileError {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(error) => error,
    }
}

/// The text says all of `words`, and nothing of any test key.
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "expected {word:?} in {text:?}");
    }
    for secret in ["TEST KEY", TEST_BASE64, TEST_JSON_SECRET, "qIoGOuRm", "VEVTVCBL", "a88a063a"] {
        assert!(!text.contains(secret), "the secret {secret:?} is in {text:?}");
    }
}

fn seed_and_public() -> Vec<u8> {
    let key = ConsensusKey::decode(TEST_SEED, KeyFormat::Raw, None).ok().unwrap();
    [TEST_SEED, key.public_key().as_bytes()].concat()
}

#[test]
fn the_same_key_is_read_from_every_form() {
    let expected = public(TEST_BASE64, KeyFormat::Base64, None);
    let both = seed_and_public();
    assert_eq!(public(format!("{TEST_BASE64}\n"), KeyFormat::Base64, None), expected);
    assert_eq!(public(format!("{TEST_BASE64} \r\n\n"), KeyFormat::Base64, None), expected);
    assert_eq!(public(Base64::encode_string(&both), KeyFormat::Base64, None), expected);
    assert_eq!(public(TEST_SEED, KeyFormat::Raw, None), expected);
    assert_eq!(public(&both, KeyFormat::Raw, Some(Algorithm::Ed25519)), expected);
}

#[test]
fn thirty_two_bytes_are_of_the_algorithm_that_the_setting_says() {
    let ed25519 = public(TEST_BASE64, KeyFormat::Base64, None);
    let secp256k1 = public(TEST_BASE64, KeyFormat::Base64, Some(Algorithm::Secp256k1));
    assert!(ed25519.starts_with("ed25519:"), "{ed25519}");
    assert!(secp256k1.starts_with("secp256k1:0"), "{secp256k1}");
    assert_eq!(public(TEST_SEED, KeyFormat::Raw, Some(Algorithm::Secp256k1)), secp256k1);
}

#[test]
fn raw_bytes_are_read_even_if_they_begin_like_json() {
    let mut bytes = [0xFF; 32];
    bytes[0] = b'{';
    assert!(public(bytes, KeyFormat::Raw, None).starts_with("ed25519:"));
}

#[test]
fn a_priv_validator_key_with_more_fields_and_in_another_order_is_read() {
    let key = ConsensusKey::decode(TEST_JSON.as_bytes(), KeyFormat::Json, Some(Algorithm::Ed25519)).ok().unwrap();
    assert_eq!(key.public_key().address().to_string(), "275184F7F3BB2D1EB56FB91F0DC9E0FE6FB64097");
    assert_eq!(key.public_key().base64(), "Dicjr17rwt2WMy+Wo/hLGc2qPpx03kvyUJCJGqh1MXM=");
    let lower =
        TEST_JSON.replace("275184F7F3BB2D1EB56FB91F0DC9E0FE6FB64097", "275184f7f3bb2d1eb56fb91f0dc9e0fe6fb64097");
    assert_eq!(public(lower, KeyFormat::Json, None), key.public_key().to_string());
}

#[test]
fn an_identity_key_is_tmkms_base64() {
    let folder = KeyFolder::new();
    let path = folder.file("id.key", TEST_BASE64);
    let key = IdentityKey::read(&path).ok().unwrap();
    assert_eq!(key.public_key().to_string(), public(TEST_SEED, KeyFormat::Raw, None));
    let error = error_of(IdentityKey::read(&folder.file("id.json", TEST_JSON)));
    assert!(matches!(error.problem(), Problem::OtherFormat { .. }), "{error}");
}

#[test]
fn a_missing_file_says_how_to_make_one() {
    let folder = KeyFolder::new();
    for path in [folder.path("none"), folder.file("file", "x").join("below")] {
        let error = error_of(read(&path, KeyFormat::Base64));
        assert!(matches!(error.problem(), Problem::Missing), "{error}");
        says(&error.to_string(), &[path.to_str().unwrap(), "softsign keygen", "softsign import"]);
    }
}

#[test]
fn what_is_no_file_is_named_and_never_waited_for() {
    let folder = KeyFolder::new();
    std::fs::create_dir(folder.path("folder")).unwrap();
    mkfifoat(CWD, folder.path("pipe"), Mode::from_raw_mode(0o600)).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(folder.path("socket")).unwrap();
    for (name, kind) in [("folder", "a folder"), ("pipe", "a pipe"), ("socket", "a socket"), ("/dev/zero", "a device")]
    {
        let error = error_of(read(&folder.path(name), KeyFormat::Raw));
        says(&error.to_string(), &["expected a file", kind, name]);
    }
}

#[test]
fn a_file_for_others_than_its_owner_is_refused_with_the_command() {
    let folder = KeyFolder::new();
    for mode in [0o644, 0o640, 0o660, 0o604, 0o610, 0o601, 0o777, 0o444] {
        let path = folder.file_of_mode(&format!("{mode:o}.key"), TEST_BASE64, mode);
        let error = error_of(read(&path, KeyFormat::Base64));
        says(
            &error.to_string(),
            &["expected mode 0600", &format!("got {mode:04o}"), &format!("chmod 600 {}", path.display())],
        );
    }
    for mode in [0o600, 0o400, 0o700] {
        let path = folder.file_of_mode(&format!("{mode:o}.key"), TEST_BASE64, mode);
        assert!(read(&path, KeyFormat::Base64).is_ok(), "{mode:o}");
    }
}

#[test]
fn a_link_to_a_key_file_is_followed() {
    let folder = KeyFolder::new();
    let path = folder.path("link");
    std::os::unix::fs::symlink(folder.file("key", TEST_BASE64), &path).unwrap();
    assert!(read(&path, KeyFormat::Base64).is_ok());
}

#[test]
fn a_file_that_is_too_long_is_refused_at_one_byte_more() {
    let folder = KeyFolder::new();
    let padded = |bytes: usize| format!("{TEST_BASE64:bytes$}");
    assert!(read(&folder.file("fits", padded(MAX_KEY_FILE_BYTES)), KeyFormat::Base64).is_ok());
    let error = error_of(read(&folder.file("long", padded(MAX_KEY_FILE_BYTES + 1)), KeyFormat::Base64));
    assert!(matches!(error.problem(), Problem::TooLong), "{error}");
    says(&error.to_string(), &["16384 bytes"]);
}

#[test]
fn an_empty_file_is_refused_in_every_format() {
    for format in [KeyFormat::Base64, KeyFormat::Json, KeyFormat::Raw] {
        assert!(matches!(refused("", format, None), Problem::Empty));
    }
    assert!(matches!(refused(" \n", KeyFormat::Base64, None), Problem::Empty));
    assert!(matches!(refused("\n", KeyFormat::Json, None), Problem::Empty));
}

#[test]
fn another_format_than_the_setting_says_is_named_with_the_right_setting() {
    let hex: String = TEST_SEED.iter().map(|byte| format!("{byte:02x}")).collect();
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n";
    let unprintable = [0x9D; 32];
    let cases: [(&[u8], KeyFormat, [&str; 2]); 9] = [
        (TEST_JSON.as_bytes(), KeyFormat::Base64, ["looks like JSON", "set `key_format = \"json\"`"]),
        (TEST_JSON.as_bytes(), KeyFormat::Raw, ["looks like JSON", "set `key_format = \"json\"`"]),
        (TEST_BASE64.as_bytes(), KeyFormat::Json, ["looks like base64", "set `key_format = \"base64\"`"]),
        (TEST_BASE64.as_bytes(), KeyFormat::Raw, ["looks like base64", "set `key_format = \"base64\"`"]),
        (&unprintable, KeyFormat::Base64, ["looks like raw bytes", "set `key_format = \"raw\"`"]),
        (&unprintable, KeyFormat::Json, ["looks like raw bytes", "set `key_format = \"raw\"`"]),
        (hex.as_bytes(), KeyFormat::Base64, ["looks like hexadecimal", "convert it to base64"]),
        (hex.as_bytes(), KeyFormat::Raw, ["looks like hexadecimal", "convert it to base64"]),
        (pem.as_bytes(), KeyFormat::Base64, ["looks like PEM", "convert it to base64"]),
    ];
    for (contents, format, words) in cases {
        let text = refused(contents, format, None).to_string();
        says(&text, &words);
        says(&text, &[&format!("is read with `key_format = \"{format}\"`")]);
        assert!(!text.contains(&hex[..8]), "{text}");
    }
}

#[test]
fn wrong_lengths_are_refused_with_both_values() {
    for got in [1, 31, 33, 63, 65, 95, 97, 200] {
        let bytes = vec![0xC3; got];
        let text = refused(Base64::encode_string(&bytes), KeyFormat::Base64, None).to_string();
        says(&text, &["expected 32 or 64 bytes"]);
        says(&refused(&bytes, KeyFormat::Raw, None).to_string(), &[&format!("got {got}")]);
    }
    let text = refused(Base64::encode_string(&[0xC3; 64]), KeyFormat::Base64, Some(Algorithm::Secp256k1)).to_string();
    says(&text, &["expected 32 bytes of a secp256k1 secret, got 64"]);
}

#[test]
fn what_is_no_base64_is_refused() {
    let url_safe = "VEVTVCBLRVkgT05MWTogRE8gKipOT1QqKiBVU0UhIS_=";
    for text in ["not base64!", "VEVTVCBLRVkgT05MWTogRE8gKipOT1QqKiBVU0UhISE", url_safe, "VEVT\nVCBL"] {
        let problem = refused(text, KeyFormat::Base64, None);
        assert!(matches!(problem, Problem::Base64), "{text}: {problem}");
    }
}

#[test]
fn a_wrong_public_half_is_refused_and_not_shown() {
    let mut bytes = seed_and_public();
    bytes[63] ^= 1;
    // tmkms would read this base64 as an expanded key, whose second half is secret.
    let stored: String = bytes[32..].iter().map(|byte| format!("{byte:02X}")).collect();
    let derived = public(TEST_SEED, KeyFormat::Raw, None);
    for problem in [
        refused(&bytes, KeyFormat::Raw, None),
        refused(Base64::encode_string(&bytes), KeyFormat::Base64, None),
        refused(with_private(&Base64::encode_string(&bytes)), KeyFormat::Json, None),
    ] {
        let text = problem.to_string();
        says(&text, &[&derived, "expanded key"]);
        assert!(!text.contains(&stored), "{text}");
    }
}

#[test]
fn the_expanded_form_of_a_yubihsm_export_is_named() {
    let problem = refused(Base64::encode_string(&[0x5A; 96]), KeyFormat::Base64, None);
    assert!(matches!(problem, Problem::ExpandedKey), "{problem}");
    says(&problem.to_string(), &["96", "YubiHSM", "32-byte seed"]);
}

#[test]
fn secp256k1_secrets_outside_the_curve_are_refused() {
    let mut order = [0xFF; 32];
    order[15..].copy_from_slice(&[
        0xFE, 0xBA, 0xAE, 0xDC, 0xE6, 0xAF, 0x48, 0xA0, 0x3B, 0xBF, 0xD2, 0x5E, 0x8C, 0xD0, 0x36, 0x41, 0x41,
    ]);
    let mut below = order;
    below[31] -= 1;
    for secret in [[0; 32], order, [0xFF; 32]] {
        let problem = refused(secret, KeyFormat::Raw, Some(Algorithm::Secp256k1));
        assert!(matches!(problem, Problem::NotAScalar), "{problem}");
        says(&problem.to_string(), &["algorithm = \"ed25519\""]);
    }
    assert!(public(below, KeyFormat::Raw, Some(Algorithm::Secp256k1)).starts_with("secp256k1:"));
}

fn with_private(value: &str) -> String {
    TEST_JSON.replace(TEST_JSON_SECRET, value)
}

#[test]
fn json_of_another_algorithm_than_the_setting_says_is_refused() {
    let text = refused(TEST_JSON, KeyFormat::Json, Some(Algorithm::Secp256k1)).to_string();
    says(&text, &["expected secp256k1, got ed25519", "set `algorithm = \"ed25519\"`"]);
}

#[test]
fn key_types_that_are_not_supported_yet_are_named() {
    for (type_name, name) in [
        ("cometbft/PrivKeyBls12_381", "bls12_381"),
        ("cometbft/PrivKeyMlDsa65", "ml_dsa_65"),
        ("tendermint/PrivKeySecp256k1eth", "secp256k1eth"),
        ("tendermint/PrivKeySr25519", "sr25519"),
    ] {
        let json = TEST_JSON.replace("tendermint/PrivKeyEd25519", type_name);
        says(&refused(json, KeyFormat::Json, None).to_string(), &[name, "not supported yet"]);
    }
}

#[test]
fn an_unknown_key_type_is_shown_only_if_it_is_a_name() {
    let named = TEST_JSON.replace("tendermint/PrivKeyEd25519", "cometbft/PrivKeyFalcon");
    says(&refused(named, KeyFormat::Json, None).to_string(), &["got cometbft/PrivKeyFalcon", "PrivKeySecp256k1"]);
    let mixed_up = TEST_JSON.replace("tendermint/PrivKeyEd25519", TEST_JSON_SECRET);
    says(&refused(mixed_up, KeyFormat::Json, None).to_string(), &["unknown key type", "priv_key.type"]);
}

#[test]
fn a_public_key_of_another_secret_is_refused_and_both_are_named() {
    let other = "SiXGZAofcrnJdTOClO9RttHDMVi7bsumn7w/taM8nc4=";
    let json = TEST_JSON.replace("Dicjr17rwt2WMy+Wo/hLGc2qPpx03kvyUJCJGqh1MXM=", other);
    let text = refused(json, KeyFormat::Json, None).to_string();
    says(&text, &["expected ed25519:0E2723AF5EEBC2DD", "got ed25519:4A25C6640A1F72B9"]);

    let json = TEST_JSON.replace("tendermint/PubKeyEd25519", "tendermint/PubKeySecp256k1");
    assert!(matches!(refused(json, KeyFormat::Json, None), Problem::PublicKey { .. }));
}

#[test]
fn a_secret_in_the_place_of_the_public_key_is_not_shown() {
    let seed = Base64::encode_string(&Base64::decode_vec(TEST_JSON_SECRET).unwrap()[..32]);
    let json = TEST_JSON.replace("Dicjr17rwt2WMy+Wo/hLGc2qPpx03kvyUJCJGqh1MXM=", &seed);
    let text = refused(json, KeyFormat::Json, None).to_string();
    says(&text, &["expected ed25519:0E2723AF5EEBC2DD", "got something else"]);
    assert!(!text.to_lowercase().contains("a88a063ae466e861"), "{text}");
}

#[test]
fn an_address_of_another_key_is_refused_and_both_are_named() {
    let right = "275184F7F3BB2D1EB56FB91F0DC9E0FE6FB64097";
    let wrong = "175184F7F3BB2D1EB56FB91F0DC9E0FE6FB64097";
    let text = refused(TEST_JSON.replace(right, wrong), KeyFormat::Json, None).to_string();
    says(&text, &[&format!("expected {right}, got {wrong}")]);
    let text = refused(TEST_JSON.replace(right, TEST_JSON_SECRET), KeyFormat::Json, None).to_string();
    says(&text, &[right, "got something else"]);
}

#[test]
fn json_that_is_no_key_file_is_refused_without_quoting_it() {
    let no_object = format!("{{\"address\":\"\",\"pub_key\":{{}},\"priv_key\":\"{TEST_JSON_SECRET}\"}}");
    let twice = TEST_JSON.replace("\"last_height\": \"0\"", &format!("\"address\": \"{TEST_JSON_SECRET}\""));
    let torn = &TEST_JSON[..TEST_JSON.len() - 20];
    let trailing = format!("{TEST_JSON}{TEST_JSON}");
    for json in [torn, &trailing, "{}x", "not a key"] {
        let problem = refused(json, KeyFormat::Json, None);
        assert!(matches!(problem, Problem::JsonSyntax { .. }), "{problem}");
        says(&problem.to_string(), &["line ", "column ", "it is not JSON", "priv_validator_key.json"]);
    }
    for json in [no_object.as_str(), &twice, "{\"priv_key\":7}", "[]"] {
        let problem = refused(json, KeyFormat::Json, None);
        assert!(matches!(problem, Problem::JsonShape { .. }), "{problem}");
        says(&problem.to_string(), &["line ", "column ", "it is not a priv_validator_key.json"]);
    }
}

#[test]
fn a_node_key_is_not_taken_for_a_consensus_key() {
    let json = format!(r#"{{"priv_key":{{"type":"tendermint/PrivKeyEd25519","value":"{TEST_JSON_SECRET}"}}}}"#);
    says(&refused(json, KeyFormat::Json, None).to_string(), &["\"pub_key\" is missing", "node_key.json"]);
    says(&refused("{\"a\":1}", KeyFormat::Json, None).to_string(), &["\"priv_key\" is missing"]);
}

#[test]
fn an_escape_in_json_is_refused_before_it_is_copied() {
    let json = TEST_JSON.replace("tendermint/PubKey", "tendermint\\/PubKey");
    assert!(matches!(refused(json, KeyFormat::Json, None), Problem::JsonEscape));
}

#[test]
fn a_private_value_of_another_length_is_refused() {
    let seed_only = Base64::encode_string(&Base64::decode_vec(TEST_JSON_SECRET).unwrap()[..32]);
    let text = refused(with_private(&seed_only), KeyFormat::Json, None).to_string();
    says(&text, &["expected 88 characters", "got 44"]);
    let secp = TEST_JSON.replace("tendermint/PrivKeyEd25519", "tendermint/PrivKeySecp256k1");
    says(&refused(secp, KeyFormat::Json, None).to_string(), &["expected 44 characters", "got 88"]);
}

#[test]
fn a_new_key_is_its_owners_only_and_is_what_tmkms_reads() {
    let folder = KeyFolder::new();
    for algorithm in [Algorithm::Ed25519, Algorithm::Secp256k1] {
        let path = folder.path(algorithm.name());
        let public = generate(&path, algorithm).unwrap();
        assert_eq!(mode_of(&path), 0o600);
        assert_eq!(public.algorithm(), algorithm);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.len(), 44, "44 characters of base64 and no newline");
        assert_eq!(Base64::decode_vec(&text).unwrap().len(), 32);
        let key = ConsensusKey::read(&path, KeyFormat::Base64, Some(algorithm)).ok().unwrap();
        assert_eq!(key.public_key(), &public);
    }
}

#[test]
fn two_new_keys_differ() {
    let folder = KeyFolder::new();
    let [one, other] = ["one", "other"].map(|name| generate(&folder.path(name), Algorithm::Ed25519).unwrap());
    assert_ne!(one, other);
}

#[test]
fn nothing_is_ever_overwritten() {
    let folder = KeyFolder::new();
    let source = folder.file("source.json", TEST_JSON);
    let file = folder.file("file", "here first");
    let link = folder.path("link");
    std::os::unix::fs::symlink(folder.path("nowhere"), &link).unwrap();
    std::fs::create_dir(folder.path("folder")).unwrap();
    for path in [file.clone(), link, folder.path("folder"), source.clone()] {
        let error = error_of(generate(&path, Algorithm::Ed25519));
        assert!(matches!(error.problem(), Problem::Exists), "{error}");
        says(&error.to_string(), &[path.to_str().unwrap(), "never overwritten"]);
        let error = error_of(import(&source, KeyFormat::Json, None, &path));
        assert!(matches!(error.problem(), Problem::Exists), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "here first");
    assert_eq!(std::fs::read_to_string(&source).unwrap(), TEST_JSON);
    assert!(!folder.path("nowhere").exists());
}

#[test]
fn a_key_is_not_written_into_a_folder_that_does_not_exist() {
    let folder = KeyFolder::new();
    let error = error_of(generate(&folder.path("none/new.key"), Algorithm::Ed25519));
    says(&error.to_string(), &["none/new.key", "folder does not exist", "0700"]);
}

#[test]
fn an_imported_key_is_the_same_key_in_tmkms_form() {
    let folder = KeyFolder::new();
    let raw = folder.file("raw", TEST_SEED);
    let json = folder.file("priv_validator_key.json", TEST_JSON);
    let (to_raw, to_json) = (folder.path("raw.key"), folder.path("json.key"));

    import(&raw, KeyFormat::Raw, None, &to_raw).unwrap();
    assert_eq!(std::fs::read_to_string(&to_raw).unwrap(), TEST_BASE64);

    let public = import(&json, KeyFormat::Json, None, &to_json).unwrap();
    assert_eq!(std::fs::read_to_string(&to_json).unwrap(), "qIoGOuRm6GHobrRGq9t2I388pnWO7ZB9FE0R+M8TM6o=");
    assert_eq!(read(&to_json, KeyFormat::Base64).ok().unwrap().public_key(), &public);
    assert_eq!(mode_of(&to_json), 0o600);
}

#[test]
fn an_import_of_a_bad_file_writes_nothing() {
    let folder = KeyFolder::new();
    let bad = folder.file("bad.json", with_private("AAAA"));
    let to = folder.path("to.key");
    let error = error_of(import(&bad, KeyFormat::Json, None, &to));
    assert_eq!(error.path(), bad);
    assert!(!to.exists());
}
