//! A checked request for a signature: a vote or a proposal, seen alike.
use crate::keys::Signed;
use privval::{CheckedProposal, CheckedVote, answers};

/// What a node wants signed.
pub(crate) enum Asked {
    Vote(CheckedVote),
    Proposal(CheckedProposal),
}

impl Asked {
    pub(crate) fn chain_id(&self) -> &str {
        match self {
            Self::Vote(vote) => vote.chain_id(),
            Self::Proposal(proposal) => proposal.chain_id(),
        }
    }

    pub(crate) fn sign_bytes(&self) -> Vec<u8> {
        match self {
            Self::Vote(vote) => vote.sign_bytes(),
            Self::Proposal(proposal) => proposal.sign_bytes(),
        }
    }

    pub(crate) fn extension_sign_bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Vote(vote) => vote.extension_sign_bytes(),
            Self::Proposal(_) => None,
        }
    }

    /// The whole answer, length prefix included.
    pub(crate) fn answer(self, signed: &Signed) -> Vec<u8> {
        let timestamp = (signed.timestamp.seconds, signed.timestamp.nanos);
        match self {
            Self::Vote(vote) => {
                let extension = signed.extension_signature.as_ref().map(<[u8; 64]>::as_slice);
                vote.answer(&signed.signature, extension, timestamp)
            }
            Self::Proposal(proposal) => proposal.answer(&signed.signature, timestamp),
        }
    }

    pub(crate) fn error(&self, code: i32, description: &str) -> Vec<u8> {
        match self {
            Self::Vote(_) => answers::vote_error(code, description),
            Self::Proposal(_) => answers::proposal_error(code, description),
        }
    }
}
