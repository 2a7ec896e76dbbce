//! The signing service: a thread for each connection, which dials, serves and dials again until it is stopped.
use crate::connection::{Connection, Endpoint, Socket, Timing};
use crate::keys::{IdentityKey, PublicKey, SharedKey, check_roles};
use crate::metrics::ConnectionMetrics;
use crate::redial::{Backoff, Throttle};
use crate::session::{End, NodeLog, Session};
use crate::stop::{Running, Stop};
use crate::validator::Validator;
use log::{debug, error, info, warn};
use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use wire::endpoint::Parent;

/// The stack of a connection's thread, in bytes. The deepest calls are name resolution and a panic's backtrace; a
/// test runs whole sessions, handshakes and panics on half of this. Untouched pages cost nothing, but the reserved
/// space counts against limits on address space and locked memory: 256 chains take 48 MiB of it instead of the
/// 512 MiB that the usual stacks of 2 MiB would.
pub const STACK_BYTES: usize = 192 * 1024;

/// A session shorter than this does not count as a good one, though it may have answered: a node that keeps hanging
/// up is dialled ever more slowly and logged ever less.
const GOOD_SESSION: Duration = Duration::from_secs(1);

/// One connection to keep up.
pub struct ConnectionSettings {
    /// Whose votes are signed on it. Several connections may share one.
    pub validator: Arc<Validator>,
    /// Where the node listens.
    pub endpoint: Endpoint,
    /// Who we are to the node; needed where the endpoint is secret.
    pub identity: Option<Arc<IdentityKey>>,
    /// Whether to dial again after the first session.
    pub reconnect: bool,
}

/// Why a service cannot start.
#[derive(Debug)]
pub enum StartError {
    /// A secret connection without an identity key.
    NoIdentity {
        /// The connection.
        endpoint: Endpoint,
    },
    /// One key in both roles.
    SharedKey(SharedKey),
    /// The system gives no more threads.
    Thread {
        /// How many run already.
        running: usize,
        /// What it says.
        error: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIdentity { endpoint } => {
                write!(
                    f,
                    "no identity key for {endpoint}: make one with `tmkms softsign keygen` and name it in `secret_key`"
                )
            }
            Self::SharedKey(error) => error.fmt(f),
            Self::Thread { running, error } => {
                write!(f, "no thread for another connection after {running}: {error}; raise the limit on tasks")
            }
        }
    }
}

impl std::error::Error for StartError {}

/// Connections that are kept up until they are told to stop.
pub struct Service {
    stop: Stop,
}

impl Service {
    /// Starts a thread for each connection. One that fails or panics never ends another.
    ///
    /// # Errors
    /// [`StartError`]; threads that were started already are stopped again.
    pub fn start(connections: Vec<ConnectionSettings>, timing: Timing) -> Result<Self, StartError> {
        Self::start_from(None, connections, timing)
    }

    /// The same inside an enclave, whose parent's ports can be dialled.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub fn start_from(
        parent: Option<&Parent>,
        connections: Vec<ConnectionSettings>,
        timing: Timing,
    ) -> Result<Self, StartError> {
        let service = Self::hold(parent, connections, timing)?;
        service.release();
        Ok(service)
    }

    /// As [`Service::start_from`], but no connection is dialled before [`Service::release`]: so that several services
    /// begin together, or not at all.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub fn hold(
        parent: Option<&Parent>,
        connections: Vec<ConnectionSettings>,
        timing: Timing,
    ) -> Result<Self, StartError> {
        check(&connections)?;
        let stop = Stop::held();
        for (running, settings) in connections.into_iter().enumerate() {
            if let Err(error) = Worker::new(parent.cloned(), settings, timing, stop.clone()).spawn() {
                stop.stop();
                return Err(StartError::Thread { running, error });
            }
        }
        Ok(Self { stop })
    }

    /// Lets a service begin that was held.
    pub fn release(&self) {
        self.stop.release();
    }

    /// A handle that stops this service, for whoever waits for signals.
    #[must_use]
    pub fn stop_handle(&self) -> Stop {
        self.stop.clone()
    }

    /// Waits until the service is stopped, or until every connection has ended for good (`reconnect = false`).
    pub fn wait(&self) {
        self.stop.wait();
    }

    /// Stops, and waits at most that long for votes in progress to be finished and answered. Says whether all were.
    #[must_use]
    pub fn finish(self, limit: Duration) -> bool {
        self.stop.stop();
        self.stop.wait_for_sessions(limit)
    }
}

fn check(connections: &[ConnectionSettings]) -> Result<(), StartError> {
    for ConnectionSettings { endpoint, identity, .. } in connections {
        if endpoint.is_secret() && identity.is_none() {
            return Err(StartError::NoIdentity { endpoint: endpoint.clone() });
        }
    }
    let consensus: Vec<(&str, &PublicKey)> =
        connections.iter().map(|one| (one.validator.chain_id(), one.validator.public_key())).collect();
    let names: Vec<String> = connections.iter().map(|one| format!("for {}", one.endpoint)).collect();
    let identities: Vec<(&str, &PublicKey)> = connections
        .iter()
        .zip(&names)
        .filter_map(|(one, name)| Some((name.as_str(), one.identity.as_ref()?.public_key())))
        .collect();
    check_roles(&consensus, &identities).map_err(StartError::SharedKey)
}

/// What keeps one connection up.
struct Worker {
    parent: Option<Parent>,
    settings: ConnectionSettings,
    timing: Timing,
    stop: Stop,
    node: String,
    log: Arc<NodeLog>,
    metrics: Arc<ConnectionMetrics>,
    backoff: Backoff,
    failures: Throttle,
    announcements: Throttle,
}

/// How a session went.
struct Served {
    end: End,
    is_good: bool,
}

impl Worker {
    fn new(parent: Option<Parent>, settings: ConnectionSettings, timing: Timing, stop: Stop) -> Self {
        let node = settings.endpoint.to_string();
        let metrics = settings.validator.metrics().connection(&node);
        let (failures, announcements) = (Throttle::doubling(), Throttle::doubling());
        let log = NodeLog::new(&node);
        Self { parent, settings, timing, stop, node, log, metrics, backoff: Backoff::new(), failures, announcements }
    }

    fn spawn(self) -> io::Result<()> {
        let running = self.stop.count_thread();
        let name = self.settings.validator.chain_id().to_owned();
        thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || self.run(running)).map(drop)
    }

    /// Dials and serves, and dials again. `_running` is dropped at the very end.
    fn run(mut self, _running: Running) {
        self.stop.wait_for_release();
        while !self.stop.is_set() {
            let had_session = match catch_unwind(AssertUnwindSafe(|| self.serve_once())) {
                Ok(Ok(())) => true,
                Ok(Err(error)) => {
                    self.report_failure(&error);
                    false
                }
                Err(panic) => {
                    self.report_panic(panic.as_ref());
                    true
                }
            };
            if had_session && !self.settings.reconnect || self.stop.pause(self.backoff.wait(random_byte())) {
                break;
            }
        }
        debug!(chain = self.chain(), node = self.node.as_str(); "connection thread ends");
    }

    /// One dial, one handshake, one session, and the word of its end, which comes before whoever stops us goes on.
    fn serve_once(&mut self) -> io::Result<()> {
        let socket = Socket::dial_from(self.parent.as_ref(), &self.settings.endpoint, self.timing.connect)?;
        let Some(_watched) = self.stop.watch(&socket) else {
            return Ok(());
        };
        debug!(chain = self.chain(), node = self.node.as_str(); "connected");
        let identity = self.settings.identity.as_deref();
        let connection = Connection::over(socket, &self.settings.endpoint, identity, &self.timing)?;
        let up = Up::new(&self.metrics);
        let begun = Instant::now();
        let validator = Arc::clone(&self.settings.validator);
        let announce = self.announcements.next().is_some();
        let mut session = Session::new(validator, connection, self.stop.clone(), &self.log, announce);
        let end = session.run();
        let served = Served { end, is_good: session.has_answered() && begun.elapsed() >= GOOD_SESSION };
        drop(session);
        drop(up);
        self.report_end(&served);
        Ok(())
    }

    fn report_end(&mut self, served: &Served) {
        let end = &served.end;
        if served.is_good {
            self.backoff.reset();
            self.failures.reset();
            self.announcements.reset();
            info!(chain = self.chain(), node = self.node.as_str(); "session with {} ended: {end}", self.node);
        } else if !matches!(end, End::Stopped)
            && let Some(count) = self.failures.next()
        {
            warn!(chain = self.chain(), node = self.node.as_str(), count; "session with {} ended: {end}", self.node);
        }
    }

    fn report_failure(&mut self, error: &io::Error) {
        if self.stop.is_set() {
            return;
        }
        self.metrics.failed();
        if let Some(count) = self.failures.next() {
            warn!(chain = self.chain(), node = self.node.as_str(), count; "cannot connect to {}: {error}", self.node);
        }
    }

    /// The guard that may have been held is in doubt and recovers by itself; nobody else is affected.
    fn report_panic(&self, panic: &(dyn Any + Send)) {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
        let text = text.unwrap_or("no message");
        error!(chain = self.chain(), node = self.node.as_str(); "session with {} panicked, a bug: {text}", self.node);
    }

    fn chain(&self) -> &str {
        self.settings.validator.chain_id()
    }
}

/// Counts a connection as up until it is dropped, also by a panic.
struct Up<'metrics>(&'metrics ConnectionMetrics);

impl<'metrics> Up<'metrics> {
    fn new(metrics: &'metrics ConnectionMetrics) -> Self {
        metrics.connected();
        Self(metrics)
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.0.disconnected();
    }
}

/// For jitter; without randomness there is none.
fn random_byte() -> u8 {
    let mut byte = [0];
    getrandom::fill(&mut byte).map_or(0, |()| byte[0])
}
