//! One record: its file, whoever holds it, and what this process knows of it. All that is done to a file goes through its
//! one lock, so commits of one record come one after the other, and those of several run side by side.
use super::places::Places;
use guard::{Committed, Identity, Record, Store, StoreError, Trouble};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use store::BindingStore;
use wire::state::{Digest, Life, digest};

/// One file and its holder.
pub(super) struct Slot {
    path: PathBuf,
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
    /// Open only while somebody holds it, or while a failed write of ours is still to be healed.
    store: Option<BindingStore>,
    /// What the store holds, as far as it is not in doubt.
    current: Option<Record>,
    /// Whose record this process acknowledged last, and which: what is lower was put back.
    acknowledged: Option<(Identity, Record)>,
    in_trouble: bool,
}

struct Holder {
    generation: u64,
    life: Life,
    identity: Identity,
    stream: Arc<UnixStream>,
    since: SystemTime,
}

/// A connection's right to a record, until a later opening takes it.
pub(super) struct Lease {
    slot: Arc<Slot>,
    identity: Identity,
    generation: u64,
}

impl Slot {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, state: Mutex::default(), released: Condvar::new() }
    }

    /// A thread that panicked left the store in doubt, not in disorder: what it was doing is recovered.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens for that life, which takes the record from every earlier connection of its own, and from nobody else.
    pub(super) fn open(
        self: &Arc<Self>,
        identity: &Identity,
        life: Life,
        stream: &Arc<UnixStream>,
        hand_over: Duration,
    ) -> Result<(Lease, u64), StoreError> {
        let mut state = self.free_for(identity, life, hand_over)?;
        state.reopen(self, identity)?;
        state.generation += 1;
        let generation = state.generation;
        let holder = Holder {
            generation,
            life,
            identity: identity.clone(),
            stream: Arc::clone(stream),
            since: SystemTime::now(),
        };
        if let Some(older) = state.holder.replace(holder)
            && let Some(oldest) = state.fenced.replace(older.stream)
        {
            let _ = oldest.shutdown(Shutdown::Both);
        }
        let epoch = state.store.as_ref().map_or(0, BindingStore::epoch);
        Ok((Lease { slot: Arc::clone(self), identity: identity.clone(), generation }, epoch))
    }

    /// The lock, once no other life's connection holds the record.
    fn free_for(
        &self,
        identity: &Identity,
        life: Life,
        hand_over: Duration,
    ) -> Result<MutexGuard<'_, State>, StoreError> {
        let until = Instant::now() + hand_over;
        let mut state = self.lock();
        loop {
            let Some(holder) = &state.holder else { return Ok(state) };
            if holder.life == life && holder.identity == *identity {
                return Ok(state);
            }
            let left = until.saturating_duration_since(Instant::now());
            if holder.life == life || left.is_zero() {
                return Err(self.held(holder, life));
            }
            let waited = self.released.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn held(&self, holder: &Holder, life: Life) -> StoreError {
        let path = self.path.display();
        let detail = if holder.life == life {
            format!("state file {path}: another key of this enclave holds it: give each key a state file of its own")
        } else {
            let minutes = holder.since.elapsed().unwrap_or_default().as_secs() / 60;
            format!(
                "state file {path}: another enclave holds this state, since {minutes} min: two signers of one key; terminate \
                 the other one first (`nitro-cli describe-enclaves`, `nitro-cli terminate-enclave`)"
            )
        };
        StoreError { trouble: Trouble::Superseded, detail }
    }
}

impl State {
    /// A new opening of the file, with a new epoch. What a failed write of the present one may have torn is healed first,
    /// because only that one knows that it was its doing.
    fn reopen(&mut self, slot: &Slot, identity: &Identity) -> Result<(), StoreError> {
        if let (Some(store), None) = (&mut self.store, &self.current) {
            match store.recover() {
                Err(error) if error.trouble.may_pass() => return Err(error),
                _ => {}
            }
        }
        self.current = None;
        // Its lock has to go before the next one can be had.
        self.store = None;
        self.store = Some(BindingStore::open(&slot.path, identity)?);
        Ok(())
    }

    fn recover(&mut self, slot: &Slot, identity: &Identity) -> Result<Record, StoreError> {
        self.current = None;
        let store = match &mut self.store {
            Some(store) => store,
            none => none.insert(BindingStore::open(&slot.path, identity)?),
        };
        let record = store.recover()?;
        self.check_not_put_back(slot, identity, &record)?;
        self.acknowledged = Some((identity.clone(), record.clone()));
        self.current = Some(record.clone());
        Ok(record)
    }

    /// The file may have been exchanged between two openings; this process remembers what it acknowledged.
    fn check_not_put_back(&self, slot: &Slot, identity: &Identity, record: &Record) -> Result<(), StoreError> {
        let Some((_, last)) = self.acknowledged.as_ref().filter(|(whose, _)| whose == identity) else { return Ok(()) };
        if record.position() > last.position() || record.allows_the_same_as(last) {
            return Ok(());
        }
        let detail = format!(
            "state file {}: put back while this process ran: it acknowledged {}, the file now holds {}: run `tmkms state repair \
             --height H` with H at least {}, or restart `tmkms nitro persist` if it was lowered on purpose",
            slot.path.display(),
            last.position(),
            record.position(),
            last.position().height
        );
        Err(StoreError { trouble: Trouble::Superseded, detail })
    }

    fn commit(
        &mut self,
        slot: &Slot,
        identity: &Identity,
        previous: (u64, Digest),
        next: &Record,
    ) -> Result<Committed, StoreError> {
        let Some((store, current)) = self.store.as_mut().zip(self.current.take()) else {
            let detail = format!("state file {}: not recovered after the last failure", slot.path.display());
            return Err(StoreError { trouble: Trouble::Failed, detail });
        };
        // A repeat of what is there already is the store's to see, whatever came before it.
        if current != *next && previous != (current.sequence(), digest(&current)) {
            let detail = format!(
                "state file {}: not written: the enclave expected sequence {}, the file holds sequence {} at {}, or another \
                 record of that sequence",
                slot.path.display(),
                previous.0,
                current.sequence(),
                current.position()
            );
            self.current = Some(current);
            return Err(StoreError { trouble: Trouble::Superseded, detail });
        }
        let committed = store.commit(&current, next)?;
        self.acknowledged = Some((identity.clone(), next.clone()));
        self.current = Some(next.clone());
        Ok(committed)
    }

    /// After trouble that only a person can end the file is let go of, so that a person can.
    fn settle<T>(&mut self, result: &Result<T, StoreError>) {
        if result.as_ref().is_err_and(|error| !error.trouble.may_pass()) {
            self.store = None;
            self.current = None;
        }
    }
}

impl Lease {
    /// What is written here is said once when trouble begins, and once when it ends.
    fn on_store<T>(
        &self,
        doing: &str,
        operation: impl FnOnce(&mut State, &Slot, &Identity) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut state = self.slot.lock();
        if state.generation != self.generation {
            return Err(self.fenced(doing));
        }
        let result = operation(&mut state, &self.slot, &self.identity);
        state.settle(&result);
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

    fn fenced(&self, doing: &str) -> StoreError {
        let chain = self.identity.chain_id.as_str();
        log::warn!(chain = chain; "refused: {doing} on a connection that a later one of the same enclave has replaced");
        let path = self.slot.path.display();
        let detail =
            format!("state file {path}: a later connection of this enclave has replaced this one: {doing} refused");
        StoreError { trouble: Trouble::Superseded, detail }
    }

    pub(super) fn recover(&self) -> Result<Record, StoreError> {
        self.on_store("a recovery", State::recover)
    }

    pub(super) fn commit(&self, previous: (u64, Digest), next: &Record) -> Result<Committed, StoreError> {
        self.on_store("a commit", |state, slot, identity| state.commit(slot, identity, previous, next))
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
            let is_sound = state.current.is_some() || state.store.as_mut().is_none_or(|store| store.recover().is_ok());
            if is_sound {
                state.store = None;
                state.current = None;
            }
        }
        drop(state);
        self.slot.released.notify_all();
    }
}

/// The slot of a file; one file has one, by whatever name it was found.
pub(super) fn slot_for(
    slots: &Mutex<Vec<Arc<Slot>>>,
    places: &Places,
    identity: &Identity,
) -> Result<Arc<Slot>, StoreError> {
    let path = places.find(identity)?;
    let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(slot) = slots.iter().find(|slot| slot.path == path) {
        return Ok(Arc::clone(slot));
    }
    let slot = Arc::new(Slot::new(path));
    slots.push(Arc::clone(&slot));
    Ok(slot)
}
