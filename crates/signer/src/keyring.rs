//! One guard per key and chain, owned in one place for the life of the process.
use crate::metrics::ValidatorMetrics;
use guard::{Committed, Guard, Height, Identity, Record, Store, StoreError};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at a guard that is held: short beside a commit, which takes a millisecond or so.
const MIN_LOCK_PAUSE: Duration = Duration::from_micros(50);
/// The longest such pause, when something takes long.
const MAX_LOCK_PAUSE: Duration = Duration::from_millis(2);

/// The guard of one identity, shared by all connections that serve it.
#[derive(Clone)]
pub struct SharedGuard(Arc<Mutex<Guard<MeasuredStore>>>);

impl SharedGuard {
    /// Waits for the guard, and holds it until the returned value is dropped.
    ///
    /// A panic under the lock does not forbid its further use: a guard is in doubt before its store is asked, so
    /// whatever was interrupted ends in a recovery, and nothing is signed before that.
    pub fn lock(&self) -> MutexGuard<'_, Guard<MeasuredStore>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same for whoever cannot wait for ever: none if it is held for longer than `limit`. A free guard is had at
    /// once, even with no time left; for a held one is asked again after an eighth of the wait so far.
    pub(crate) fn lock_within(&self, limit: Duration) -> Option<MutexGuard<'_, Guard<MeasuredStore>>> {
        let mut begun = None;
        loop {
            match self.0.try_lock() {
                Ok(guard) => return Some(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
            let waited = begun.get_or_insert_with(Instant::now).elapsed();
            let left = limit.saturating_sub(waited);
            if left.is_zero() {
                return None;
            }
            thread::sleep((waited / 8).clamp(MIN_LOCK_PAUSE, MAX_LOCK_PAUSE).min(left));
        }
    }
}

/// A store of which every commit is timed.
pub struct MeasuredStore {
    store: Box<dyn Store + Send>,
    metrics: Arc<ValidatorMetrics>,
}

impl Store for MeasuredStore {
    fn recover(&mut self) -> Result<Record, StoreError> {
        self.store.recover()
    }

    fn commit(&mut self, previous: &Record, next: &Record) -> Result<Committed, StoreError> {
        let begun = Instant::now();
        let committed = self.store.commit(previous, next);
        self.metrics.commits.record(begun.elapsed());
        committed
    }
}

/// Why a guard cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub enum RegisterError<E> {
    /// The store could not be opened.
    Open(E),
    /// The same key on the same chain was registered with another `max_height`.
    MaxHeight {
        /// What it has.
        registered: Option<Height>,
        /// What was asked for.
        requested: Option<Height>,
    },
}

impl<E: fmt::Display> fmt::Display for RegisterError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |height: &Option<Height>| height.map_or("none".to_owned(), |height| height.to_string());
        match self {
            Self::Open(error) => error.fmt(f),
            Self::MaxHeight { registered, requested } => write!(
                f,
                "max_height differs between two validators with one key: expected {}, got {}; give both the same",
                number(registered),
                number(requested)
            ),
        }
    }
}

impl<E: std::error::Error> std::error::Error for RegisterError<E> {}

/// All guards of a process, by the public key's bytes and the chain id, never by a configuration entry.
///
/// A guard is never removed: its high-water mark outlives the removal and return of a chain, and a change of store.
#[derive(Default)]
pub struct Keyring {
    guards: HashMap<Identity, (SharedGuard, Option<Height>)>,
}

impl Keyring {
    /// A keyring without guards.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The guard of `identity`. At the first call for an identity `open` opens its store; at every further one the
    /// same guard is returned and `open` is not called, so one state is never opened twice.
    ///
    /// # Errors
    /// [`RegisterError::Open`] with the error of `open`; [`RegisterError::MaxHeight`] if the limits differ.
    pub fn register<E>(
        &mut self,
        identity: Identity,
        max_height: Option<Height>,
        metrics: &Arc<ValidatorMetrics>,
        open: impl FnOnce(&Identity) -> Result<Box<dyn Store + Send>, E>,
    ) -> Result<SharedGuard, RegisterError<E>> {
        if let Some((guard, registered)) = self.guards.get(&identity) {
            return if *registered == max_height {
                Ok(guard.clone())
            } else {
                Err(RegisterError::MaxHeight { registered: *registered, requested: max_height })
            };
        }
        let store =
            MeasuredStore { store: open(&identity).map_err(RegisterError::Open)?, metrics: Arc::clone(metrics) };
        let guard = Guard::new(identity.clone(), store).with_max_height(max_height);
        let guard = SharedGuard(Arc::new(Mutex::new(guard)));
        self.guards.insert(identity, (guard.clone(), max_height));
        Ok(guard)
    }
}
