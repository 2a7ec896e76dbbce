//! Folders of states, good and with one thing wrong.
use super::super::finding::tests::said;
use super::super::tests::{CONFIG, Folder, KEY, case, status};
use super::*;
use guard::{Height, Position, Record};
use std::fs;
use std::time::SystemTime;
use store::FileStore;
use wire::control::Phase;

const OTHER_KEY: &str = "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=";

fn owner(chain: &str, key: &str) -> Owner {
    Owner { chain_id: ChainId::try_from(chain).unwrap(), pub_key: key.to_owned() }
}

/// A file whose record is the end of that height.
fn state(folder: &Folder, name: &str, owner: &Owner, height: i64) -> PathBuf {
    let folder = folder.file("states");
    if !folder.exists() {
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let record = Record::floor(0, Position::end_of(Height::try_from(height).unwrap()));
    FileStore::create_for(&folder.join(name), owner, &record).unwrap();
    folder.join(name)
}

fn examined(folder: &Folder, served: Option<&Status>) -> String {
    let config = crate::config::parse(CONFIG, Path::new("tmkms.toml")).unwrap();
    let mut case = case(folder);
    case.states = vec![folder.file("states")];
    said(|say| examine(&case, Some(&config), served, say)).replace(&folder.0.display().to_string(), "$FOLDER")
}

#[test]
fn one_file_of_the_enclaves_key_at_or_above_what_it_signed_is_well() {
    let folder = Folder::new();
    state(&folder, "test-1_priv_validator_state.json", &owner("test-1", KEY), 12);
    let text = examined(&folder, Some(&status(Phase::Serving)));
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("ok folder: $FOLDER/states: mode 0700, "), "{text}");
    let expected = "ok record: test-1: nothing at or below height 12 will be signed, in $FOLDER/states/test-1_priv_validator_state.json, written ";
    assert!(lines[1].starts_with(expected) && lines.len() == 2, "{text}");
    // It is looked at without a lock: persist has it open.
    let path = folder.file("states/test-1_priv_validator_state.json");
    let _held = FileStore::open_for(&path, &owner("test-1", KEY)).unwrap();
    assert!(examined(&folder, Some(&status(Phase::Serving))).contains("ok record: "));
}

#[test]
fn a_record_below_what_the_enclave_signed_is_an_error_and_an_old_one_a_note() {
    let folder = Folder::new();
    let path = state(&folder, "a.json", &owner("test-1", KEY), 11);
    let text = examined(&folder, Some(&status(Phase::Serving)));
    assert!(
        text.contains("error record: test-1: ")
            && text.contains("expected 12/0/precommit, which the enclave has recorded, or later"),
        "{text}"
    );
    assert!(text.contains("leave the enclave running, it alone knows what it signed"), "{text}");

    let mut served = status(Phase::Serving);
    served.chains[0].position = Some("11/0/prevote".to_owned());
    assert!(examined(&folder, Some(&served)).contains("ok record: "));
    let old = SystemTime::now() - Duration::from_secs(3600);
    fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
    let text = examined(&folder, Some(&served));
    assert!(
        text.contains("note record: test-1: ")
            && text.contains("written 60 min ago; but the enclave says: signing, last 0.4 s ago"),
        "{text}"
    );
    served.chains[0].state = "stalled".to_owned();
    assert!(examined(&folder, Some(&served)).contains("ok record: "));
}

#[test]
fn no_file_another_keys_file_and_two_files_are_errors() {
    let folder = Folder::new();
    let other = state(&folder, "other.json", &owner("other-1", KEY), 12);
    let text = examined(&folder, Some(&status(Phase::Serving)));
    assert!(text.contains("error record: test-1: expected its state, got no file of this chain"), "{text}");
    assert!(
        text.contains(&format!(
            "tmkms state init --file $FOLDER/states --chain-id test-1 --public-key {KEY} --height H"
        )),
        "{text}"
    );
    assert!(text.contains("note record: $FOLDER/states/other.json: of key "), "{text}");
    fs::remove_file(other).unwrap();

    let foreign = state(&folder, "b.json", &owner("test-1", OTHER_KEY), 12);
    let text = examined(&folder, Some(&status(Phase::Serving)));
    assert!(
        text.contains(&format!("expected the state of key {KEY}, got that of another key: $FOLDER/states/b.json")),
        "{text}"
    );
    // Without an enclave that tells its key, and without one in the configuration, it may be the one.
    assert!(examined(&folder, None).contains("ok record: test-1: "));

    state(&folder, "c.json", &owner("test-1", KEY), 12);
    assert!(examined(&folder, Some(&status(Phase::Serving))).contains("ok record: test-1: "));
    state(&folder, "d.json", &owner("test-1", KEY), 13);
    let text = examined(&folder, Some(&status(Phase::Serving)));
    assert!(text.contains("error record: test-1: expected one file, got 2: "), "{text}");
    fs::remove_file(foreign).unwrap();
}

#[test]
fn a_file_without_a_key_is_the_enclaves_until_it_has_signed_above_it() {
    let folder = Folder::new();
    state(&folder, "a.json", &owner("test-1", ""), 12);
    let mut served = status(Phase::Serving);
    // The enclave has taken the record, and has signed nothing yet: its first signature binds the file.
    served.chains[0].position = Some("the end of height 12".to_owned());
    let text = examined(&folder, Some(&served));
    assert!(text.contains("ok record: test-1: ") && text.contains("bound to no key yet"), "{text}");
    served.chains[0].position = Some("13/0/prevote".to_owned());
    assert!(examined(&folder, Some(&served)).contains("error record: test-1: "));
}

#[test]
fn damage_loose_modes_and_what_cannot_be_read_are_errors_with_the_command() {
    let folder = Folder::new();
    let path = state(&folder, "a.json", &owner("test-1", KEY), 12);
    let served = status(Phase::Serving);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let text = examined(&folder, Some(&served));
    assert!(
        text.contains("expected mode 0600, got 0644") && text.contains("chmod 600 $FOLDER/states/a.json"),
        "{text}"
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();

    let mut bytes = fs::read(&path).unwrap();
    bytes[40] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let text = examined(&folder, Some(&served));
    assert!(text.contains("error record: test-1: state file $FOLDER/states/a.json: damaged: slot 1"), "{text}");
    assert!(
        text.contains("\n  tmkms state repair --file $FOLDER/states/a.json --chain-id test-1 --height H\n"),
        "{text}"
    );

    fs::write(&path, vec![0; bytes.len()]).unwrap();
    let text = examined(&folder, Some(&served));
    assert!(
        text.contains("error record: state file $FOLDER/states/a.json: ")
            && text.contains("`nitro persist` opens nothing"),
        "{text}"
    );
    // What is surely something else's is left alone.
    fs::write(&path, "notes").unwrap();
    let text = examined(&folder, Some(&served));
    assert!(!text.contains("a.json") && text.contains("got no file of this chain"), "{text}");
}

#[test]
fn a_place_that_is_not_there_is_an_error_if_it_was_named_and_one_that_others_write_is_warned_of() {
    let folder = Folder::new();
    let text = examined(&folder, None);
    assert!(
        text.starts_with("error folder: $FOLDER/states: expected a file or a folder of states, got nothing"),
        "{text}"
    );
    state(&folder, "a.json", &owner("test-1", KEY), 12);
    fs::set_permissions(folder.file("states"), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(examined(&folder, None).starts_with("warning folder: the folder $FOLDER/states can be written by others"));
}
