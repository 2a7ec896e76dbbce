//! A signing service to be tested: chains with stores in memory, connected to scripted nodes.
use crate::node::Listener;
use crate::store::MemoryStore;
use crate::wire::{Proposal, Vote};
use ed25519_dalek::{Signature, VerifyingKey};
use guard::{ChainId, Height};
use privval::Request;
use signer::keys::{Algorithm, ConsensusKey, IdentityKey, KeyFormat, PublicKey};
use signer::metrics::{ChainSnapshot, Snapshot};
use signer::{
    Build, ConnectionSettings, Endpoint, Keyring, Metrics, Service, SignExtensions, Timing, Validator,
    ValidatorSettings,
};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// TEST KEY.
pub fn test_secret(seed: u8) -> [u8; 32] {
    let mut secret = [0xa5; 32];
    secret[0] = seed;
    secret
}

/// TEST KEY.
pub fn test_key(seed: u8) -> ConsensusKey {
    ConsensusKey::decode(&test_secret(seed), KeyFormat::Raw, Some(Algorithm::Ed25519)).ok().unwrap()
}

pub fn settings(chain_id: &str, seed: u8) -> ValidatorSettings {
    ValidatorSettings {
        chain_id: ChainId::try_from(chain_id).unwrap(),
        key: test_key(seed),
        max_height: None,
        sign_extensions: SignExtensions::Automatic,
    }
}

pub fn max_height(height: i64) -> Option<Height> {
    Some(Height::try_from(height).unwrap())
}

/// One key on one chain.
pub struct Chain {
    pub id: String,
    pub store: MemoryStore,
    pub validator: Arc<Validator>,
}

impl Chain {
    fn public_key(&self) -> VerifyingKey {
        let PublicKey::Ed25519(bytes) = self.validator.public_key() else { panic!("test keys are ed25519") };
        VerifyingKey::from_bytes(bytes).unwrap()
    }

    /// Whether the signature in the answer is over the vote in it, and its extension's too if there is one.
    pub fn is_signed(&self, vote: &Vote) -> bool {
        let asked = crate::wire::delimited(crate::wire::sign_vote(&self.id, vote.clone()));
        let Request::SignVote(request) = Request::decode(&asked[prefix(&asked)..]).unwrap() else { panic!("a vote") };
        let checked = request.check().unwrap();
        let extension = match (&vote.extension_signature[..], checked.extension_sign_bytes()) {
            ([], _) => true,
            (signature, Some(bytes)) => self.verifies(&bytes, signature),
            (_, None) => false,
        };
        self.verifies(&checked.sign_bytes(), &vote.signature) && extension
    }

    pub fn is_signed_proposal(&self, proposal: &Proposal) -> bool {
        let asked = crate::wire::delimited(crate::wire::sign_proposal(&self.id, proposal.clone()));
        let Request::SignProposal(request) = Request::decode(&asked[prefix(&asked)..]).unwrap() else {
            panic!("a proposal")
        };
        self.verifies(&request.check().unwrap().sign_bytes(), &proposal.signature)
    }

    fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let signature = Signature::from_slice(signature).unwrap();
        self.public_key().verify_strict(bytes, &signature).is_ok()
    }
}

/// How long a message's length prefix is.
fn prefix(message: &[u8]) -> usize {
    message.iter().take_while(|byte| **byte >= 0x80).count() + 1
}

/// What will be started.
pub struct Signer {
    pub metrics: Metrics,
    pub keyring: Keyring,
    pub connections: Vec<ConnectionSettings>,
    pub timing: Timing,
}

impl Signer {
    pub fn new() -> Self {
        let metrics = Metrics::new(Build { version: "1.2.3", commit: "abc" });
        Self { metrics, keyring: Keyring::new(), connections: Vec::new(), timing: Timing::default() }
    }

    pub fn chain(&mut self, settings: ValidatorSettings) -> Chain {
        let store = MemoryStore::new();
        let id = settings.chain_id.as_str().to_owned();
        let theirs = store.clone();
        let open = |_: &_| Ok::<_, Infallible>(Box::new(theirs) as Box<dyn guard::Store + Send>);
        let validator = Validator::new(settings, &mut self.keyring, &self.metrics, open).unwrap();
        Chain { id, store, validator }
    }

    pub fn connect(&mut self, chain: &Chain, listener: &Listener) {
        self.connect_to(chain, &listener.address(), true);
    }

    pub fn connect_to(&mut self, chain: &Chain, address: &str, reconnect: bool) {
        let endpoint: Endpoint = address.parse().unwrap();
        let identity = matches!(endpoint, Endpoint::Tcp { .. }).then(|| Arc::new(IdentityKey::random().ok().unwrap()));
        let validator = Arc::clone(&chain.validator);
        self.connections.push(ConnectionSettings { validator, endpoint, identity, reconnect });
    }

    pub fn start(self) -> Started {
        let service = Service::start(self.connections, self.timing).unwrap();
        Started { service: Some(service), metrics: self.metrics }
    }
}

/// A service that runs; it is stopped with its value.
pub struct Started {
    service: Option<Service>,
    pub metrics: Metrics,
}

impl Started {
    pub fn service(&self) -> &Service {
        self.service.as_ref().unwrap()
    }

    pub fn finish(mut self, limit: Duration) -> bool {
        self.service.take().unwrap().finish(limit)
    }

    pub fn snapshot(&self) -> Snapshot {
        self.metrics.snapshot(Duration::from_secs(60))
    }

    pub fn chain(&self, id: &str) -> ChainSnapshot {
        self.snapshot().chains.into_iter().find(|chain| chain.chain_id == id).unwrap()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(service) = self.service.take() {
            let _ = service.finish(Duration::from_secs(5));
        }
    }
}

/// One chain, one node, running.
pub fn one(chain_id: &str, listener: &Listener) -> (Started, Chain) {
    let mut signer = Signer::new();
    let chain = signer.chain(settings(chain_id, 1));
    signer.connect(&chain, listener);
    (signer.start(), chain)
}
