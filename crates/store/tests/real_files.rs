//! Every way in which a real state file can be wrong has its own error with its remedy, and none changes a byte.
#![allow(clippy::unwrap_used)]
mod disk;
mod files;

use disk::{nth, vote_on};
use files::{Folder, floor, height, identity_of};
use guard::{Identity, Record, Step, Store};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use store::file::slot::SLOT_BYTES;
use store::file::{FILE_BYTES, FileStore, Lowering, Problem, StateError, inspect};

const CHAIN: &str = disk::CHAIN;

fn identity() -> Identity {
    disk::identity()
}

/// A state file that was opened and holds `nth(5, 1)`, below a floor of height 1.
fn used(folder: &Folder) -> PathBuf {
    let path = folder.path("state.json");
    FileStore::create(&path, &identity(), &Record::never_signed()).unwrap();
    let mut store = FileStore::open(&path, &identity()).unwrap();
    let mut record = store.recover().unwrap();
    for sequence in 1..=5 {
        let next = nth(sequence, 1);
        let _ = store.commit(&record, &next).unwrap();
        record = next;
    }
    path
}

fn write_private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn open_error(path: &Path) -> StateError {
    FileStore::open(path, &identity()).err().unwrap()
}

/// Opening refuses with that name and says that, and the folder is as it was.
fn refuses(path: &Path, name: &str, text: &str) {
    let before = fs::read(path).ok();
    let error = open_error(path);
    assert_eq!(error.problem.name(), name, "{error}");
    let message = error.to_string();
    assert!(message.contains(text), "{message}");
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    assert_eq!(fs::read(path).ok(), before, "not a byte was changed");
}

#[test]
fn a_file_is_created_whole_private_and_once() {
    let folder = Folder::new();
    let path = folder.path("state.json");
    FileStore::create(&path, &identity(), &floor(41)).unwrap();
    assert_eq!(folder.names(), ["state.json"], "nothing else is left");
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.len(), metadata.mode() & 0o7777), (FILE_BYTES as u64, 0o600));
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 2);
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["height"], 41);
        assert_eq!(value["chain_id"], CHAIN);
    }
    let error = FileStore::create(&path, &identity(), &floor(1)).unwrap_err();
    assert_eq!(error.problem.name(), "exists");
    assert!(error.to_string().contains("tmkms state repair"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_eq!(folder.names(), ["state.json"]);
    assert_eq!(FileStore::open(&path, &identity()).unwrap().recover().unwrap(), floor(41));
}

#[test]
fn creating_does_not_follow_a_link_that_leads_nowhere() {
    let folder = Folder::new();
    let path = folder.path("state.json");
    symlink(folder.path("elsewhere"), &path).unwrap();
    assert_eq!(FileStore::create(&path, &identity(), &floor(1)).unwrap_err().problem.name(), "exists");
    refuses(&path, "missing", "tmkms state init");
    assert_eq!(folder.names(), ["state.json"]);
}

#[test]
fn a_missing_file_is_refused_and_not_made() {
    let folder = Folder::new();
    let path = folder.path("state.json");
    refuses(&path, "missing", "tmkms state init --height H");
    refuses(&folder.path("no/such/folder/state.json"), "missing", "tmkms state init");
    assert!(FileStore::repair(&path, &identity(), height(5), Lowering::Refuse).is_err());
    assert!(FileStore::replace(&path, &identity(), &floor(5), Lowering::Allow).is_err());
    assert_eq!(inspect(&path).unwrap_err().problem.name(), "missing");
    assert!(folder.names().is_empty());
}

#[test]
fn empty_truncated_and_overlong_files_are_refused_and_what_survives_is_shown() {
    let folder = Folder::new();
    let path = used(&folder);
    let whole = fs::read(&path).unwrap();
    for (length, name, text) in [
        (0, "empty", "expected 8192 bytes, got 0"),
        (1, "foreign", "if this was this key's state, move it away and run `tmkms state init --height H`"),
        (100, "wrong_size", "no record can be read"),
        (SLOT_BYTES, "wrong_size", "a record of "),
        (FILE_BYTES - 1, "wrong_size", "a record of 3/0/precommit"),
    ] {
        write_private(&path, &whole[..length]);
        refuses(&path, name, text);
    }
    write_private(&path, &[&whole[..], b"\n"].concat());
    refuses(&path, "wrong_size", "expected 8192 bytes, got 8193");
    write_private(&path, &[0; 512]);
    refuses(&path, "wrong_size", "state repair --height H");
}

#[test]
fn one_damaged_slot_is_refused_with_the_survivor_and_the_remedy() {
    let folder = Folder::new();
    let path = used(&folder);
    let whole = fs::read(&path).unwrap();
    let survivors: Vec<String> = (0..2)
        .map(|slot| {
            let mut damaged = whole.clone();
            damaged[slot * SLOT_BYTES + 40] ^= 0x04;
            write_private(&path, &damaged);
            let survivor = inspect(&path).unwrap().slots[1 - slot].as_ref().unwrap().record.position().to_string();
            refuses(&path, "one_slot_damaged", &format!("slot {} does not check out", slot + 1));
            refuses(&path, "one_slot_damaged", &format!("the other slot holds {survivor}, which need not be the last"));
            refuses(&path, "one_slot_damaged", "tmkms state repair --height H");
            survivor
        })
        .collect();
    assert!(
        survivors.contains(&"3/0/precommit".to_owned()) && survivors.contains(&"3/0/prevote".to_owned()),
        "{survivors:?}"
    );
}

#[test]
fn two_damaged_slots_are_refused() {
    let folder = Folder::new();
    let path = used(&folder);
    let mut whole = fs::read(&path).unwrap();
    whole[30] ^= 1;
    whole[SLOT_BYTES + 30] ^= 1;
    for bytes in [whole, vec![0; FILE_BYTES], vec![0xff; FILE_BYTES], vec![b' '; FILE_BYTES]] {
        write_private(&path, &bytes);
        refuses(&path, "both_slots_damaged", "tmkms state repair --height H");
    }
}

#[test]
fn slots_that_contradict_each_other_are_refused() {
    let folder = Folder::new();
    let path = folder.path("state.json");
    let slot = |epoch, record| store::file::slot::encode(&disk::owner(), epoch, &record).unwrap();
    let low = |sequence| Record::floor(sequence, nth(1, 1).position());
    for (first, second) in [
        (slot(1, nth(5, 1)), slot(1, nth(5, 2))), // two records of one sequence
        (slot(1, nth(5, 1)), slot(1, low(6))),    // a later record of a lower position
        (slot(2, nth(5, 1)), slot(1, nth(6, 1))), // a later record of an earlier opening
    ] {
        for image in [[first, second], [second, first]] {
            write_private(&path, &image.concat());
            refuses(&path, "contradiction", "tmkms state repair --height H");
        }
    }
}

#[test]
fn the_state_of_another_chain_or_key_is_refused() {
    let folder = Folder::new();
    let path = used(&folder);
    let before = fs::read(&path).unwrap();
    for (identity, name, text) in [
        (identity_of("another-1", 7), "another_chain", "expected chain another-1, got power-cut-1"),
        (identity_of(CHAIN, 8), "another_key", "expected public key CAgI"),
    ] {
        let open = FileStore::open(&path, &identity).err().unwrap();
        assert_eq!(open.problem.name(), name, "{open}");
        assert!(open.to_string().contains(text), "{open}");
        // Nor is it repaired or exchanged for that identity, not even by force.
        let repair = FileStore::repair(&path, &identity, height(99), Lowering::Allow).unwrap_err();
        let replace = FileStore::replace(&path, &identity, &floor(99), Lowering::Allow).unwrap_err();
        assert_eq!((repair.problem.name(), replace.problem.name()), (name, name));
    }
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(folder.names(), ["state.json"]);
}

#[test]
fn a_later_version_is_refused_even_by_repair() {
    let folder = Folder::new();
    let path = used(&folder);
    for slot in 0..2 {
        let mut later = fs::read(&path).unwrap();
        later[slot * SLOT_BYTES + 5] = b'2';
        let path = folder.path("later.json");
        write_private(&path, &later);
        refuses(&path, "unknown_version", &format!("slot {} is of version 2, this program knows version 1", slot + 1));
        let repair = FileStore::repair(&path, &identity(), height(99), Lowering::Allow).unwrap_err();
        assert_eq!(repair.problem.name(), "unknown_version");
        assert_eq!(fs::read(&path).unwrap(), later);
    }
}

#[test]
fn other_programs_files_are_recognised_and_left_alone() {
    let folder = Folder::new();
    let path = folder.path("state.json");
    let filepv = "{\n  \"height\": \"12\",\n  \"round\": 0,\n  \"step\": 3\n}\n";
    let tmkms = r#"{"height":"12","round":"0","step":2,"block_id":null}"#;
    for (text, expected) in [
        (filepv, "priv_validator_state.json: run `tmkms state import`"),
        (tmkms, "the state file of tmkms 0.15: run `tmkms state import`"),
        ("[validator]\n", "not a state file of this program: check"),
        (&"x".repeat(FILE_BYTES), "not a state file of this program: check"),
        (
            &"\u{1}\u{7f}".repeat(FILE_BYTES / 2),
            "move it away and run `tmkms state init --height H` with H at or above",
        ),
    ] {
        write_private(&path, text.as_bytes());
        refuses(&path, "foreign", expected);
        let repair = FileStore::repair(&path, &identity(), height(99), Lowering::Allow).unwrap_err();
        assert_eq!(repair.problem.name(), "foreign");
        assert_eq!(inspect(&path).unwrap().problem.unwrap().name(), "foreign");
        assert_eq!(fs::read(&path).unwrap(), text.as_bytes());
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = Folder::new();
    let directory = folder.path("directory");
    fs::create_dir(&directory).unwrap();
    refuses(&directory, "not_a_file", "state_file");
    refuses(Path::new("/dev/null"), "not_a_file", "state_file");
    assert_eq!(inspect(&directory).unwrap_err().problem.name(), "not_a_file");
}

#[test]
fn a_file_that_others_may_touch_is_refused() {
    let folder = Folder::new();
    let path = used(&folder);
    for mode in [0o640, 0o604, 0o620, 0o610, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        refuses(&path, "loose_mode", &format!("expected mode 0600, got {mode:04o}"));
        refuses(&path, "loose_mode", "chmod 600");
    }
}

#[test]
fn a_link_is_followed_and_stays_when_its_target_is_exchanged() {
    let folder = Folder::new();
    let target = used(&folder);
    let link = folder.path("link.json");
    symlink(&target, &link).unwrap();
    assert_eq!(FileStore::open(&link, &identity()).unwrap().recover().unwrap(), nth(5, 1));
    let replaced = FileStore::repair(&link, &identity(), height(50), Lowering::Refuse).unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), target);
    assert_eq!(replaced.backup, Some(folder.path("state.json.old-1")));
    assert_eq!(FileStore::open(&target, &identity()).unwrap().recover().unwrap().position(), floor(50).position());
}

#[test]
fn a_look_needs_no_lock_and_changes_nothing() {
    let folder = Folder::new();
    let path = used(&folder);
    let mut store = FileStore::open(&path, &identity()).unwrap();
    store.recover().unwrap();
    let before = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().mtime_nsec());
    let seen = inspect(&path).unwrap();
    assert_eq!(seen.held().unwrap().record, nth(5, 1));
    assert_eq!(seen.held().unwrap().epoch, store.epoch());
    assert!(seen.problem.is_none());
    assert_eq!((fs::read(&path).unwrap(), fs::metadata(&path).unwrap().mtime_nsec()), before);
}

#[test]
fn a_second_opening_is_refused_while_the_first_lives() {
    let folder = Folder::new();
    let path = used(&folder);
    let first = FileStore::open(&path, &identity()).unwrap();
    refuses(&path, "open_twice", "opened twice by this process");
    for refused in [
        FileStore::repair(&path, &identity(), height(99), Lowering::Allow),
        FileStore::replace(&path, &identity(), &floor(99), Lowering::Allow),
    ] {
        assert_eq!(refused.unwrap_err().problem.name(), "open_twice");
    }
    drop(first);
    FileStore::open(&path, &identity()).unwrap();
}

/// Runs this very test again as another process; the child's part is chosen by the variable.
fn child(test: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env("STORE_TEST_CHILD", path);
    command
}

fn child_path() -> Option<PathBuf> {
    std::env::var_os("STORE_TEST_CHILD").map(PathBuf::from)
}

#[test]
fn another_process_that_holds_the_lock_is_named_and_its_death_frees_it() {
    if let Some(path) = child_path() {
        let _store = FileStore::open(&path, &identity()).unwrap();
        println!("held");
        std::io::stdout().flush().unwrap();
        let _ = std::io::stdin().read(&mut [0]);
        return;
    }
    let folder = Folder::new();
    let path = used(&folder);
    let mut holder = child("another_process_that_holds_the_lock_is_named_and_its_death_frees_it", &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    while !said.contains("held") {
        let mut byte = [0];
        assert_eq!(holder.stdout.as_mut().unwrap().read(&mut byte).unwrap(), 1, "the child ended: {said}");
        said.push(byte[0].into());
    }
    refuses(&path, "locked", ": two signers on one state would double-sign; stop the other one first");
    match open_error(&path).problem {
        Problem::Locked { holder: Some(pid) } => assert_eq!(pid, holder.id()),
        Problem::Locked { holder: None } => println!("this system's /proc/locks does not name the holder"),
        other => panic!("{other}"),
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(FileStore::open(&path, &identity()).unwrap().recover().unwrap(), nth(5, 1));
}

#[test]
fn a_file_that_is_open_in_this_process_under_another_name_is_not_blamed_on_another_process() {
    let folder = Folder::new();
    let path = used(&folder);
    let _store = FileStore::open(&path, &identity()).unwrap();
    fs::create_dir(folder.path("within")).unwrap();
    fs::hard_link(&path, folder.path("hard.json")).unwrap();
    symlink(&path, folder.path("soft.json")).unwrap();
    for name in ["hard.json", "soft.json", "within/../state.json", "state.json"] {
        refuses(&folder.path(name), "open_twice", "another chain's state_file leads to the same file");
    }
}

/// Runs this test again as a user without rights, whose the folder's files are. None if that is not possible.
fn as_nobody(test: &str, folder: &Folder) -> Option<()> {
    use std::os::unix::process::CommandExt;
    if fs::metadata(&folder.0).unwrap().uid() != 0 {
        eprintln!("SKIPPED: {test} needs root, to become someone else");
        return None;
    }
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    // Run from there: the build's own folder need not be open to everyone.
    let program = folder.path("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let status = Command::new(&program)
        .args(["--exact", test, "--nocapture"])
        .env("STORE_TEST_CHILD", &folder.0)
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .status()
        .unwrap();
    assert!(status.success());
    Some(())
}

const NOBODY: u32 = 65534;

/// A folder where everyone may go.
fn open_folder(name: &str) -> Folder {
    let folder = Folder(std::env::temp_dir().join(format!("store-{name}-{}", std::process::id())));
    fs::create_dir_all(&folder.0).unwrap();
    folder
}

#[test]
fn a_user_without_permission_is_told_so() {
    if let Some(folder) = child_path() {
        refuses(&folder.join("state.json"), "permission_denied", "run as the file's owner");
        let created = FileStore::create(&folder.join("new.json"), &identity(), &floor(1)).unwrap_err();
        assert_eq!(created.problem.name(), "permission_denied", "{created}");
        return;
    }
    let folder = open_folder("permission");
    used(&folder);
    if as_nobody("a_user_without_permission_is_told_so", &folder).is_some() {
        assert_eq!(folder.names(), ["state.json", "test"]);
    }
}

/// Syncing a directory needs to read it, so one that cannot be read tells which are synced.
#[test]
fn opening_a_link_syncs_the_directory_that_it_leads_to_as_well() {
    if let Some(folder) = child_path() {
        refuses(&folder.join("link.json"), "permission_denied", "syncing its directory is not permitted");
        fs::set_permissions(folder.join("target"), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(FileStore::open(&folder.join("link.json"), &identity()).is_ok());
        return;
    }
    use std::os::unix::fs::chown;
    let folder = open_folder("links");
    let target = folder.path("target");
    fs::create_dir(&target).unwrap();
    fs::rename(used(&folder), target.join("state.json")).unwrap();
    symlink("target/state.json", folder.path("link.json")).unwrap();
    if fs::metadata(&folder.0).unwrap().uid() == 0 {
        chown(target.join("state.json"), Some(NOBODY), Some(NOBODY)).unwrap();
        chown(&target, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    fs::set_permissions(&target, fs::Permissions::from_mode(0o300)).unwrap();
    let _ = as_nobody("opening_a_link_syncs_the_directory_that_it_leads_to_as_well", &folder);
    fs::set_permissions(&target, fs::Permissions::from_mode(0o700)).unwrap();
}

/// Runs this test again in a mount namespace of its own, so that nothing stays mounted. False if that is not possible.
fn in_own_mounts(test: &str, folder: &Path) -> bool {
    let possible = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: {test} needs `unshare -m` (root), to mount a file system of its own");
        return false;
    }
    let exe = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .arg("-m")
        .arg(exe)
        .args(["--exact", test, "--nocapture"])
        .env("STORE_TEST_CHILD", folder)
        .status()
        .unwrap();
    assert!(status.success());
    true
}

fn mount(options: &str, folder: &Path) {
    let status = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder).status().unwrap();
    assert!(status.success(), "mount -t tmpfs -o {options}");
}

#[test]
fn a_read_only_file_system_is_told_so_at_opening_creating_and_repairing() {
    if let Some(folder) = child_path() {
        let folder = Folder(folder);
        mount("size=1m", &folder.0);
        let path = used(&folder);
        let mut store = FileStore::open(&path, &identity()).unwrap();
        store.recover().unwrap();
        drop(store);
        let whole = fs::read(&path).unwrap();
        let status = Command::new("mount").args(["-o", "remount,ro"]).arg(&folder.0).status().unwrap();
        assert!(status.success());
        refuses(&path, "read_only", "remount the file system read-write");
        let new = FileStore::create(&folder.path("new.json"), &identity(), &floor(1)).unwrap_err();
        assert_eq!(new.problem.name(), "read_only", "{new}");
        let repair = FileStore::repair(&path, &identity(), height(99), Lowering::Refuse).unwrap_err();
        assert_eq!(repair.problem.name(), "read_only", "{repair}");
        assert_eq!(inspect(&path).unwrap().held().unwrap().record, nth(5, 1));
        assert_eq!(fs::read(&path).unwrap(), whole);
        return;
    }
    let folder = Folder::new();
    in_own_mounts("a_read_only_file_system_is_told_so_at_opening_creating_and_repairing", &folder.0);
}

#[test]
fn a_full_disk_is_told_so_and_leaves_nothing_behind_and_does_not_stop_a_signer() {
    if let Some(folder) = child_path() {
        let folder = Folder(folder);
        mount("size=64k", &folder.0);
        let path = used(&folder);
        let mut store = FileStore::open(&path, &identity()).unwrap();
        let record = store.recover().unwrap();
        let full = fs::write(folder.path("filler"), vec![1; 1 << 20]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        let before = folder.names();
        let new = FileStore::create(&folder.path("new.json"), &identity(), &floor(1)).unwrap_err();
        assert_eq!(new.problem.name(), "disk_full", "{new}");
        assert!(new.to_string().contains("free space"), "{new}");
        assert_eq!(folder.names(), before);
        // The room of the state file was taken when it was made.
        let _ = store.commit(&record, &nth(6, 1)).unwrap();
        drop(store);
        let repair = FileStore::repair(&path, &identity(), height(99), Lowering::Refuse).unwrap_err();
        assert_eq!(repair.problem.name(), "disk_full", "{repair}");
        assert_eq!(FileStore::open(&path, &identity()).unwrap().recover().unwrap(), nth(6, 1));
        return;
    }
    let folder = Folder::new();
    in_own_mounts("a_full_disk_is_told_so_and_leaves_nothing_behind_and_does_not_stop_a_signer", &folder.0);
}

#[test]
fn repair_never_lowers_and_keeps_the_damaged_file() {
    let folder = Folder::new();
    let path = used(&folder);
    let sound = fs::read(&path).unwrap();
    // The higher slot is damaged, then the lower one, both, and the file is cut.
    let high = usize::from(inspect(&path).unwrap().winner == Some(1));
    let mut expected_names = vec!["state.json".to_owned()];
    for (number, (damage, survivor)) in
        [(vec![high], Some(3)), (vec![1 - high], Some(3)), (vec![0, 1], None)].into_iter().enumerate()
    {
        let mut damaged = sound.clone();
        for slot in damage {
            damaged[slot * SLOT_BYTES + 50] ^= 1;
        }
        write_private(&path, &damaged);
        let repaired = FileStore::repair(&path, &identity(), height(2), Lowering::Refuse).unwrap();
        assert_eq!(repaired.before.map(|record| record.position().height), survivor.map(height));
        assert_eq!(repaired.record.position(), floor(survivor.unwrap_or(2)).position());
        assert_eq!(fs::read(repaired.backup.unwrap()).unwrap(), damaged);
        expected_names.push(format!("state.json.old-{}", number + 1));
        assert_eq!(folder.names(), expected_names);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let opened = FileStore::open(&path, &identity()).unwrap().recover().unwrap();
        assert_eq!(opened, repaired.record);
    }
    write_private(&path, &sound[..SLOT_BYTES + 700]);
    let repaired = FileStore::repair(&path, &identity(), height(90), Lowering::Refuse).unwrap();
    assert_eq!(repaired.record.position(), floor(90).position());
    assert!(repaired.record.sequence() > 5);
    write_private(&path, b"");
    let repaired = FileStore::repair(&path, &identity(), height(90), Lowering::Refuse).unwrap();
    assert_eq!((repaired.before, repaired.record.position()), (None, floor(90).position()));
}

#[test]
fn repair_lowers_only_when_told_to() {
    let folder = Folder::new();
    let path = used(&folder);
    let before = fs::read(&path).unwrap();
    let left = FileStore::repair(&path, &identity(), height(2), Lowering::Refuse).unwrap();
    assert_eq!((left.record, left.backup), (nth(5, 1), None), "a sound record that is higher keeps its bytes");
    assert_eq!((fs::read(&path).unwrap(), folder.names()), (before, vec!["state.json".to_owned()]));
    let raised = FileStore::repair(&path, &identity(), height(3), Lowering::Refuse).unwrap();
    assert_eq!(raised.record.position(), floor(3).position(), "a record within the height is raised to its end");
    let lowered = FileStore::repair(&path, &identity(), height(1), Lowering::Allow).unwrap();
    assert_eq!(lowered.record.position(), floor(1).position());
    assert_eq!(FileStore::open(&path, &identity()).unwrap().recover().unwrap(), lowered.record);
}

#[test]
fn a_record_is_exchanged_for_a_stricter_one_and_for_a_looser_one_only_when_told_to() {
    let vote = |height, block| vote_on(CHAIN, height, 0, Step::Precommit, block, 1);
    let of = |height, block| Record::of(0, vote(height, block));
    let at = |height, block| Record::floor(0, vote(height, block).position());
    for (existing, wanted, loosens) in [
        (of(5, 1), of(5, 1), false), // the same
        (of(5, 1), at(5, 1), false), // its bytes forgotten: refuses even a repeat
        (of(5, 1), of(6, 1), false),
        (of(5, 1), of(4, 1), true),
        (of(5, 1), of(5, 2), true), // another block at one position
        (at(5, 1), of(5, 1), true), // bytes where nothing was allowed
        (at(5, 1), at(5, 1), false),
        (of(5, 1), floor(4), true),
        (of(5, 1), floor(5), false),
        (floor(5), of(5, 1), true),
        (floor(5), of(6, 1), false),
    ] {
        let folder = Folder::new();
        let path = folder.path("state.json");
        FileStore::create(&path, &identity(), &existing).unwrap();
        let before = fs::read(&path).unwrap();
        match FileStore::replace(&path, &identity(), &wanted, Lowering::Refuse) {
            Ok(replaced) => {
                assert!(!loosens, "{existing:?} -> {wanted:?}");
                assert!(replaced.record.allows_the_same_as(&wanted));
                match replaced.backup {
                    Some(backup) => assert_eq!(fs::read(backup).unwrap(), before),
                    None => assert_eq!((&existing, fs::read(&path).unwrap()), (&wanted, before)),
                }
            }
            Err(error) => {
                assert!(loosens, "{existing:?} -> {wanted:?}: {error}");
                assert_eq!(error.problem.name(), "would_lower");
                assert_eq!(fs::read(&path).unwrap(), before);
                assert_eq!(folder.names(), ["state.json"]);
                FileStore::replace(&path, &identity(), &wanted, Lowering::Allow).unwrap();
            }
        }
        let opened = FileStore::open(&path, &identity()).unwrap().recover().unwrap();
        // What says the same already is left alone.
        let changes = u64::from(existing != wanted);
        assert!(opened.allows_the_same_as(&wanted) && opened.sequence() == changes, "{existing:?} -> {wanted:?}");
    }
}

#[test]
fn a_repaired_file_belongs_to_whom_the_old_one_belonged() {
    let folder = Folder::new();
    let path = used(&folder);
    if std::os::unix::fs::chown(&path, Some(65534), Some(65534)).is_err() {
        eprintln!("SKIPPED: a_repaired_file_belongs_to_whom_the_old_one_belonged needs root, to give a file away");
        return;
    }
    FileStore::repair(&path, &identity(), height(9), Lowering::Refuse).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (65534, 65534, 0o600));
}
