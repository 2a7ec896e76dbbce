//! Writes and syncs that fail: nothing is acknowledged until a recovery ended well, and what a failed write of ours
//! tore is healed.
#![allow(clippy::unwrap_used)]
mod disk;

use disk::{Fault, Handle, best_in, created, nth, owner};
use guard::{Record, Store, Trouble};
use std::io::ErrorKind;
use store::FileStore;
use store::file::slot::{Owner, SLOT_BYTES, encode};
use store::file::{FILE_BYTES, Place, look_at};

/// An opened and recovered store that holds `nth(1, 1)`.
fn holding_one() -> (Handle, FileStore<Handle>) {
    let disk = Handle::new(created(&Record::never_signed()), 0);
    let mut store = disk.open().unwrap();
    let zero = store.recover().unwrap();
    let _ = store.commit(&zero, &nth(1, 1)).unwrap();
    disk.0.borrow_mut().calls.clear();
    (disk, store)
}

#[test]
fn a_commit_is_one_stat_one_read_one_write_and_one_sync() {
    let (disk, mut store) = holding_one();
    let _ = store.commit(&nth(1, 1), &nth(2, 1)).unwrap();
    assert_eq!(disk.0.borrow().calls, ["stat", "read", "write", "sync"]);
}

#[test]
fn nothing_is_committed_before_the_first_recovery() {
    let disk = Handle::new(created(&Record::never_signed()), 0);
    let mut store = disk.open().unwrap();
    let refused = store.commit(&Record::never_signed(), &nth(1, 1)).unwrap_err();
    assert_eq!(refused.trouble, Trouble::Failed);
    assert_eq!(disk.0.borrow().durable, created(&Record::never_signed()));
}

#[test]
fn after_each_kind_of_failure_nothing_is_committed_until_a_recovery_ended_well() {
    for (fault, text) in [
        (Fault::WriteError(ErrorKind::StorageFull, 0), "free space"),
        (Fault::WriteError(ErrorKind::QuotaExceeded, 0), "quota"),
        (Fault::WriteError(ErrorKind::ReadOnlyFilesystem, 0), "remount"),
        (Fault::WriteError(ErrorKind::Other, 300), "kernel's log"),
        (Fault::ShortWrite(0), "expected 4096 bytes, got 0"),
        (Fault::ShortWrite(300), "expected 4096 bytes, got 300"),
        (Fault::ShortWrite(4095), "expected 4096 bytes, got 4095"),
        (Fault::SyncError { kept: 0, cache_lies: true }, "syncing it failed"),
        (Fault::SyncError { kept: 0, cache_lies: false }, "syncing it failed"),
        (Fault::SyncError { kept: 0xffff, cache_lies: true }, "syncing it failed"),
    ] {
        let (disk, mut store) = holding_one();
        disk.fail_next(fault);
        let failed = store.commit(&nth(1, 1), &nth(2, 1)).unwrap_err();
        assert_eq!(failed.trouble, Trouble::Failed, "{fault:?}");
        assert!(failed.detail.contains(text), "{fault:?}: {}", failed.detail);
        let again = store.commit(&nth(1, 1), &nth(2, 1)).unwrap_err();
        assert!(again.detail.contains("not recovered"), "{}", again.detail);
        // A recovery that fails does not help, however it fails.
        for second in [Fault::ShortWrite(7), Fault::SyncError { kept: 0, cache_lies: true }] {
            disk.fail_next(second);
            store.recover().unwrap_err();
            store.commit(&nth(1, 1), &nth(2, 1)).unwrap_err();
        }
        let held = store.recover().unwrap();
        assert!(held == nth(1, 1) || held == nth(2, 1));
        // Both slots are sound again, on the disk itself, and nothing older than what was acknowledged.
        let image = disk.0.borrow().durable;
        assert!(look_at(&image, FILE_BYTES as u64).slots.iter().all(Result::is_ok), "{fault:?}");
        assert!(best_in(&image) >= Some(held.position()));
        let _ = store.commit(&held, &nth(held.sequence() + 1, 2)).unwrap();
        assert_eq!(
            Handle::new(disk.0.borrow().durable, 0).open().unwrap().recover().unwrap().sequence(),
            held.sequence() + 1
        );
    }
}

#[test]
fn a_cache_that_shows_what_the_disk_lost_is_written_again_before_it_is_believed() {
    let (disk, mut store) = holding_one();
    disk.fail_next(Fault::SyncError { kept: 0, cache_lies: true });
    store.commit(&nth(1, 1), &nth(2, 1)).unwrap_err();
    assert_ne!(disk.0.borrow().cache, disk.0.borrow().durable, "the cache shows what the disk does not hold");
    assert_eq!(store.recover().unwrap(), nth(2, 1));
    assert_eq!(disk.0.borrow().cache, disk.0.borrow().durable);
    // The same for a process that is started again on that cache.
    disk.fail_next(Fault::SyncError { kept: 0, cache_lies: true });
    store.commit(&nth(2, 1), &nth(3, 1)).unwrap_err();
    drop(store);
    let mut store = disk.open().unwrap();
    assert_eq!(store.recover().unwrap(), nth(3, 1));
    assert_eq!(Handle::new(disk.0.borrow().durable, 0).open().unwrap().recover().unwrap(), nth(3, 1));
}

#[test]
fn a_cache_that_lets_go_of_what_the_disk_lost_is_not_taken_for_another_writer() {
    // A sync failed, the process was killed, and the cache still shows the record that the disk lost; the next opening's
    // first sync fails too, and now the cache is read from the disk again. What was read at opening still counts.
    let (disk, mut store) = holding_one();
    disk.fail_next(Fault::SyncError { kept: 0, cache_lies: true });
    store.commit(&nth(1, 1), &nth(2, 1)).unwrap_err();
    drop(store);
    let mut store = disk.open().unwrap();
    disk.fail_next(Fault::SyncError { kept: 0, cache_lies: false });
    assert_eq!(store.recover().unwrap_err().trouble, Trouble::Failed);
    assert_eq!(store.recover().unwrap(), nth(2, 1));
    assert_eq!(Handle::new(disk.0.borrow().durable, 0).open().unwrap().recover().unwrap(), nth(2, 1));
    let _ = store.commit(&nth(2, 1), &nth(3, 1)).unwrap();
}

#[test]
fn between_opening_and_the_first_recovery_nothing_of_a_stranger_is_believed() {
    let stranger = Owner { pub_key: "AAAA".to_owned(), ..owner() };
    for (content, trouble) in [
        (encode(&stranger, 0, &nth(9, 1)).unwrap(), Trouble::Superseded),
        (encode(&owner(), 9, &nth(9, 1)).unwrap(), Trouble::Superseded), // a later opening
        (encode(&owner(), 0, &nth(1, 2)).unwrap(), Trouble::Superseded), // another record of the sequence that is held
        ([0; SLOT_BYTES], Trouble::Damaged),
    ] {
        let (disk, store) = holding_one();
        drop(store);
        let mut store = disk.open().unwrap();
        disk.0.borrow_mut().cache[..SLOT_BYTES].copy_from_slice(&content);
        assert_eq!(store.recover().unwrap_err().trouble, trouble);
        assert!(!disk.0.borrow().calls.contains(&"write"));
    }
}

#[test]
fn a_repeated_commit_succeeds_without_writing_and_only_while_nothing_is_in_doubt() {
    let (disk, mut store) = holding_one();
    let _ = store.commit(&Record::never_signed(), &nth(1, 1)).unwrap();
    assert_eq!(disk.0.borrow().calls, ["stat", "read"]);
    disk.fail_next(Fault::SyncError { kept: 0xffff, cache_lies: true });
    store.commit(&nth(1, 1), &nth(2, 1)).unwrap_err();
    store.commit(&nth(1, 1), &nth(2, 1)).unwrap_err();
    assert_eq!(store.recover().unwrap(), nth(2, 1));
    let _ = store.commit(&nth(1, 1), &nth(2, 1)).unwrap();
}

#[test]
fn a_commit_that_does_not_follow_what_is_held_is_refused_and_writes_nothing() {
    let (disk, mut store) = holding_one();
    let before = disk.0.borrow().cache;
    for (previous, next) in [
        (nth(0, 1), nth(1, 2)),                              // another record of the sequence that is held
        (nth(1, 2), nth(2, 1)),                              // another previous record of that sequence
        (nth(2, 1), nth(3, 1)),                              // a previous record that was never held
        (nth(1, 1), nth(3, 1)),                              // a sequence left out
        (nth(1, 1), nth(1, 2)),                              // no progress
        (nth(1, 1), Record::floor(2, nth(1, 1).position())), // the same position
        (nth(1, 1), Record::floor(2, nth(0, 1).position())), // a lower one
    ] {
        let refused = store.commit(&previous, &next).unwrap_err();
        assert_eq!(refused.trouble, Trouble::Superseded, "{previous:?} -> {next:?}");
    }
    let other = disk::vote_on("another-chain", 9, 0, guard::Step::Precommit, 1, 1);
    assert_eq!(store.commit(&nth(1, 1), &Record::of(2, other)).unwrap_err().trouble, Trouble::Damaged);
    assert_eq!(disk.0.borrow().cache, before);
    assert!(!disk.0.borrow().calls.contains(&"write"));
    let _ = store.commit(&nth(1, 1), &nth(2, 1)).unwrap();
}

#[test]
fn what_another_wrote_into_the_file_is_noticed_by_the_next_commit_and_stays_noticed() {
    let newer = |owner: &Owner, epoch| encode(owner, epoch, &nth(9, 1)).unwrap();
    let stranger = Owner { pub_key: "AAAA".to_owned(), ..owner() };
    for slot in 0..2 {
        for (content, trouble, text) in [
            (newer(&owner(), 77), Trouble::Superseded, "epoch 77), this opening has epoch 1"),
            (newer(&owner(), 1), Trouble::Superseded, "sequence 9"),
            (newer(&stranger, 1), Trouble::Superseded, "the state of key AAAA"),
            (encode(&owner(), 0, &Record::never_signed()).unwrap(), Trouble::Superseded, "the end of height 0"),
            ([b'x'; SLOT_BYTES], Trouble::Damaged, "overwritten"),
            ([0; SLOT_BYTES], Trouble::Damaged, "it is blank"),
        ] {
            let (disk, mut store) = holding_one();
            disk.0.borrow_mut().cache[slot * SLOT_BYTES..][..SLOT_BYTES].copy_from_slice(&content);
            let noticed = store.commit(&nth(1, 1), &nth(2, 1)).unwrap_err();
            assert_eq!(noticed.trouble, trouble, "slot {slot}: {}", noticed.detail);
            assert!(noticed.detail.contains(text), "{}", noticed.detail);
            assert!(noticed.detail.contains("state repair --height H` with H at least 1"), "{}", noticed.detail);
            assert_eq!(store.recover().unwrap_err().trouble, trouble);
            assert!(store.commit(&nth(1, 1), &nth(2, 1)).is_err());
            assert!(!disk.0.borrow().calls.contains(&"write"), "what was found is left as it is");
        }
    }
}

#[test]
fn damage_of_the_other_slot_is_not_taken_for_a_failed_write_of_ours() {
    let (disk, mut store) = holding_one();
    disk.fail_next(Fault::WriteError(ErrorKind::Other, 0));
    store.commit(&nth(1, 1), &nth(2, 1)).unwrap_err();
    // The commit went to slot 1; slot 2 holds the acknowledged record, and nothing of ours could have torn it.
    let acknowledged = usize::from(look_at(&disk.0.borrow().cache, FILE_BYTES as u64).winner == Some(1));
    disk.0.borrow_mut().cache[acknowledged * SLOT_BYTES + 20] ^= 1;
    assert_eq!(store.recover().unwrap_err().trouble, Trouble::Damaged);
}

#[test]
fn a_file_that_is_gone_exchanged_or_resized_is_noticed_by_commit_and_recovery() {
    for (place, trouble) in [
        (Place::Nothing, Trouble::Superseded),
        (Place::Another, Trouble::Superseded),
        (Place::Ours { bytes: 8191 }, Trouble::Damaged),
        (Place::Ours { bytes: 8193 }, Trouble::Damaged),
    ] {
        let (disk, mut store) = holding_one();
        disk.0.borrow_mut().place = Some(place);
        assert_eq!(store.commit(&nth(1, 1), &nth(2, 1)).unwrap_err().trouble, trouble);
        assert_eq!(store.recover().unwrap_err().trouble, trouble);
        assert!(!disk.0.borrow().calls.contains(&"write"));
    }
}

#[test]
fn each_opening_takes_a_higher_epoch_and_fences_the_earlier_one() {
    let (disk, mut first) = holding_one();
    let mut second = disk.open().unwrap();
    assert_eq!(second.recover().unwrap(), nth(1, 1));
    assert_eq!((first.epoch(), second.epoch()), (1, 2));
    assert_eq!(first.commit(&nth(1, 1), &nth(2, 1)).unwrap_err().trouble, Trouble::Superseded);
    assert_eq!(first.recover().unwrap_err().trouble, Trouble::Superseded);
    let _ = second.commit(&nth(1, 1), &nth(2, 2)).unwrap();
}

#[test]
fn a_store_can_be_moved_to_the_thread_that_signs() {
    fn boxed(store: FileStore) -> Box<dyn Store + Send> {
        Box::new(store)
    }
    let _: fn(FileStore) -> Box<dyn Store + Send> = boxed;
}
