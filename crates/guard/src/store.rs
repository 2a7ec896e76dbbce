//! The seam between the rule and where records live.
use crate::Record;
use std::fmt;

/// The word of a store that a record survives a power cut.
///
/// Only a [`Store`]'s `commit` has a reason to make one. It carries the sequence that was made durable, so
/// that the guard can check the answer against its question.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Committed {
    sequence: u64,
}

impl Committed {
    /// Says that the record of that sequence, and every byte of it, is on stable storage.
    pub const fn durably(record: &Record) -> Self {
        Self { sequence: record.sequence() }
    }

    pub(crate) const fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// What kind of trouble a store has, which decides whether waiting can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The store holds something other than what the caller expected, or a later opening has fenced this one.
    Superseded,
    /// A write or its sync failed; what stable storage holds now is not known.
    Failed,
    /// No answer came in time; the record may be stored, or may still be stored later.
    Unknown,
    /// What the store holds is damaged, or belongs to another key or chain. A person has to act.
    Damaged,
}

impl Trouble {
    /// Whether the same operation may succeed a moment later.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        matches!(self, Self::Failed | Self::Unknown)
    }

    /// A short fixed name, for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Damaged => "damaged",
        }
    }
}

/// A store could not do what was asked. Whatever the kind, nothing may be signed on the strength of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    /// The kind of trouble.
    pub trouble: Trouble,
    /// What happened, and what to do about it.
    pub detail: String,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for StoreError {}

/// Where the record of one key on one chain lives.
///
/// An implementer is opened for one identity and refuses the state of any other. Opening never creates state,
/// and gives a new epoch that fences every earlier opening and its delayed writes.
///
/// By what means it fences is the implementer's to say, and so is where that means holds: a lock on a file, for one,
/// holds on a local file system, and not on one that several hosts share.
pub trait Store {
    /// Reads the record that won, writes the same bytes again, and syncs. Only then is it returned.
    ///
    /// Reading back is not durability: after an interrupted or failed sync the page cache may hold what the
    /// disk does not. So every opening and every recovery comes through here before anything is signed.
    ///
    /// # Errors
    /// Any [`StoreError`]; nothing was lowered.
    fn recover(&mut self) -> Result<Record, StoreError>;

    /// Replaces `previous` by `next`, durably: a compare-and-swap.
    ///
    /// Succeeds only if the store still holds `previous`, or already holds exactly `next` (a repeat), and this
    /// opening is the latest. Returns only after the record would survive a power cut.
    ///
    /// # Errors
    /// Any [`StoreError`]; the store then holds `previous` or `next`, and the caller must [`Store::recover`].
    fn commit(&mut self, previous: &Record, next: &Record) -> Result<Committed, StoreError>;
}

impl<S: Store + ?Sized> Store for Box<S> {
    fn recover(&mut self) -> Result<Record, StoreError> {
        (**self).recover()
    }

    fn commit(&mut self, previous: &Record, next: &Record) -> Result<Committed, StoreError> {
        (**self).commit(previous, next)
    }
}
