//! Making and exchanging files while the power fails: there is the old file, the new one, or none; never a part.
#![allow(clippy::unwrap_used)]
mod cut_folder;
mod disk;

use cut_folder::{CutFolder, Names};
use disk::{Handle, identity, nth, owner};
use guard::{Height, Position, Record, Store};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use store::file::{FILE_BYTES, FileStore, ImageBytes, Problem, create_in, exchange_in};

const NAME: &str = "state.json";

fn opened(image: ImageBytes) -> Record {
    FileStore::on(Handle::new(image, 0), Path::new(NAME), &identity()).unwrap().recover().unwrap()
}

fn floor(height: i64) -> Record {
    Record::floor(3, Position::end_of(Height::try_from(height).unwrap()))
}

#[test]
fn a_cut_while_a_file_is_created_leaves_none_or_all_of_it() {
    for fail_at in (0..6).map(|call| (call > 0).then_some(call)) {
        let mut folder = CutFolder { fail_at, ..CutFolder::default() };
        let created = create_in(&mut folder, NAME.as_ref(), &owner(), &floor(5));
        for names in &folder.cuts {
            if let Some((image, synced)) = names.get(OsStr::new(NAME)) {
                assert!(synced);
                assert_eq!(opened(*image), floor(5));
            }
        }
        // Once it says so, it is there, and nothing but what was meant.
        if created.is_ok() {
            assert_eq!(opened(folder.durable[OsStr::new(NAME)].0), floor(5));
            assert!(fail_at.is_some() || folder.durable.len() == 1);
        } else {
            assert!(matches!(created, Err(Problem::DiskFull { .. })));
        }
        println!("creation, failing at call {fail_at:?}: {} states of the directory", folder.cuts.len());
    }
}

#[test]
fn creating_never_takes_the_place_of_another_file() {
    let other = disk::created(&nth(7, 1));
    let mut folder = CutFolder::with(NAME, other);
    assert!(matches!(create_in(&mut folder, NAME.as_ref(), &owner(), &floor(5)), Err(Problem::Exists)));
    assert!(folder.cuts.iter().all(|names| names[OsStr::new(NAME)].0 == other));
    assert_eq!(folder.now.len(), 1, "the new file is gone again");
}

#[test]
fn a_cut_while_a_record_is_exchanged_leaves_the_old_file_or_the_new_one_and_always_the_old_record() {
    for fail_at in (0..8).map(|call| (call > 0).then_some(call)) {
        let old = disk::created(&nth(7, 1));
        let mut folder = CutFolder { fail_at, ..CutFolder::with(NAME, old) };
        let exchanged = exchange_in(&mut folder, NAME.as_ref(), &owner(), 4, &floor(5));
        let mut records = BTreeSet::new();
        for names in &folder.cuts {
            let record = opened(names[OsStr::new(NAME)].0);
            assert!(record == nth(7, 1) || record == floor(5));
            records.insert(record.sequence());
            assert!(names.values().any(|(image, _)| *image == old), "the old record is nowhere");
        }
        match exchanged {
            Ok(backup) => {
                assert_eq!(opened(folder.durable[OsStr::new(NAME)].0), floor(5));
                assert_eq!(folder.durable[&backup].0, old);
                assert_eq!(records.len(), 2, "both outcomes of a cut were seen");
            }
            Err(problem) => assert!(matches!(problem, Problem::DiskFull { .. })),
        }
    }
}

#[test]
fn an_exchange_that_does_not_sync_is_caught() {
    let mut folder = CutFolder { forgets_to_sync: true, ..CutFolder::with(NAME, disk::created(&nth(7, 1))) };
    exchange_in(&mut folder, NAME.as_ref(), &owner(), 4, &floor(5)).unwrap();
    assert_eq!(opened(folder.durable[OsStr::new(NAME)].0), nth(7, 1), "not durable though acknowledged");
    let lost = |names: &Names| !names.values().any(|(image, _)| *image == disk::created(&nth(7, 1)));
    assert!(folder.cuts.iter().any(lost), "the old record is lost in some state");
}

#[test]
fn old_files_are_kept_beside_one_another() {
    let mut folder = CutFolder::with(NAME, disk::created(&nth(7, 1)));
    for number in 1..=3 {
        let backup = exchange_in(&mut folder, NAME.as_ref(), &owner(), 4, &floor(5 + number)).unwrap();
        assert_eq!(backup, OsString::from(format!("{NAME}.old-{number}")));
    }
    assert_eq!(folder.durable.len(), 4);
    assert!(folder.durable.values().all(|(image, _)| image.len() == FILE_BYTES));
}
