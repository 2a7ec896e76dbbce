//! Which file is opened for a key, and that no other one is ever opened in its place.
use crate::world::{CHAIN, TOKEN, World, end, floor, identity, identity_of, vote, vote_on};
use guard::{Denied, Guard, Height, Record, Step, Store, StoreError, Trouble};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use store::file::slot::Owner;
use store::{FileStore, Lowering, RemoteStore};

fn unbound(path: &Path, height: i64) {
    FileStore::create_for(path, &Owner::unbound(identity().chain_id), &floor(height)).unwrap();
}

fn refusal(guard: &mut Guard<RemoteStore>, height: u64, block: u8) -> StoreError {
    match guard.authorize(vote(height, block), None) {
        Err(Denied::Store(error)) => error,
        other => panic!("expected trouble of the store, got {:?}", other.map(|permit| permit.position())),
    }
}

fn damaged(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    for at in [20, 4116] {
        bytes[at] ^= 1;
    }
    fs::write(path, bytes).unwrap();
}

fn of_version_2(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    for at in [5, 4101] {
        bytes[at] = b'2';
    }
    fs::write(path, bytes).unwrap();
}

fn leads_nowhere(path: &Path) {
    fs::remove_file(path).unwrap();
    symlink("/no/such/disk/state.json", path).unwrap();
}

type Harm = fn(&Path);

/// What can become of a key's own file, with a second file beside it; with a word of the refusal.
const HARM: [(&str, Harm); 7] = [
    ("empty", |path| fs::write(path, b"").unwrap()),
    ("damaged", damaged),
    ("version 2", of_version_2),
    ("got 100", |path| fs::write(path, &fs::read(path).unwrap()[..100]).unwrap()),
    ("not a state file", |path| fs::write(path, [0x5a; 8192]).unwrap()),
    ("missing", leads_nowhere),
    ("blank", |path| fs::write(path, [0; 8192]).unwrap()),
];

/// A life signs in `k1.json`, which is then harmed. The next one asks for another block of the same position.
fn after_harm(harm: Harm, places: impl Fn(&Path) -> Vec<PathBuf>, restart: bool) -> StoreError {
    let world = World::new();
    let folder = world.folder.join("states");
    let (own, spare) = (folder.join("k1.json"), folder.join("spare.json"));
    FileStore::create(&own, &identity(), &Record::never_signed()).unwrap();
    unbound(&spare, 1);
    let mut persist = world.persist_at("u", places(&folder));
    let mut first = world.enclave(1);
    let _ = first.authorize(vote(1000, 1), None).unwrap();
    drop(first);
    harm(&own);
    if restart {
        end(persist);
        persist = world.persist_at("u", places(&folder));
    }
    let error = refusal(&mut world.enclave(2), 1000, 2);
    end(persist);
    error
}

#[test]
fn a_file_that_cannot_be_read_is_never_passed_over_whatever_its_name() {
    for (words, harm) in HARM {
        for restart in [false, true] {
            let error = after_harm(harm, |folder| vec![folder.to_owned()], restart);
            assert!(error.detail.contains("k1.json") && error.detail.contains(words), "{words}: {error}");
            assert!(error.detail.contains("move it out of the folder only if you know"), "{error}");
            let error = after_harm(harm, |folder| vec![folder.join("k1.json"), folder.join("spare.json")], restart);
            assert!(error.detail.contains("k1.json") && error.detail.contains("leave it out of -s only if"), "{error}");
        }
    }
}

#[test]
fn a_file_that_was_moved_away_is_missed_as_long_as_persist_runs() {
    let away = |path: &Path| fs::rename(path, path.parent().unwrap().parent().unwrap().join("away.json")).unwrap();
    let error = after_harm(away, |folder| vec![folder.to_owned()], false);
    assert_eq!(error.trouble, Trouble::Superseded);
    for words in ["spare.json", "k1.json", "put in the place of another", "H at least 1000"] {
        assert!(error.detail.contains(words), "{words}: {error}");
    }
    assert!(!error.detail.contains("restart"), "{error}");
}

#[test]
fn an_older_copy_under_another_name_is_refused_by_what_was_acknowledged_and_serves_once_it_is_raised() {
    let world = World::new();
    let folder = world.folder.join("states");
    let (own, copy) = (folder.join("k1.json"), folder.join("k1.json.bak"));
    FileStore::create(&own, &identity(), &Record::never_signed()).unwrap();
    let persist = world.persist_at("u", vec![folder]);
    let mut first = world.enclave(1);
    let _ = first.authorize(vote(10, 1), None).unwrap();
    fs::copy(&own, &copy).unwrap();
    let _ = first.authorize(vote(1000, 1), None).unwrap();
    drop(first);
    fs::write(&own, b"").unwrap();
    let mut second = world.enclave(2);
    assert!(refusal(&mut second, 1000, 2).detail.contains("k1.json: empty"));
    fs::remove_file(&own).unwrap();
    let error = refusal(&mut second, 1000, 2);
    assert!(error.detail.contains("k1.json.bak") && error.detail.contains("H at least 1000"), "{error}");
    FileStore::repair(&copy, &identity(), Height::try_from(1000).unwrap(), Lowering::Refuse).unwrap();
    assert!(matches!(second.authorize(vote(1000, 2), None), Err(Denied::Refused(_))));
    let _ = second.authorize(vote(1001, 2), None).unwrap();
    end(persist);
}

#[test]
fn a_second_life_is_refused_in_any_file_as_long_as_the_first_ones_connection_stands() {
    let world = World::new();
    let folder = world.folder.join("states");
    let (own, restored) = (folder.join("a.json"), folder.join("restored.json"));
    FileStore::create(&own, &identity(), &Record::never_signed()).unwrap();
    let persist = world.persist_at("u", vec![folder.clone()]);
    let mut first = world.enclave(1);
    let _ = first.authorize(vote(20, 1), None).unwrap();
    fs::rename(&own, &restored).unwrap();
    let error = refusal(&mut world.enclave(2), 21, 2);
    assert!(error.trouble == Trouble::Superseded && error.detail.contains("another enclave holds"), "{error}");
    // Higher than anything, so that nothing but the holder stands in the way.
    fs::rename(&restored, world.folder.join("away")).unwrap();
    unbound(&folder.join("new.json"), 500);
    let error = refusal(&mut world.enclave(2), 501, 2);
    assert!(error.detail.contains("a.json: another enclave holds"), "{error}");
    fs::remove_file(folder.join("new.json")).unwrap();
    fs::rename(world.folder.join("away"), &own).unwrap();
    let _ = first.authorize(vote(21, 1), None).unwrap();
    end(persist);
}

#[test]
fn the_same_life_follows_its_file_to_another_name_and_its_earlier_connection_is_worth_nothing() {
    let world = World::new();
    let folder = world.folder.join("states");
    let own = folder.join("a.json");
    FileStore::create(&own, &identity(), &Record::never_signed()).unwrap();
    let persist = world.persist_at("u", vec![folder.clone()]);
    let mut first = world.store("u", 1, &identity(), &TOKEN);
    let record = first.recover().unwrap();
    fs::rename(&own, folder.join("b.json")).unwrap();
    let mut second = world.store("u", 1, &identity(), &TOKEN);
    assert_eq!(second.recover().unwrap(), record);
    let next = Record::of(1, vote(1, 1));
    assert!(first.commit(&record, &next).is_err());
    let _ = second.commit(&record, &next).unwrap();
    drop((first, second));
    fs::rename(folder.join("b.json"), &own).unwrap();
    assert!(matches!(world.enclave(2).authorize(vote(1, 2), None), Err(Denied::Refused(_))));
    end(persist);
}

#[test]
fn a_file_without_a_key_is_not_taken_beside_one_that_another_key_of_the_chain_has() {
    let world = World::new();
    let folder = world.folder.join("states");
    FileStore::create(&folder.join("k1.json"), &identity(), &floor(10)).unwrap();
    let spare = folder.join("spare.json");
    unbound(&spare, 1);
    let persist = world.persist_at("u", vec![folder]);
    let other = identity_of(CHAIN, 8);
    let mut guard = Guard::new(other.clone(), world.store("u", 2, &other, &TOKEN));
    let error = refusal(&mut guard, 5, 1);
    let key = Owner::of(&other).pub_key;
    for words in ["spare.json names no key", "k1.json", &format!("--public-key {key}"), "put it back"] {
        assert!(error.detail.contains(words), "{words}: {error}");
    }
    let _ = world.enclave(1).authorize(vote(11, 1), None).unwrap();
    // The remedy.
    FileStore::repair(&spare, &other, Height::try_from(20).unwrap(), Lowering::Refuse).unwrap();
    let _ = guard.authorize(vote_on(CHAIN, 21, 0, Step::Prevote, 1, 1), None).unwrap();
    end(persist);
}

#[test]
fn a_folder_may_hold_other_things_and_what_cannot_be_told_is_refused_from_the_start() {
    let world = World::new();
    let folder = world.folder.join("states");
    FileStore::create(&folder.join("k1.json"), &identity(), &floor(10)).unwrap();
    fs::write(folder.join("notes.txt"), "not a state").unwrap();
    fs::write(folder.join(".hidden"), "").unwrap();
    fs::write(folder.join("k1.json.old-1"), "").unwrap();
    fs::create_dir(folder.join("older")).unwrap();
    let places = host::persist::Places::new(vec![folder.clone()]);
    assert!(places.check().is_empty(), "{:?}", places.check());
    let persist = world.persist_at("u", vec![folder.clone()]);
    let mut enclave = world.enclave(1);
    let _ = enclave.authorize(vote(11, 1), None).unwrap();
    // A link in a circle: not even root can look at it.
    symlink("circle", folder.join("circle")).unwrap();
    assert_eq!(places.check().len(), 1);
    let error = world.enclave(1).recover().unwrap_err();
    assert!(error.to_string().contains("circle"), "{error}");
    fs::remove_file(folder.join("circle")).unwrap();
    fs::write(folder.join(format!("{CHAIN}_priv_validator_state.json")), "{}").unwrap();
    assert_eq!(places.check().len(), 1);
    end(persist);
}

#[test]
fn a_folder_with_more_files_than_are_looked_at_is_refused() {
    let world = World::with_state();
    let folder = world.folder.join("states");
    for number in 0..4096 {
        fs::write(folder.join(format!(".{number}")), "").unwrap();
    }
    let persist = world.persist_at("u", vec![folder]);
    let error = refusal(&mut world.enclave(1), 1, 1);
    assert!(error.detail.contains("expected at most 4096 files"), "{error}");
    end(persist);
}

#[test]
fn a_folder_or_file_that_may_not_be_read_is_refused() {
    let world = World::with_state();
    let folder = world.folder.join("states");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o300)).unwrap();
    if fs::read_dir(&folder).is_ok() {
        // Root reads everything.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        return;
    }
    let persist = world.persist_at("u", vec![folder.clone()]);
    let error = refusal(&mut world.enclave(1), 1, 1);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(error.detail.contains("listing it is not permitted"), "{error}");
    end(persist);
}

#[test]
fn a_file_with_a_second_name_is_not_bound() {
    let world = World::new();
    unbound(&world.state(), 1);
    let second = world.folder.join("second");
    fs::hard_link(world.state(), &second).unwrap();
    let persist = world.persist();
    let mut enclave = world.enclave(1);
    let error = refusal(&mut enclave, 2, 1);
    assert!(
        error.trouble == Trouble::Damaged && error.detail.contains("has 2 names (hard links), expected 1"),
        "{error}"
    );
    fs::remove_file(second).unwrap();
    let _ = enclave.authorize(vote(2, 1), None).unwrap();
    end(persist);
}

#[test]
fn a_file_without_a_key_that_is_mounted_by_itself_is_refused_before_its_key_signs() {
    let world = World::new();
    unbound(&world.state(), 1);
    let mut unshare = std::process::Command::new("unshare");
    let script = "mount --bind \"$STATE\" \"$STATE\" && exec \"$0\" \"$@\"";
    unshare.env("STATE", world.state()).args(["--mount", "--map-root-user", "sh", "-c", script]);
    let Some(mut child) = crate::faults::serve_through(unshare, &world) else {
        println!("not tested: no mount namespaces here");
        return;
    };
    let error = refusal(&mut world.enclave(1), 2, 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(error.trouble == Trouble::Damaged && error.detail.contains("EBUSY"), "{error}");
}
