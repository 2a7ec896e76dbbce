//! The enclave's record on the parent: a [`guard::Store`] over a stream to `tmkms nitro persist`.
//!
//! # What counts as committed
//! An answer that carries the number of the request it answers, a proof by the control token over all that was asked on this
//! connection (see [`Transcript`]), and the sequence and digest of the very record that was asked for. Anything else (another number, no proof,
//! another record, bytes that nobody asked for, silence) leaves the outcome unknown: the connection is dropped, nothing is signed,
//! and the next recovery connects anew, opens under the same life, which fences the connection before it, and asks
//! what the file holds. So an answer that comes late has nowhere left to arrive: its connection is gone, and on another
//! one neither nonce nor number fit.
//!
//! A *proven* failure of a write leaves the connection in step, and it is kept: the parent's store then recovers in place,
//! which heals what its own failed write may have torn.
//!
//! # What this does not promise
//! The parent keeps the file, and may put an older copy back between two lives of an enclave. This protects from
//! mistakes and crashes on an honest parent. Within one life the guard's own memory refuses anything older.
mod channel;
mod transcript;

pub use transcript::Transcript;

use channel::{Channel, NoAnswer};
use guard::{Committed, Identity, Record, Store, StoreError, Trouble};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::state::{Answer, Life, Request};
use wire::token::Token;

/// How long connecting may take; for whoever makes the [`Connect`].
pub const CONNECT_LIMIT: Duration = Duration::from_millis(500);
/// How long greeting and opening together may take, and the answer to a commit.
pub const ANSWER_LIMIT: Duration = Duration::from_millis(1_200);
/// How long a recovery may take, with connecting, greeting and opening where those are needed. The parent syncs twice for one,
/// and once for a commit: with one limit for both a slow disk could commit, and never recover. `signer` begins no
/// recovery that could not end within this before its node gives up.
pub const RECOVERY_LIMIT: Duration = Duration::from_millis(2_200);

/// Connects to the parent's state port, within [`CONNECT_LIMIT`].
pub type Connect = Box<dyn Fn() -> io::Result<UnixStream> + Send>;
/// Gives fresh random bytes; an enclave's come from its hardware.
pub type Nonces = Box<dyn FnMut() -> io::Result<[u8; 32]> + Send>;

/// The record of one key on one chain, kept by the parent. Connects when it is first asked, and again after trouble.
pub struct RemoteStore {
    identity: Identity,
    connect: Connect,
    token: Arc<Token>,
    life: Life,
    software: String,
    nonces: Nonces,
    /// Every request has a number of its own, on whatever connection.
    number: u64,
    /// In step with the parent: taken away for the time of a request, and given back only with a proven answer to it.
    channel: Option<Channel>,
}

impl RemoteStore {
    /// For that identity. All stores of one enclave have the same `life`; `software` is this program's version.
    #[must_use]
    pub fn new(
        identity: Identity,
        connect: Connect,
        token: Arc<Token>,
        life: Life,
        software: &str,
        nonces: Nonces,
    ) -> Self {
        Self { identity, connect, token, life, software: software.to_owned(), nonces, number: 0, channel: None }
    }

    /// Connects, greets and opens, unless that is done; not beyond `until`, save for what [`Connect`] takes.
    fn channel(&mut self, until: Instant) -> Result<Channel, StoreError> {
        if let Some(channel) = self.channel.take() {
            return Ok(channel);
        }
        let nonce = (self.nonces)().map_err(|error| unknown(&format!("no random bytes for a greeting ({error})")))?;
        let stream = (self.connect)().map_err(|error| {
            unknown(&format!(
                "cannot connect to the parent ({error}): run `tmkms nitro persist` there, with the chain's state_vsock_port as \
                 its port"
            ))
        })?;
        let until = until.min(Instant::now() + ANSWER_LIMIT);
        let mut channel = Channel::greet(stream, nonce, &self.software, until)
            .map_err(|error| unknown(&format!("no greeting from the parent's state port: {error}")))?;
        let open = Request::Open { identity: self.identity.clone(), life: self.life };
        match self.ask(&mut channel, &open, until)? {
            Answer::Opened { .. } => Ok(channel),
            other => Err(unfit("Opened", &other)),
        }
    }

    /// Sends a request, and gives its proven answer.
    fn ask(&mut self, channel: &mut Channel, request: &Request, until: Instant) -> Result<Answer, StoreError> {
        self.number += 1;
        channel.ask(self.number, request, &self.token, until).map_err(|error| unknown(&text_of(&error)))
    }

    /// One request on an open channel, which is kept after a proven answer, unless that says that this opening is worth
    /// nothing any more.
    fn exchange(&mut self, mut channel: Channel, request: &Request, until: Instant) -> Result<Answer, StoreError> {
        let answer = self.ask(&mut channel, request, until)?;
        if let Answer::Trouble { trouble, detail } = answer {
            if trouble == Trouble::Failed {
                self.channel = Some(channel);
            }
            return Err(StoreError { trouble, detail: on_parent(&detail) });
        }
        self.channel = Some(channel);
        Ok(answer)
    }
}

impl Store for RemoteStore {
    fn recover(&mut self) -> Result<Record, StoreError> {
        let until = Instant::now() + RECOVERY_LIMIT;
        let channel = self.channel(until)?;
        match self.exchange(channel, &Request::Recover, until)? {
            Answer::Recovered { record } => Ok(record),
            other => Err(self.drop_for("Recovered", &other)),
        }
    }

    fn commit(&mut self, previous: &Record, next: &Record) -> Result<Committed, StoreError> {
        // Only a recovery connects: what the parent holds has to be judged before anything is committed on it.
        let Some(channel) = self.channel.take() else {
            return Err(unknown("not recovered since the last trouble"));
        };
        let expected = wire::state::digest(next);
        let previous_sequence = previous.sequence();
        let request =
            Request::Commit { previous_sequence, previous: wire::state::digest(previous), next: next.clone() };
        match self.exchange(channel, &request, Instant::now() + ANSWER_LIMIT)? {
            Answer::Committed { sequence, digest } if (sequence, digest) == (next.sequence(), expected) => {
                Ok(Committed::durably(next))
            }
            Answer::Committed { sequence, .. } => {
                self.channel = None;
                Err(unknown(&format!(
                    "the parent acknowledged another record: expected sequence {} at {}, got sequence {sequence}{}",
                    next.sequence(),
                    next.position(),
                    if sequence == next.sequence() { " of other bytes" } else { "" }
                )))
            }
            other => Err(self.drop_for("Committed", &other)),
        }
    }
}

impl RemoteStore {
    fn drop_for(&mut self, expected: &str, got: &Answer) -> StoreError {
        self.channel = None;
        unfit(expected, got)
    }
}

/// An answer that is proven and does not answer the request.
fn unfit(expected: &str, got: &Answer) -> StoreError {
    let got = match got {
        Answer::Trouble { trouble, detail } => return StoreError { trouble: *trouble, detail: on_parent(detail) },
        Answer::Opened { .. } => "Opened",
        Answer::Recovered { .. } => "Recovered",
        Answer::Committed { .. } => "Committed",
    };
    unknown(&format!(
        "the parent's answer does not fit: expected {expected}, got {got}; this is a fault of tmkms, report it"
    ))
}

fn on_parent(detail: &str) -> String {
    format!("on the parent: {detail}")
}

fn unknown(detail: &str) -> StoreError {
    StoreError { trouble: Trouble::Unknown, detail: format!("the signing state on the parent: {detail}") }
}

fn text_of(error: &NoAnswer) -> String {
    match error {
        NoAnswer::Unproven { said: None } => {
            "the answer is not proven: whoever answers on the state port does not hold this \
             enclave's control token: give `tmkms nitro persist` the --token-file that `push-config` wrote"
                .to_owned()
        }
        NoAnswer::Unproven { said: Some(said) } => format!(
            "the answer is not proven by the control token, so it counts for nothing; give `tmkms nitro persist` the --token-file \
             that `push-config` wrote; it says: {said}"
        ),
        other => other.to_string(),
    }
}
