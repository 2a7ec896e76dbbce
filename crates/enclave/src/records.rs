//! Signing records on the parent: the seam where tests put stores of their own, and the real one behind it.
use guard::{Identity, Store};
use std::sync::Arc;
use store::remote::{CONNECT_LIMIT, RemoteStore};
use wire::endpoint::Parent;
use wire::state::Life;
use wire::token::Token;

/// Where signing records live.
pub trait Records: Send {
    /// The record of that identity, at that port of the parent. Nothing is asked of it yet.
    fn of(&self, identity: Identity, port: u32, token: &Arc<Token>) -> Box<dyn Store + Send>;
}

/// The parent's persist.
pub(crate) struct OnParent {
    parent: Parent,
    life: Life,
    software: &'static str,
}

impl OnParent {
    pub(crate) const fn new(parent: Parent, life: Life, software: &'static str) -> Self {
        Self { parent, life, software }
    }
}

impl Records for OnParent {
    fn of(&self, identity: Identity, port: u32, token: &Arc<Token>) -> Box<dyn Store + Send> {
        let parent = self.parent.clone();
        let connect = Box::new(move || parent.connect(port, CONNECT_LIMIT));
        let nonces = Box::new(|| {
            let mut nonce = [0; 32];
            getrandom::fill(&mut nonce).map(|()| nonce).map_err(std::io::Error::other)
        });
        Box::new(RemoteStore::new(identity, connect, Arc::clone(token), self.life, self.software, nonces))
    }
}
