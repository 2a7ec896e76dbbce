//! What a session tells the log and the counters.
use crate::redial::Throttle;
use crate::secret_connection::PeerId;
use crate::validator::{Unsigned, Validator};
use guard::{Denied, Position, Refusal};
use log::{debug, error, info, warn};
use std::sync::Arc;

/// How many lines of one kind a session may log before only every hundredth is: a node that floods us with bad
/// requests must not flood the disk.
const FREE_LINES: u64 = 100;

/// Reports on one session.
pub(super) struct Report {
    validator: Arc<Validator>,
    /// The configured address, and the peer's proven id on TCP.
    node: String,
    refused: Throttle,
    invalid: Throttle,
    unsaved: Throttle,
    announce: bool,
    has_answered: bool,
}

impl Report {
    pub(super) fn new(validator: Arc<Validator>, node: String, peer: Option<PeerId>, announce: bool) -> Self {
        let node = match peer {
            Some(peer) if !node.contains('@') => format!("{node} (peer {peer})"),
            _ => node,
        };
        let throttle = || Throttle::free(FREE_LINES);
        let (refused, invalid, unsaved) = (throttle(), throttle(), throttle());
        Self { validator, node, refused, invalid, unsaved, announce, has_answered: false }
    }

    pub(super) const fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// A node that only lets us connect says nothing: the session counts from its first answer.
    pub(super) fn answered(&mut self) {
        if !std::mem::replace(&mut self.has_answered, true) && self.announce {
            let (chain, validator) = self.names();
            info!(chain, validator, node = self.node.as_str(); "session with {}", self.node);
        }
    }

    pub(super) fn signed(&self, position: Position, is_repeat: bool) {
        self.validator.metrics().signed(position, is_repeat);
        let (chain, validator) = self.names();
        debug!(
            chain, validator, node = self.node.as_str(),
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
        if let Some(count) = self.refused.next() {
            let (chain, validator) = self.names();
            warn!(
                chain, validator, node = self.node.as_str(), reason = refusal.name(), count,
                height = position.map(|at| at.height.get()),
                round = position.map(|at| at.round.get()),
                step = position.map(|at| at.step.name());
                "refused: {refusal} (asked by {})", self.node
            );
        }
    }

    pub(super) fn invalid(&mut self, reason: &'static str, text: &str) {
        self.validator.metrics().invalid.count(reason);
        if let Some(count) = self.invalid.next() {
            let (chain, validator) = self.names();
            warn!(chain, validator, node = self.node.as_str(), reason, count; "invalid request from {}: {text}", self.node);
        }
    }

    fn unsaved(&mut self, position: Position, text: &str) {
        if let Some(count) = self.unsaved.next() {
            let (chain, validator) = self.names();
            error!(
                chain, validator, node = self.node.as_str(), count,
                height = position.height.get(), round = position.round.get(), step = position.step.name();
                "not signed: {position}: {text}"
            );
        }
    }

    fn names(&self) -> (&str, &str) {
        (self.validator.chain_id(), self.validator.address())
    }
}
