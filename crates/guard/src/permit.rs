//! The proof that bytes may be signed.
use crate::{Extension, Identity, Position, Statement, Timestamp};
use std::sync::Arc;

/// Leave to sign exactly these bytes, once.
///
/// Made only by [`crate::Guard::authorize`], after the record was committed. It can neither be copied nor
/// stored, and whoever signs takes it by value.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    identity: Arc<Identity>,
    statement: Statement,
    extension: Option<Extension>,
    repeat: bool,
}

impl Permit {
    pub(crate) const fn new(
        identity: Arc<Identity>,
        statement: Statement,
        extension: Option<Extension>,
        repeat: bool,
    ) -> Self {
        Self { identity, statement, extension, repeat }
    }

    /// Whose record was committed: only this key may sign.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The bytes of the vote or proposal: length-delimited canonical message.
    #[must_use]
    pub fn sign_bytes(&self) -> &[u8] {
        self.statement.bytes()
    }

    /// The bytes of the vote's extension, where one is to be signed.
    #[must_use]
    pub fn extension_sign_bytes(&self) -> Option<&[u8]> {
        self.extension.as_ref().map(Extension::bytes)
    }

    /// The timestamp inside [`Permit::sign_bytes`]: the recorded one when the request is a repeat.
    #[must_use]
    pub const fn timestamp(&self) -> Timestamp {
        self.statement.timestamp()
    }

    /// The position that is signed.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.statement.position()
    }

    /// Whether the same message was allowed before.
    #[must_use]
    pub const fn is_repeat(&self) -> bool {
        self.repeat
    }
}
