//! `nitro proxy`: whoever connects to one port of the parent is connected to one target, and to nothing else.
//!
//! It stands between an enclave and its validator node (a Unix socket, or TCP), and between an enclave and KMS, whose TLS ends
//! in the enclave. The allowlist is its construction: one proxy has one target. Nothing that a connection does, and nothing that
//! the target does not do, ends the proxy or another connection.
mod copy;
mod dial;
mod throttle;

pub use dial::{InvalidTarget, Target};

use copy::{STACK_BYTES, splice};
use log::{debug, info, warn};
use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use throttle::Throttle;
use wire::endpoint::{Listener, Stopper, Stream};

/// After a failed accept (too many open files), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long [`Proxy::wait`] waits, after a stop, for connections to end; a look-up of a name cannot be interrupted.
const END_LIMIT: Duration = Duration::from_millis(500);

/// Bounds of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many connections may be open at the same time; more are closed at once.
    pub connections: usize,
    /// How long one address of the target may take to accept a connection.
    pub connect: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 64, connect: Duration::from_secs(3) }
    }
}

/// How connections fared since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that reached the target.
    pub connected: u64,
    /// Connections that were closed because the target could not be reached.
    pub failed: u64,
    /// Connections that were closed because too many were open.
    pub refused: u64,
}

/// A running proxy. Dropping it stops it.
pub struct Proxy {
    shared: Arc<Shared>,
    stopper: Stopper,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    target: Target,
    limits: Limits,
    open: Mutex<Open>,
    one_ended: Condvar,
    connected: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    full: Throttle,
    unreachable: Throttle,
}

/// The connections that are open, dialling ones included.
#[derive(Default)]
struct Open {
    next: u64,
    stopped: bool,
    pairs: HashMap<u64, Vec<Arc<Stream>>>,
}

impl Proxy {
    /// Serves the listener on a thread of its own.
    ///
    /// # Errors
    /// The system's, where it gives no thread.
    pub fn start(listener: Listener, target: Target, limits: Limits) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            target,
            limits,
            open: Mutex::default(),
            one_ended: Condvar::new(),
            connected: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            full: Throttle::default(),
            unreachable: Throttle::default(),
        });
        let stopper = listener.stopper();
        let for_thread = Arc::clone(&shared);
        let accepting =
            thread::Builder::new().name("proxy".to_owned()).spawn(move || accept(&listener, &for_thread))?;
        Ok(Self { shared, stopper, accepting: Some(accepting) })
    }

    /// Ends it: nothing is accepted any more, and every connection is cut.
    pub fn stop(&self) {
        self.stopper.stop();
        let mut open = self.shared.open();
        open.stopped = true;
        open.pairs.values().flatten().for_each(|stream| hang_up(stream));
    }

    /// Waits until it was stopped and its connections have ended (for those, half a second at most).
    pub fn wait(mut self) {
        self.join();
    }

    fn join(&mut self) {
        // A thread that panicked has said so in the log.
        let _ = self.accepting.take().map(JoinHandle::join);
        let open = self.shared.open();
        let some_left = |open: &mut Open| !open.pairs.is_empty();
        drop(self.shared.one_ended.wait_timeout_while(open, END_LIMIT, some_left));
    }

    /// How many connections are open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.open().pairs.len()
    }

    /// How connections fared.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let Shared { connected, failed, refused, .. } = &*self.shared;
        Counts { connected: connected.load(SeqCst), failed: failed.load(SeqCst), refused: refused.load(SeqCst) }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.accepting.is_some() {
            self.stop();
            self.join();
        }
    }
}

fn hang_up(stream: &Stream) {
    // It fails only where the connection is gone already.
    let _ = stream.shutdown(Shutdown::Both);
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &Listener, shared: &Arc<Shared>) {
    let trouble = Throttle::default();
    loop {
        let stream = match listener.accept() {
            Ok(stream) => Arc::new(stream),
            Err(_) if listener.stopper().is_stopped() => return,
            Err(error) => {
                trouble.say(|before| warn!("cannot accept a connection: {error}{before}"));
                thread::sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        let Some(place) = Place::take(shared, &stream) else { continue };
        let serving = thread::Builder::new()
            .name("proxy connection".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || serve(&stream, &place));
        if let Err(error) = serving {
            trouble.say(|before| warn!("no thread for a connection: {error}{before}"));
        }
    }
}

/// One of the connections that may be open; its end is the connection's.
struct Place {
    shared: Arc<Shared>,
    number: u64,
}

impl Place {
    fn take(shared: &Arc<Shared>, stream: &Arc<Stream>) -> Option<Self> {
        let most = shared.limits.connections;
        let mut open = shared.open();
        if open.stopped {
            return None;
        }
        if open.pairs.len() >= most {
            drop(open);
            shared.refused.fetch_add(1, SeqCst);
            shared
                .full
                .say(|before| warn!("closed a connection: {most} are open already{before}; see --max-connections"));
            return None;
        }
        let number = open.next;
        open.next += 1;
        open.pairs.insert(number, vec![Arc::clone(stream)]);
        Some(Self { shared: Arc::clone(shared), number })
    }

    /// Lets a stop cut the target's side, too; false if it was stopped already.
    fn add(&self, stream: &Arc<Stream>) -> bool {
        let mut open = self.shared.open();
        if let Some(pair) = open.pairs.get_mut(&self.number) {
            pair.push(Arc::clone(stream));
        }
        !open.stopped
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.open().pairs.remove(&self.number);
        self.shared.one_ended.notify_all();
    }
}

fn serve(enclave: &Stream, place: &Place) {
    let Place { shared, number } = place;
    let begun = std::time::Instant::now();
    let target = match shared.target.dial(shared.limits.connect) {
        Ok(target) => Arc::new(target),
        Err(error) => {
            shared.failed.fetch_add(1, SeqCst);
            shared.unreachable.say(|before| warn!("cannot reach {}: {error}{before}", shared.target));
            return;
        }
    };
    if !place.add(&target) {
        return;
    }
    shared.connected.fetch_add(1, SeqCst);
    if shared.unreachable.clear() {
        info!("{} is reached again", shared.target);
    }
    debug!("connection {number}: connected to {} after {:?}", shared.target, begun.elapsed());
    match splice(enclave, &target) {
        Ok((sent, received)) => debug!("connection {number}: ended, {sent} bytes out and {received} in"),
        Err(error) => debug!("connection {number}: broke off: {error}"),
    }
}
