//! One connection of an enclave: hello, one opening, then recoveries and commits, one answer to each request.
use super::record::Lease;
use super::{Shared, TokenError};
use guard::{Identity, StoreError, Trouble};
use log::{info, warn};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::remote::Transcript;
use wire::frame::{self, MAX_STATE_BYTES};
use wire::hello::{self, Side};
use wire::state::{Answer, Life, Request};
use wire::token::Token;

/// How long an enclave may take from connecting to its opening.
const OPENING_LIMIT: Duration = Duration::from_secs(5);
/// How long an answer may take to be written. It fits into any socket's buffer.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// Why a connection ended that had said something.
enum End {
    /// The enclave hung up.
    Closed,
    /// The stream failed, or its first words took too long.
    Io(io::Error),
    /// What came is no request, or not in its order.
    Malformed(String),
    /// The answer was a refusal that ends the connection; it was logged where it was made.
    Refused,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Serves until the connection ends, and says why if that is worth a line.
pub(super) fn serve(shared: &Shared, stream: &Arc<UnixStream>) {
    let end = Connection::open(shared, stream).and_then(Connection::serve);
    // Others may still know the stream; the enclave is to see that it has ended. What was written still arrives.
    let _ = stream.shutdown(Shutdown::Both);
    match end {
        Ok(()) | Err(End::Closed | End::Refused) => {}
        Err(End::Io(error)) => shared.quiet.say(|| warn!("a connection failed: {error}")),
        Err(End::Malformed(what)) => shared.quiet.say(|| warn!("a connection was closed: {what}")),
    }
}

/// An enclave that has its record open.
struct Connection<'a> {
    reader: BufReader<&'a UnixStream>,
    stream: &'a UnixStream,
    transcript: Transcript,
    token: Token,
    lease: Lease,
    chain: String,
}

impl<'a> Connection<'a> {
    /// Hello and opening, within [`OPENING_LIMIT`].
    fn open(shared: &Shared, stream: &'a Arc<UnixStream>) -> Result<Self, End> {
        stream.set_write_timeout(Some(WRITE_LIMIT))?;
        let mut timed = Timed { stream, until: Instant::now() + OPENING_LIMIT };
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|error| End::Malformed(format!("no random bytes: {error}")))?;
        let hello = hello::exchange(&mut timed, Side::Parent, hello::Channel::State, nonce, shared.options.software);
        let hello = hello.map_err(|error| End::Malformed(error.to_string()))?;
        // Nothing comes behind an opening before it is answered, so this buffer is empty again.
        let frame = frame::read(&mut BufReader::new(&mut timed), MAX_STATE_BYTES)?.ok_or(End::Closed)?;
        let mut transcript = Transcript::new(hello.nonce);
        transcript.absorb(&frame);
        let (number, identity, life) = match Request::decode(&frame) {
            Ok((number, Request::Open { identity, life })) => (number, identity, life),
            Ok(_) => return Err(End::Malformed("expected an opening first".to_owned())),
            Err(error) => return Err(End::Malformed(error.to_string())),
        };
        let (token, opened) = match shared.token.read() {
            Ok(token) => (token, shared.open(&identity, life, stream)),
            // Nothing can be proven without a token. The enclave shows the text, and believes nothing.
            Err(error) => (Token::new(&[0; 32]), Err(no_token(&error))),
        };
        let chain = identity.chain_id.to_string();
        let (lease, epoch) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                shared.quiet.say(
                    || warn!(chain = chain.as_str(), reason = error.trouble.name(); "an opening was refused: {error}"),
                );
                let StoreError { trouble, detail } = error;
                let answer = Answer::Trouble { trouble, detail }.encode(number, &token, transcript.nonce());
                frame::write(&mut &**stream, &answer)?;
                return Err(End::Refused);
            }
        };
        info!(chain = chain.as_str(); "opened by an enclave: {}, epoch {epoch}", told(&identity, life, &hello.software, &lease));
        frame::write(&mut &**stream, &Answer::Opened { epoch }.encode(number, &token, transcript.nonce()))?;
        stream.set_read_timeout(None)?;
        let reader = BufReader::with_capacity(4 + MAX_STATE_BYTES, &**stream);
        Ok(Self { reader, stream, transcript, token, lease, chain })
    }

    /// Requests and answers, until the enclave hangs up or this connection is fenced.
    fn serve(mut self) -> Result<(), End> {
        loop {
            let Some(frame) = frame::read(&mut self.reader, MAX_STATE_BYTES)? else {
                info!(chain = self.chain.as_str(); "the enclave hung up");
                return Ok(());
            };
            self.transcript.absorb(&frame);
            let (number, request) = Request::decode(&frame).map_err(|error| End::Malformed(error.to_string()))?;
            let answer = match self.answer(request)? {
                Ok(answer) => answer,
                Err(StoreError { trouble, detail }) => Answer::Trouble { trouble, detail },
            };
            frame::write(&mut self.stream, &answer.encode(number, &self.token, self.transcript.nonce()))?;
            if matches!(answer, Answer::Trouble { .. }) && self.lease.is_fenced() {
                return Err(End::Refused);
            }
        }
    }

    fn answer(&self, request: Request) -> Result<Result<Answer, StoreError>, End> {
        Ok(match request {
            Request::Recover => self.lease.recover().map(|record| Answer::Recovered { record }),
            Request::Commit { previous_sequence, previous, next } => self
                .lease
                .commit((previous_sequence, previous), &next)
                .map(|_| Answer::Committed { sequence: next.sequence(), digest: wire::state::digest(&next) }),
            Request::Open { .. } => return Err(End::Malformed("a second opening on one connection".to_owned())),
        })
    }
}

fn no_token(error: &TokenError) -> StoreError {
    StoreError { trouble: Trouble::Failed, detail: error.to_string() }
}

/// Who opens what, for the log. A life is a random number, not a secret; eight digits tell enclaves apart.
fn told(identity: &Identity, life: Life, software: &str, lease: &Lease) -> String {
    use std::fmt::Write;
    let mut text = format!("{}, for {}, life ", lease.path(), store::file::slot::Owner::of(identity));
    for byte in &life[..4] {
        let _ = write!(text, "{byte:02x}");
    }
    let _ = write!(text, ", tmkms {software}");
    text
}

/// A stream whose reads all end by one moment.
struct Timed<'a> {
    stream: &'a UnixStream,
    until: Instant,
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut stream = self.stream;
        stream.read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stream = self.stream;
        stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
