//! A state that names no key yet: it holds a floor, and is bound to a key by the first commit, through power cuts too.
#![allow(clippy::unwrap_used)]
mod cut_folder;
mod disk;
mod files;

use cut_folder::CutFolder;
use disk::{CHAIN, Handle, NAME, identity, nth, owner, vote};
use files::{Folder, floor, height, identity_of};
use guard::{ChainId, Denied, Guard, Position, Record, Step, Store, Trouble};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use store::file::slot::{Owner, SLOT_BYTES, encode};
use store::file::{ImageBytes, bind_in, inspect};
use store::{BindingStore, FileStore, Lowering, Problem, StateError};

fn nobody() -> Owner {
    Owner::unbound(ChainId::try_from(CHAIN).unwrap())
}

fn image_of(owner: &Owner, record: &Record) -> ImageBytes {
    let slot = encode(owner, 0, record).unwrap();
    [slot, slot].concat().try_into().unwrap()
}

/// What the image opens as: the record, and whether it names the key. Exactly one of the two ways must do.
fn opened(image: ImageBytes) -> (Record, bool) {
    let bound = FileStore::on(Handle::new(image, 0), Path::new(NAME), &identity());
    let unbound = FileStore::on_for(Handle::new(image, 0), Path::new(NAME), &nobody());
    match (bound, unbound) {
        (Ok(mut store), Err(_)) => (store.recover().unwrap(), true),
        (Err(_), Ok(mut store)) => (store.recover().unwrap(), false),
        (Ok(_), Ok(_)) => panic!("it is bound, and is not"),
        (Err(error), Err(_)) => panic!("it does not open: {error}"),
    }
}

#[test]
fn a_cut_at_every_moment_of_a_binding_leaves_the_floor_and_never_takes_a_key_or_a_record_back() {
    let first = floor(10);
    let (mut cuts, mut unbound, mut bound) = (0, 0, 0);
    for fail_at in (0..6).map(|call| (call > 0).then_some(call)) {
        // Opened without a key.
        let disk = Handle::new(image_of(&nobody(), &first), 0);
        let mut store = FileStore::on_for(disk.clone(), Path::new(NAME), &nobody()).unwrap();
        assert_eq!(store.recover().unwrap(), first);
        for moment in disk.take_moments() {
            for image in moment.images().0 {
                assert_eq!(opened(image), (first.clone(), false));
                cuts += 1;
            }
        }
        // The file is exchanged.
        let mut folder = CutFolder { fail_at, ..CutFolder::with(NAME, disk.0.borrow().durable) };
        let done = bind_in(&mut folder, NAME.as_ref(), &owner(), store.epoch(), &first);
        for names in &folder.cuts {
            let (record, is_bound) = opened(names[OsStr::new(NAME)].0);
            assert_eq!(record, first);
            *if is_bound { &mut bound } else { &mut unbound } += 1;
        }
        if done.is_err() {
            continue;
        }
        // Before the commit begins, nothing can take the key back.
        let image = folder.durable[OsStr::new(NAME)].0;
        assert_eq!(opened(image), (first.clone(), true));
        assert_eq!(folder.durable.len(), 1, "nothing is left over");
        let disk = Handle::new(image, 0);
        let mut bound_store = disk.open().unwrap();
        assert!(bound_store.epoch() > store.epoch(), "the opening before it is fenced");
        assert_eq!(bound_store.recover().unwrap(), first);
        let next = Record::of(1, vote(11, 0, Step::Precommit, 1, 1));
        let _ = bound_store.commit(&first, &next).unwrap();
        disk.acknowledge(1);
        for moment in disk.take_moments() {
            for image in moment.images().0 {
                let (record, is_bound) = opened(image);
                assert!(is_bound && (record == next || (record == first && moment.acknowledged == 0)));
                cuts += 1;
            }
        }
    }
    println!("binding: {cuts} images of sectors, {unbound} folders with the old file, {bound} with the new one");
    assert!(cuts > 50 && unbound > 10 && bound > 4);
}

#[test]
fn a_binding_that_does_not_sync_is_caught() {
    let image = image_of(&nobody(), &floor(10));
    let mut folder = CutFolder { forgets_to_sync: true, ..CutFolder::with(NAME, image) };
    bind_in(&mut folder, NAME.as_ref(), &owner(), 1, &floor(10)).unwrap();
    assert!(!opened(folder.durable[OsStr::new(NAME)].0).1, "not durable though it was said");
}

#[test]
fn a_state_without_a_key_takes_no_commit_of_the_store_that_opened_it() {
    let disk = Handle::new(image_of(&nobody(), &Record::never_signed()), 0);
    let mut store = FileStore::on_for(disk.clone(), Path::new(NAME), &nobody()).unwrap();
    let zero = store.recover().unwrap();
    disk.0.borrow_mut().calls.clear();
    assert_eq!(store.commit(&zero, &nth(1, 1)).unwrap_err().trouble, Trouble::Superseded);
    assert!(!disk.0.borrow().calls.contains(&"write"));
}

fn unbound_file(folder: &Folder) -> std::path::PathBuf {
    let path = folder.path(NAME);
    FileStore::create_for(&path, &nobody(), &floor(10)).unwrap();
    path
}

fn owner_of(path: &Path) -> Owner {
    inspect(path).unwrap().held().unwrap().owner.clone()
}

#[test]
fn the_first_commit_binds_and_recoveries_before_it_do_not() {
    let folder = Folder::new();
    let path = unbound_file(&folder);
    for _ in 0..3 {
        let mut store = BindingStore::open(&path, &identity_of(CHAIN, 9)).unwrap();
        assert_eq!(store.recover().unwrap(), floor(10));
        assert!(!store.is_bound() && owner_of(&path).is_unbound());
    }
    let mut guard = Guard::new(identity(), BindingStore::open(&path, &identity()).unwrap());
    assert!(matches!(guard.authorize(vote(10, 0, Step::Precommit, 1, 1), None), Err(Denied::Refused(_))));
    assert!(owner_of(&path).is_unbound());
    for number in 11..20 {
        let _ = guard.authorize(vote(number, 0, Step::Precommit, 1, 1), None).unwrap();
        assert_eq!(owner_of(&path), owner());
    }
    drop(guard);
    assert_eq!(folder.names(), [NAME], "nothing is left over");
    // A bound file stays bound: another key is refused with both, and the right one goes on.
    let other = identity_of(CHAIN, 9);
    let error = BindingStore::open(&path, &other).err().unwrap();
    let text = error.to_string();
    assert!(matches!(error.problem, Problem::AnotherKey { .. }));
    assert!(text.contains(&Owner::of(&other).pub_key) && text.contains(&owner().pub_key), "{text}");
    let mut store = BindingStore::open(&path, &identity()).unwrap();
    assert_eq!(store.recover().unwrap().position().height, height(19));
    assert!(store.is_bound());
}

#[test]
fn a_file_that_was_exchanged_under_an_opening_without_a_key_is_not_bound() {
    let folder = Folder::new();
    let path = unbound_file(&folder);
    let mut store = BindingStore::open(&path, &identity()).unwrap();
    let first = store.recover().unwrap();
    let next = Record::of(1, vote(11, 0, Step::Precommit, 1, 1));
    let other = folder.path("other");
    FileStore::create(&other, &identity_of(CHAIN, 9), &floor(50)).unwrap();
    fs::rename(&other, &path).unwrap();
    assert_eq!(store.commit(&first, &next).unwrap_err().trouble, Trouble::Superseded);
    assert_eq!(owner_of(&path), Owner::of(&identity_of(CHAIN, 9)));
}

#[test]
fn a_binding_that_fails_signs_nothing_and_succeeds_once_the_cause_is_gone() {
    let folder = Folder::new();
    let path = unbound_file(&folder);
    let mut guard = Guard::new(identity(), BindingStore::open(&path, &identity()).unwrap());
    guard.recover().unwrap();
    // Whatever takes every name that the new file could have.
    let blockers: Vec<_> =
        (0..16).map(|number| folder.path(&format!(".{NAME}.new-{}-{number}", std::process::id()))).collect();
    blockers.iter().for_each(|name| fs::write(name, "").unwrap());
    for _ in 0..3 {
        match guard.authorize(vote(11, 0, Step::Precommit, 1, 1), None) {
            Err(Denied::Store(error)) => assert_eq!(error.trouble, Trouble::Failed, "{error}"),
            other => panic!("{other:?}"),
        }
        assert!(owner_of(&path).is_unbound());
    }
    blockers.iter().for_each(|name| fs::remove_file(name).unwrap());
    let _ = guard.authorize(vote(11, 0, Step::Precommit, 2, 1), None).unwrap();
    assert_eq!(owner_of(&path), owner());
}

#[test]
fn binding_follows_a_link_and_leaves_it() {
    let folder = Folder::new();
    let path = unbound_file(&folder);
    let link = folder.path("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let mut guard = Guard::new(identity(), BindingStore::open(&link, &identity()).unwrap());
    let _ = guard.authorize(vote(11, 0, Step::Precommit, 1, 1), None).unwrap();
    assert!(link.is_symlink() && !path.is_symlink());
    assert_eq!(owner_of(&path), owner());
}

#[test]
fn an_explicit_act_that_knows_the_key_binds_and_one_that_does_not_keeps_what_is_there() {
    let folder = Folder::new();
    let path = unbound_file(&folder);
    // Without the key: raised, still nobody's.
    FileStore::repair_for(&path, &nobody(), height(20), Lowering::Refuse).unwrap();
    assert!(owner_of(&path).is_unbound());
    // Of an import without the key only the position is kept.
    let signed = Record::of(0, vote(30, 0, Step::Precommit, 1, 1));
    let replaced = FileStore::replace_for(&path, &nobody(), &signed, Lowering::Refuse).unwrap();
    assert_eq!((replaced.record.position(), replaced.record.statement()), (signed.position(), None));
    // With it: bound, also where nothing else changes.
    let held = FileStore::repair(&path, &identity(), height(5), Lowering::Refuse).unwrap();
    assert_eq!((owner_of(&path), held.record.position().height), (owner(), height(30)));
    FileStore::repair_for(&path, &nobody(), height(40), Lowering::Refuse).unwrap();
    FileStore::replace_for(&path, &nobody(), &floor(50), Lowering::Refuse).unwrap();
    assert_eq!(owner_of(&path), owner(), "a bound file never becomes unbound");
    let other_chain = Owner::unbound(ChainId::try_from("another").unwrap());
    let refused = FileStore::repair_for(&path, &other_chain, height(60), Lowering::Refuse).unwrap_err();
    assert!(matches!(refused.problem, Problem::AnotherChain { .. }));
    assert_eq!(inspect(&path).unwrap().held().unwrap().record.position(), Position::end_of(height(50)));
}

#[test]
fn one_slot_with_a_key_beside_one_without_is_refused_and_can_be_mended() {
    let folder = Folder::new();
    for bound_slot in 0..2 {
        let path = folder.path(&format!("{bound_slot}.json"));
        FileStore::create_for(&path, &nobody(), &floor(10)).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let slot = encode(&owner(), 3, &nth(50, 1)).unwrap();
        bytes[bound_slot * SLOT_BYTES..][..SLOT_BYTES].copy_from_slice(&slot);
        fs::write(&path, bytes).unwrap();
        assert!(BindingStore::open(&path, &identity()).is_err());
        assert!(FileStore::open(&path, &identity()).is_err());
        let done = FileStore::repair(&path, &identity(), height(1), Lowering::Refuse).unwrap();
        assert!(done.record.position() >= nth(50, 1).position(), "{:?}", done.record);
        BindingStore::open(&path, &identity()).unwrap();
    }
}

#[test]
fn a_signer_that_knows_its_key_is_told_that_the_file_names_none() {
    let folder = Folder::new();
    let path = unbound_file(&folder);
    let error: StateError = FileStore::open(&path, &identity()).err().unwrap();
    assert!(error.to_string().contains("bound to no key yet"), "{error}");
    let nobodys = guard::Identity { public_key: Box::from([]), ..identity() };
    assert!(BindingStore::open(&path, &nobodys).is_err(), "an empty key is no key");
    assert!(FileStore::create(&folder.path("new"), &nobodys, &floor(1)).is_err());
}
