//! What a session tells the log and the counters.
use crate::secret_connection::PeerId;
use crate::validator::{Unsigned, Validator};
use guard::{Denied, Position, Refusal};
use log::{debug, error, info, warn};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many lines of one kind a node may cause within [`WINDOW`]; beyond that every thousandth is logged: a node that
/// floods us with bad requests must not flood the disk.
const FREE_LINES: u64 = 100;
const EVERY: u64 = 1000;

/// When a node's budget of lines is full again.
const WINDOW: Duration = Duration::from_secs(60);

/// A configured node in the log. It outlives sessions, so that hanging up does not refill what it may write there.
pub struct NodeLog {
    address: String,
    refused: Budget,
    invalid: Budget,
    unsaved: Budget,
}

impl NodeLog {
    /// A node at that configured address, which has caused no line yet.
    #[must_use]
    pub fn new(address: &str) -> Arc<Self> {
        let [refused, invalid, unsaved] = [Budget::default(), Budget::default(), Budget::default()];
        Arc::new(Self { address: address.to_owned(), refused, invalid, unsaved })
    }
}

/// Lines of one kind.
#[derive(Default)]
struct Budget(Mutex<Spent>);

#[derive(Default)]
struct Spent {
    since: Option<Instant>,
    in_window: u64,
    total: u64,
}

impl Budget {
    /// Counts, and gives the count since the start if it is to be logged.
    fn next(&self, now: Instant) -> Option<u64> {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            spent.since = Some(now);
            spent.in_window = 0;
        }
        spent.in_window += 1;
        spent.total += 1;
        (spent.in_window <= FREE_LINES || spent.in_window.is_multiple_of(EVERY)).then_some(spent.total)
    }
}

/// Reports on one session.
pub(super) struct Report {
    validator: Arc<Validator>,
    log: Arc<NodeLog>,
    /// What the peer proved on TCP. Kept apart from the configured address, by which a node is found in the log.
    peer: Option<String>,
    announce: bool,
    has_answered: bool,
}

impl Report {
    pub(super) fn new(validator: Arc<Validator>, log: Arc<NodeLog>, peer: Option<PeerId>, announce: bool) -> Self {
        let peer = peer.map(|peer| peer.to_string());
        Self { validator, log, peer, announce, has_answered: false }
    }

    pub(super) const fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// A node that only lets us connect says nothing: the session counts from its first answer.
    pub(super) fn answered(&mut self) {
        if !std::mem::replace(&mut self.has_answered, true) && self.announce {
            let (chain, validator) = self.names();
            info!(chain, validator, node = self.node(), peer = self.peer(); "session with {}", self.node());
        }
    }

    pub(super) fn signed(&self, position: Position, is_repeat: bool) {
        self.validator.metrics().signed(position, is_repeat);
        let (chain, validator) = self.names();
        debug!(
            chain, validator, node = self.node(), peer = self.peer(),
            height = position.height.get(), round = position.round.get(), step = position.step.name(),
            repeat = is_repeat;
            "signed {position}"
        );
    }

    /// What was not signed, by whose fault.
    pub(super) fn unsigned(&mut self, unsigned: &Unsigned, text: &str) {
        match unsigned {
            Unsigned::ForeignPermit(_) => self.invalid("foreign_permit", text),
            Unsigned::NotCanonical(_) => self.invalid("not_canonical", text),
            Unsigned::Denied { position, denied: Denied::Refused(refusal) } => self.refused(Some(*position), refusal),
            Unsigned::Denied { position, .. } => self.unsaved(*position, text),
        }
    }

    /// With all evidence: both positions or both blocks are in the refusal's text.
    pub(super) fn refused(&mut self, position: Option<Position>, refusal: &Refusal) {
        self.validator.metrics().refusals.count(refusal.name());
        if let Some(count) = self.log.refused.next(Instant::now()) {
            let (chain, validator) = self.names();
            warn!(
                chain, validator, node = self.node(), peer = self.peer(), reason = refusal.name(), count,
                height = position.map(|at| at.height.get()),
                round = position.map(|at| at.round.get()),
                step = position.map(|at| at.step.name());
                "refused: {refusal} (asked by {})", self.node()
            );
        }
    }

    pub(super) fn invalid(&mut self, reason: &'static str, text: &str) {
        self.validator.metrics().invalid.count(reason);
        if let Some(count) = self.log.invalid.next(Instant::now()) {
            let (chain, validator) = self.names();
            warn!(chain, validator, node = self.node(), peer = self.peer(), reason, count; "invalid request from {}: {text}", self.node());
        }
    }

    fn unsaved(&mut self, position: Position, text: &str) {
        if let Some(count) = self.log.unsaved.next(Instant::now()) {
            let (chain, validator) = self.names();
            error!(
                chain, validator, node = self.node(), peer = self.peer(), count,
                height = position.height.get(), round = position.round.get(), step = position.step.name();
                "not signed: {position}: {text}"
            );
        }
    }

    fn node(&self) -> &str {
        &self.log.address
    }

    fn peer(&self) -> Option<&str> {
        self.peer.as_deref()
    }

    fn names(&self) -> (&str, &str) {
        (self.validator.chain_id(), self.validator.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_logged_in_full_at_first_then_each_thousandth_and_in_full_again_after_a_minute() {
        let (budget, now) = (Budget::default(), Instant::now());
        let logged = (0..3000).filter_map(|_| budget.next(now)).collect::<Vec<_>>();
        assert_eq!((logged.len(), logged.last()), (103, Some(&3000)));
        assert_eq!(budget.next(now + WINDOW), Some(3001));
    }
}
