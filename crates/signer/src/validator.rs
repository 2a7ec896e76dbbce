//! What signs for one key on one chain: its guard, its key, and the patience with a store in trouble.
use crate::keyring::{Keyring, RegisterError, SharedGuard};
use crate::keys::{ConsensusKey, ForeignPermit, PublicKey};
use crate::metrics::{Metrics, ValidatorMetrics};
use crate::session::Asked;
use guard::{
    ChainId, Denied, Extension, Guard, Height, Identity, NotCanonical, Permit, Position, Record, Statement, Store,
    StoreError, Trouble,
};
use log::{error, info, warn};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// How long trouble of the store and a held guard are waited for, counted from the request on; no commit begins later. A node
/// waits 5 s for an answer and does not ask again after an error: an early error loses the vote, a late answer loses the
/// connection. A commit on a parent takes up to 1.2 s (`store::remote::ANSWER_LIMIT`), so its answer comes within 4.2 s.
const STORE_PATIENCE: Duration = Duration::from_secs(3);

/// No recovery begins later: one on a parent takes up to 2.2 s (`store::remote::RECOVERY_LIMIT`), so that an answer after it, with
/// no time for a commit left, comes within 4.4 s.
const RECOVERY_PATIENCE: Duration = Duration::from_millis(2_200);

/// Between two attempts at a store in trouble. The guard is free meanwhile.
const STORE_PAUSE: Duration = Duration::from_millis(50);

/// How long whoever only asks waits for a guard: a good commit takes a fraction of it.
const STATUS_PATIENCE: Duration = Duration::from_millis(20);

/// Whether vote extensions are signed (`sign_extensions`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SignExtensions {
    /// Where a node expects it: on every precommit for a block, unless the node says that it wants none.
    #[default]
    Automatic,
    /// Never. A node of v0.38.0 to v0.38.10 panics without, and so does every later one on a chain with extensions.
    Never,
}

/// What a [`Validator`] is made of.
pub struct ValidatorSettings {
    /// The chain.
    pub chain_id: ChainId,
    /// The key that signs.
    pub key: ConsensusKey,
    /// Nothing is signed above this height.
    pub max_height: Option<Height>,
    /// Whether vote extensions are signed.
    pub sign_extensions: SignExtensions,
}

/// Why nothing was signed. Answered as an error; the session goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsigned {
    /// The rule or the store says no.
    Denied {
        /// What was asked for.
        position: Position,
        /// Why not.
        denied: Denied,
    },
    /// Our two readings of a request differ: `privval` wrote sign bytes that `guard` does not take.
    NotCanonical(NotCanonical),
    /// A guard was paired with another's key.
    ForeignPermit(ForeignPermit),
}

impl fmt::Display for Unsigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied { denied, .. } => denied.fmt(f),
            Self::NotCanonical(error) => error.fmt(f),
            Self::ForeignPermit(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Unsigned {}

impl From<NotCanonical> for Unsigned {
    fn from(error: NotCanonical) -> Self {
        Self::NotCanonical(error)
    }
}

impl From<ForeignPermit> for Unsigned {
    fn from(error: ForeignPermit) -> Self {
        Self::ForeignPermit(error)
    }
}

/// Nothing was tried, because its answer would have come too late: what failed earlier in this request, or else why.
fn too_late(earlier: Option<&Denied>, why: &str) -> Denied {
    earlier.cloned().unwrap_or_else(|| {
        let detail = format!("it is busy, and no time is left for this request: {why}");
        Denied::Store(StoreError { trouble: Trouble::Unknown, detail })
    })
}

/// A guard in doubt recovers before it judges. That is done apart from the judgement, because no commit may follow on a
/// recovery that took too long; the next request then has a guard that is ready.
fn recover_in_time<S: Store>(guard: &mut Guard<S>, begun: Instant, earlier: Option<&Denied>) -> Result<(), Denied> {
    if guard.is_ready() {
        return Ok(());
    }
    if begun.elapsed() > RECOVERY_PATIENCE {
        return Err(too_late(earlier, "it has to be recovered first"));
    }
    guard.recover()?;
    let in_time = begun.elapsed() <= STORE_PATIENCE;
    if in_time { Ok(()) } else { Err(too_late(earlier, "recovering it took too long")) }
}

/// One key on one chain, shared by all connections that serve it.
pub struct Validator {
    chain_id: ChainId,
    address: String,
    key: Arc<ConsensusKey>,
    guard: SharedGuard,
    sign_extensions: SignExtensions,
    metrics: Arc<ValidatorMetrics>,
    /// Trouble of the store is reported when it begins and when it ends, not at every attempt.
    in_trouble: AtomicBool,
}

impl Validator {
    /// Takes the guard of this key and chain from the keyring, which opens its store at the first call.
    ///
    /// # Errors
    /// As [`Keyring::register`].
    pub fn new<E>(
        settings: ValidatorSettings,
        keyring: &mut Keyring,
        metrics: &Metrics,
        open: impl FnOnce(&Identity) -> Result<Box<dyn Store + Send>, E>,
    ) -> Result<Arc<Self>, RegisterError<E>> {
        let ValidatorSettings { chain_id, key, max_height, sign_extensions } = settings;
        let address = key.public_key().address().to_string();
        let metrics = metrics.validator(&chain_id, &address);
        let identity = Identity { chain_id: chain_id.clone(), public_key: key.public_key().as_bytes().into() };
        let guard = keyring.register(identity, max_height, &metrics, open)?;
        let (key, in_trouble) = (Arc::new(key), AtomicBool::new(false));
        let validator = Self { chain_id, address, key, guard, sign_extensions, metrics, in_trouble };
        validator.warn_of_missing_extensions();
        Ok(Arc::new(validator))
    }

    /// The same key, chain and guard with another choice about vote extensions.
    #[must_use]
    pub fn with_extensions(&self, sign_extensions: SignExtensions) -> Arc<Self> {
        let validator = Self {
            chain_id: self.chain_id.clone(),
            address: self.address.clone(),
            key: Arc::clone(&self.key),
            guard: self.guard.clone(),
            sign_extensions,
            metrics: Arc::clone(&self.metrics),
            in_trouble: AtomicBool::new(false),
        };
        validator.warn_of_missing_extensions();
        Arc::new(validator)
    }

    fn warn_of_missing_extensions(&self) {
        if self.sign_extensions == SignExtensions::Never {
            warn!(
                chain = self.chain_id(), validator = self.address();
                "sign_extensions is false: no vote extension is signed; nodes of v0.38.0 to v0.38.10, and every node of a \
                 chain that uses extensions, will stop at their next precommit. Remove the setting unless you are sure"
            );
        }
    }

    /// Reads the record from the store, so that bad state shows at the start and not at the first vote.
    ///
    /// # Errors
    /// As [`guard::Guard::recover`].
    pub fn recover(&self) -> Result<Option<Record>, Denied> {
        let mut guard = self.guard.lock();
        guard.recover()?;
        Ok(guard.acknowledged().cloned())
    }

    /// The position that was recorded last, as far as this life knows; none too while a commit takes long.
    #[must_use]
    pub fn recorded(&self) -> Option<Position> {
        self.guard.lock_within(STATUS_PATIENCE)?.acknowledged().map(Record::position)
    }

    /// Leave to sign: judged and committed. Refusals come at once; trouble of the store that may pass is waited for,
    /// with the guard free between the attempts, so that others are judged meanwhile.
    pub(crate) fn authorize(&self, request: &Statement, extension: Option<&Extension>) -> Result<Permit, Denied> {
        let begun = Instant::now();
        let mut earlier = None;
        loop {
            let attempt = Instant::now();
            let result = self.attempt(request, extension, begun, earlier.as_ref());
            // Another attempt begins with a recovery, and may take as long as this one, waiting for the guard included.
            let next = begun.elapsed() + STORE_PAUSE;
            let in_time = next <= RECOVERY_PATIENCE && next + attempt.elapsed() <= STORE_PATIENCE;
            match result {
                Err(Denied::Store(error)) if error.trouble.may_pass() && in_time => {
                    earlier = Some(Denied::Store(error));
                }
                result => return result,
            }
            thread::sleep(STORE_PAUSE);
        }
    }

    /// One attempt: what may take long is begun only while its answer would still be in time.
    fn attempt(
        &self,
        request: &Statement,
        extension: Option<&Extension>,
        begun: Instant,
        earlier: Option<&Denied>,
    ) -> Result<Permit, Denied> {
        let Some(mut guard) = self.guard.lock_within(STORE_PATIENCE.saturating_sub(begun.elapsed())) else {
            let result = Err(too_late(earlier, "other requests hold it"));
            self.note_store(&result);
            return result;
        };
        let result = guard
            .admit(request, extension)
            .map_err(Denied::from)
            .and_then(|()| recover_in_time(&mut guard, begun, earlier))
            .and_then(|()| guard.authorize(request.clone(), extension.cloned()));
        // Before the guard is free: of two results the later one counts.
        self.note_store(&result);
        result
    }

    /// The extension's sign bytes, unless the node or the configuration wants none.
    pub(crate) fn extension_to_sign(&self, asked: &Asked) -> Option<Vec<u8>> {
        match self.sign_extensions {
            SignExtensions::Automatic => asked.extension_sign_bytes(),
            SignExtensions::Never => None,
        }
    }

    fn note_store(&self, result: &Result<Permit, Denied>) {
        let (kind, is_permanent, denied) = match result {
            Err(denied @ Denied::Store(error)) => (error.trouble.name(), !error.trouble.may_pass(), denied),
            Err(denied @ Denied::RolledBack { .. }) => ("rolled_back", true, denied),
            Err(Denied::Refused(_)) => return,
            Ok(_) => {
                self.metrics.resumed();
                if self.in_trouble.load(Relaxed) && self.in_trouble.swap(false, Relaxed) {
                    info!(chain = self.chain_id(), validator = self.address(); "the signing state can be saved again");
                }
                return;
            }
        };
        self.metrics.store_errors.count(kind);
        let is_new_stop = is_permanent && self.metrics.stopped(denied.to_string());
        if !self.in_trouble.swap(true, Relaxed) || is_new_stop {
            error!(chain = self.chain_id(), validator = self.address(), reason = kind; "{denied}");
        }
    }

    /// The chain.
    #[must_use]
    pub fn chain_id(&self) -> &str {
        self.chain_id.as_str()
    }

    pub(crate) const fn chain(&self) -> &ChainId {
        &self.chain_id
    }

    /// The validator's address, upper-case hexadecimal.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The key's public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    pub(crate) fn key(&self) -> &ConsensusKey {
        &self.key
    }

    pub(crate) const fn metrics(&self) -> &Arc<ValidatorMetrics> {
        &self.metrics
    }
}
