//! Answers that are not a signed vote or proposal, each with its length prefix and within
//! [`crate::MAX_ANSWER_BYTES`].
use crate::RequestKind;
use crate::wire::{
    Answer, BlockId, Empty, GO_ZERO_TIME, Proposal, PubKeyResponse, PublicKey, RemoteSignerError,
    SignedProposalResponse, SignedRawResponse, SignedVoteResponse, Timestamp, Vote,
};
use prost::Message;

/// A longer description of an error is cut, bytes.
pub const MAX_DESCRIPTION_BYTES: usize = 1024;

/// A consensus public key, as the node is to be told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicKeyRef<'a> {
    /// 32 bytes, compressed as in RFC 8032.
    Ed25519(&'a [u8; 32]),
    /// 33 bytes, compressed as in SEC 1.
    Secp256k1(&'a [u8; 33]),
}

/// The answer to a ping.
#[must_use]
pub fn pong() -> Vec<u8> {
    delimited(&Answer { pong: Some(Empty {}), ..Answer::default() })
}

/// The answer to a `PubKeyRequest`, in the form of v0.34 to v0.40 and in that of v1 and v2 at once: each line finds
/// its own and skips the other's.
#[must_use]
pub fn pub_key(key: PublicKeyRef<'_>) -> Vec<u8> {
    let (bytes, name, pub_key) = match key {
        PublicKeyRef::Ed25519(bytes) => {
            (bytes.to_vec(), "ed25519", PublicKey { ed25519: Some(bytes.to_vec()), secp256k1: None })
        }
        PublicKeyRef::Secp256k1(bytes) => {
            (bytes.to_vec(), "secp256k1", PublicKey { ed25519: None, secp256k1: Some(bytes.to_vec()) })
        }
    };
    let response =
        PubKeyResponse { pub_key: Some(pub_key), error: None, pub_key_bytes: bytes, pub_key_type: name.to_owned() };
    delimited(&Answer { pub_key: Some(response), ..Answer::default() })
}

/// The error that a request of that kind can be answered with. A ping cannot: its answer has no error.
#[must_use]
pub fn error(kind: RequestKind, code: i32, description: &str) -> Option<Vec<u8>> {
    match kind {
        RequestKind::Ping => None,
        RequestKind::PubKey => Some(pub_key_error(code, description)),
        RequestKind::Vote => Some(vote_error(code, description)),
        RequestKind::Proposal => Some(proposal_error(code, description)),
        RequestKind::Raw => Some(raw_error(code, description)),
    }
}

/// An error in answer to a `PubKeyRequest`. The node exits on it if it is starting.
#[must_use]
pub fn pub_key_error(code: i32, description: &str) -> Vec<u8> {
    let response = PubKeyResponse { error: Some(remote_error(code, description)), ..PubKeyResponse::default() };
    delimited(&Answer { pub_key: Some(response), ..Answer::default() })
}

/// An error in answer to a `SignVoteRequest`. The node logs it, skips the vote and stays connected.
#[must_use]
pub fn vote_error(code: i32, description: &str) -> Vec<u8> {
    // Go writes the fields that it cannot leave out, in an empty vote too.
    let vote = Vote {
        block_id: Some(BlockId::default().complete()),
        timestamp: Some(GO_ZERO_TIME.encode_to_vec()),
        ..Vote::default()
    };
    let response = SignedVoteResponse { vote: Some(vote), error: Some(remote_error(code, description)) };
    delimited(&Answer { vote: Some(response), ..Answer::default() })
}

/// An error in answer to a `SignProposalRequest`. The node logs it, proposes nothing and stays connected.
#[must_use]
pub fn proposal_error(code: i32, description: &str) -> Vec<u8> {
    let proposal = Proposal {
        block_id: Some(BlockId::default().complete()),
        timestamp: Some(GO_ZERO_TIME.encode_to_vec()),
        ..Proposal::default()
    };
    let response = SignedProposalResponse { proposal: Some(proposal), error: Some(remote_error(code, description)) };
    delimited(&Answer { proposal: Some(response), ..Answer::default() })
}

/// An error in answer to v1's `SignBytesRequest` and Celestia's `SignRawBytesRequest` alike.
#[must_use]
pub fn raw_error(code: i32, description: &str) -> Vec<u8> {
    let response = SignedRawResponse { error: Some(remote_error(code, description)) };
    delimited(&Answer { raw: Some(response), ..Answer::default() })
}

fn remote_error(code: i32, description: &str) -> RemoteSignerError {
    let end = description.floor_char_boundary(MAX_DESCRIPTION_BYTES);
    RemoteSignerError { code, description: description[..end].to_owned() }
}

/// An encoded `Timestamp`.
pub(crate) fn timestamp((seconds, nanos): (i64, u32)) -> Vec<u8> {
    // Sign bytes with more nanoseconds than an i32 holds are never made.
    Timestamp { seconds, nanos: i32::try_from(nanos).unwrap_or(0) }.encode_to_vec()
}

fn delimited(answer: &Answer) -> Vec<u8> {
    answer.encode_length_delimited_to_vec()
}
