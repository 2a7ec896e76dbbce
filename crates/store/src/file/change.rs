//! The explicit acts of a person: making a state file, repairing it, exchanging its record.
//!
//! None writes into an existing file. A complete new file is put under the name in one step, and the old one
//! keeps a second name, so no step can lose a record.
use super::error::{BadSlot, Problem, StateError};
use super::folder::{Directory, Folder};
use super::image::{self, FILE_BYTES, ImageBytes};
use super::medium::{Medium, Place, StateFile};
use super::slot::{self, Held, Owner};
use super::{FileStore, medium};
use guard::{Height, Identity, Position, Record, Statement};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Whether a change may allow what the present record refuses. Allowing it can lead to a double sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lowering {
    /// The record stays as high as it is.
    Refuse,
    /// The operator has said twice that it is meant.
    Allow,
}

/// What a change left behind.
#[derive(Debug)]
pub struct Replaced {
    /// The highest record that could be read before, if any could.
    pub before: Option<Record>,
    /// The record that the file holds now.
    pub record: Record,
    /// Where the old file was kept, bit by bit; none where nothing was changed.
    pub backup: Option<PathBuf>,
}

impl Replaced {
    fn unchanged(record: &Record) -> Self {
        Self { before: Some(record.clone()), record: record.clone(), backup: None }
    }
}

/// The epoch of a file that was never opened.
const NEVER_OPENED: u64 = 0;
/// How many old files may lie beside a state file.
const MAX_BACKUPS: usize = 999;

impl FileStore {
    /// Makes a state file with that record, mode 0600, durably. Never overwrites, and leaves no half-written file.
    ///
    /// # Errors
    /// [`Problem::Exists`], or the system's trouble with its remedy. There is a whole file afterwards, or none.
    pub fn create(path: &Path, identity: &Identity, record: &Record) -> Result<(), StateError> {
        Self::create_for(path, &super::owner_of(path, identity)?, record)
    }

    /// As [`FileStore::create`], also where the key is not known yet ([`Owner::unbound`]).
    ///
    /// # Errors
    /// As [`FileStore::create`].
    pub fn create_for(path: &Path, owner: &Owner, record: &Record) -> Result<(), StateError> {
        let fail = |problem| StateError::new(path, problem);
        if fs::symlink_metadata(path).is_ok() {
            return Err(fail(Problem::Exists));
        }
        let name = path.file_name().ok_or(fail(Problem::NotAFile))?;
        create_in(&mut Directory::of(path), name, owner, &fitting(owner, record)).map_err(fail)
    }

    /// Puts a floor in place of a file, damaged or not: nothing at or below height `floor`, or the height of whatever
    /// can still be read from it, will be signed. With [`Lowering::Allow`] what can be read does not count; without it
    /// a sound record that is as high already is left alone, with its bytes.
    ///
    /// # Errors
    /// A [`StateError`]: missing, in use, another key's or chain's, foreign or of a later version; or the system's
    /// trouble. The old file then stands as it was.
    pub fn repair(path: &Path, identity: &Identity, floor: Height, lowering: Lowering) -> Result<Replaced, StateError> {
        Self::repair_for(path, &super::owner_of(path, identity)?, floor, lowering)
    }

    /// As [`FileStore::repair`], also where the key is not known ([`Owner::unbound`]): then a file keeps the key that it
    /// is bound to. A file without a key is bound to the one that is known.
    ///
    /// # Errors
    /// As [`FileStore::repair`].
    pub fn repair_for(path: &Path, wanted: &Owner, floor: Height, lowering: Lowering) -> Result<Replaced, StateError> {
        let old = StateFile::open(path)?;
        let start = old.read_start()?;
        let found = image::owner_in(&start, wanted);
        let owner = if wanted.is_unbound() { &found } else { wanted };
        let (held, is_sound) = readable_in(&old, &start, owner)?;
        let best = held.iter().max_by_key(|held| held.record.position());
        if let (Some(best), true, Lowering::Refuse) = (best, is_sound && found == *owner, lowering)
            && best.record.position() >= Position::end_of(floor)
        {
            return Ok(Replaced::unchanged(&best.record));
        }
        let height = match (best, lowering) {
            (Some(best), Lowering::Refuse) => floor.max(best.record.position().height),
            _ => floor,
        };
        let record = Record::floor(following(held.iter().map(|held| held.record.sequence())), Position::end_of(height));
        let before = best.map(|held| held.record.clone());
        exchange(&old, owner, following(held.iter().map(|held| held.epoch)), before, record)
    }

    /// Puts another record in place of that of a sound file; `wanted`'s sequence does not count. One that says the same
    /// already is left alone.
    ///
    /// # Errors
    /// [`Problem::WouldLower`] if `wanted` would allow anything that the present record refuses and `lowering` does
    /// not permit it; otherwise as [`FileStore::open`]. The old file then stands as it was.
    pub fn replace(
        path: &Path,
        identity: &Identity,
        wanted: &Record,
        lowering: Lowering,
    ) -> Result<Replaced, StateError> {
        Self::replace_for(path, &super::owner_of(path, identity)?, wanted, lowering)
    }

    /// As [`FileStore::replace`], also where the key is not known ([`Owner::unbound`]): then a file keeps the key that
    /// it is bound to. A file without a key is bound to the one that is known; where none is, of `wanted` only the
    /// position is kept.
    ///
    /// # Errors
    /// As [`FileStore::replace`].
    pub fn replace_for(
        path: &Path,
        wanted_owner: &Owner,
        wanted: &Record,
        lowering: Lowering,
    ) -> Result<Replaced, StateError> {
        let old = StateFile::open(path)?;
        let fail = |problem| StateError::new(path, problem);
        if usize::try_from(old.bytes()) != Ok(FILE_BYTES) {
            return Err(fail(image::judge_size(&old.read_start()?, old.bytes())));
        }
        let image = medium::read_whole(&old).map_err(|error| StateError::io(path, "reading it", error))?;
        let found = image::owner_in(&image, wanted_owner);
        let owner = if wanted_owner.is_unbound() { &found } else { wanted_owner };
        let (_, held) = image::judge(&image, &found).map_err(fail)?;
        let wanted = &fitting(owner, wanted);
        if lowering == Lowering::Refuse && loosens(&held.record, wanted) {
            let (existing, requested) = (held.record.position(), wanted.position());
            return Err(fail(Problem::WouldLower { existing, requested }));
        }
        if held.record.allows_the_same_as(wanted) && found == *owner {
            return Ok(Replaced::unchanged(&held.record));
        }
        let sequence = following([held.record.sequence()].into_iter());
        let record = match wanted.statement() {
            Some(statement) => Record::of(sequence, Statement::clone(statement)),
            None => Record::floor(sequence, wanted.position()),
        };
        exchange(&old, owner, following([held.epoch].into_iter()), Some(held.record), record)
    }
}

/// A state without a key has no sign bytes: of a record with some, the position is kept. It only forbids more.
fn fitting(owner: &Owner, record: &Record) -> Record {
    if owner.is_unbound() { Record::floor(record.sequence(), record.position()) } else { record.clone() }
}

/// Whether `wanted` would allow anything that `existing` refuses.
fn loosens(existing: &Record, wanted: &Record) -> bool {
    let same_bytes = wanted.statement().is_none() || wanted.statement() == existing.statement();
    wanted.position() < existing.position() || (wanted.position() == existing.position() && !same_bytes)
}

/// One more than the highest, or 0 where there is none.
fn following(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.max().map_or(0, |highest| highest + 1)
}

/// Every record that can be read from a file that is ours, however damaged, and whether nothing is wrong with it.
fn readable_in(old: &StateFile, start: &[u8], owner: &Owner) -> Result<(Vec<Held>, bool), StateError> {
    let fail = |problem| StateError::new(old.path(), problem);
    let problem = match <&ImageBytes>::try_from(start) {
        Ok(image) => image::judge(image, &image::owner_in(start, owner)).err(),
        Err(_) => Some(image::judge_size(start, old.bytes())),
    };
    let is_sound = problem.is_none();
    match problem {
        None
        | Some(
            Problem::Empty
            | Problem::WrongSize { .. }
            | Problem::OneSlotDamaged { .. }
            | Problem::BothSlotsDamaged { .. }
            | Problem::Contradiction { .. },
        ) => {}
        // One slot with a key beside one without: never ours, so damage. The keys are compared below.
        Some(Problem::AnotherKey { expected, found }) if expected.is_unbound() || found.is_unbound() => {}
        Some(other) => return Err(fail(other)),
    }
    let mut readable = Vec::new();
    for (index, slot) in image::slots_in(start).into_iter().enumerate() {
        match slot {
            // What names no key is whoever's; the file gets a key now.
            Ok(held) if held.owner.is_unbound() && held.owner.chain_id == owner.chain_id => readable.push(held),
            Ok(held) => {
                image::check_owner(&held, owner).map_err(fail)?;
                readable.push(held);
            }
            Err(BadSlot::Version(found)) => return Err(fail(Problem::UnknownVersion { slot: index + 1, found })),
            Err(BadSlot::Broken(_)) => {}
        }
    }
    Ok((readable, is_sound))
}

/// Exchanges a file that is open and locked. A link leads to the file that is exchanged, and stays.
fn exchange(
    old: &StateFile,
    owner: &Owner,
    epoch: u64,
    before: Option<Record>,
    record: Record,
) -> Result<Replaced, StateError> {
    let path = old.path();
    let (target, mut directory) = place_of(old)?;
    let name = target.file_name().ok_or(StateError::new(path, Problem::NotAFile))?;
    let backup = exchange_in(&mut directory, name, owner, epoch, &record);
    let backup = backup.map_err(|problem| StateError::new(path, problem))?;
    // Named as the caller names the file, except that a link's target is elsewhere.
    let named = if path.is_symlink() { &target } else { path };
    Ok(Replaced { before, record, backup: Some(named.with_file_name(backup)) })
}

/// Binds a file that is open and locked, and holds that record without a key. A link leads to the file, and stays.
pub(super) fn bind(old: &StateFile, owner: &Owner, epoch: u64, record: &Record) -> Result<(), StateError> {
    let (target, mut directory) = place_of(old)?;
    let name = target.file_name().ok_or(StateError::new(old.path(), Problem::NotAFile))?;
    bind_in(&mut directory, name, owner, epoch, record).map_err(|problem| StateError::new(old.path(), problem))
}

/// Where an open file really is, and its folder, for files that are its user's.
fn place_of(old: &StateFile) -> Result<(PathBuf, Directory), StateError> {
    let path = old.path();
    let target = fs::canonicalize(path).map_err(|error| StateError::io(path, "looking at it", error))?;
    if !matches!(old.place(), Ok(Place::Ours { .. })) {
        return Err(StateError::new(path, Problem::Exchanged));
    }
    let directory = Directory::of(&target).owned_by(old.owner());
    Ok((target, directory))
}

/// The steps of [`FileStore::create`], in any folder.
///
/// # Errors
/// The [`Problem`].
pub fn create_in<F: Folder>(folder: &mut F, name: &OsStr, owner: &Owner, record: &Record) -> Result<(), Problem> {
    let new = write_new(folder, name, owner, NEVER_OPENED, record)?;
    let linked = folder.link(&new, name).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Problem::Exists,
        _ => Problem::of_io("creating it", error),
    });
    // Whether or not the new file has got its name, its first one has done its work. If it stays it does no harm.
    let _ = folder.remove(&new);
    linked?;
    folder.sync().map_err(|error| Problem::of_io("syncing its directory", error))
}

/// The steps of [`FileStore::repair`] and [`FileStore::replace`], in any folder; gives the old file's second name.
///
/// # Errors
/// The [`Problem`].
pub fn exchange_in<F: Folder>(
    folder: &mut F,
    name: &OsStr,
    owner: &Owner,
    epoch: u64,
    record: &Record,
) -> Result<OsString, Problem> {
    let new = write_new(folder, name, owner, epoch, record)?;
    let exchanged = keep_old(folder, name).and_then(|backup| {
        // The second name is durable before the first one is given away.
        folder.sync().map_err(|error| Problem::of_io("syncing its directory", error))?;
        folder.rename(&new, name).map_err(|error| Problem::of_io("exchanging it", error))?;
        Ok(backup)
    });
    if exchanged.is_err() {
        let _ = folder.remove(&new);
    }
    let backup = exchanged?;
    folder.sync().map_err(|error| Problem::of_io("syncing its directory", error))?;
    Ok(backup)
}

/// The steps of binding a file to a key, in any folder: a file that says the same, and the key, takes its place.
///
/// Unlike [`exchange_in`] it keeps no second name: the old file says nothing that the new one does not.
///
/// # Errors
/// The [`Problem`]. The old file or the new one stands under the name.
pub fn bind_in<F: Folder>(
    folder: &mut F,
    name: &OsStr,
    owner: &Owner,
    epoch: u64,
    record: &Record,
) -> Result<(), Problem> {
    let new = write_new(folder, name, owner, epoch, record)?;
    if let Err(error) = folder.rename(&new, name) {
        let _ = folder.remove(&new);
        return Err(Problem::of_io("binding it to its key", error));
    }
    folder.sync().map_err(|error| Problem::of_io("syncing its directory", error))
}

/// Writes a whole file under a name of its own beside the one that it is for.
fn write_new<F: Folder>(
    folder: &mut F,
    name: &OsStr,
    owner: &Owner,
    epoch: u64,
    record: &Record,
) -> Result<OsString, Problem> {
    let slot = slot::encode(owner, epoch, record).map_err(|unfit| Problem::Unfit { what: unfit.what })?;
    let bytes = image::doubled(&slot);
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    // A process that was killed here may have left such a file; the numbers of processes come round again.
    for number in 0..16 {
        let mut new = OsString::from(".");
        new.push(name);
        new.push(format!(".new-{}-{number}", std::process::id()));
        match folder.create_synced(&new, &bytes) {
            Ok(()) => return Ok(new),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(Problem::of_io("creating it", error)),
        }
    }
    Err(Problem::of_io("creating it", last))
}

/// Gives the old file a second name, the first that is free.
fn keep_old<F: Folder>(folder: &mut F, name: &OsStr) -> Result<OsString, Problem> {
    for number in 1..=MAX_BACKUPS {
        let mut backup = name.to_owned();
        backup.push(format!(".old-{number}"));
        match folder.link(name, &backup) {
            Ok(()) => return Ok(backup),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Problem::of_io("keeping the old file", error)),
        }
    }
    let error = io::Error::other(format!("there are {MAX_BACKUPS} old files beside it already"));
    Err(Problem::of_io("keeping the old file", error))
}
