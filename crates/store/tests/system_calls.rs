//! What really reaches the kernel, seen by strace: the syncs of creation and exchange, and four calls a commit.
#![allow(clippy::unwrap_used)]
mod disk;
mod files;

use disk::{identity, nth};
use files::{Folder, height};
use guard::{Record, Store};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use store::file::slot::Owner;
use store::{BindingStore, FileStore, Lowering};

const NAME: &str = "state.json";
const COMMITS: u64 = 50;

/// Runs a test of this program again under strace, and gives its calls about the state file and its folder, in order.
/// None, loudly, where strace cannot trace.
fn traced(test: &str, folder: &Folder) -> Option<Vec<String>> {
    let possible = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: {test} needs strace, and leave to trace");
        return None;
    }
    let log = folder.path("log");
    let status = Command::new("strace")
        .args(["-f", "-y", "-s", "0", "-e", "trace=file,desc,fsync,fdatasync", "-o"])
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("STORE_TEST_CHILD", folder.path("traced"))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let marker = format!("{}/traced", folder.0.display());
    let text = std::fs::read_to_string(log).unwrap();
    let calls = text.lines().filter(|line| line.contains(&marker) && line.contains('('));
    // "<pid> name(arguments) = result" without the folder's long name.
    Some(calls.map(|line| line.split_once(' ').unwrap().1.trim().replace(&marker, "")).collect())
}

fn child_folder() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("STORE_TEST_CHILD")?);
    std::fs::create_dir_all(&folder).unwrap();
    Some(folder)
}

fn name_of(call: &str) -> &str {
    call.split('(').next().unwrap()
}

/// Where the first call with that name and all these words stands, from `start` on.
fn find(calls: &[String], start: usize, name: &str, words: &[&str]) -> usize {
    let found =
        calls[start..].iter().position(|call| name_of(call) == name && words.iter().all(|word| call.contains(word)));
    start + found.unwrap_or_else(|| panic!("no {name} with {words:?} after {start} in {calls:#?}"))
}

#[test]
fn a_new_file_is_synced_before_it_is_named_and_its_folder_before_it_is_acknowledged() {
    if let Some(folder) = child_folder() {
        let path = folder.join(NAME);
        FileStore::create(&path, &identity(), &Record::never_signed()).unwrap();
        acknowledged(&path);
        FileStore::repair(&path, &identity(), height(5), Lowering::Refuse).unwrap();
        acknowledged(&path);
        FileStore::open(&path, &identity()).unwrap();
        acknowledged(&path);
        return;
    }
    let folder = Folder::new();
    let test = "a_new_file_is_synced_before_it_is_named_and_its_folder_before_it_is_acknowledged";
    let Some(calls) = traced(test, &folder) else { return };
    let created = find(&calls, 0, "openat", &[".new-", "O_EXCL", "0600"]);
    let written = find(&calls, created, "write", &[".new-", "8192) = 8192"]);
    let synced = find(&calls, written, "fsync", &[".new-", "= 0"]);
    let linked = find(&calls, synced, "linkat", &[".new-", "\"/state.json\""]);
    let named = find(&calls, linked, "fsync", &["= 0"]);
    assert!(!calls[named].contains(NAME), "the folder: {}", calls[named]);
    let told = find(&calls, 0, "readlink", &[]).min(calls.len());
    assert!(named < told);
    // Exchange: locked, the new file synced, the old one kept, that synced, renamed, that synced.
    let locked = find(&calls, told, "flock", &["LOCK_EX|LOCK_NB"]);
    let synced = find(&calls, locked, "fsync", &[".new-", "= 0"]);
    let kept = find(&calls, synced, "linkat", &["/state.json.old-1"]);
    let kept_synced = find(&calls, kept, "fsync", &["= 0"]);
    let renamed = find(&calls, kept_synced, "rename", &[".new-", "\"/state.json\""]);
    let renamed_synced = find(&calls, renamed, "fsync", &["= 0"]);
    let told = find(&calls, renamed_synced, "readlink", &[]);
    // Opening: the name may be younger than the folder's last sync.
    let locked = find(&calls, told, "flock", &["LOCK_EX|LOCK_NB"]);
    let synced = find(&calls, locked, "fsync", &["= 0"]);
    assert!(synced < find(&calls, locked, "readlink", &[]));
}

/// A call that nothing else here makes: what came before it is what the acknowledgement rests on.
fn acknowledged(path: &Path) {
    assert!(std::fs::read_link(path).is_err(), "it is no link");
}

#[test]
fn a_commit_takes_four_system_calls() {
    if let Some(folder) = child_folder() {
        let path = folder.join(NAME);
        FileStore::create(&path, &identity(), &Record::never_signed()).unwrap();
        let mut store = FileStore::open(&path, &identity()).unwrap();
        let mut record = store.recover().unwrap();
        for sequence in 1..=COMMITS {
            let _ = store.commit(&record, &nth(sequence, 1)).unwrap();
            record = nth(sequence, 1);
        }
        return;
    }
    let folder = Folder::new();
    let Some(calls) = traced("a_commit_takes_four_system_calls", &folder) else { return };
    let calls: Vec<&String> = calls.iter().filter(|call| call.contains(NAME)).collect();
    let last_of_recovery = calls.iter().enumerate().filter(|(_, call)| name_of(call) == "fdatasync").nth(1).unwrap().0;
    let commits = &calls[last_of_recovery + 1..];
    for (number, commit) in commits.chunks(4).take(usize::try_from(COMMITS).unwrap()).enumerate() {
        let names: Vec<&str> = commit.iter().map(|call| name_of(call)).collect();
        assert_eq!(names, ["statx", "pread64", "pwrite64", "fdatasync"], "commit {number}");
        // Whoever asks for timestamps pays for new ones at the next write.
        assert!(commit[0].contains("STATX_TYPE|STATX_INO|STATX_SIZE, "), "{}", commit[0]);
        assert!(commit[2].contains(", 4096, ") && commit[2].ends_with("= 4096"), "{}", commit[2]);
        // Never the slot of the commit before.
        let offset = if number % 2 == 0 { ", 4096, 0)" } else { ", 4096, 4096)" };
        assert!(commit[2].contains(offset), "commit {number}: {}", commit[2]);
    }
    assert!(commits.len() >= 4 * usize::try_from(COMMITS).unwrap());
    let rest: Vec<&str> = commits[4 * usize::try_from(COMMITS).unwrap()..].iter().map(|call| name_of(call)).collect();
    assert_eq!(rest, ["flock", "close"]);
}

#[test]
fn a_binding_is_synced_under_its_own_name_and_its_folder_before_the_commit() {
    if let Some(folder) = child_folder() {
        let path = folder.join(NAME);
        FileStore::create_for(&path, &Owner::unbound(identity().chain_id), &Record::never_signed()).unwrap();
        let mut store = BindingStore::open(&path, &identity()).unwrap();
        let zero = store.recover().unwrap();
        acknowledged(&path);
        let _ = store.commit(&zero, &nth(1, 1)).unwrap();
        acknowledged(&path);
        return;
    }
    let folder = Folder::new();
    let Some(calls) = traced("a_binding_is_synced_under_its_own_name_and_its_folder_before_the_commit", &folder) else {
        return;
    };
    let begun = find(&calls, 0, "readlink", &[]);
    let written = find(&calls, begun, "write", &[".new-", "8192) = 8192"]);
    let synced = find(&calls, written, "fsync", &[".new-", "= 0"]);
    let renamed = find(&calls, synced, "rename", &[".new-", "\"/state.json\""]);
    let named = find(&calls, renamed, "fsync", &["= 0"]);
    assert!(!calls[named].contains(NAME), "the folder: {}", calls[named]);
    let locked = find(&calls, named, "flock", &["LOCK_EX|LOCK_NB"]);
    let committed = find(&calls, locked, "pwrite64", &["= 4096"]);
    assert!(committed < calls.iter().rposition(|call| name_of(call) == "readlink").unwrap());
}
