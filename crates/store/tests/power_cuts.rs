//! The power fails at every moment, and the disk keeps any part of what was not synced: what opens is never older
//! than what was acknowledged, and never anything that was not written.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
mod disk;

use disk::{Dice, Handle, Moment, best_in, created, nth};
use guard::{Committed, Position, Record, Store, StoreError, Trouble};
use std::collections::HashSet;
use store::file::slot::{SLOT_BYTES, decode, encode};
use store::file::{FILE_BYTES, FileStore, ImageBytes, Medium, Problem, slot_of};

/// A store that can be opened on such a disk: the real one, and wrong ones.
trait Subject: Store + Sized {
    /// Opens, or says what survives in what it refuses.
    fn open(disk: &Handle) -> Result<Self, Option<Position>>;
}

impl Subject for FileStore<Handle> {
    fn open(disk: &Handle) -> Result<Self, Option<Position>> {
        disk.open().map_err(|error| match error.problem {
            Problem::OneSlotDamaged { survivor, .. } => Some(survivor),
            Problem::BothSlotsDamaged { .. } => None,
            other => panic!("a history of ours left what opening calls: {other}"),
        })
    }
}

/// What a history has written, and what was found out about its disk.
struct Checker {
    written: Vec<Record>,
    seen: HashSet<(ImageBytes, u64, bool)>,
    states: u64,
    refused: u64,
    depth: usize,
}

impl Checker {
    fn new(first: Record, depth: usize) -> Self {
        Self { written: vec![first], seen: HashSet::new(), states: 0, refused: 0, depth }
    }

    fn check<S: Subject>(&mut self, moments: Vec<Moment>, depth: usize) -> Result<(), String> {
        for moment in moments {
            let (images, states) = moment.images();
            self.states += states;
            for image in images {
                if self.seen.insert((image, moment.acknowledged, moment.torn)) {
                    self.check_image::<S>(&image, &moment, depth)?;
                }
            }
        }
        Ok(())
    }

    /// The power is back: what opens?
    fn check_image<S: Subject>(&mut self, image: &ImageBytes, moment: &Moment, depth: usize) -> Result<(), String> {
        let floor = self.record(moment.acknowledged).position();
        let disk = Handle::new(*image, moment.acknowledged);
        let mut store = match S::open(&disk) {
            Ok(store) => store,
            Err(survivor) if moment.torn => {
                // Refused, as it must be, but the record must still be there to be shown.
                self.refused += 1;
                return if survivor >= Some(floor) && best_in(image) >= Some(floor) {
                    Ok(())
                } else {
                    Err(format!("{floor} was acknowledged, but only {survivor:?} survives"))
                };
            }
            Err(survivor) => return Err(format!("refused after a power cut alone; {survivor:?} survives")),
        };
        let record = store.recover().map_err(|error| format!("recovery failed on a sound disk: {error}"))?;
        if record.sequence() < moment.acknowledged {
            return Err(format!("sequence {} was acknowledged, {} opens", moment.acknowledged, record.sequence()));
        }
        if !self.written.contains(&record) {
            return Err(format!("what opens was never written: {record:?}"));
        }
        disk.acknowledge(record.sequence());
        if depth > 0 {
            // It goes on from there, and the power fails again: during this recovery, and during the next commit.
            let next = nth(record.sequence() + 1, 9);
            self.written.push(next.clone());
            let _ = store.commit(&record, &next).map_err(|error| format!("commit failed on a sound disk: {error}"))?;
            disk.acknowledge(next.sequence());
            self.check::<S>(disk.take_moments(), depth - 1)?;
        }
        Ok(())
    }

    /// Any written record of that sequence; those of one sequence are all at one position here.
    fn record(&self, sequence: u64) -> &Record {
        self.written.iter().find(|record| record.sequence() == sequence).unwrap()
    }
}

/// A random life of a disk: openings, commits, failures, kills and power cuts.
fn live<S: Subject>(seed: u64, steps: usize, checker: &mut Checker, spoil: impl Fn(&Handle)) -> Result<(), String> {
    let mut dice = Dice::new(seed);
    let mut disk = Handle::new(created(&Record::never_signed()), 0);
    spoil(&disk);
    let mut open = None;
    let mut record = Record::never_signed();
    for _ in 0..steps {
        match dice.below(12) {
            // The process dies; the cache of the system lives on.
            0 => open = None,
            // The power fails.
            1 => {
                open = None;
                checker.check::<S>(disk.take_moments(), checker.depth)?;
                let moment = disk.moment();
                let (images, _) = moment.images();
                let image = images[dice.below(images.len() as u64) as usize];
                disk = Handle::new(image, moment.acknowledged);
                disk.0.borrow_mut().torn = moment.torn;
                spoil(&disk);
            }
            2 | 3 => disk.fail_next(dice.fault()),
            4 => disk.0.borrow_mut().faults.clear(),
            choice => {
                let Some(store) = &mut open else {
                    match S::open(&disk) {
                        Ok(opened) => open = Some((opened, false)),
                        Err(_) if disk.is_torn() => return checker.check::<S>(disk.take_moments(), checker.depth),
                        Err(survivor) => return Err(format!("refused without damage; {survivor:?} survives")),
                    }
                    continue;
                };
                if !store.1 || choice == 5 {
                    store.1 = false;
                    match store.0.recover() {
                        Ok(found) => {
                            disk.healed();
                            disk.acknowledge(found.sequence());
                            record = found;
                            store.1 = true;
                        }
                        Err(error) if error.trouble == Trouble::Failed => {}
                        Err(error) => return Err(format!("trouble of someone else's making: {error}")),
                    }
                } else {
                    let next = nth(record.sequence() + 1, dice.below(3) as u8);
                    checker.written.push(next.clone());
                    match store.0.commit(&record, &next) {
                        Ok(_) => {
                            disk.acknowledge(next.sequence());
                            record = next;
                        }
                        Err(error) if error.trouble == Trouble::Failed => store.1 = false,
                        Err(error) => return Err(format!("trouble of someone else's making: {error}")),
                    }
                }
            }
        }
    }
    checker.check::<S>(disk.take_moments(), checker.depth)
}

/// Many histories; gives the number of states, distinct images and refusals.
fn live_often<S: Subject>(histories: u64, steps: usize, spoil: impl Fn(&Handle)) -> Result<(u64, usize, u64), String> {
    let (mut states, mut distinct, mut refused) = (0, 0, 0);
    for seed in 0..histories {
        let mut checker = Checker::new(Record::never_signed(), 2);
        live::<S>(seed, steps, &mut checker, &spoil).map_err(|error| format!("seed {seed}: {error}"))?;
        states += checker.states;
        distinct += checker.seen.len();
        refused += checker.refused;
    }
    Ok((states, distinct, refused))
}

/// How many histories; `STORE_HISTORIES` makes it a soak.
fn histories() -> u64 {
    std::env::var("STORE_HISTORIES").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

#[test]
fn whatever_the_disk_keeps_of_a_random_history_opens_no_older_than_acknowledged() {
    let (states, distinct, refused) = live_often::<FileStore<Handle>>(histories(), 40, |_| {}).unwrap();
    println!("power cuts: {states} states of sectors, {distinct} distinct images opened, {refused} refused as torn");
    assert!(states > 100_000 && distinct > 10_000 && refused > 0, "{states}, {distinct}, {refused}");
}

#[test]
fn every_subset_of_the_sectors_of_one_commit_opens_as_the_old_or_the_new_record() {
    let disk = Handle::new(created(&Record::never_signed()), 0);
    let mut store = disk.open().unwrap();
    let mut record = store.recover().unwrap();
    let mut opened = [0_u64; 2];
    for sequence in 1..=6 {
        let before = disk.0.borrow().durable;
        let next = nth(sequence, 1);
        let _ = store.commit(&record, &next).unwrap();
        let after = disk.0.borrow().durable;
        for mask in 0..1_u32 << (FILE_BYTES / disk::SECTOR_BYTES) {
            let mut image = before;
            for sector in (0..16).filter(|sector| mask >> sector & 1 == 1) {
                let bytes = disk::sector_of(&after, sector);
                image[sector * disk::SECTOR_BYTES..][..disk::SECTOR_BYTES].copy_from_slice(&bytes);
            }
            let found = Handle::new(image, 0).open().unwrap().recover().unwrap();
            assert!(found == record || found == next);
            opened[usize::from(found == next)] += 1;
        }
        record = next;
    }
    println!("every subset of 16 sectors of 6 commits: {} old, {} new", opened[0], opened[1]);
    assert_eq!(opened, [6 << 15, 6 << 15]);
}

#[test]
fn a_second_cut_at_every_moment_of_every_recovery_changes_nothing() {
    // A commit that fails in each possible way, then the recovery that fails in each possible way, and cuts everywhere.
    let lands = [0, 1, 511, 512, 2000, 4095];
    let mut faults: Vec<disk::Fault> = vec![];
    faults.extend(lands.map(disk::Fault::ShortWrite));
    faults.extend(lands.map(|landed| disk::Fault::WriteError(std::io::ErrorKind::Other, landed)));
    for kept in [0, 1, 0x00fe, 0x00ff] {
        faults.extend([true, false].map(|cache_lies| disk::Fault::SyncError { kept, cache_lies }));
    }
    let (mut states, mut healed) = (0, 0);
    for first in &faults {
        for second in &faults {
            for skip in 0..2 {
                let mut checker = Checker::new(Record::never_signed(), 2);
                checker.written.extend([nth(1, 1), nth(2, 1), nth(3, 1)]);
                let disk = Handle::new(created(&Record::never_signed()), 0);
                let mut store = disk.open().unwrap();
                let zero = store.recover().unwrap();
                let _ = store.commit(&zero, &nth(1, 1)).unwrap();
                disk.acknowledge(1);
                disk.fail_next(*first);
                store.commit(&nth(1, 1), &nth(2, 1)).unwrap_err();
                // Fail the recovery's first or second write.
                if skip == 0 {
                    disk.fail_next(*second);
                    assert!(store.recover().is_err());
                } else {
                    let mut disk = disk.0.borrow_mut();
                    disk.calls.clear();
                    drop(disk);
                }
                let found = store.recover().unwrap();
                assert!(found == nth(1, 1) || found == nth(2, 1));
                disk.healed();
                disk.acknowledge(found.sequence());
                healed += 1;
                // After a recovery that ended well, both slots are sound on the disk itself.
                assert!(slots(&disk.0.borrow().durable).iter().all(Option::is_some));
                let next = nth(found.sequence() + 1, 1);
                let _ = store.commit(&found, &next).unwrap();
                disk.acknowledge(next.sequence());
                checker.check::<FileStore<Handle>>(disk.take_moments(), 2).unwrap();
                states += checker.states;
            }
        }
    }
    println!("failing commits and recoveries: {states} states of sectors, {healed} recoveries that ended well");
}

fn slots(image: &ImageBytes) -> [Option<Record>; 2] {
    [0, 1].map(|index| decode(slot_of(image, index)).ok().map(|held| held.record))
}

/// Wrong on purpose: every record goes into the slot that holds the last one.
struct Overwriting {
    disk: Handle,
    last: Option<(usize, Record)>,
}

impl Subject for Overwriting {
    fn open(disk: &Handle) -> Result<Self, Option<Position>> {
        disk.open().map_err(|_| best_in(&disk.0.borrow().durable))?;
        Ok(Self { disk: disk.clone(), last: None })
    }
}

impl Overwriting {
    fn write(&mut self, index: usize, record: &Record) -> Result<(), StoreError> {
        let bytes = encode(&disk::owner(), 0, record).unwrap();
        let failed = |_| StoreError { trouble: Trouble::Failed, detail: "failed".to_owned() };
        let written = self.disk.write_at(&bytes, (index * SLOT_BYTES) as u64).map_err(failed)?;
        self.disk.sync_data().map_err(failed)?;
        if written == SLOT_BYTES { Ok(()) } else { Err(failed(std::io::Error::other("short"))) }
    }
}

impl Store for Overwriting {
    fn recover(&mut self) -> Result<Record, StoreError> {
        let held = slots(&self.disk.0.borrow().cache);
        let best = (0..2).filter_map(|index| Some((index, held[index].clone()?)));
        let best = best.max_by_key(|(_, record)| record.sequence());
        let (index, record) = self.last.clone().or(best).unwrap();
        self.write(index, &record)?;
        self.last = Some((index, record.clone()));
        Ok(record)
    }

    fn commit(&mut self, _: &Record, next: &Record) -> Result<Committed, StoreError> {
        let (index, _) = self.last.clone().unwrap();
        self.write(index, next)?;
        self.last = Some((index, next.clone()));
        Ok(Committed::durably(next))
    }
}

#[test]
fn a_store_that_overwrites_the_acknowledged_record_is_caught() {
    let caught = live_often::<Overwriting>(histories(), 40, |_| {}).unwrap_err();
    assert!(caught.contains("was acknowledged"), "{caught}");
}

#[test]
fn a_store_that_does_not_sync_is_caught() {
    let caught = live_often::<FileStore<Handle>>(histories(), 40, |disk| disk.0.borrow_mut().syncs = false);
    let caught = caught.unwrap_err();
    assert!(caught.contains("was acknowledged"), "{caught}");
}

#[test]
fn a_store_that_believes_the_cache_instead_of_writing_again_is_caught() {
    let caught = live_often::<FileStore<Handle>>(histories(), 40, |disk| disk.0.borrow_mut().rewrites = false);
    let caught = caught.unwrap_err();
    // Older than acknowledged, or noticed by the store itself as a record that nobody should have brought back.
    assert!(caught.contains("was acknowledged") || caught.contains("someone else's making"), "{caught}");
}
