//! Why something was not signed, as vocabulary with evidence.
use crate::{ChainId, Content, Height, Position, Record, StoreError};
use std::fmt;

/// The rule says no. Asking again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another message was allowed at this position: signing this one would be a double sign.
    Conflict {
        /// The position of both.
        position: Position,
        /// What was allowed.
        recorded: Box<Content>,
        /// What was asked for.
        requested: Box<Content>,
    },
    /// This position was used, but what was allowed there is not known (after `state init` or an import).
    BytesUnknown {
        /// The position of both.
        position: Position,
    },
    /// The position lies below the recorded one.
    Regression {
        /// The last position that was allowed.
        recorded: Position,
        /// The position that was asked for.
        requested: Position,
    },
    /// The height lies above the configured `max_height`.
    AboveMaxHeight {
        /// The height that was asked for.
        requested: Height,
        /// The configured limit.
        max: Height,
    },
    /// The message is for another chain.
    WrongChain {
        /// The chain that this guard serves.
        expected: ChainId,
        /// The chain id in the sign bytes.
        requested: String,
    },
    /// An extension where none may be signed (anything but a non-nil precommit), or one for another vote.
    Extension {
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Refusal {
    /// A short fixed name, for metrics and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "conflict",
            Self::BytesUnknown { .. } => "bytes_unknown",
            Self::Regression { recorded, requested } if requested.height < recorded.height => "height_regression",
            Self::Regression { recorded, requested } if requested.round < recorded.round => "round_regression",
            Self::Regression { .. } => "step_regression",
            Self::AboveMaxHeight { .. } => "above_max_height",
            Self::WrongChain { .. } => "wrong_chain",
            Self::Extension { .. } => "extension",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict { position, recorded, requested } => write!(
                f,
                "conflicting {} at {position}: already signed {recorded}, asked for {requested}",
                position.step
            ),
            Self::BytesUnknown { position } => {
                write!(f, "position {position} was already used, and what was signed there is not known")
            }
            Self::Regression { recorded, requested } if *recorded == Position::end_of(recorded.height) => {
                write!(f, "nothing at or below height {} may be signed, asked for {requested}", recorded.height)
            }
            Self::Regression { recorded, requested } => {
                let what = if requested.height < recorded.height {
                    "height"
                } else if requested.round < recorded.round {
                    "round"
                } else {
                    "step"
                };
                write!(f, "{what} regression: last signed {recorded}, asked for {requested}")
            }
            Self::AboveMaxHeight { requested, max } => {
                write!(f, "height {requested} is above max_height {max}")
            }
            Self::WrongChain { expected, requested } => {
                write!(f, "wrong chain: expected {:?}, got {requested:?}", expected.as_str())
            }
            Self::Extension { reason } => write!(f, "vote extension refused: {reason}"),
        }
    }
}

/// Nothing was signed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The rule says no; answered at once.
    Refused(Refusal),
    /// The record could not be made durable, or could not be recovered. It may pass: see
    /// [`crate::Trouble::may_pass`].
    Store(StoreError),
    /// The store now says less than it acknowledged in this life: it was rolled back or replaced.
    RolledBack {
        /// What the store acknowledged in this life.
        acknowledged: Box<Record>,
        /// What it holds now.
        held: Box<Record>,
    },
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Store(error) => write!(f, "the signing state could not be saved: {error}"),
            Self::RolledBack { acknowledged, held } => write!(
                f,
                "the signing state was put back while in use: it held {}, it now holds {}; nothing is signed until the \
                 state is raised: run `tmkms state repair --height {}` or higher before anything is started again. For that stop only what \
                 holds the file: `tmkms start`, or on a parent `tmkms nitro persist`, never the enclave, whose memory alone \
                 still prevents a double sign; start the same again afterwards, and signing goes on",
                acknowledged.position(),
                held.position(),
                acknowledged.position().height
            ),
        }
    }
}

impl std::error::Error for Denied {}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
