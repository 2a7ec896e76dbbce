//! What this process knows of each key, whatever file it was in: which file a connection holds, and what was acknowledged last.
//! A file can be moved, copied and exchanged; a key signs once.
use super::record::Slot;
use guard::{Identity, Record, StoreError, Trouble};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Keys of which something is known.
#[derive(Default)]
pub(super) struct Memory {
    known: Mutex<HashMap<Identity, Known>>,
    ended: Condvar,
}

#[derive(Default)]
struct Known {
    /// Whether an opening is under way. There is one at a time, so that two can't choose two files.
    is_opening: bool,
    /// What a connection holds.
    held: Option<Arc<Slot>>,
    acknowledged: Option<Acknowledged>,
}

/// What is lower than this was put back, or is another file.
struct Acknowledged {
    record: Record,
    path: PathBuf,
}

/// The right to open for one key; ends the wait of the next one when it is dropped.
pub(super) struct Opening<'a> {
    memory: &'a Memory,
    identity: &'a Identity,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an opening, once the one before has ended.
    ///
    /// # Errors
    /// [`Trouble::Failed`] if it has not by then: a disk hangs.
    pub(super) fn begin<'a>(&'a self, identity: &'a Identity, until: Instant) -> Result<Opening<'a>, StoreError> {
        let mut known = self.lock();
        while known.get(identity).is_some_and(|known| known.is_opening) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let chain = &identity.chain_id;
                let detail = format!(
                    "the state of chain {chain}: an earlier opening has not ended: look at the disk that it is on, and at the \
                     kernel's log"
                );
                return Err(StoreError { trouble: Trouble::Failed, detail });
            }
            known = self.ended.wait_timeout(known, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        known.entry(identity.clone()).or_default().is_opening = true;
        drop(known);
        Ok(Opening { memory: self, identity })
    }

    fn change(&self, identity: &Identity, change: impl FnOnce(&mut Known)) {
        let mut all = self.lock();
        let known = all.entry(identity.clone()).or_default();
        change(known);
        // Whoever reaches the port may name any key: of those nothing is kept.
        if !known.is_opening && known.held.is_none() && known.acknowledged.is_none() {
            all.remove(identity);
        }
    }

    /// That key's connection to that file is gone.
    pub(super) fn released(&self, identity: &Identity, slot: &Arc<Slot>) {
        self.change(identity, |known| {
            known.held.take_if(|held| Arc::ptr_eq(held, slot));
        });
    }

    /// That record of the key is durable in that file, and was or is about to be acknowledged.
    pub(super) fn acknowledged(&self, identity: &Identity, record: &Record, path: &Path) {
        let acknowledged = Acknowledged { record: record.clone(), path: path.to_owned() };
        self.change(identity, |known| known.acknowledged = Some(acknowledged));
    }

    /// Refuses a record that would allow anything which the last acknowledged one refuses.
    pub(super) fn check(&self, identity: &Identity, record: &Record, path: &Path) -> Result<(), StoreError> {
        let all = self.lock();
        let Some(last) = all.get(identity).and_then(|known| known.acknowledged.as_ref()) else { return Ok(()) };
        if record.position() > last.record.position() || record.allows_the_same_as(&last.record) {
            return Ok(());
        }
        Err(StoreError { trouble: Trouble::Superseded, detail: last.text(record, path) })
    }
}

impl Acknowledged {
    fn text(&self, record: &Record, path: &Path) -> String {
        let (here, last, found) = (path.display(), self.record.position(), record.position());
        let height = last.height;
        if self.path == path {
            return format!(
                "state file {here}: put back while this process ran: it acknowledged {last}, the file now holds {found}: run \
                 `tmkms state repair --height H` with H at least {height}, or restart `tmkms nitro persist` if it was lowered on \
                 purpose"
            );
        }
        let before = self.path.display();
        format!(
            "state file {here}: put in the place of another while this process ran: it acknowledged {last} for this key in {before}, \
             this file holds {found}: put {before} back and move this one away; if that one is lost, run `tmkms state repair \
             --height H` on this one with H at least {height}"
        )
    }
}

impl Opening<'_> {
    /// The file that a connection holds for this key, if it is another one than that.
    pub(super) fn held_besides(&self, slot: &Arc<Slot>) -> Option<Arc<Slot>> {
        let all = self.memory.lock();
        all.get(self.identity)?.held.clone().filter(|held| !Arc::ptr_eq(held, slot))
    }

    /// From now on that file is held.
    pub(super) fn holds(&self, slot: &Arc<Slot>) {
        self.memory.change(self.identity, |known| known.held = Some(Arc::clone(slot)));
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.memory.change(self.identity, |known| known.is_opening = false);
        self.memory.ended.notify_all();
    }
}
