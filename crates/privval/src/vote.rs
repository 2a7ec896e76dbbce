//! A vote's way: the request, the checked vote with its sign bytes, and the answer.
use crate::canonical::{self, PRECOMMIT, PREVOTE};
use crate::rules::{check_block_id, check_place};
use crate::wire::{Answer, SignedVoteResponse, Timestamp, Vote};
use crate::{InvalidRequest, MAX_ANSWER_BYTES, answers};
use prost::Message;
use std::fmt;

/// `crypto.AddressSize` of CometBFT, bytes.
const MAX_ADDRESS_BYTES: usize = 20;

/// A `SignVoteRequest`, decoded and not yet checked.
#[derive(Clone, PartialEq, Eq)]
pub struct VoteRequest {
    pub(crate) chain_id: String,
    pub(crate) vote: Option<Vote>,
    /// The vote's timestamp, decoded.
    pub(crate) timestamp: Timestamp,
    pub(crate) skip_extension_signing: bool,
}

impl VoteRequest {
    /// The chain that the node says it is for.
    #[must_use]
    pub fn chain_id(&self) -> &str {
        &self.chain_id
    }

    /// Applies the input rules.
    ///
    /// # Errors
    /// The first rule that is broken, as [`InvalidRequest`].
    pub fn check(self) -> Result<CheckedVote, InvalidRequest> {
        let mut vote = self.vote.ok_or(InvalidRequest::Missing)?;
        if ![PREVOTE, PRECOMMIT].contains(&vote.r#type) {
            return Err(InvalidRequest::Type { expected: "1 (prevote) or 2 (precommit)", got: vote.r#type });
        }
        check_place(&self.chain_id, vote.height, vote.round, self.timestamp)?;
        let block_id = vote.block_id.take().unwrap_or_default().complete();
        check_block_id(&block_id)?;
        let takes_extension = vote.r#type == PRECOMMIT && !block_id.is_nil();
        vote.block_id = Some(block_id);
        if vote.validator_address.len() > MAX_ADDRESS_BYTES {
            return Err(InvalidRequest::ValidatorAddress { got: vote.validator_address.len() });
        }
        if !takes_extension && !vote.extension.is_empty() {
            let on = if vote.r#type == PREVOTE { "prevote" } else { "precommit for nil" };
            return Err(InvalidRequest::ExtensionMisplaced { on, got: vote.extension.len() });
        }
        Ok(CheckedVote {
            chain_id: self.chain_id,
            vote,
            timestamp: self.timestamp,
            takes_extension,
            skip_extension_signing: self.skip_extension_signing,
        })
    }
}

impl fmt::Debug for VoteRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.vote {
            Some(vote) => write!(f, "VoteRequest(type {} at {}/{}", vote.r#type, vote.height, vote.round)?,
            None => f.write_str("VoteRequest(no vote")?,
        }
        write!(f, " on {:?})", self.chain_id)
    }
}

/// A vote that keeps all input rules: a prevote or precommit, for nil or for a complete block id.
///
/// Only [`VoteRequest::check`] makes one.
#[derive(Clone, PartialEq, Eq)]
pub struct CheckedVote {
    chain_id: String,
    vote: Vote,
    timestamp: Timestamp,
    takes_extension: bool,
    skip_extension_signing: bool,
}

impl CheckedVote {
    /// The chain that the node says it is for: 1 to 50 bytes.
    #[must_use]
    pub fn chain_id(&self) -> &str {
        &self.chain_id
    }

    /// The block height, at least 1.
    #[must_use]
    pub const fn height(&self) -> i64 {
        self.vote.height
    }

    /// The round within the height, at least 0.
    #[must_use]
    pub const fn round(&self) -> i32 {
        self.vote.round
    }

    /// The bytes that a signature would be over: length-delimited `CanonicalVote`.
    #[must_use]
    pub fn sign_bytes(&self) -> Vec<u8> {
        canonical::vote(&self.vote, self.timestamp, &self.chain_id)
    }

    /// The bytes that the extension's signature would be over (length-delimited `CanonicalVoteExtension`), or none
    /// where there must be no such signature: a node panics on one with a prevote or a precommit for nil, v0.38.0 to
    /// v0.38.10 panic without one on every other precommit, even when extensions are off, and v1 and v2 say with
    /// `skip_extension_signing` that they want none.
    #[must_use]
    pub fn extension_sign_bytes(&self) -> Option<Vec<u8>> {
        (self.takes_extension && !self.skip_extension_signing).then(|| canonical::extension(&self.vote, &self.chain_id))
    }

    /// The answer, length prefix included, at most [`MAX_ANSWER_BYTES`]: the whole vote that was asked for, with
    /// what was made for it.
    ///
    /// `timestamp` (seconds since 1970, nanoseconds) is the one in the bytes that were signed, which for a repeat is
    /// the recorded one. `extension_signature` is left out of votes that cannot have one. The extension comes back
    /// only if it fits: no node takes it over from the answer, but test clients compare the whole vote.
    #[must_use]
    pub fn answer(self, signature: &[u8], extension_signature: Option<&[u8]>, timestamp: (i64, u32)) -> Vec<u8> {
        let mut vote = self.vote;
        vote.signature = signature.to_vec();
        vote.extension_signature = extension_signature.filter(|_| self.takes_extension).unwrap_or_default().to_vec();
        vote.timestamp = Some(answers::timestamp(timestamp));
        let mut answer =
            Answer { vote: Some(SignedVoteResponse { vote: Some(vote), error: None }), ..Answer::default() };
        if prost::length_delimiter_len(answer.encoded_len()) + answer.encoded_len() > MAX_ANSWER_BYTES {
            leave_extensions_out(&mut answer);
        }
        answer.encode_length_delimited_to_vec()
    }
}

/// What remains is bounded by the input rules and the signatures' sizes.
fn leave_extensions_out(answer: &mut Answer) {
    if let Some(vote) = answer.vote.as_mut().and_then(|response| response.vote.as_mut()) {
        vote.extension.clear();
        vote.non_rp_extension.clear();
        vote.non_rp_extension_signature.clear();
    }
}

impl fmt::Debug for CheckedVote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Vote { r#type, height, round, .. } = &self.vote;
        write!(f, "CheckedVote(type {} at {height}/{round} on {:?})", r#type, self.chain_id)
    }
}
