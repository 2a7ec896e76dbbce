//! The parent's end of the control channel: one request to an enclave, and its answers.
use std::fmt;
use std::io;
use std::thread;
use std::time::{Duration, Instant};
use wire::control::{Answer, Malformed, Request};
use wire::endpoint::{Enclave, Stream};
use wire::frame::{self, MAX_ANSWER_BYTES};
use wire::hello::{self, Channel, Hello, HelloError, Side};
use wire::token::Token;

/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// How long each step of the greeting may take, and writing a request.
const STEP_LIMIT: Duration = Duration::from_secs(5);
/// How long to wait between two attempts to reach an enclave that is not there yet.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(250);

/// An enclave and its control port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The enclave.
    pub enclave: Enclave,
    /// The port of its control channel.
    pub port: u32,
    /// Our version, for its hello.
    pub software: &'static str,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "enclave {} (control port {})", self.enclave, self.port)
    }
}

/// Why an enclave could not be asked.
#[derive(Debug)]
pub enum ClientError {
    /// Nothing listens there.
    Unreachable {
        /// Where.
        target: Target,
        /// The system's reason.
        error: io::Error,
    },
    /// Something listens there, and the greeting failed.
    Hello {
        /// Where.
        target: Target,
        /// Why.
        error: HelloError,
    },
    /// The connection broke, or its answer did not come in time.
    Lost {
        /// Where.
        target: Target,
        /// The system's reason.
        error: io::Error,
    },
    /// It answered with what is no answer.
    Malformed {
        /// Where.
        target: Target,
        /// What is wrong.
        error: Malformed,
    },
    /// No random numbers for a hello.
    Random,
}

impl ClientError {
    /// Whether an enclave that is just starting looks like this.
    #[must_use]
    pub const fn may_come(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Hello { error: HelloError::Io(_), .. })
    }

    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => {
                "see that it runs (`nitro-cli describe-enclaves`), that its CID is the one of -i, and that `tmkms nitro start` in it \
                 was given the port of -p"
            }
            Self::Lost { .. } => {
                "see whether the enclave still runs: `nitro-cli describe-enclaves`, `tmkms nitro status -i CID`"
            }
            Self::Hello { .. } | Self::Malformed { .. } => "",
            Self::Random => "see the system's log",
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { target, error } => write!(f, "cannot reach {target}: {error}"),
            Self::Hello { target, error } => write!(f, "{target}: {error}"),
            Self::Lost { target, error } if is_timeout(error) => write!(f, "{target} does not answer in time"),
            Self::Lost { target, error } if error.kind() == io::ErrorKind::UnexpectedEof => {
                write!(f, "{target} hung up before it answered")
            }
            Self::Lost { target, error } => write!(f, "{target}: the connection was lost: {error}"),
            Self::Malformed { target, error } => write!(f, "{target}: its answer cannot be read: {error}"),
            Self::Random => f.write_str("the system gives no random numbers"),
        }
    }
}

impl std::error::Error for ClientError {}

/// A connection to an enclave, good for one request.
pub struct Client {
    target: Target,
    stream: Stream,
    hello: Hello,
}

impl Client {
    /// Connects and exchanges hellos.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn connect(target: &Target) -> Result<Self, ClientError> {
        let unreachable = |error| ClientError::Unreachable { target: target.clone(), error };
        let mut stream = target.enclave.connect(target.port, CONNECT_LIMIT).map_err(unreachable)?;
        stream.set_read_timeout(Some(STEP_LIMIT)).map_err(unreachable)?;
        stream.set_write_timeout(Some(STEP_LIMIT)).map_err(unreachable)?;
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|_| ClientError::Random)?;
        let hello = hello::exchange(&mut stream, Side::Parent, Channel::Control, nonce, target.software)
            .map_err(|error| ClientError::Hello { target: target.clone(), error })?;
        Ok(Self { target: target.clone(), stream, hello })
    }

    /// Connects, and tries again while the enclave may be starting, for at most `limit`.
    ///
    /// # Errors
    /// The last [`ClientError`].
    pub fn wait(target: &Target, limit: Duration) -> Result<Self, ClientError> {
        let until = Instant::now() + limit;
        loop {
            match Self::connect(target) {
                Err(error) if error.may_come() && Instant::now() < until => thread::sleep(ATTEMPT_PAUSE),
                other => return other,
            }
        }
    }

    /// The version of the enclave's software.
    #[must_use]
    pub fn software(&self) -> &str {
        &self.hello.software
    }

    /// Sends a request, proven with the token where one is given.
    ///
    /// # Errors
    /// [`ClientError::Lost`].
    pub fn send(&mut self, request: &Request, token: Option<&Token>) -> Result<(), ClientError> {
        let bytes = request.encode(token, &self.hello.nonce);
        frame::write(&mut self.stream, &bytes).map_err(|error| self.lost(error))
    }

    /// The next answer, which may take `limit` to begin; without a limit, as long as it takes. None at the end.
    ///
    /// # Errors
    /// [`ClientError::Lost`] and [`ClientError::Malformed`].
    pub fn next(&mut self, limit: Option<Duration>) -> Result<Option<Answer>, ClientError> {
        self.stream.set_read_timeout(limit).map_err(|error| self.lost(error))?;
        let Some(bytes) = frame::read(&mut self.stream, MAX_ANSWER_BYTES).map_err(|error| self.lost(error))? else {
            return Ok(None);
        };
        let answer = Answer::decode(&bytes);
        answer.map(Some).map_err(|error| ClientError::Malformed { target: self.target.clone(), error })
    }

    /// The one answer to a request.
    ///
    /// # Errors
    /// [`ClientError`]; its end is one, too.
    pub fn ask(mut self, request: &Request, token: Option<&Token>) -> Result<Answer, ClientError> {
        self.send(request, token)?;
        let answer = self.next(Some(STEP_LIMIT))?;
        answer.ok_or_else(|| self.lost(io::ErrorKind::UnexpectedEof.into()))
    }

    pub(crate) fn lost(&self, error: io::Error) -> ClientError {
        ClientError::Lost { target: self.target.clone(), error }
    }
}
