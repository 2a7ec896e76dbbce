//! What was last allowed: the record that a store keeps.
use crate::{Height, Position, Statement};

/// The last position that was allowed for a key on a chain, and what was allowed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    sequence: u64,
    position: Position,
    statement: Option<Statement>,
}

impl Record {
    /// A record without bytes: nothing at or below `position` will be signed. What `state init` and imports make.
    #[must_use]
    pub const fn floor(sequence: u64, position: Position) -> Self {
        Self { sequence, position, statement: None }
    }

    /// The record of a key that has never signed. It is the floor of height 0, where no block exists.
    #[must_use]
    pub const fn never_signed() -> Self {
        Self::floor(0, Position::end_of(Height::ZERO))
    }

    /// A record of exactly these bytes.
    #[must_use]
    pub fn of(sequence: u64, statement: Statement) -> Self {
        Self { sequence, position: statement.position(), statement: Some(statement) }
    }

    /// How many commits came before this record; the compare-and-swap counts with it.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The last position that was allowed.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// What was allowed there, unless that is unknown (after `state init` or an import without bytes).
    #[must_use]
    pub const fn statement(&self) -> Option<&Statement> {
        self.statement.as_ref()
    }

    /// Whether both records allow the same, whatever their sequences.
    #[must_use]
    pub fn allows_the_same_as(&self, other: &Self) -> bool {
        self.position == other.position && self.statement == other.statement
    }
}
