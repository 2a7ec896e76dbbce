//! One connection to the parent's `persist`: greeting, and one question and proven answer at a time, each within its time.
use super::Transcript;
use std::fmt;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use wire::frame::{self, MAX_STATE_BYTES};
use wire::hello::{self, HelloError, Side};
use wire::state::{ANSWER_DOMAIN, Answer, Request};
use wire::token::Token;

/// The longest text of an unproven refusal that is shown, in characters.
const MAX_SAID_CHARS: usize = 300;

/// A connection that was greeted.
pub(super) struct Channel {
    stream: UnixStream,
    transcript: Transcript,
}

/// Why there is no answer that counts. Whether the parent did what was asked is not known.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The stream failed or took too long.
    Io(io::Error),
    /// The parent closed the connection.
    Closed,
    /// The bytes are no answer.
    Malformed(String),
    /// An answer to another request.
    Number { expected: u64, got: u64 },
    /// Not by a holder of the token; a refusal's text is shown, as what it is.
    Unproven { said: Option<String> },
    /// More than one answer to one request.
    Unasked,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) if error.kind() == ErrorKind::TimedOut => {
                write!(f, "no answer from the parent in time; the record may be stored, and may not")
            }
            Self::Io(error) => write!(f, "the connection to the parent failed ({error})"),
            Self::Closed => f.write_str("the parent closed the connection: is `tmkms nitro persist` being restarted?"),
            Self::Malformed(what) => write!(f, "the parent's answer is none: {what}"),
            Self::Number { expected, got } => {
                write!(f, "an answer to another request: expected number {expected}, got {got}")
            }
            Self::Unproven { .. } => f.write_str("the answer is not proven by the control token"),
            Self::Unasked => f.write_str("more bytes than one answer has"),
        }
    }
}

impl Channel {
    /// Exchanges greetings; the enclave's comes first.
    pub(super) fn greet(
        stream: UnixStream,
        nonce: [u8; 32],
        software: &str,
        until: Instant,
    ) -> Result<Self, HelloError> {
        let mut timed = Timed { stream: &stream, until };
        hello::exchange(&mut timed, Side::Enclave, hello::Channel::State, nonce, software)?;
        Ok(Self { stream, transcript: Transcript::new(nonce) })
    }

    /// One round trip. After an error the connection must not be used again.
    pub(super) fn ask(
        &mut self,
        number: u64,
        request: &Request,
        token: &Token,
        until: Instant,
    ) -> Result<Answer, NoAnswer> {
        let mut timed = Timed { stream: &self.stream, until };
        let request = request.encode(number);
        self.transcript.absorb(&request);
        frame::write(&mut timed, &request).map_err(NoAnswer::Io)?;
        // One read for the whole answer; the buffer has room for one more byte, to see whether there are more.
        let mut reader = BufReader::with_capacity(4 + MAX_STATE_BYTES + 1, timed);
        let frame = frame::read(&mut reader, MAX_STATE_BYTES).map_err(NoAnswer::Io)?.ok_or(NoAnswer::Closed)?;
        if !reader.buffer().is_empty() {
            return Err(NoAnswer::Unasked);
        }
        let (got, answer, proof, proven) = Answer::decode(&frame).map_err(|error| NoAnswer::Malformed(error.0))?;
        if !token.verify(ANSWER_DOMAIN, self.transcript.nonce(), &proven, &proof) {
            return Err(NoAnswer::Unproven { said: said_by(answer) });
        }
        if got != number {
            return Err(NoAnswer::Number { expected: number, got });
        }
        Ok(answer)
    }
}

/// What an unproven refusal says: for a person to read, printable and short.
fn said_by(answer: Answer) -> Option<String> {
    let Answer::Trouble { detail, .. } = answer else { return None };
    Some(detail.chars().filter(|c| !c.is_control()).take(MAX_SAID_CHARS).collect())
}

/// A stream whose reads and writes all end by one moment, however few bytes come at a time.
struct Timed<'a> {
    stream: &'a UnixStream,
    until: Instant,
}

impl Timed<'_> {
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

/// A socket's time-out is told as `WouldBlock`.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::WouldBlock { ErrorKind::TimedOut.into() } else { error }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        let mut stream = self.stream;
        stream.read(buffer).map_err(timed_out)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        let mut stream = self.stream;
        stream.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
