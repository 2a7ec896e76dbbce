//! Where in a chain a vote stands: height, round and step, in the order in which they may be signed.
use std::fmt;

/// A number that does not fit the field it was meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange {
    /// The field's name.
    pub field: &'static str,
    /// What was given.
    pub got: i64,
    /// The largest value allowed; the smallest is 0.
    pub max: i64,
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} out of range: expected 0 to {}, got {}", self.field, self.max, self.got)
    }
}

impl std::error::Error for OutOfRange {}

/// A block height: 0 to 2^63 - 1. Blocks start at 1; 0 stands for "before the first block".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Height(u64);

impl Height {
    /// Before the first block.
    pub const ZERO: Self = Self(0);
    /// The largest height that the wire's `int64` can carry.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// The height as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<i64> for Height {
    type Error = OutOfRange;

    fn try_from(value: i64) -> Result<Self, OutOfRange> {
        u64::try_from(value).map(Self).map_err(|_| OutOfRange { field: "height", got: value, max: i64::MAX })
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A consensus round within a height: 0 to 2^31 - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Round(u32);

impl Round {
    /// The first round of a height.
    pub const ZERO: Self = Self(0);
    /// The largest round that the wire's `int32` can carry.
    pub const MAX: Self = Self(i32::MAX as u32);

    /// The round as a number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for Round {
    type Error = OutOfRange;

    fn try_from(value: i64) -> Result<Self, OutOfRange> {
        u32::try_from(value).ok().filter(|round| *round <= Self::MAX.0).map(Self).ok_or(OutOfRange {
            field: "round",
            got: value,
            max: i64::from(i32::MAX),
        })
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A step within a round, in signing order. The numbers are those of CometBFT's `privval/file.go`
/// (`stepPropose`, `stepPrevote`, `stepPrecommit`); tmkms 0.15 counts the same steps from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Step {
    /// A block is proposed.
    Proposal = 1,
    /// The first vote of a round.
    Prevote = 2,
    /// The second vote of a round, which can commit a block.
    Precommit = 3,
}

impl Step {
    /// All steps, in order.
    pub const ALL: [Self; 3] = [Self::Proposal, Self::Prevote, Self::Precommit];

    /// The step's name in messages and in the state file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proposal => "proposal",
            Self::Prevote => "prevote",
            Self::Precommit => "precommit",
        }
    }

    /// The step with that [`Step::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name() == name)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// (height, round, step), ordered lexicographically: at most one message may ever be signed at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The block height.
    pub height: Height,
    /// The round within the height.
    pub round: Round,
    /// The step within the round.
    pub step: Step,
}

impl Position {
    /// The last position of a height: once it is recorded, nothing at or below that height can be signed.
    #[must_use]
    pub const fn end_of(height: Height) -> Self {
        Self { height, round: Round::MAX, step: Step::Precommit }
    }
}

impl fmt::Display for Position {
    /// A height as a whole is said in words: its largest round means nothing to a person.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::end_of(self.height) {
            return write!(f, "the end of height {}", self.height);
        }
        write!(f, "{}/{}/{}", self.height, self.round, self.step)
    }
}
