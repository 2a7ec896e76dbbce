//! One record: its file, and whoever holds it. All that is done to a file goes through its one lock, so commits of one
//! record come one after the other, and those of several run side by side.
use super::kept::{Kept, Of};
use super::memory::Memory;
use guard::{Committed, Identity, Record, StoreError, Trouble};
use rustix::net::{RecvFlags, recv};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use wire::state::{Digest, Life};

/// How often a lock is tried that the one before may keep, because its disk hangs.
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// One file and its holder.
pub(super) struct Slot {
    path: PathBuf,
    memory: Arc<Memory>,
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Default)]
struct State {
    /// Counts openings: a connection with an older number is fenced.
    generation: u64,
    holder: Option<Holder>,
    /// The connection that was fenced last. It is left to hear so; the one before it is cut.
    fenced: Option<Arc<UnixStream>>,
    kept: Kept,
    in_trouble: bool,
}

struct Holder {
    generation: u64,
    life: Life,
    identity: Identity,
    stream: Arc<UnixStream>,
    /// Whose vsock connection it is; none over Unix sockets.
    cid: Option<u32>,
    since: SystemTime,
}

impl Holder {
    /// Whether it is of a life that is over: a CID is one machine's at a time, and an enclave has one life, so another life of that
    /// CID is the next one. When an enclave is cut off, nothing tells the parent's kernel: its connection stays open for ever, and would
    /// keep the next enclave out until a person restarts this.
    fn is_over(&self, claim: &Claim) -> bool {
        self.life != claim.life && self.cid.is_some() && self.cid == claim.cid
    }
}

/// A connection's right to a record, until a later opening takes it.
pub(super) struct Lease {
    slot: Arc<Slot>,
    identity: Identity,
    generation: u64,
}

/// Who wants to open, and how long that may take.
pub(super) struct Claim<'a> {
    pub(super) identity: &'a Identity,
    pub(super) life: Life,
    pub(super) stream: &'a Arc<UnixStream>,
    /// Whose vsock connection it is.
    pub(super) cid: Option<u32>,
    /// By when a holder of another life has to be gone.
    pub(super) hand_over: Instant,
    /// By when the file has to be free of what is being done to it.
    pub(super) until: Instant,
}

impl Claim<'_> {
    /// Whether who wanted to open has given up meanwhile. It would take the record from a later connection of its own.
    fn is_abandoned(&self) -> bool {
        let mut byte = [0_u8; 1];
        let seen = recv(&**self.stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        !matches!(seen, Ok((_, 1..)) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR))
    }
}

impl Slot {
    pub(super) fn new(path: PathBuf, memory: Arc<Memory>) -> Self {
        Self { path, memory, state: Mutex::default(), released: Condvar::new() }
    }

    pub(super) fn is_of(&self, path: &Path) -> bool {
        self.path == path
    }

    /// A thread that panicked left the store in doubt, not in disorder: what it was doing is recovered.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, unless whoever has it keeps it for too long.
    fn lock_until(&self, until: Instant) -> Result<MutexGuard<'_, State>, StoreError> {
        loop {
            match self.state.try_lock() {
                Ok(state) => return Ok(state),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => return Err(self.busy()),
            }
        }
    }

    fn busy(&self) -> StoreError {
        let path = self.path.display();
        let detail = format!(
            "state file {path}: what was asked of it before has not ended: look at the disk that it is on, and at the kernel's log"
        );
        StoreError { trouble: Trouble::Failed, detail }
    }

    fn of<'a>(&'a self, identity: &'a Identity) -> Of<'a> {
        Of { path: &self.path, identity, memory: &self.memory }
    }

    /// Opens for that life, which takes the record from every earlier connection of its own, and from nobody else.
    pub(super) fn open(self: &Arc<Self>, claim: &Claim) -> Result<(Lease, u64), StoreError> {
        let mut state = self.free_for(claim)?;
        let epoch = state.kept.reopen(&self.of(claim.identity))?;
        state.generation += 1;
        let generation = state.generation;
        let holder = Holder {
            generation,
            life: claim.life,
            identity: claim.identity.clone(),
            stream: Arc::clone(claim.stream),
            cid: claim.cid,
            since: SystemTime::now(),
        };
        if let Some(older) = state.holder.replace(holder)
            && let Some(oldest) = state.fenced.replace(older.stream)
        {
            let _ = oldest.shutdown(Shutdown::Both);
        }
        Ok((Lease { slot: Arc::clone(self), identity: claim.identity.clone(), generation }, epoch))
    }

    /// Takes this file from the connection that holds it for the claim's key, which is now to be opened in another file. Only
    /// an earlier connection of the same life gives way.
    pub(super) fn give_up(self: &Arc<Self>, claim: &Claim) -> Result<(), StoreError> {
        let mut state = self.free_for(claim)?;
        if let Some(holder) = state.holder.take_if(|holder| holder.identity == *claim.identity) {
            state.generation += 1;
            state.kept.close();
            let _ = holder.stream.shutdown(Shutdown::Both);
        }
        self.memory.released(claim.identity, self);
        Ok(())
    }

    /// The lock, once no other life's connection holds the record.
    fn free_for(&self, claim: &Claim) -> Result<MutexGuard<'_, State>, StoreError> {
        let mut state = self.lock_until(claim.until)?;
        let mut hung_up = false;
        loop {
            if claim.is_abandoned() {
                let detail = format!("state file {}: not opened: who wanted it has hung up", self.path.display());
                return Err(StoreError { trouble: Trouble::Failed, detail });
            }
            let Some(holder) = &state.holder else { return Ok(state) };
            if holder.life == claim.life && holder.identity == *claim.identity {
                return Ok(state);
            }
            if holder.is_over(claim) && !std::mem::replace(&mut hung_up, true) {
                let chain = claim.identity.chain_id.as_str();
                log::warn!(chain = chain; "the enclave was replaced by another one of its CID: its connection is left over, and is closed");
                // Its own thread sees that, and lets go of the record.
                let _ = holder.stream.shutdown(Shutdown::Both);
            }
            let left = claim.hand_over.saturating_duration_since(Instant::now());
            // The same enclave may just have let go of another key: its connection's end is on its way.
            if left.is_zero() {
                return Err(self.held(holder, claim.life));
            }
            let waited = self.released.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn held(&self, holder: &Holder, life: Life) -> StoreError {
        let path = self.path.display();
        let detail = if holder.life == life {
            format!(
                "state file {path}: another key of this enclave holds it: give each key a state file of its own; if that key is no \
                 longer configured, restart the enclave, or `tmkms nitro persist` if its connection is only left over"
            )
        } else {
            let minutes = holder.since.elapsed().unwrap_or_default().as_secs() / 60;
            format!(
                "state file {path}: another enclave holds this state, since {minutes} min: two signers of one key; terminate \
                 the other one first (`nitro-cli describe-enclaves`, `nitro-cli terminate-enclave`); if no other enclave runs, its \
                 connection is only left over: restart `tmkms nitro persist`"
            )
        };
        StoreError { trouble: Trouble::Superseded, detail }
    }
}

impl Lease {
    /// What is written here is said once when trouble begins, and once when it ends.
    fn on_store<T>(
        &self,
        doing: &str,
        operation: impl FnOnce(&mut Kept, &Of) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut state = self.slot.lock();
        if state.generation != self.generation {
            return Err(self.fenced(doing));
        }
        let result = operation(&mut state.kept, &self.slot.of(&self.identity));
        state.kept.settle(&result);
        let was_in_trouble = std::mem::replace(&mut state.in_trouble, result.is_err());
        drop(state);
        let chain = self.identity.chain_id.as_str();
        match &result {
            Err(error) if !was_in_trouble => log::error!(chain = chain, reason = error.trouble.name(); "{error}"),
            Ok(_) if was_in_trouble => log::info!(chain = chain; "the signing state can be saved again"),
            _ => {}
        }
        result
    }

    /// Nothing is wrong with the record: the same life may connect again, and does so at once.
    fn fenced(&self, doing: &str) -> StoreError {
        let chain = self.identity.chain_id.as_str();
        log::warn!(chain = chain; "refused: {doing} on a connection that a later one of the same enclave has replaced");
        let path = self.slot.path.display();
        let detail =
            format!("state file {path}: a later connection of this enclave has replaced this one: {doing} refused");
        StoreError { trouble: Trouble::Unknown, detail }
    }

    pub(super) fn recover(&self) -> Result<Record, StoreError> {
        self.on_store("a recovery", Kept::recover)
    }

    pub(super) fn commit(&self, previous: (u64, Digest), next: &Record) -> Result<Committed, StoreError> {
        self.on_store("a commit", |kept, of| kept.commit(of, previous, next))
    }

    /// Whether a later connection has replaced this one: it is worth nothing any more.
    pub(super) fn is_fenced(&self) -> bool {
        self.slot.lock().generation != self.generation
    }

    pub(super) fn path(&self) -> std::path::Display<'_> {
        self.slot.path.display()
    }
}

impl Drop for Lease {
    /// The connection is gone. The file is closed, unless a failed write of ours has still to be healed.
    fn drop(&mut self) {
        let mut state = self.slot.lock();
        if state.holder.as_ref().is_some_and(|holder| holder.generation == self.generation) {
            state.holder = None;
            state.fenced = None;
            state.kept.let_go();
            self.slot.memory.released(&self.identity, &self.slot);
        }
        drop(state);
        self.slot.released.notify_all();
    }
}

#[cfg(test)]
mod tests;
