//! From a message to a request: any line's dialect, nothing believed yet.
use crate::wire::{self, GO_ZERO_TIME, Timestamp};
use crate::{ProposalRequest, VoteRequest};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use std::fmt;

/// What a node asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Is anybody there? Answer [`crate::answers::pong`].
    Ping,
    /// The consensus public key, please.
    PubKey {
        /// The chain that the node says it is for. Not checked; empty in old nodes.
        chain_id: String,
    },
    /// A vote to be signed.
    SignVote(VoteRequest),
    /// A proposal to be signed.
    SignProposal(ProposalRequest),
    /// Raw bytes to be signed: v1's `SignBytesRequest` (tag 9), or Celestia's `SignRawBytesRequest` under the same
    /// tag. Known, and not decoded: answer [`crate::answers::raw_error`].
    Raw {
        /// The message's tag in the oneof.
        tag: u32,
    },
}

/// Which request it was, and so which response an error belongs into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// `PingRequest`.
    Ping,
    /// `PubKeyRequest`.
    PubKey,
    /// `SignVoteRequest`.
    Vote,
    /// `SignProposalRequest`.
    Proposal,
    /// v1's `SignBytesRequest` or Celestia's `SignRawBytesRequest`.
    Raw,
}

impl RequestKind {
    /// A short name that stays the same, for metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::PubKey => "pub_key",
            Self::Vote => "vote",
            Self::Proposal => "proposal",
            Self::Raw => "raw",
        }
    }

    const fn from_tag(tag: u32) -> Option<Self> {
        match tag {
            1 => Some(Self::PubKey),
            3 => Some(Self::Vote),
            5 => Some(Self::Proposal),
            7 => Some(Self::Ping),
            9 => Some(Self::Raw),
            _ => None,
        }
    }
}

/// A message that could not be read as a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    kind: Option<RequestKind>,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    NoRequest,
    Response { tag: u32 },
    Protobuf(prost::DecodeError),
    WireType { tag: u32, got: WireType },
    Truncated { announced: u64, got: usize },
    ChainIdNotUtf8 { valid_up_to: usize },
}

impl DecodeError {
    /// Which kind of request it was, if that much could be read. Then answer [`crate::answers::error`] and go on;
    /// else close the connection, for no answer would fit.
    #[must_use]
    pub const fn kind(&self) -> Option<RequestKind> {
        self.kind
    }

    /// A short name that stays the same, for metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.problem {
            Problem::NoRequest => "no_request",
            Problem::Response { .. } => "response",
            Problem::Protobuf(_) | Problem::WireType { .. } | Problem::Truncated { .. } => "protobuf",
            Problem::ChainIdNotUtf8 { .. } => "chain_id_not_utf8",
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.kind.map_or("message", RequestKind::name);
        match &self.problem {
            Problem::NoRequest => f.write_str("message: expected a request (field 1, 3, 5, 7 or 9), got none"),
            Problem::Response { tag } => {
                write!(f, "message: expected a request (field 1, 3, 5, 7 or 9), got a response (field {tag})")
            }
            Problem::Protobuf(error) => write!(f, "{what} request: expected protobuf, got: {error}"),
            Problem::WireType { tag, got } => {
                write!(f, "{what} request: expected wire type LengthDelimited in field {tag}, got {got:?}")
            }
            Problem::Truncated { announced, got } => write!(f, "{what} request: expected {announced} bytes, got {got}"),
            Problem::ChainIdNotUtf8 { valid_up_to } => {
                write!(f, "{what} request: expected a chain id in UTF-8, got another byte at {valid_up_to}")
            }
        }
    }
}

impl std::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Protobuf(error) => Some(error),
            _ => None,
        }
    }
}

impl From<prost::DecodeError> for Problem {
    fn from(error: prost::DecodeError) -> Self {
        Self::Protobuf(error)
    }
}

impl Request {
    /// Reads a message without its length prefix. Unknown fields are skipped, and of several requests in one message
    /// the last counts, as in Go's gogoproto.
    ///
    /// # Errors
    /// [`DecodeError`], which knows the kind of the request if that much could be read.
    pub fn decode(message: &[u8]) -> Result<Self, DecodeError> {
        let mut kind = None;
        match decode_sum(message, &mut kind) {
            Ok(Some(request)) => Ok(request),
            Ok(None) => Err(DecodeError { kind: None, problem: Problem::NoRequest }),
            Err(problem) => Err(DecodeError { kind, problem }),
        }
    }

    /// Which request it is.
    #[must_use]
    pub const fn kind(&self) -> RequestKind {
        match self {
            Self::Ping => RequestKind::Ping,
            Self::PubKey { .. } => RequestKind::PubKey,
            Self::SignVote(_) => RequestKind::Vote,
            Self::SignProposal(_) => RequestKind::Proposal,
            Self::Raw { .. } => RequestKind::Raw,
        }
    }
}

/// Walks over the fields of privval's `Message`, a oneof. `kind` is that of the last request that was begun.
fn decode_sum(mut message: &[u8], kind: &mut Option<RequestKind>) -> Result<Option<Request>, Problem> {
    let mut request = None;
    while !message.is_empty() {
        let (tag, wire_type) = decode_key(&mut message)?;
        let this = RequestKind::from_tag(tag);
        *kind = this.or(*kind);
        match (this, wire_type) {
            (Some(this), WireType::LengthDelimited) => {
                request = Some(decode_kind(this, tag, take_bytes(&mut message)?)?);
            }
            (Some(_), _) => return Err(Problem::WireType { tag, got: wire_type }),
            (None, _) if matches!(tag, 2 | 4 | 6 | 8 | 10) => return Err(Problem::Response { tag }),
            (None, _) => skip_field(wire_type, tag, &mut message, DecodeContext::default())?,
        }
    }
    Ok(request)
}

/// The content of a length-delimited field.
fn take_bytes<'a>(message: &mut &'a [u8]) -> Result<&'a [u8], Problem> {
    let announced = decode_varint(message)?;
    let (content, rest) = usize::try_from(announced)
        .ok()
        .and_then(|length| message.split_at_checked(length))
        .ok_or(Problem::Truncated { announced, got: message.len() })?;
    *message = rest;
    Ok(content)
}

fn decode_kind(kind: RequestKind, tag: u32, content: &[u8]) -> Result<Request, Problem> {
    match kind {
        RequestKind::Ping => wire::Empty::decode(content).map(|_| Request::Ping).map_err(Problem::from),
        RequestKind::PubKey => {
            let request = wire::PubKeyRequest::decode(content)?;
            Ok(Request::PubKey { chain_id: chain_id(request.chain_id)? })
        }
        RequestKind::Vote => decode_vote(content).map(Request::SignVote),
        RequestKind::Proposal => decode_proposal(content).map(Request::SignProposal),
        RequestKind::Raw => Ok(Request::Raw { tag }),
    }
}

fn decode_vote(content: &[u8]) -> Result<VoteRequest, Problem> {
    let wire::SignVoteRequest { mut vote, chain_id: bytes, skip_extension_signing } =
        wire::SignVoteRequest::decode(content)?;
    let timestamp = timestamp(vote.as_mut().and_then(|vote| vote.timestamp.take()))?;
    Ok(VoteRequest { chain_id: chain_id(bytes)?, vote, timestamp, skip_extension_signing })
}

fn decode_proposal(content: &[u8]) -> Result<ProposalRequest, Problem> {
    let wire::SignProposalRequest { mut proposal, chain_id: bytes } = wire::SignProposalRequest::decode(content)?;
    let timestamp = timestamp(proposal.as_mut().and_then(|proposal| proposal.timestamp.take()))?;
    Ok(ProposalRequest { chain_id: chain_id(bytes)?, proposal, timestamp })
}

/// An absent timestamp is Go's zero time; an empty one is 1970.
fn timestamp(field: Option<Vec<u8>>) -> Result<Timestamp, Problem> {
    match field {
        None => Ok(GO_ZERO_TIME),
        Some(bytes) => Ok(Timestamp::decode(bytes.as_slice())?),
    }
}

fn chain_id(bytes: Vec<u8>) -> Result<String, Problem> {
    String::from_utf8(bytes).map_err(|error| Problem::ChainIdNotUtf8 { valid_up_to: error.utf8_error().valid_up_to() })
}
