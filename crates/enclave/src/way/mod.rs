//! The steps of a push, each of which takes what the one before it made: nothing is applied before everything is ready.
mod apply;
mod check;
mod context;
mod recover;
mod release;
pub(crate) mod self_check;

pub(crate) use apply::ServedChain;
pub(crate) use check::{Checked, Pushing, wrong_token};
pub(crate) use recover::Recovered;
pub(crate) use release::Released;

use crate::board::Board;
use crate::desk::{Desk, Pusher};
use crate::plan::IdentitySource;
use crate::policy::Policy;
use crate::records::{LetGo, Records};
use crate::release::Kms;
use guard::{Height, Identity};
use signer::Keyring;
use signer::keys::{IdentityKey, PublicKey};
use std::collections::HashMap;
use std::sync::Arc;
use wire::control::{Credentials, Phase};
use wire::endpoint::Parent;
use wire::token::Token;

/// Parses a configuration's text, or gives all its faults.
pub type Parse = Box<dyn Fn(&str) -> Result<crate::plan::Plan, Vec<String>> + Send>;

/// What the enclave is made of, and what it serves.
pub(crate) struct Enclave {
    pub(crate) parent: Parent,
    pub(crate) board: Arc<Board>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) parse: Parse,
    pub(crate) kms: Box<dyn Kms>,
    pub(crate) records: Box<dyn Records>,
    pub(crate) policy: Option<Policy>,
    pub(crate) debug: bool,
    /// Whether the command line has the say over the log's level.
    pub(crate) verbose: bool,
    pub(crate) keyring: Keyring,
    /// What each guard of this life was made with; it cannot be changed any more.
    pub(crate) guards: HashMap<Identity, Fixed>,
    /// How each guard's record is let go of when no chain needs it.
    pub(crate) let_go: HashMap<Identity, LetGo>,
    pub(crate) chains: Vec<ServedChain>,
    pub(crate) identities: Vec<(IdentitySource, Arc<IdentityKey>)>,
    /// Every key that was shown to a node in this life.
    pub(crate) identity_keys: Vec<PublicKey>,
    /// Of the configuration that is applied, in hexadecimal.
    pub(crate) config_sha256: Option<String>,
    pub(crate) token: Arc<crate::control::RulingToken>,
    pub(crate) credentials: Option<Arc<Credentials>>,
}

/// What a guard keeps for the life of the process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fixed {
    pub(crate) max_height: Option<Height>,
    pub(crate) state_port: u32,
}

impl Enclave {
    /// A step begins: whoever pushed is told, and so is the status, unless something is served meanwhile.
    pub(crate) fn enter(&self, pusher: &Pusher, phase: Phase, detail: &str) {
        log::info!("{}: {detail}", crate::board::phase_name(phase));
        if self.chains.is_empty() {
            self.board.enter(phase);
        }
        pusher.progress(phase, detail);
    }

    /// Where the enclave is when no push is being worked on.
    pub(crate) fn rest(&self) -> Phase {
        if self.config_sha256.is_some() { Phase::Serving } else { Phase::Waiting }
    }

    pub(crate) fn served(&self, id: &guard::ChainId) -> Option<&ServedChain> {
        self.chains.iter().find(|chain| chain.plan.id == *id)
    }
}

/// What every step hands on.
pub(crate) struct Pushed {
    pub(crate) token: Arc<Token>,
    pub(crate) config_sha256: String,
    pub(crate) credentials: Option<Arc<Credentials>>,
}
