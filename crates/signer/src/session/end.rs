//! Why a session is over.
use privval::{DecodeError, FrameError};
use std::fmt;
use std::io;
use std::time::Duration;

/// Why a session is over. The connection is closed, and dialled again unless the process stops.
#[derive(Debug)]
pub enum End {
    /// The node closed the connection between two requests.
    Closed,
    /// The connection ended within a request.
    Cut,
    /// Nothing came for that long, not even a ping.
    Silent(Duration),
    /// One request took longer than that to arrive.
    Slow(Duration),
    /// The node did not take an answer for that long.
    Deaf(Duration),
    /// What came cannot be cut into messages.
    Frame(FrameError),
    /// A message that is no request, so that no answer would fit.
    Unreadable(DecodeError),
    /// The socket or its encryption failed.
    Io(io::Error),
    /// This process stops.
    Stopped,
}

impl End {
    /// Whether the node sent what no honest node sends.
    #[must_use]
    pub const fn is_misbehaviour(&self) -> bool {
        matches!(self, Self::Frame(_) | Self::Unreadable(_))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the node closed the connection"),
            Self::Cut => f.write_str("the connection ended within a request"),
            Self::Silent(limit) => write!(f, "nothing was received for {} s, not even a ping", limit.as_secs_f32()),
            Self::Slow(limit) => write!(f, "a request took longer than {} s to arrive", limit.as_secs_f32()),
            Self::Deaf(limit) => write!(f, "the node took no answer for {} s", limit.as_secs_f32()),
            Self::Frame(error) => error.fmt(f),
            Self::Unreadable(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Stopped => f.write_str("this process stops"),
        }
    }
}
