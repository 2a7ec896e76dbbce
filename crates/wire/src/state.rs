//! The state channel: the enclave opens, recovers and commits the signing record of one key on one chain, one request
//! at a time.
//!
//! Every answer carries a proof that its sender holds the control token, over the enclave's nonce, the request's
//! number and the answer with the record that it is about: so an unprivileged process that took the port, an answer to
//! another request, or one for another record acknowledges nothing. In the place of the bare nonce both sides of this
//! project put a hash over the nonce and every request since (`store::remote::Transcript`), so that an answer is
//! bound to its question as well.
//!
//! Both kinds of messages are binary: a request is on a vote's way. docs/wire.md has the bytes.
use crate::bytes::{Input, Missing, put_string};
use crate::token::{Proof, Token};
use guard::{ChainId, Height, Identity, MAX_CHAIN_ID_BYTES, Position, Record, Round, Statement, Step, Trouble};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// The longest public key of a consensus key, in bytes (ML-DSA-65's has 1952).
pub const MAX_PUBLIC_KEY_BYTES: usize = 2048;
/// The longest canonical sign bytes in a record, in bytes. A file's slot has room for far less.
pub const MAX_STATEMENT_BYTES: usize = 1024;
/// The highest sequence of a record, which is the highest that a file has room for.
pub const MAX_SEQUENCE: u64 = 999_999_999_999_999;
/// The longest text of [`Answer::Trouble`], in bytes; a longer one is cut.
pub const MAX_DETAIL_BYTES: usize = 2048;

/// What one enclave life calls itself: 16 random bytes. A reconnecting signer keeps it.
pub type Life = [u8; 16];

/// SHA-256 of a record's canonical form.
pub type Digest = [u8; 32];

/// A request of the enclave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Opens the record of that identity for this life, and fences every earlier opening.
    Open {
        /// The key and the chain.
        identity: Identity,
        /// Who opens.
        life: Life,
    },
    /// Makes what is there durable and says it.
    Recover,
    /// A compare-and-swap.
    Commit {
        /// The sequence of what should be there.
        previous_sequence: u64,
        /// Its digest.
        previous: Digest,
        /// What should be there then.
        next: Record,
    },
}

/// An answer of the parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is open, under that epoch.
    Opened {
        /// The opening's number.
        epoch: u64,
    },
    /// The record that won, durable.
    Recovered {
        /// The record.
        record: Record,
    },
    /// `next` is durable.
    Committed {
        /// Its sequence.
        sequence: u64,
        /// Its digest.
        digest: Digest,
    },
    /// It could not be done.
    Trouble {
        /// The kind.
        trouble: Trouble,
        /// What happened and what to do, in the words of the parent's store.
        detail: String,
    },
}

/// The domain of answers' proofs.
pub const ANSWER_DOMAIN: &str = "tmkms state answer v1";

/// What a record's digest begins with, so that it is the digest of nothing else.
const RECORD_DOMAIN: &[u8] = b"tmkms signing record v1";

/// The digest of a record: over its sequence, position and bytes.
#[must_use]
pub fn digest(record: &Record) -> Digest {
    let mut bytes = Vec::with_capacity(512);
    bytes.extend_from_slice(RECORD_DOMAIN);
    put_record(&mut bytes, record);
    Sha256::digest(&bytes).into()
}

/// Bytes that are no message of this channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl From<Missing> for Malformed {
    fn from(text: Missing) -> Self {
        Self(text)
    }
}

const OPEN: u8 = 1;
const RECOVER: u8 = 2;
const COMMIT: u8 = 3;

impl Request {
    /// As a frame, with the request's number.
    #[must_use]
    pub fn encode(&self, number: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(&number.to_be_bytes());
        match self {
            Self::Open { identity, life } => {
                out.push(OPEN);
                put_string(&mut out, identity.chain_id.as_str().as_bytes());
                put_string(&mut out, &identity.public_key);
                out.extend_from_slice(life);
            }
            Self::Recover => out.push(RECOVER),
            Self::Commit { previous_sequence, previous, next } => {
                out.push(COMMIT);
                out.extend_from_slice(&previous_sequence.to_be_bytes());
                out.extend_from_slice(previous);
                put_record(&mut out, next);
            }
        }
        out
    }

    /// The number and the request.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(frame: &[u8]) -> Result<(u64, Self), Malformed> {
        let mut input = Input::new(frame);
        let number = input.u64("the request's number")?;
        let request = match input.u8("the request's kind")? {
            OPEN => Self::Open { identity: identity(&mut input)?, life: input.array("the life")? },
            RECOVER => Self::Recover,
            COMMIT => Self::Commit {
                previous_sequence: input.u64("the previous sequence")?,
                previous: input.array("the previous digest")?,
                next: record(&mut input)?,
            },
            other => return Err(Malformed(format!("no request has the kind {other}"))),
        };
        input.end()?;
        Ok((number, request))
    }
}

const OPENED: u8 = 1;
const RECOVERED: u8 = 2;
const COMMITTED: u8 = 3;
const TROUBLE: u8 = 4;

/// Where the proof stands in an answer's frame: behind the number.
const PROOF_AT: usize = 8;

impl Answer {
    /// As a frame: number, proof, answer.
    #[must_use]
    pub fn encode(&self, number: u64, token: &Token, enclave_nonce: &[u8; 32]) -> Vec<u8> {
        let mut proven = Vec::with_capacity(512);
        proven.extend_from_slice(&number.to_be_bytes());
        self.put(&mut proven);
        let proof = token.prove(ANSWER_DOMAIN, enclave_nonce, &proven);
        proven.splice(PROOF_AT..PROOF_AT, proof);
        proven
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Opened { epoch } => {
                out.push(OPENED);
                out.extend_from_slice(&epoch.to_be_bytes());
            }
            Self::Recovered { record } => {
                out.push(RECOVERED);
                put_record(out, record);
            }
            Self::Committed { sequence, digest } => {
                out.push(COMMITTED);
                out.extend_from_slice(&sequence.to_be_bytes());
                out.extend_from_slice(digest);
            }
            Self::Trouble { trouble, detail } => {
                out.extend_from_slice(&[TROUBLE, trouble_code(*trouble)]);
                let end = detail.floor_char_boundary(MAX_DETAIL_BYTES);
                put_string(out, &detail.as_bytes()[..end]);
            }
        }
    }

    /// The number, the answer, and its proof with the bytes that it is over.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(frame: &[u8]) -> Result<(u64, Self, Proof, Vec<u8>), Malformed> {
        let mut input = Input::new(frame);
        let number = input.u64("the answer's number")?;
        let proof = input.array("the proof")?;
        let body = input.rest();
        let answer = match input.u8("the answer's kind")? {
            OPENED => Self::Opened { epoch: input.u64("the epoch")? },
            RECOVERED => Self::Recovered { record: record(&mut input)? },
            COMMITTED => Self::Committed { sequence: input.u64("the sequence")?, digest: input.array("the digest")? },
            TROUBLE => Self::Trouble {
                trouble: trouble(input.u8("the kind of trouble")?)?,
                detail: input.text(MAX_DETAIL_BYTES, "the trouble's text")?.to_owned(),
            },
            other => return Err(Malformed(format!("no answer has the kind {other}"))),
        };
        input.end()?;
        Ok((number, answer, proof, [&number.to_be_bytes(), body].concat()))
    }
}

const fn trouble_code(trouble: Trouble) -> u8 {
    match trouble {
        Trouble::Superseded => 1,
        Trouble::Failed => 2,
        Trouble::Unknown => 3,
        Trouble::Damaged => 4,
    }
}

fn trouble(code: u8) -> Result<Trouble, Malformed> {
    let all = [Trouble::Superseded, Trouble::Failed, Trouble::Unknown, Trouble::Damaged];
    let found = all.into_iter().find(|trouble| trouble_code(*trouble) == code);
    found.ok_or_else(|| Malformed(format!("no trouble has the code {code}")))
}

fn identity(input: &mut Input<'_>) -> Result<Identity, Malformed> {
    let chain_id = input.text(MAX_CHAIN_ID_BYTES, "the chain id")?;
    let chain_id = ChainId::try_from(chain_id).map_err(|error| Malformed(error.to_string()))?;
    let public_key = input.string(MAX_PUBLIC_KEY_BYTES, "the public key")?.into();
    Ok(Identity { chain_id, public_key })
}

fn put_record(out: &mut Vec<u8>, record: &Record) {
    let Position { height, round, step } = record.position();
    out.extend_from_slice(&record.sequence().to_be_bytes());
    out.extend_from_slice(&height.get().to_be_bytes());
    out.extend_from_slice(&round.get().to_be_bytes());
    out.push(step as u8);
    match record.statement() {
        None => out.push(0),
        Some(statement) => {
            out.push(1);
            put_string(out, statement.bytes());
        }
    }
}

/// A record whose bytes are canonical sign bytes of exactly the position that it names.
fn record(input: &mut Input<'_>) -> Result<Record, Malformed> {
    let sequence = input.u64("the record's sequence")?;
    if sequence > MAX_SEQUENCE {
        return Err(Malformed(format!("the record's sequence: expected at most {MAX_SEQUENCE}, got {sequence}")));
    }
    let position = position(input)?;
    if !input.flag("whether there are sign bytes")? {
        return Ok(Record::floor(sequence, position));
    }
    let bytes = input.string(MAX_STATEMENT_BYTES, "the sign bytes")?;
    let statement =
        Statement::parse(bytes).map_err(|error| Malformed(format!("the record's sign bytes are none: {error}")))?;
    if statement.position() != position {
        let text = format!("the record's sign bytes: expected position {position}, got {}", statement.position());
        return Err(Malformed(text));
    }
    Ok(Record::of(sequence, statement))
}

fn position(input: &mut Input<'_>) -> Result<Position, Malformed> {
    let height =
        i64::try_from(input.u64("the height")?).map_err(|_| Malformed("the height is too large".to_owned()))?;
    let height = Height::try_from(height).map_err(|error| Malformed(error.to_string()))?;
    let round = Round::try_from(i64::from(input.u32("the round")?)).map_err(|error| Malformed(error.to_string()))?;
    let code = input.u8("the step")?;
    let step = Step::ALL.into_iter().find(|step| *step as u8 == code);
    let step = step.ok_or_else(|| Malformed(format!("no step has the number {code}")))?;
    Ok(Position { height, round, step })
}
