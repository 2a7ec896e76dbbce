//! A proposal's way: the request, the checked proposal with its sign bytes, and the answer.
use crate::canonical::{self, PROPOSAL};
use crate::rules::{check_block_id, check_place};
use crate::wire::{Answer, Proposal, SignedProposalResponse, Timestamp};
use crate::{InvalidRequest, answers};
use prost::Message;
use std::fmt;

/// A `SignProposalRequest`, decoded and not yet checked.
#[derive(Clone, PartialEq, Eq)]
pub struct ProposalRequest {
    pub(crate) chain_id: String,
    pub(crate) proposal: Option<Proposal>,
    /// The proposal's timestamp, decoded.
    pub(crate) timestamp: Timestamp,
}

impl ProposalRequest {
    /// The chain that the node says it is for.
    #[must_use]
    pub fn chain_id(&self) -> &str {
        &self.chain_id
    }

    /// Applies the input rules.
    ///
    /// # Errors
    /// The first rule that is broken, as [`InvalidRequest`].
    pub fn check(self) -> Result<CheckedProposal, InvalidRequest> {
        let mut proposal = self.proposal.ok_or(InvalidRequest::Missing)?;
        if proposal.r#type != PROPOSAL {
            return Err(InvalidRequest::Type { expected: "32 (proposal)", got: proposal.r#type });
        }
        check_place(&self.chain_id, proposal.height, proposal.round, self.timestamp)?;
        if proposal.pol_round < -1 || proposal.pol_round >= proposal.round {
            return Err(InvalidRequest::PolRound { got: proposal.pol_round, round: proposal.round });
        }
        let block_id = proposal.block_id.take().unwrap_or_default().complete();
        check_block_id(&block_id)?;
        if block_id.is_nil() {
            return Err(InvalidRequest::ProposalWithoutBlock);
        }
        proposal.block_id = Some(block_id);
        Ok(CheckedProposal { chain_id: self.chain_id, proposal, timestamp: self.timestamp })
    }
}

impl fmt::Debug for ProposalRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proposal {
            Some(proposal) => write!(f, "ProposalRequest({}/{}", proposal.height, proposal.round)?,
            None => f.write_str("ProposalRequest(no proposal")?,
        }
        write!(f, " on {:?})", self.chain_id)
    }
}

/// A proposal that keeps all input rules: for a complete block id, with a proof-of-lock round below its own.
///
/// Only [`ProposalRequest::check`] makes one.
#[derive(Clone, PartialEq, Eq)]
pub struct CheckedProposal {
    chain_id: String,
    proposal: Proposal,
    timestamp: Timestamp,
}

impl CheckedProposal {
    /// The chain that the node says it is for: 1 to 50 bytes.
    #[must_use]
    pub fn chain_id(&self) -> &str {
        &self.chain_id
    }

    /// The block height, at least 1.
    #[must_use]
    pub const fn height(&self) -> i64 {
        self.proposal.height
    }

    /// The round within the height, at least 0.
    #[must_use]
    pub const fn round(&self) -> i32 {
        self.proposal.round
    }

    /// The bytes that a signature would be over: length-delimited `CanonicalProposal`.
    #[must_use]
    pub fn sign_bytes(&self) -> Vec<u8> {
        canonical::proposal(&self.proposal, self.timestamp, &self.chain_id)
    }

    /// The answer, length prefix included, always far below [`crate::MAX_ANSWER_BYTES`]: the whole proposal that was
    /// asked for, with the signature and the timestamp (seconds since 1970, nanoseconds) that was signed.
    ///
    /// A node takes over the signature only, so a repeat under another timestamp does not fit its proposal.
    #[must_use]
    pub fn answer(self, signature: &[u8], timestamp: (i64, u32)) -> Vec<u8> {
        let mut proposal = self.proposal;
        proposal.signature = signature.to_vec();
        proposal.timestamp = Some(answers::timestamp(timestamp));
        let response = SignedProposalResponse { proposal: Some(proposal), error: None };
        Answer { proposal: Some(response), ..Answer::default() }.encode_length_delimited_to_vec()
    }
}

impl fmt::Debug for CheckedProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Proposal { height, round, .. } = &self.proposal;
        write!(f, "CheckedProposal({height}/{round} on {:?})", self.chain_id)
    }
}
