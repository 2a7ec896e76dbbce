//! What may go wrong with a module, or with whoever stands between it and a verifier.
use super::pki::Chain;
use super::{LEAF_LIFETIME, SimulationError, TestRoot};
use rcgen::KeyUsagePurpose;
use std::time::{Duration, SystemTime};

/// Something that a verifier must notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This document is given, whatever is asked for: [`super::SimulatedNsm::last_document`] of an earlier request.
    Replay(Vec<u8>),
    /// The timestamp is that long ago, under a chain that lives.
    StaleTimestamp(Duration),
    /// The leaf ended a minute ago.
    ExpiredLeaf,
    /// The chain begins with another root of the same name.
    WrongRoot,
    /// The leaf's key is for signing certificates, not documents.
    WrongKeyUsage,
    /// One bit of the signature is wrong.
    BadSignature,
    /// The module refuses, with its name for the reason, such as "InvalidOperation".
    Refuse(String),
}

impl Fault {
    /// The chain that is used instead of the right one.
    pub(super) fn chain(
        &self,
        root: &TestRoot,
        module_id: &str,
        now: SystemTime,
    ) -> Result<Option<Chain>, SimulationError> {
        match self {
            Self::ExpiredLeaf => {
                let from = now - LEAF_LIFETIME - Duration::from_secs(60);
                Chain::issue(root, module_id, from).map(Some)
            }
            Self::WrongKeyUsage => {
                let usage = vec![KeyUsagePurpose::KeyCertSign];
                Chain::issue_for(root, module_id, now, usage).map(Some)
            }
            Self::WrongRoot => Chain::issue(&TestRoot::generate()?, module_id, now).map(Some),
            _ => Ok(None),
        }
    }

    /// The time that the document says.
    pub(super) fn timestamp(&self, now: SystemTime) -> SystemTime {
        match self {
            Self::StaleTimestamp(by) => now.checked_sub(*by).unwrap_or(SystemTime::UNIX_EPOCH),
            _ => now,
        }
    }

    /// The document that is given instead of the right one.
    pub(super) fn spoil(&self, document: &[u8]) -> Vec<u8> {
        match self {
            Self::Replay(recorded) => recorded.clone(),
            Self::BadSignature => {
                let mut document = document.to_vec();
                if let Some(last) = document.last_mut() {
                    *last ^= 1;
                }
                document
            }
            _ => document.to_vec(),
        }
    }
}
