//! An older copy that is put in place of a live file is noticed by the next commit; after a restart it cannot be.
#![allow(clippy::unwrap_used)]
mod disk;
mod files;

use disk::{identity, nth};
use files::Folder;
use guard::{Record, Store, Trouble};
use std::fs;
use std::path::Path;
use store::FileStore;

/// A live store that holds `nth(4, 1)`, and a copy of its file from when it held `nth(2, 1)`.
fn live(folder: &Folder) -> FileStore {
    let path = folder.path("state.json");
    FileStore::create(&path, &identity(), &Record::never_signed()).unwrap();
    let mut store = FileStore::open(&path, &identity()).unwrap();
    let mut record = store.recover().unwrap();
    for sequence in 1..=4 {
        let _ = store.commit(&record, &nth(sequence, 1)).unwrap();
        record = nth(sequence, 1);
        if sequence == 2 {
            fs::copy(&path, folder.path("older.json")).unwrap();
        }
    }
    store
}

fn notices(act: impl Fn(&Path, &Path), text: &str) {
    let folder = Folder::new();
    let mut store = live(&folder);
    let (path, older) = (folder.path("state.json"), folder.path("older.json"));
    act(&path, &older);
    let after = fs::read(&path).ok();
    let noticed = store.commit(&nth(4, 1), &nth(5, 1)).unwrap_err();
    assert_eq!(noticed.trouble, Trouble::Superseded, "{noticed}");
    assert!(noticed.detail.contains(text), "{noticed}");
    assert!(noticed.detail.contains("last held 3/0/prevote"), "{noticed}");
    // What is gone cannot be repaired.
    let command = if after.is_some() { "repair" } else { "init" };
    let remedy = format!("tmkms state {command} --height H` with H at least 3");
    assert!(noticed.detail.contains(&remedy), "{noticed}");
    assert_eq!(store.recover().unwrap_err().trouble, Trouble::Superseded);
    assert!(store.commit(&nth(4, 1), &nth(5, 1)).is_err());
    assert_eq!(fs::read(&path).ok(), after, "what was found is left for a person to look at");
}

#[test]
fn an_older_copy_written_into_the_live_file_is_noticed() {
    notices(|path, older| drop(fs::write(path, fs::read(older).unwrap())), "sequence 1, epoch 1");
}

#[test]
fn an_older_copy_renamed_over_the_live_file_is_noticed() {
    notices(|path, older| fs::rename(older, path).unwrap(), "another file was put in its place");
}

#[test]
fn an_exact_copy_renamed_over_the_live_file_is_noticed_too() {
    let exact = |path: &Path, older: &Path| {
        fs::copy(path, older).unwrap();
        fs::rename(older, path).unwrap();
    };
    notices(exact, "another file was put in its place");
}

#[test]
fn the_removal_of_the_live_file_is_noticed() {
    notices(|path, _| fs::remove_file(path).unwrap(), "it was removed or moved away");
}

#[test]
fn the_removal_of_its_folder_is_noticed() {
    notices(
        |path, _| fs::rename(path.parent().unwrap(), path.parent().unwrap().with_extension("moved")).unwrap(),
        "it was removed or moved away",
    );
}

#[test]
fn a_truncated_live_file_is_noticed() {
    let folder = Folder::new();
    let mut store = live(&folder);
    fs::write(folder.path("state.json"), b"").unwrap();
    let noticed = store.commit(&nth(4, 1), &nth(5, 1)).unwrap_err();
    assert_eq!(noticed.trouble, Trouble::Damaged);
    assert!(noticed.detail.contains("expected 8192 bytes, got 0"), "{noticed}");
}

#[test]
fn a_link_that_is_pointed_at_an_older_copy_is_noticed() {
    let folder = Folder::new();
    drop(live(&folder));
    let link = folder.path("link.json");
    std::os::unix::fs::symlink(folder.path("state.json"), &link).unwrap();
    let mut store = FileStore::open(&link, &identity()).unwrap();
    assert_eq!(store.recover().unwrap(), nth(4, 1));
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(folder.path("older.json"), &link).unwrap();
    assert_eq!(store.commit(&nth(4, 1), &nth(5, 1)).unwrap_err().trouble, Trouble::Superseded);
}

#[test]
fn after_a_restart_an_older_copy_cannot_be_noticed_and_simply_opens() {
    let folder = Folder::new();
    drop(live(&folder));
    fs::rename(folder.path("older.json"), folder.path("state.json")).unwrap();
    let mut store = FileStore::open(&folder.path("state.json"), &identity()).unwrap();
    assert_eq!(store.recover().unwrap(), nth(2, 1), "positions 3 and 4 were signed, and would be again");
}
