//! Signing records on the parent: the seam where tests put stores of their own, and the real one behind it.
use crate::control::RulingToken;
use crate::lock;
use guard::{Committed, Identity, Record, Store, StoreError, Trouble};
use std::net::Shutdown;
use std::sync::{Arc, Mutex};
use store::remote::{CONNECT_LIMIT, RemoteStore};
use wire::endpoint::{Parent, Stream};
use wire::state::Life;
use wire::token::Token;

/// Where signing records live.
pub trait Records: Send {
    /// The record of that identity, at that port of the parent. Nothing is asked of it yet.
    fn of(&self, identity: Identity, port: u32, token: ProvenBy) -> Opened;
}

/// A record, and what lets go of it.
pub struct Opened {
    /// The record.
    pub store: Box<dyn Store + Send>,
    /// Lets others have it: nothing signs by it now. It is opened again when it is asked.
    pub let_go: LetGo,
}

/// Lets others have a record.
pub type LetGo = Box<dyn Fn() + Send>;

/// By which token a record's answers have to be proven: the one that rules, and before there is one, the push's.
///
/// A guard lives on when its push fails late, and must not be bound to that push's token.
#[derive(Clone)]
pub struct ProvenBy {
    pub(crate) pushed: Arc<Token>,
    pub(crate) ruling: Arc<RulingToken>,
}

impl ProvenBy {
    /// The token, as of now.
    #[must_use]
    pub fn token(&self) -> Arc<Token> {
        self.ruling.ruling().unwrap_or_else(|| Arc::clone(&self.pushed))
    }
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
    fn of(&self, identity: Identity, port: u32, token: ProvenBy) -> Opened {
        let (parent, life, software) = (self.parent.clone(), self.life, self.software);
        let connection = Connection::default();
        let known = connection.clone();
        let make = move |token: Arc<Token>| {
            let (parent, known) = (parent.clone(), known.clone());
            let connect = Box::new(move || {
                known.end();
                let stream = parent.connect(port, CONNECT_LIMIT)?;
                *lock(&known.0) = Some(stream.try_clone()?);
                Ok(stream)
            });
            RemoteStore::new(identity.clone(), connect, token, life, software, Box::new(nonce))
        };
        let used = token.token();
        let inner = make(Arc::clone(&used));
        let store = OfRuling { inner, used, token, connection: connection.clone(), make: Box::new(make) };
        Opened { store: Box::new(store), let_go: Box::new(move || connection.end()) }
    }
}

fn nonce() -> std::io::Result<[u8; 32]> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map(|()| nonce).map_err(std::io::Error::other)
}

/// The stream that a record's store has, for whoever ends it from outside.
#[derive(Clone, Default)]
struct Connection(Arc<Mutex<Option<Stream>>>);

impl Connection {
    /// The parent sees its end, and the store at its next request, after which it connects anew.
    fn end(&self) {
        if let Some(stream) = lock(&self.0).take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// A store that is in trouble has dropped its stream, unless the parent has proven that only the write failed. The
    /// parent is to see that, too.
    fn judge<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if result.as_ref().is_err_and(|error| error.trouble != Trouble::Failed) {
            self.end();
        }
        result
    }
}

/// A record on the parent, by the token that rules.
struct OfRuling {
    inner: RemoteStore,
    used: Arc<Token>,
    token: ProvenBy,
    connection: Connection,
    make: Box<dyn Fn(Arc<Token>) -> RemoteStore + Send>,
}

impl Store for OfRuling {
    /// Only a recovery connects, so the token is looked after here.
    fn recover(&mut self) -> Result<Record, StoreError> {
        let token = self.token.token();
        if !token.is(&self.used) {
            self.inner = (self.make)(Arc::clone(&token));
            self.used = token;
        }
        self.connection.judge(self.inner.recover())
    }

    fn commit(&mut self, previous: &Record, next: &Record) -> Result<Committed, StoreError> {
        self.connection.judge(self.inner.commit(previous, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_ruling_token_proves_and_before_there_is_one_that_of_the_push() {
        let ruling = Arc::new(RulingToken::default());
        let of = |byte| Arc::new(Token::new(&[byte; 32]));
        let failed = ProvenBy { pushed: of(1), ruling: Arc::clone(&ruling) };
        assert!(failed.token().is(&of(1)));
        ruling.rule(&of(2));
        assert!(failed.token().is(&of(2)));
    }

    #[test]
    fn a_connection_ends_for_the_parent_with_trouble_and_when_it_is_let_go_of() {
        let error = |trouble| Err::<(), _>(StoreError { trouble, detail: String::new() });
        let connection = Connection::default();
        let connect = || {
            let (ours, parents) = Stream::pair().unwrap();
            parents.set_nonblocking(true).unwrap();
            *lock(&connection.0) = Some(ours.try_clone().unwrap());
            (ours, parents)
        };
        let is_up = |parents: &mut Stream| parents.read(&mut [0]).is_err();
        let (_ours, mut parents) = connect();
        let _ = connection.judge(Ok(()));
        let _ = connection.judge(error(Trouble::Failed));
        assert!(is_up(&mut parents), "the store keeps its stream");
        let _ = connection.judge(error(Trouble::Unknown));
        assert!(!is_up(&mut parents));
        let (_ours, mut parents) = connect();
        connection.end();
        connection.end();
        assert!(!is_up(&mut parents));
    }
}
