//! The one operation that decides: judge, commit, permit.
use crate::{Denied, Extension, Height, Identity, Permit, Record, Refusal, Statement, Store, StoreError, Trouble};
use std::sync::Arc;

/// What the rule allows for a request that it does not refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'record> {
    /// A higher position: sign once a record of it is committed.
    Advance,
    /// The message that is recorded, timestamp aside: sign these recorded bytes again.
    Repeat(&'record Statement),
}

/// The table of the rule, and nothing else: compares a request with the record.
///
/// # Errors
/// A [`Refusal`] with both positions, or with what was signed and what was asked for.
pub fn judge<'record>(record: &'record Record, request: &Statement) -> Result<Verdict<'record>, Refusal> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let position = request.position();
    match (position.cmp(&record.position()), record.statement()) {
        (Greater, _) => Ok(Verdict::Advance),
        (Less, _) => Err(Refusal::Regression { recorded: record.position(), requested: position }),
        (Equal, None) => Err(Refusal::BytesUnknown { position }),
        (Equal, Some(recorded)) if recorded.equals_but_for_time(request) => Ok(Verdict::Repeat(recorded)),
        (Equal, Some(recorded)) => Err(Refusal::Conflict {
            position,
            recorded: Box::new(recorded.content()),
            requested: Box::new(request.content()),
        }),
    }
}

/// What this life knows of the store.
enum Held {
    /// The store acknowledged this record in this life, and nothing was tried since.
    Acknowledged(Record),
    /// Something was tried and did not end well, or nothing was read yet: nothing may be signed until the store
    /// was recovered and the answer judged.
    Doubtful {
        /// What was acknowledged last in this life.
        acknowledged: Option<Record>,
        /// What may have been stored since.
        attempted: Option<Record>,
    },
}

/// Guards one key on one chain: the only maker of [`Permit`]s.
///
/// There is one guard per [`Identity`] in a process, shared by all connections, and it lives as long as the
/// process. Sharing it needs a lock around the whole of it; `&mut self` makes everything from the judgement to
/// the commit exclusive.
pub struct Guard<S> {
    identity: Arc<Identity>,
    max_height: Option<Height>,
    store: S,
    held: Held,
}

impl<S: Store> Guard<S> {
    /// A guard that has not yet read its store. The store was opened for the same identity.
    #[must_use]
    pub fn new(identity: Identity, store: S) -> Self {
        Self {
            identity: Arc::new(identity),
            max_height: None,
            store,
            held: Held::Doubtful { acknowledged: None, attempted: None },
        }
    }

    /// Signs nothing above that height.
    #[must_use]
    pub const fn with_max_height(mut self, max: Option<Height>) -> Self {
        self.max_height = max;
        self
    }

    /// Whose guard this is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What the store acknowledged last in this life, if it was read at all.
    #[must_use]
    pub const fn acknowledged(&self) -> Option<&Record> {
        match &self.held {
            Held::Acknowledged(record) => Some(record),
            Held::Doubtful { acknowledged, .. } => acknowledged.as_ref(),
        }
    }

    /// Whether the next request needs no recovery first.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self.held, Held::Acknowledged(_))
    }

    /// Judges a request, commits its record, and only then gives leave to sign. This is the whole rule.
    ///
    /// A repeat gives leave to sign the *recorded* bytes. If the store failed before, it is recovered first, and
    /// what it says is judged against what this life already knows.
    ///
    /// # Errors
    /// [`Denied::Refused`] by the rule; [`Denied::Store`] or [`Denied::RolledBack`] when no durable record could
    /// be had. Nothing may be signed, and nothing was lowered.
    pub fn authorize(&mut self, request: Statement, extension: Option<Extension>) -> Result<Permit, Denied> {
        self.admit(&request, extension.as_ref())?;
        self.recover()?;
        let record = self.ready()?;
        match judge(record, &request)? {
            Verdict::Advance => {
                let sequence = record.sequence().checked_add(1).ok_or_else(no_sequence_left)?;
                let next = Record::of(sequence, request.clone());
                self.commit(next)?;
                Ok(Permit::new(self.identity.clone(), request, extension, false))
            }
            Verdict::Repeat(recorded) => Ok(Permit::new(self.identity.clone(), recorded.clone(), extension, true)),
        }
    }

    /// Recovers the store if that is needed, so that a signer can refuse to start on bad state.
    ///
    /// # Errors
    /// As [`Guard::authorize`], but never [`Denied::Refused`].
    pub fn recover(&mut self) -> Result<(), Denied> {
        let Held::Doubtful { acknowledged, attempted } = &self.held else { return Ok(()) };
        let held = self.store.recover()?;
        self.check_chain(&held)?;
        if let Some(acknowledged) = acknowledged {
            let known = [Some(acknowledged), attempted.as_ref()];
            let is_known = known.into_iter().flatten().any(|record| record.allows_the_same_as(&held));
            // A higher record of someone else's making is adopted: it only forbids more.
            if !is_known && held.position() <= acknowledged.position() {
                return Err(Denied::RolledBack { acknowledged: Box::new(acknowledged.clone()), held: Box::new(held) });
            }
        }
        self.held = Held::Acknowledged(held);
        Ok(())
    }

    /// Refuses what needs no record to be refused, at once and whatever the store's trouble. [`Guard::authorize`] begins with it.
    ///
    /// # Errors
    /// A [`Refusal`]; that there is none is no leave to sign anything.
    pub fn admit(&self, request: &Statement, extension: Option<&Extension>) -> Result<(), Refusal> {
        if request.chain_id() != self.identity.chain_id.as_str() {
            return Err(Refusal::WrongChain {
                expected: self.identity.chain_id.clone(),
                requested: request.chain_id().to_owned(),
            });
        }
        if let Some(max) = self.max_height.filter(|max| request.position().height > *max) {
            return Err(Refusal::AboveMaxHeight { requested: request.position().height, max });
        }
        match extension {
            Some(_) if !request.takes_extension() => {
                Err(Refusal::Extension { reason: "only a precommit for a block carries one" })
            }
            Some(extension) if !extension.belongs_to(request) => {
                Err(Refusal::Extension { reason: "it is for another height, round or chain than its vote" })
            }
            _ => Ok(()),
        }
    }

    /// A record of another chain must not come out of a store that was opened for this one.
    fn check_chain(&self, held: &Record) -> Result<(), StoreError> {
        match held.statement().map(Statement::chain_id) {
            Some(chain_id) if chain_id != self.identity.chain_id.as_str() => Err(StoreError {
                trouble: Trouble::Damaged,
                detail: format!(
                    "the record is of another chain: expected {:?}, got {chain_id:?}",
                    self.identity.chain_id.as_str()
                ),
            }),
            _ => Ok(()),
        }
    }

    fn ready(&self) -> Result<&Record, StoreError> {
        match &self.held {
            Held::Acknowledged(record) => Ok(record),
            Held::Doubtful { .. } => {
                Err(StoreError { trouble: Trouble::Unknown, detail: "the record was not recovered".to_owned() })
            }
        }
    }

    /// Makes `next` durable. The guard is in doubt before the store is asked, so that an error, a panic and a
    /// lost answer all end in a recovery.
    fn commit(&mut self, next: Record) -> Result<(), Denied> {
        let previous = self.ready()?.clone();
        self.held = Held::Doubtful { acknowledged: Some(previous.clone()), attempted: Some(next.clone()) };
        let committed = self.store.commit(&previous, &next)?;
        if committed.sequence() != next.sequence() {
            return Err(Denied::Store(StoreError {
                trouble: Trouble::Unknown,
                detail: format!(
                    "the store acknowledged another record: expected sequence {}, got {}",
                    next.sequence(),
                    committed.sequence()
                ),
            }));
        }
        self.held = Held::Acknowledged(next);
        Ok(())
    }
}

/// No honest store counts that far: 2^64 commits.
fn no_sequence_left() -> StoreError {
    StoreError {
        trouble: Trouble::Damaged,
        detail: format!(
            "the record's sequence is damaged: expected less than {max}, got {max}; restore the state with `tmkms state \
             repair`, above the chain's height",
            max = u64::MAX
        ),
    }
}
