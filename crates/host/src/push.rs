//! A configuration on its way into an enclave: the token, the push with its phases, and when to push again.
mod schedule;
mod token_file;

pub use schedule::{Backoff, refresh_after};
pub use token_file::{MakeTokenError, read_or_make};

use crate::control_client::{Client, ClientError};
use std::fmt;
use std::io;
use std::time::Duration;
use wire::control::{
    Answer, Credentials, Failure, MAX_CONFIG_BYTES, MAX_CREDENTIAL_BYTES, Progress, Push, Request, Serving,
};
use wire::token::Token;
use zeroize::Zeroizing;

/// How long the enclave may be silent within a push. It tells each phase; within one it waits for KMS, or for `persist`, and
/// gives up before this.
const SILENCE_LIMIT: Duration = Duration::from_secs(120);

/// Why a push did not end well.
#[derive(Debug)]
pub enum PushError {
    /// The enclave could not be asked.
    Client(ClientError),
    /// The enclave says why.
    Failed(Box<Failure>),
    /// It answered what is no answer to a push.
    Unexpected,
    /// The configuration is longer than an enclave takes; its length in bytes.
    TooLong(usize),
    /// A field of the credentials is longer than an enclave takes.
    Credentials,
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::Failed(failure) => match &failure.chain {
                Some(chain) if !failure.reason.contains(chain.as_str()) => write!(f, "chain {chain}: {failure}"),
                _ => failure.fmt(f),
            },
            Self::Unexpected => f.write_str("the enclave's answer is no answer to a push"),
            Self::TooLong(bytes) => write!(
                f,
                "the configuration is too long for an enclave: expected at most {MAX_CONFIG_BYTES} bytes, got {bytes}"
            ),
            Self::Credentials => {
                write!(
                    f,
                    "the credentials are too long: expected at most {MAX_CREDENTIAL_BYTES} bytes for each of them"
                )
            }
        }
    }
}

impl std::error::Error for PushError {}

impl From<ClientError> for PushError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

/// Pushes a configuration and waits for the end, telling each phase.
///
/// # Errors
/// [`PushError`]; the enclave's own reason as [`PushError::Failed`].
pub fn push(
    mut client: Client,
    token: &Token,
    config: &str,
    credentials: Option<Credentials>,
    tell: &mut dyn FnMut(&Progress),
) -> Result<Serving, PushError> {
    if config.len() > MAX_CONFIG_BYTES {
        return Err(PushError::TooLong(config.len()));
    }
    if credentials.as_ref().is_some_and(is_too_long) {
        return Err(PushError::Credentials);
    }
    let order = Push { token: Token::new(token.expose()), config: Zeroizing::new(config.to_owned()), credentials };
    client.send(&Request::Push(Box::new(order)), Some(token))?;
    loop {
        match client.next(Some(SILENCE_LIMIT))? {
            Some(Answer::Progress(progress)) => tell(&progress),
            Some(Answer::Serving(serving)) => return Ok(serving),
            Some(Answer::Failed(failure)) => return Err(PushError::Failed(Box::new(failure))),
            Some(_) => return Err(PushError::Unexpected),
            None => return Err(client.lost(io::ErrorKind::UnexpectedEof.into()).into()),
        }
    }
}

fn is_too_long(credentials: &Credentials) -> bool {
    let session = credentials.session_token.as_ref().map_or(0, |token| token.len());
    let lengths =
        [credentials.access_key_id.len(), credentials.secret_access_key.len(), session, credentials.source.len()];
    lengths.into_iter().any(|bytes| bytes > MAX_CREDENTIAL_BYTES)
}
