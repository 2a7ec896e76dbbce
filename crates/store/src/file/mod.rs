//! The durable file store: one record in one file of two slots, written in place and synced.
//!
//! # The file
//! Exactly 8,192 bytes: two [slots](slot) of 4,096, each one record as a line of JSON padded with blanks. The
//! record with the higher sequence wins; of two copies of one record the one with the higher epoch. A commit
//! is one `pwrite` of a whole slot, always **the slot that does not hold the last acknowledged record**, and one
//! `fdatasync`; before it, one `pread` and one `stat` make sure that the file is still the one, and still holds
//! what this opening last left in it.
//!
//! # Why what opens is never older than what was acknowledged
//! *The disk*: between two syncs it may keep any of the writes of each 512-byte sector, in any order, or none;
//! a sector is old or new, never a mixture; a sync that succeeds ends the choice. A record lies in one sector and
//! the other seven are always blanks, so *a slot is old or new*.
//!
//! Write `R` for the last acknowledged record, in slot `a`, and `b` for the other slot.
//!
//! 1. **Commit of `N`**: only `b` is written. Before the sync ends, `a` holds `R` and `b` holds its old content or
//!    `N`: what opens is `R` or `N`. After it, `b` holds `N`: what opens is `N`. `R` is untouched all the time.
//! 2. **A write or sync that fails** leaves in `b`: old, `N`, or, if the write was cut short, a torn slot; and what the
//!    page cache shows may differ from what the disk holds. `a` was synced earlier and not written since.
//!    From here on nothing is acknowledged until a recovery ended well.
//! 3. **Recovery** writes twice, each write followed by a sync that must succeed:
//!    - first the winner, *the same bytes*, into *its own slot*. Old and new are equal, so no cut and no short
//!      write can harm it; what the cache only pretended is now on the disk. If the winner is `N` (it was seen whole
//!      in `b`), `a` still holds `R` until this sync ended, and nothing was acknowledged, so `R` or `N` opens;
//!    - then, if this opening has not yet left its epoch in the file, or wrote to the other slot since the last
//!      success, *a copy with this opening's epoch* into the *other* slot. The winner is durable in its own slot, so
//!      whatever becomes of this write, the winner opens. This heals a slot that a failed write of ours tore, and
//!      puts away whatever an earlier write may still have left there.
//!
//!    The order matters: healing first would touch the only slot that is surely whole when the winner is seen in the
//!    cache only; one write with a new epoch over the winner's own slot would put the last copy of an
//!    acknowledged record at the mercy of a short write.
//! 4. **Opening** is the same recovery with nothing known: it reads both slots, refuses unless both check out, takes
//!    the highest epoch plus one, and does 3. A cut before the second sync leaves the old epoch or the new one, with
//!    the same record. A cut between the recovery and the first commit finds two copies of one record. A second
//!    opening after such a cut takes an epoch that is higher again or, if the copy was lost, the same one; the
//!    lost copy's opening had acknowledged nothing under it, so no two openings ever acknowledge under one epoch.
//!    What opening read may itself have been in the cache only (2., and the process was killed). Then nothing was
//!    acknowledged for it, and signing no lower than it is harmless; so until the first recovery ended well, the higher of
//!    what was read at opening and what is read now counts, and both slots are written. From then on both are known
//!    to be on the disk, and what appears there unasked was someone else's doing.
//! 5. **Creation** is not in place: a complete file is synced under another name, then linked to its own, then the
//!    directory is synced. There is no file, or all of it. [`FileStore::repair`] and [`FileStore::replace`] do the
//!    same with `rename`, after the old file got a second name that stays.
//!
//! 6. **Binding** ([`BindingStore`]): a file that names no key holds a floor, the same in both slots, and takes no commit. At
//!    the first one it is exchanged, as in 5., for a file that holds the same floor, the key, and this opening's epoch; only
//!    then is the new file opened (4.) and the commit made in it (1.). The new file is synced before it gets the name,
//!    so a cut leaves the one or the other, which say the same; and the directory is synced before the commit begins, so
//!    what is acknowledged is never in a file that a cut takes the name from. Nothing ever writes a slot without a
//!    key into a file that has one.
//!
//! So after a power cut alone both slots always check out, and **a slot that does not is damage**: it is refused, never
//! skipped, because the damaged slot may be the one with the last record. The one exception is a slot which this very
//! opening knows that it tore (2.), and even then only as long as it lives.
//!
//! The assumption of old-or-new sectors is the disk's promise. A device that breaks it damages a slot, which is noticed
//! and refused, not signed over. `tests/power_cuts.rs` walks through all of the above, sector by sector.
//!
//! # What this does not promise
//! An older copy that is put in place *while no process has it open* looks like the file it once was. Nothing on one host
//! can notice that; `commit` notices it only while the file is open.
//!
//! One opening at a time, and that no write of an earlier one arrives later, is `flock`'s promise, and that on *a local
//! file system* (ext4, xfs and the like). On network and cluster file systems (NFS, CIFS, Ceph, …) and on those that
//! other programs serve (FUSE, 9p) locks may be local to each host, may be lost when a connection breaks, and writes
//! may arrive after they are: two signers could then sign side by side. Such a place is **not supported**. Nor is one
//! in memory (tmpfs): nothing there survives a power cut. `tmkms start` and `tmkms config check` warn of both.
mod binding;
mod change;
mod error;
mod folder;
mod image;
mod inspect;
mod medium;
pub mod slot;

pub use binding::BindingStore;
pub use change::{Lowering, Replaced, bind_in, create_in, exchange_in};
pub use error::{BadSlot, Problem, StateError};
pub use folder::{Directory, Folder};
pub use image::{FILE_BYTES, ImageBytes, slot_of};
pub use inspect::{Inspection, inspect, look_at};
pub use medium::{Medium, Place, StateFile};

use error::failed;
use guard::{Committed, Identity, Record, Store, StoreError, Trouble};
use slot::{Held, MAX_EPOCH, Owner, SLOT_BYTES, SlotBytes};
use std::path::{Path, PathBuf};

/// An opening of a state file: a [`guard::Store`] for one identity, alone with the file until it is dropped.
pub struct FileStore<M = StateFile> {
    medium: M,
    /// For messages.
    path: PathBuf,
    owner: Owner,
    /// This opening's own.
    epoch: u64,
    /// What the file holds, as far as it is not in doubt: as read at opening, or written and synced since.
    expected: Box<ImageBytes>,
    /// The last acknowledged record (before the first recovery: the winner at opening), in `expected`.
    current: Current,
    /// What was written since `expected`, with unknown success.
    attempts: Vec<Attempt>,
    /// Whether a recovery ended well, and nothing failed since.
    settled: bool,
    /// Whether no recovery of this opening ended well yet: what was read at opening may have been in the cache only.
    fresh: bool,
}

struct Current {
    slot: usize,
    epoch: u64,
    record: Record,
}

#[derive(PartialEq, Eq)]
struct Attempt {
    slot: usize,
    epoch: u64,
    record: Record,
}

impl FileStore {
    /// Opens and locks the state file of that identity. Never creates; changes nothing.
    ///
    /// The first [`Store::recover`], which a guard asks for before anything else, then takes the epoch.
    ///
    /// # Errors
    /// A [`StateError`] with its remedy; the file is as it was.
    pub fn open(path: &Path, identity: &Identity) -> Result<Self, StateError> {
        Self::open_for(path, &owner_of(path, identity)?)
    }

    /// As [`FileStore::open`], by what stands in the file; also where that is no key yet.
    ///
    /// # Errors
    /// As [`FileStore::open`].
    pub fn open_for(path: &Path, owner: &Owner) -> Result<Self, StateError> {
        Self::on_whole(StateFile::open(path)?, path, |_| owner.clone())
    }

    /// Opens a file that is locked; whose it has to be may depend on what it holds.
    fn on_whole(file: StateFile, path: &Path, owner: impl FnOnce(&ImageBytes) -> Owner) -> Result<Self, StateError> {
        if usize::try_from(file.bytes()) != Ok(FILE_BYTES) {
            let start = file.read_start()?;
            return Err(StateError::new(path, image::judge_size(&start, file.bytes())));
        }
        let image = medium::read_whole(&file).map_err(|error| StateError::io(path, "reading it", error))?;
        let owner = owner(&image);
        Self::of_image(file, path, owner, image)
    }
}

/// How that identity stands in a file. An empty key would stand there as none.
fn owner_of(path: &Path, identity: &Identity) -> Result<Owner, StateError> {
    let owner = Owner::of(identity);
    if owner.is_unbound() {
        return Err(StateError::new(path, Problem::Unfit { what: "the public key is empty" }));
    }
    Ok(owner)
}

impl<M: Medium> FileStore<M> {
    /// Opens what a medium holds; `path` is its name in messages.
    ///
    /// # Errors
    /// A [`StateError`] with its remedy; the medium is as it was.
    pub fn on(medium: M, path: &Path, identity: &Identity) -> Result<Self, StateError> {
        Self::on_for(medium, path, &owner_of(path, identity)?)
    }

    /// As [`FileStore::on`], also for the state of no key yet, which can be recovered but takes no commit.
    ///
    /// # Errors
    /// As [`FileStore::on`].
    pub fn on_for(medium: M, path: &Path, owner: &Owner) -> Result<Self, StateError> {
        let image = medium::read_whole(&medium).map_err(|error| StateError::io(path, "reading it", error))?;
        Self::of_image(medium, path, owner.clone(), image)
    }

    fn of_image(medium: M, path: &Path, owner: Owner, image: ImageBytes) -> Result<Self, StateError> {
        let (slot, held) = image::judge(&image, &owner).map_err(|problem| StateError::new(path, problem))?;
        // The winner's is the highest, see `image::judge`.
        let epoch = held.epoch + 1;
        if epoch > MAX_EPOCH {
            return Err(StateError::new(path, Problem::Unfit { what: "it was opened more than 10^9 times" }));
        }
        Ok(Self {
            medium,
            path: path.to_owned(),
            owner,
            epoch,
            expected: Box::new(image),
            current: Current { slot, epoch: held.epoch, record: held.record },
            attempts: Vec::new(),
            settled: false,
            fresh: true,
        })
    }

    /// This opening's epoch.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Makes sure that the name still leads to this file, and reads it.
    fn read_in_place(&self) -> Result<ImageBytes, StoreError> {
        match self.medium.place() {
            Ok(Place::Ours { bytes }) if usize::try_from(bytes) == Ok(FILE_BYTES) => {}
            Ok(Place::Ours { bytes }) => {
                return Err(self
                    .trouble(Trouble::Damaged, &format!("its length was changed: expected 8192 bytes, got {bytes}")));
            }
            Ok(Place::Another) => return Err(self.trouble(Trouble::Superseded, "another file was put in its place")),
            Ok(Place::Nothing) => return Err(self.missing()),
            Err(error) => return Err(failed(&self.path, "looking at it", error)),
        }
        medium::read_whole(&self.medium).map_err(|error| failed(&self.path, "reading it", error))
    }

    /// What only a person can set right. Nothing is signed before.
    fn trouble(&self, trouble: Trouble, what: &str) -> StoreError {
        let position = self.current.record.position();
        StoreError {
            trouble,
            detail: format!(
                "state file {}: {what}, while this process had it open and last held {position}: stop this process, find out \
                 who did it, and run `tmkms state repair --height H` with H at least {} and not below the chain's height",
                self.path.display(),
                position.height
            ),
        }
    }

    /// The name leads nowhere. The file itself may be put back, for nothing was signed without it.
    fn missing(&self) -> StoreError {
        let position = self.current.record.position();
        StoreError {
            trouble: Trouble::Superseded,
            detail: format!(
                "state file {}: it was removed or moved away, while this process had it open and last held {position}: put \
                 the file itself back, and signing goes on; if it is lost, stop this process, and run `tmkms state init \
                 --height H` with H at least {} and not below the chain's height",
                self.path.display(),
                position.height
            ),
        }
    }

    /// A caller that is not in step with this opening: a fault of this program, and nothing was written.
    fn misused(&self, what: &str) -> StoreError {
        StoreError {
            trouble: Trouble::Superseded,
            detail: format!(
                "state file {}: not written: {what}; this is a fault of tmkms, report it",
                self.path.display()
            ),
        }
    }

    /// Says what stands in a slot where something else was left.
    fn unexpected(&self, found: &ImageBytes, index: usize) -> StoreError {
        let number = index + 1;
        match slot::decode(slot_of(found, index)) {
            Ok(held) if held.owner != self.owner => {
                let what = format!("slot {number} was overwritten with the state of {}", held.owner);
                self.trouble(Trouble::Superseded, &what)
            }
            Ok(held) => {
                let what =
                    format!("slot {number} was overwritten: it holds {held}, this opening has epoch {}", self.epoch);
                self.trouble(Trouble::Superseded, &what)
            }
            Err(bad) => self.trouble(Trouble::Damaged, &format!("slot {number} was overwritten: {bad}")),
        }
    }

    /// Writes a slot and makes it durable. Whatever happens, the attempt is remembered first.
    fn write_slot(&mut self, index: usize, bytes: &SlotBytes, attempt: Attempt) -> Result<(), StoreError> {
        self.settled = false;
        if !self.attempts.contains(&attempt) {
            self.attempts.push(attempt);
        }
        let written = self.medium.write_at(bytes, (index * SLOT_BYTES) as u64);
        match written.map_err(|error| failed(&self.path, "writing it", error))? {
            SLOT_BYTES => {}
            short => {
                let error = format!("a short write: expected {SLOT_BYTES} bytes, got {short}");
                return Err(failed(&self.path, "writing it", std::io::Error::other(error)));
            }
        }
        self.medium.sync_data().map_err(|error| failed(&self.path, "syncing it", error))
    }

    /// Everything that was tried is durable, and `expected` says so.
    fn settle(&mut self, current: Current) {
        self.attempts.clear();
        self.current = current;
        self.settled = true;
        self.fresh = false;
    }

    /// Encodes with this opening's epoch.
    fn encode(&self, record: &Record) -> Result<SlotBytes, StoreError> {
        slot::encode(&self.owner, self.epoch, record).map_err(|unfit| StoreError {
            trouble: Trouble::Damaged,
            detail: format!("state file {}: {}", self.path.display(), Problem::Unfit { what: unfit.what }),
        })
    }

    /// Compares what was read with what may be there, and finds the record that won, with its bytes.
    ///
    /// A slot holds what is expected of it; or, if something was tried on it since, that; or it is torn, which then was
    /// our doing. Before the first recovery ended well, what was expected may never have reached the disk (an earlier
    /// opening's sync failed, and it was killed); when the cache lets go of it, what an earlier opening left
    /// reappears. It is not older than what was acknowledged, and what was read at opening still counts if it is
    /// higher. Anything else was someone else's.
    fn winner_in(&self, found: &ImageBytes) -> Result<(Current, SlotBytes), StoreError> {
        let Current { slot, epoch, ref record } = self.current;
        let mut winner = Current { slot, epoch, record: record.clone() };
        let mut bytes = *slot_of(&self.expected, slot);
        for index in 0..2 {
            let here = slot_of(found, index);
            if here == slot_of(&self.expected, index) {
                continue;
            }
            let tried = || self.attempts.iter().filter(move |attempt| attempt.slot == index);
            match slot::decode(here) {
                Ok(held) => {
                    let known = tried().any(|attempt| attempt.record == held.record && attempt.epoch == held.epoch);
                    if held.owner != self.owner || !(known || self.may_reappear(&held)) {
                        return Err(self.unexpected(found, index));
                    }
                    if held.rank() > (winner.record.sequence(), winner.epoch) {
                        bytes = *here;
                        winner = Current { slot: index, epoch: held.epoch, record: held.record };
                    }
                }
                Err(_) if tried().next().is_some() => {}
                Err(_) => return Err(self.unexpected(found, index)),
            }
        }
        Ok((winner, bytes))
    }

    /// Whether an earlier opening can have left that beside what was read at opening.
    fn may_reappear(&self, held: &Held) -> bool {
        let Current { epoch, ref record, .. } = self.current;
        let current = Held { owner: self.owner.clone(), epoch, record: record.clone() };
        self.fresh && held.epoch < self.epoch && image::agree(held, &current)
    }

    /// What a commit demands of the file: recovered, in its place, and as this opening left it.
    fn check_untouched(&mut self) -> Result<(), StoreError> {
        if !self.settled {
            return Err(StoreError {
                trouble: Trouble::Failed,
                detail: format!("state file {}: not recovered after the last failure", self.path.display()),
            });
        }
        let found = self.read_in_place().inspect_err(|_| self.settled = false)?;
        if found != *self.expected {
            self.settled = false;
            let index = usize::from(slot_of(&found, 0) == slot_of(&self.expected, 0));
            return Err(self.unexpected(&found, index));
        }
        Ok(())
    }

    /// What a commit demands of its caller.
    fn check_swap(&self, previous: &Record, next: &Record) -> Result<(), StoreError> {
        if self.current.record != *previous {
            let what = format!(
                "the caller expected sequence {} at {}, this opening holds sequence {}",
                previous.sequence(),
                previous.position(),
                self.current.record.sequence()
            );
            return Err(self.misused(&what));
        }
        let follows = previous.sequence().checked_add(1) == Some(next.sequence());
        if !follows || next.position() <= previous.position() {
            let what = format!(
                "the caller asked for sequence {} at {}, which does not follow sequence {}",
                next.sequence(),
                next.position(),
                previous.sequence()
            );
            return Err(self.misused(&what));
        }
        Ok(())
    }
}

impl<M: Medium> Store for FileStore<M> {
    fn recover(&mut self) -> Result<Record, StoreError> {
        self.settled = false;
        let found = self.read_in_place()?;
        let (mut winner, bytes) = self.winner_in(&found)?;
        let copy = self.encode(&winner.record)?;
        let (own, other) = (winner.slot, 1 - winner.slot);
        let tried_other = self.attempts.iter().any(|attempt| attempt.slot == other);
        let copies = tried_other || winner.epoch != self.epoch;
        self.write_slot(own, &bytes, Attempt { slot: own, epoch: winner.epoch, record: winner.record.clone() })?;
        if copies {
            self.write_slot(other, &copy, Attempt { slot: other, epoch: self.epoch, record: winner.record.clone() })?;
        }
        // Only now: until everything is durable, what is expected is what was durable before.
        put(&mut self.expected, own, &bytes);
        if copies {
            put(&mut self.expected, other, &copy);
        }
        if winner.epoch != self.epoch {
            winner = Current { slot: other, epoch: self.epoch, ..winner };
        }
        self.settle(winner);
        Ok(self.current.record.clone())
    }

    fn commit(&mut self, previous: &Record, next: &Record) -> Result<Committed, StoreError> {
        self.check_untouched()?;
        if self.owner.is_unbound() {
            return Err(self.misused("the file names no key yet"));
        }
        // A repeat. It is durable: what is not has `settled` unset.
        if self.current.record == *next {
            return Ok(Committed::durably(next));
        }
        self.check_swap(previous, next)?;
        let bytes = self.encode(next)?;
        let slot = 1 - self.current.slot;
        self.write_slot(slot, &bytes, Attempt { slot, epoch: self.epoch, record: next.clone() })?;
        put(&mut self.expected, slot, &bytes);
        self.settle(Current { slot, epoch: self.epoch, record: next.clone() });
        Ok(Committed::durably(next))
    }
}

/// Takes a slot over into an image.
fn put(image: &mut ImageBytes, index: usize, bytes: &SlotBytes) {
    let (slots, _) = image.as_chunks_mut::<SLOT_BYTES>();
    slots[index] = *bytes;
}
