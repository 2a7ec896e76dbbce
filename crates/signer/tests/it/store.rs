//! A store in memory that fails, waits and panics when it is told to.
use guard::{Committed, Record, Store, StoreError, Trouble};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What the store does from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Healthy,
    /// Every operation fails.
    Failing(Trouble),
    /// Every commit takes that long.
    Slow(Duration),
    /// Every commit takes that long and its answer is lost; every recovery takes that long.
    Delays {
        commit: Duration,
        recovery: Duration,
    },
    /// The next commit panics, and then it is healthy.
    Panics,
}

struct Inner {
    record: Record,
    mood: Mood,
    commits: Vec<Record>,
    attempts: usize,
}

/// A handle: the test keeps one, the guard has another.
#[derive(Clone)]
pub struct MemoryStore(Arc<Mutex<Inner>>);

impl MemoryStore {
    pub fn new() -> Self {
        let record = Record::never_signed();
        Self(Arc::new(Mutex::new(Inner { record, mood: Mood::Healthy, commits: Vec::new(), attempts: 0 })))
    }

    pub fn set(&self, mood: Mood) {
        self.lock().mood = mood;
    }

    pub fn commits(&self) -> Vec<Record> {
        self.lock().commits.clone()
    }

    /// Puts back what it held before the first commit.
    pub fn roll_back(&self) {
        self.lock().record = Record::never_signed();
    }

    pub fn attempts(&self) -> usize {
        self.lock().attempts
    }

    fn mood(&self) -> Mood {
        self.lock().mood
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failure(trouble: Trouble) -> StoreError {
    StoreError { trouble, detail: "told to fail".to_owned() }
}

impl Store for MemoryStore {
    fn recover(&mut self) -> Result<Record, StoreError> {
        if let Mood::Delays { recovery, .. } = self.mood() {
            thread::sleep(recovery);
        }
        let mut inner = self.lock();
        inner.attempts += 1;
        match inner.mood {
            Mood::Failing(trouble) => Err(failure(trouble)),
            _ => Ok(inner.record.clone()),
        }
    }

    fn commit(&mut self, previous: &Record, next: &Record) -> Result<Committed, StoreError> {
        if let Mood::Slow(duration) | Mood::Delays { commit: duration, .. } = self.mood() {
            thread::sleep(duration);
        }
        let mut inner = self.lock();
        inner.attempts += 1;
        match inner.mood {
            Mood::Failing(trouble) => return Err(failure(trouble)),
            Mood::Delays { .. } => return Err(failure(Trouble::Unknown)),
            Mood::Panics => {
                inner.mood = Mood::Healthy;
                panic!("TEST PANIC: told to");
            }
            Mood::Healthy | Mood::Slow(_) => {}
        }
        if inner.record != *previous {
            return Err(failure(Trouble::Superseded));
        }
        inner.record = next.clone();
        inner.commits.push(next.clone());
        Ok(Committed::durably(next))
    }
}
