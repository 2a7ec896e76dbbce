//! One session with a node, from its first request to its end: the whole order of a request is on this page.
mod asked;
mod end;
mod report;

pub(crate) use asked::Asked;
pub use end::End;
pub use report::NodeLog;

use crate::connection::Connection;
use crate::keys::{PublicKey, Signed};
use crate::secret_connection::Received;
use crate::stop::Stop;
use crate::validator::{Unsigned, Validator};
use guard::{Denied, Extension, Refusal, Statement};
use privval::answers::{self, PublicKeyRef};
use privval::{FrameDecoder, InvalidRequest, MAX_CHAIN_ID_BYTES, Request, RequestKind};
use report::Report;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Codes of a `RemoteSignerError`. A node only logs them.
mod code {
    /// The request breaks the input rules, or cannot be read.
    pub(super) const INVALID: i32 = 1;
    /// The double-sign rule refuses it, or it is for another chain.
    pub(super) const REFUSED: i32 = 2;
    /// The signing state could not be saved.
    pub(super) const STORE: i32 = 3;
    /// The signer does not do this.
    pub(super) const UNSUPPORTED: i32 = 4;
}

/// A connection that is ready for requests, and whom they are for.
pub struct Session {
    validator: Arc<Validator>,
    connection: Connection,
    stop: Stop,
    frames: FrameDecoder,
    report: Report,
}

impl Session {
    /// A session that has not begun. `node` outlives it: what the node may still write into the log; `announce` says
    /// whether its first answer is worth a line there.
    #[must_use]
    pub fn new(
        validator: Arc<Validator>,
        connection: Connection,
        stop: Stop,
        node: &Arc<NodeLog>,
        announce: bool,
    ) -> Self {
        let report = Report::new(Arc::clone(&validator), Arc::clone(node), connection.peer(), announce);
        Self { validator, connection, stop, frames: FrameDecoder::new(), report }
    }

    /// Answers requests until the connection ends or the process stops. A request that was read is answered.
    pub fn run(&mut self) -> End {
        loop {
            let request = match self.next_request() {
                Ok(request) => request,
                Err(end) => return self.or_stopped(end),
            };
            let begun = Instant::now();
            let (answer, signed) = match request {
                Ok(request) => self.answer(request),
                Err(error) => match self.unreadable(&error) {
                    Some(answer) => (answer, false),
                    None => return End::Unreadable(error),
                },
            };
            if let Err(error) = self.connection.send(&answer) {
                return if is_timeout(&error) { End::Deaf(self.connection.timing().write) } else { End::Io(error) };
            }
            if signed {
                self.validator.metrics().answers.record(begun.elapsed());
            }
            self.report.answered();
        }
    }

    /// To stop, our own end of the connection is shut for reading, which reads like the node's doing.
    fn or_stopped(&self, end: End) -> End {
        if self.stop.is_set() && !end.is_misbehaviour() { End::Stopped } else { end }
    }

    /// Whether a node got any answer.
    #[must_use]
    pub const fn has_answered(&self) -> bool {
        self.report.has_answered()
    }

    /// Reads until a whole message is there: one read in the ordinary case. From its first byte on, a message has as
    /// long to arrive as a silence may last.
    fn next_request(&mut self) -> Result<Result<Request, privval::DecodeError>, End> {
        let mut begun = None;
        loop {
            if self.stop.is_set() {
                return Err(End::Stopped);
            }
            if let Some(message) = self.frames.next().map_err(End::Frame)? {
                return Ok(Request::decode(message));
            }
            let patience = self.connection.timing().idle;
            if !self.frames.is_between_frames() {
                begun.get_or_insert_with(Instant::now);
            }
            if begun.is_some_and(|begun| begun.elapsed() > patience) {
                return Err(End::Slow(patience));
            }
            match self.connection.receive().map_err(|error| name_silence(error, patience))? {
                Received::Data(bytes) => self.frames.push(bytes),
                Received::Part => {
                    begun.get_or_insert_with(Instant::now);
                }
                Received::End if self.frames.is_between_frames() => return Err(End::Closed),
                Received::End => return Err(End::Cut),
            }
        }
    }

    /// The answer, and whether it holds a signature.
    fn answer(&mut self, request: Request) -> (Vec<u8>, bool) {
        match request {
            Request::Ping => (answers::pong(), false),
            Request::PubKey { chain_id } => (self.public_key(&chain_id), false),
            Request::SignVote(vote) => self.checked(RequestKind::Vote, vote.check().map(Asked::Vote)),
            Request::SignProposal(proposal) => {
                self.checked(RequestKind::Proposal, proposal.check().map(Asked::Proposal))
            }
            Request::Raw { .. } => {
                let text = "raw bytes are not signed: they are outside the double-sign rule";
                self.report.invalid("raw_bytes", text);
                (answers::raw_error(code::UNSUPPORTED, text), false)
            }
        }
    }

    /// From memory: a node asks after every block. Old nodes leave the chain id out.
    fn public_key(&mut self, chain_id: &str) -> Vec<u8> {
        if chain_id.len() > MAX_CHAIN_ID_BYTES {
            let invalid = InvalidRequest::ChainIdTooLong { got: chain_id.len() };
            self.report.invalid(invalid.name(), &invalid.to_string());
            return answers::pub_key_error(code::INVALID, &invalid.to_string());
        }
        if !chain_id.is_empty() && chain_id != self.validator.chain_id() {
            let refusal = self.wrong_chain(chain_id);
            self.report.refused(None, &refusal);
            return answers::pub_key_error(code::REFUSED, &refusal.to_string());
        }
        answers::pub_key(match self.validator.public_key() {
            PublicKey::Ed25519(bytes) => PublicKeyRef::Ed25519(bytes),
            PublicKey::Secp256k1(bytes) => PublicKeyRef::Secp256k1(bytes),
        })
    }

    fn checked(&mut self, kind: RequestKind, asked: Result<Asked, InvalidRequest>) -> (Vec<u8>, bool) {
        match asked {
            Ok(asked) => self.sign(asked),
            Err(invalid) => {
                let text = invalid.to_string();
                self.report.invalid(invalid.name(), &text);
                (answers::error(kind, code::INVALID, &text).unwrap_or_default(), false)
            }
        }
    }

    fn sign(&mut self, asked: Asked) -> (Vec<u8>, bool) {
        match self.try_sign(&asked) {
            Ok(signed) => (asked.answer(&signed), true),
            Err(unsigned) => {
                let code = match &unsigned {
                    Unsigned::NotCanonical(_) => code::INVALID,
                    Unsigned::Denied { denied: Denied::Refused(_), .. } => code::REFUSED,
                    Unsigned::Denied { .. } | Unsigned::ForeignPermit(_) => code::STORE,
                };
                let text = unsigned.to_string();
                self.report.unsigned(&unsigned, &text);
                (asked.error(code, &text), false)
            }
        }
    }

    /// The sign bytes are read again, by other code than wrote them; what was read is judged and committed; and only
    /// then is it signed: the permit is what the key takes.
    fn try_sign(&self, asked: &Asked) -> Result<Signed, Unsigned> {
        let statement = Statement::parse(&asked.sign_bytes())?;
        let position = statement.position();
        let denied = |denied| Unsigned::Denied { position, denied };
        if asked.chain_id() != self.validator.chain_id() {
            return Err(denied(self.wrong_chain(asked.chain_id()).into()));
        }
        let extension = self.validator.extension_to_sign(asked).map(|bytes| Extension::parse(bytes.into_boxed_slice()));
        let permit = self.validator.authorize(&statement, extension.transpose()?.as_ref()).map_err(denied)?;
        let (position, is_repeat) = (permit.position(), permit.is_repeat());
        let signed = self.validator.key().sign(permit)?;
        self.report.signed(position, is_repeat);
        Ok(signed)
    }

    fn wrong_chain(&self, requested: &str) -> Refusal {
        Refusal::WrongChain { expected: self.validator.chain().clone(), requested: requested.to_owned() }
    }

    /// A message that cannot be decoded is answered if its kind is known; otherwise no answer would fit.
    fn unreadable(&mut self, error: &privval::DecodeError) -> Option<Vec<u8>> {
        let text = error.to_string();
        self.report.invalid(error.name(), &text);
        answers::error(error.kind()?, code::INVALID, &text)
    }
}

fn name_silence(error: io::Error, patience: Duration) -> End {
    match error.kind() {
        _ if is_timeout(&error) => End::Silent(patience),
        io::ErrorKind::UnexpectedEof => End::Cut,
        _ => End::Io(error),
    }
}

/// A socket's own time-out shows as `WouldBlock` on Linux.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
