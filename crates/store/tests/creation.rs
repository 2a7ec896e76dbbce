//! Making and exchanging files while the power fails: there is the old file, the new one, or none; never a part.
#![allow(clippy::unwrap_used)]
mod disk;

use disk::{Handle, identity, nth, owner};
use guard::{Height, Position, Record, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use store::file::{FILE_BYTES, FileStore, Folder, ImageBytes, Problem, create_in, exchange_in};

/// The names of a directory; a file is its bytes and whether they were synced.
type Names = BTreeMap<OsString, (ImageBytes, bool)>;
type Step = Box<dyn Fn(&mut Names)>;

/// A directory whose unsynced steps the power cut keeps or loses, each for itself, in any order.
#[derive(Default)]
struct CutFolder {
    now: Names,
    durable: Names,
    pending: Vec<Step>,
    /// Every state that a cut could have left so far.
    cuts: Vec<Names>,
    /// Fails the call of this number.
    fail_at: Option<usize>,
    calls: usize,
    /// Set to show that the tests notice it.
    forgets_to_sync: bool,
}

impl CutFolder {
    fn with(name: &str, image: ImageBytes) -> Self {
        let names = Names::from([(name.into(), (image, true))]);
        Self { now: names.clone(), durable: names, ..Self::default() }
    }

    fn step(&mut self, step: impl Fn(&mut Names) + 'static) -> io::Result<()> {
        self.may_fail()?;
        step(&mut self.now);
        self.pending.push(Box::new(step));
        self.remember();
        Ok(())
    }

    fn may_fail(&mut self) -> io::Result<()> {
        self.calls += 1;
        if self.fail_at == Some(self.calls) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// Every subset of the pending steps, each in both directions.
    fn remember(&mut self) {
        for mask in 0..1_u32 << self.pending.len() {
            let chosen: Vec<usize> = (0..self.pending.len()).filter(|index| mask >> index & 1 == 1).collect();
            for order in [chosen.clone(), chosen.into_iter().rev().collect()] {
                let mut names = self.durable.clone();
                for index in order {
                    self.pending[index](&mut names);
                }
                self.cuts.push(names);
            }
        }
    }
}

fn free(names: &Names, name: &OsStr) -> io::Result<()> {
    if names.contains_key(name) { Err(io::ErrorKind::AlreadyExists.into()) } else { Ok(()) }
}

impl Folder for CutFolder {
    fn create_synced(&mut self, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
        free(&self.now, name)?;
        let (name, image): (_, ImageBytes) = (name.to_owned(), bytes.try_into().unwrap());
        self.step(move |names| {
            names.insert(name.clone(), (image, true));
        })
    }

    fn link(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        free(&self.now, to)?;
        // A link is to the file, whether or not the name that it was made from survives.
        let (file, to) = (self.now[from], to.to_owned());
        self.step(move |names| {
            names.insert(to.clone(), file);
        })
    }

    fn rename(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        let (file, from, to) = (self.now[from], from.to_owned(), to.to_owned());
        self.step(move |names| {
            names.remove(&from);
            names.insert(to.clone(), file);
        })
    }

    fn remove(&mut self, name: &OsStr) -> io::Result<()> {
        let name = name.to_owned();
        self.step(move |names| {
            names.remove(&name);
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.may_fail()?;
        if !self.forgets_to_sync {
            self.durable = self.now.clone();
            self.pending.clear();
        }
        self.remember();
        Ok(())
    }
}

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
