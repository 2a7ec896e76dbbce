//! What can be seen from outside: counters of validators and connections, their text for Prometheus, and health.
//!
//! Own atomics instead of a crate: what is counted here is fixed, and the smallest metrics crate brings more code
//! than this folder into an image of which every line is trusted.
mod exposition;
mod health;
mod histogram;
mod snapshot;

pub use exposition::CONTENT_TYPE;
pub use histogram::Histogram;
pub use snapshot::{ChainSnapshot, ConnectionSnapshot, Count, LastSigned, Snapshot, State, Times};

use guard::{ChainId, Position, Step};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Which build is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// The version, as `tmkms version` prints it.
    pub version: &'static str,
    /// The commit that it was built from, or empty.
    pub commit: &'static str,
}

/// All counters of a process.
pub struct Metrics {
    build: Build,
    started: Instant,
    validators: Mutex<Vec<Arc<ValidatorMetrics>>>,
}

impl Metrics {
    /// Counters of a process that starts now.
    #[must_use]
    pub fn new(build: Build) -> Self {
        Self { build, started: Instant::now(), validators: Mutex::default() }
    }

    /// The counters of one key on one chain; the same for each call with the same names, also after
    /// [`Metrics::retire`]: counters never go back.
    #[must_use]
    pub fn validator(&self, chain_id: &ChainId, address: &str) -> Arc<ValidatorMetrics> {
        let mut validators = lock(&self.validators);
        let is_it = |known: &&Arc<ValidatorMetrics>| known.chain_id == *chain_id && known.address == address;
        if let Some(known) = validators.iter().find(is_it) {
            known.come_back();
            return Arc::clone(known);
        }
        let new = Arc::new(ValidatorMetrics::new(chain_id.clone(), address.to_owned()));
        validators.push(Arc::clone(&new));
        new
    }

    /// A chain is no longer served: it is neither shown nor judged, until it is asked for again.
    pub fn retire(&self, chain_id: &ChainId, address: &str) {
        let validators = lock(&self.validators);
        let its = validators.iter().filter(|known| known.chain_id == *chain_id && known.address == address);
        its.for_each(|known| known.retire());
    }

    fn all(&self) -> Vec<Arc<ValidatorMetrics>> {
        lock(&self.validators).iter().filter(|known| !known.is_retired.load(Relaxed)).cloned().collect()
    }
}

/// A counter with the reason of what it counts. Reasons are names from code, so there are few.
#[derive(Default)]
pub struct Reasons(Mutex<BTreeMap<&'static str, u64>>);

impl Reasons {
    /// Reasons that are known beforehand start at 0, so that a first occurrence shows as a rise.
    fn starting_with(names: &[&'static str]) -> Self {
        Self(Mutex::new(names.iter().map(|name| (*name, 0)).collect()))
    }

    /// Counts one. It locks: refusals and errors are rare.
    pub fn count(&self, reason: &'static str) {
        *lock(&self.0).entry(reason).or_default() += 1;
    }

    fn counts(&self) -> Vec<(&'static str, u64)> {
        lock(&self.0).iter().map(|(name, count)| (*name, *count)).collect()
    }
}

/// The names of [`guard::Refusal`]; the test below holds them together.
const REFUSALS: [&str; 8] = [
    "conflict",
    "bytes_unknown",
    "height_regression",
    "round_regression",
    "step_regression",
    "above_max_height",
    "wrong_chain",
    "extension",
];

/// The names of [`guard::Trouble`], and of a store that was put back.
const STORE_ERRORS: [&str; 5] = ["superseded", "failed", "unknown", "damaged", "rolled_back"];

/// The last signature that was answered.
#[derive(Clone, Copy)]
struct Last {
    position: Position,
    at: Instant,
}

/// Counters of one key on one chain.
pub struct ValidatorMetrics {
    chain_id: ChainId,
    address: String,
    /// Held for an assignment only.
    last: Mutex<Option<Last>>,
    /// By [`Step`], in its order.
    signatures: [AtomicU64; 3],
    /// How many of the signatures were repeats of recorded bytes.
    pub repeats: AtomicU64,
    /// What the rule refused.
    pub refusals: Reasons,
    /// What broke the input rules, or could not be read.
    pub invalid: Reasons,
    /// Each failed attempt to save the state, by kind.
    pub store_errors: Reasons,
    /// How long one commit took in the store.
    pub commits: Histogram,
    /// From the last byte of a request for a signature to its whole answer at the socket.
    pub answers: Histogram,
    connections: Mutex<Vec<Arc<ConnectionMetrics>>>,
    /// Why nothing is signed until a person acts.
    stopped_by: Mutex<Option<String>>,
    /// Since when it is served.
    since: Mutex<Instant>,
    is_retired: AtomicBool,
}

impl ValidatorMetrics {
    fn new(chain_id: ChainId, address: String) -> Self {
        Self {
            chain_id,
            address,
            last: Mutex::default(),
            signatures: Default::default(),
            repeats: AtomicU64::default(),
            refusals: Reasons::starting_with(&REFUSALS),
            invalid: Reasons::default(),
            store_errors: Reasons::starting_with(&STORE_ERRORS),
            commits: Histogram::default(),
            answers: Histogram::default(),
            connections: Mutex::default(),
            stopped_by: Mutex::default(),
            since: Mutex::new(Instant::now()),
            is_retired: AtomicBool::default(),
        }
    }

    /// Its connections are gone with it.
    fn retire(&self) {
        self.is_retired.store(true, Relaxed);
        lock(&self.connections).iter().for_each(|one| one.is_retired.store(true, Relaxed));
    }

    /// It is served again: the time without signatures does not count.
    fn come_back(&self) {
        if self.is_retired.swap(false, Relaxed) {
            *lock(&self.since) = Instant::now();
            lock(&self.last).take();
        }
    }

    /// Connections to other addresses than these are gone.
    pub fn keep_connections(&self, addresses: &[String]) {
        for connection in lock(&self.connections).iter() {
            connection.is_retired.store(!addresses.contains(&connection.address), Relaxed);
        }
    }

    fn served_for(&self) -> Duration {
        lock(&self.since).elapsed()
    }

    /// Counts a signature that a node was given. Two connections may say so in either order: the higher one stays.
    /// A repeat is no sign of life: a node that asks for an old vote again and again does not move its chain.
    pub fn signed(&self, position: Position, is_repeat: bool) {
        self.signatures[step_index(position.step)].fetch_add(1, Relaxed);
        self.repeats.fetch_add(u64::from(is_repeat), Relaxed);
        if is_repeat {
            return;
        }
        let mut last = lock(&self.last);
        let position = last.map_or(position, |last| last.position.max(position));
        *last = Some(Last { position, at: Instant::now() });
    }

    /// Nothing is signed until a person acts, and why. Says whether that is news.
    pub fn stopped(&self, reason: String) -> bool {
        lock(&self.stopped_by).replace(reason).is_none()
    }

    /// The state was saved, or read back whole: what had stopped signing is over.
    pub fn resumed(&self) {
        lock(&self.stopped_by).take();
    }

    /// The counters of one connection; the same for each call with the same address.
    #[must_use]
    pub fn connection(&self, address: &str) -> Arc<ConnectionMetrics> {
        let mut connections = lock(&self.connections);
        if let Some(known) = connections.iter().find(|known| known.address == address) {
            known.is_retired.store(false, Relaxed);
            return Arc::clone(known);
        }
        let new = Arc::new(ConnectionMetrics { address: address.to_owned(), ..ConnectionMetrics::default() });
        connections.push(Arc::clone(&new));
        new
    }

    fn stopped_by(&self) -> Option<String> {
        lock(&self.stopped_by).clone()
    }

    fn last(&self) -> Option<Last> {
        *lock(&self.last)
    }

    fn all_connections(&self) -> Vec<Arc<ConnectionMetrics>> {
        lock(&self.connections).iter().filter(|known| !known.is_retired.load(Relaxed)).cloned().collect()
    }
}

/// Counters of one connection.
#[derive(Default)]
pub struct ConnectionMetrics {
    address: String,
    up: AtomicBool,
    is_retired: AtomicBool,
    connects: AtomicU64,
    /// Dials and handshakes that failed.
    pub failures: AtomicU64,
}

impl ConnectionMetrics {
    /// Counts a connection that is ready for requests.
    pub fn connected(&self) {
        self.connects.fetch_add(1, Relaxed);
        self.up.store(true, Relaxed);
    }

    /// The connection is gone.
    pub fn disconnected(&self) {
        self.up.store(false, Relaxed);
    }

    /// Counts a dial or handshake that failed.
    pub fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }
}

const fn step_index(step: Step) -> usize {
    match step {
        Step::Proposal => 0,
        Step::Prevote => 1,
        Step::Precommit => 2,
    }
}

/// Nothing that these locks protect can be left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
