//! `tmkms nitro persist`: keeps the signing records of enclaves in files of the parent.
//!
//! Each connection is one enclave's hold on the record of one key on one chain: it opens it, which fences its earlier
//! connections, recovers it, and commits to it. Everything goes through the host signer's own file store, with its lock, its
//! compare-and-swap, its epochs, and its acknowledgement after the sync only; so `tmkms state` works on the same files.
//!
//! # Who holds a record
//! One enclave life at a time. The same life may open again, from a new connection: the old one is fenced, and what
//! arrives on it late is refused. Another life is refused as long as the holder's connection stands. When it ends, the
//! file is closed and its lock is free.
//!
//! # What it remembers
//! The last record that it acknowledged of each key, as long as it runs, whatever file it was in: a file that was put back
//! meanwhile is refused, and so is another one in its place. A file that was put back while this was not running looks
//! like the file it once was.
//!
//! # What it does not pass over
//! A file that cannot be read may be any key's. While there is one at its places, nothing is opened.
//!
//! # What it proves, and to whom
//! Its answers are proven to the enclave by the control token. The enclave proves nothing here: who can reach the port can
//! raise a record, which stops a validator, and can never lower one.
mod candidates;
mod connection;
mod kept;
mod memory;
mod places;
mod quiet;
mod record;
mod token;

pub use places::Places;
pub use token::{DEFAULT_TOKEN_FILE, TokenError, TokenFile};

use guard::{Identity, StoreError};
use log::{info, warn};
use memory::Memory;
use quiet::Quiet;
use record::{Claim, Lease, Slot};
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use wire::endpoint::{Listener, Stopper};
use wire::state::Life;

/// How many connections may stand at once. An enclave has one for each of its chains.
const MAX_CONNECTIONS: usize = 256;
/// How long an opening waits for what is being done to its file: less than [`store::remote::ANSWER_LIMIT`], for which the enclave
/// waits. A disk that hangs then keeps one thread for each key, and not one for each attempt.
const OPENING_WAIT: Duration = Duration::from_secs(1);
/// After an error of the listening socket (too many open files, for one).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running server; it runs until it is stopped.
pub struct Persist {
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What a server may do otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// This program's version, for the hello.
    pub software: &'static str,
    /// How long an opening waits for the connection of another life to end: an enclave that was just terminated is gone
    /// within this. Less than [`store::remote::ANSWER_LIMIT`], for which the enclave that opens waits.
    pub hand_over: Duration,
}

impl Options {
    /// The usual ones.
    #[must_use]
    pub const fn new(software: &'static str) -> Self {
        Self { software, hand_over: Duration::from_millis(500) }
    }
}

/// Stops a server, from another thread.
#[derive(Clone)]
pub struct StopHandle(Arc<Shared>);

struct Shared {
    places: Places,
    token: TokenFile,
    options: Options,
    memory: Arc<Memory>,
    slots: Mutex<Vec<Arc<Slot>>>,
    connections: Mutex<Vec<(u64, Arc<UnixStream>)>>,
    last: AtomicU64,
    stopper: Stopper,
    quiet: Quiet,
}

impl Persist {
    /// Serves what comes in at the listener.
    ///
    /// # Errors
    /// The system's, if there is no thread to be had.
    pub fn start(listener: Listener, places: Places, token: TokenFile, options: Options) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            places,
            token,
            options,
            memory: Arc::default(),
            slots: Mutex::default(),
            connections: Mutex::default(),
            last: AtomicU64::new(0),
            stopper: listener.stopper(),
            quiet: Quiet::default(),
        });
        let accepting = Arc::clone(&shared);
        let accepting =
            thread::Builder::new().name("persist".to_owned()).spawn(move || accept(&accepting, &listener))?;
        Ok(Self { shared, accepting })
    }

    /// For whoever waits for a signal.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(Arc::clone(&self.shared))
    }

    /// Ends: what is being committed is finished and answered, nothing new is taken.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Waits until everything has ended, after a [`Persist::stop`].
    pub fn wait(self) {
        if self.accepting.join().is_err() {
            warn!("the thread that accepts connections failed; this is a fault of tmkms, report it");
        }
    }
}

impl StopHandle {
    /// As [`Persist::stop`].
    pub fn stop(&self) {
        self.0.stop();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn open(&self, identity: &Identity, life: Life, stream: &Arc<UnixStream>) -> Result<(Lease, u64), StoreError> {
        let begun = Instant::now();
        let (hand_over, until) = (begun + self.options.hand_over, begun + OPENING_WAIT);
        // Until this ends, no other file is chosen for the key.
        let opening = self.memory.begin(identity, until)?;
        let slot = self.slot_for(self.places.find(identity)?);
        let claim = Claim { identity, life, stream, cid: wire::endpoint::peer_cid(stream), hand_over, until };
        if let Some(other) = opening.held_besides(&slot) {
            other.give_up(&claim)?;
        }
        let opened = slot.open(&claim)?;
        opening.holds(&slot);
        Ok(opened)
    }

    /// The slot of a file; one file has one, by whatever name it was found.
    fn slot_for(&self, path: PathBuf) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.iter().find(|slot| slot.is_of(&path)) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(Slot::new(path, Arc::clone(&self.memory)));
        slots.push(Arc::clone(&slot));
        slot
    }

    fn stop(&self) {
        self.stopper.stop();
        // Only the reading ends: an answer that is on its way still goes out.
        for (_, stream) in lock(&self.connections).iter() {
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    /// Takes a connection in, unless there are too many.
    fn admit(&self, stream: UnixStream) -> Option<(u64, Arc<UnixStream>)> {
        let mut connections = lock(&self.connections);
        if connections.len() >= MAX_CONNECTIONS {
            self.quiet.say(|| warn!("a connection was refused: there are {MAX_CONNECTIONS} already"));
            return None;
        }
        let connection = (self.last.fetch_add(1, SeqCst), Arc::new(stream));
        connections.push((connection.0, Arc::clone(&connection.1)));
        // `stop` may have gone through the others already.
        if self.stopper.is_stopped() {
            let _ = connection.1.shutdown(Shutdown::Read);
        }
        Some(connection)
    }

    fn dismiss(&self, number: u64) {
        lock(&self.connections).retain(|(other, _)| *other != number);
    }
}

/// A connection that is counted until its thread ends, however it ends.
struct Admitted<'a>(&'a Shared, u64);

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.0.dismiss(self.1);
    }
}

/// Accepts until it is stopped, then waits for every connection to end.
fn accept(shared: &Arc<Shared>, listener: &Listener) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    loop {
        let stream = match listener.accept() {
            Ok(stream) => stream,
            Err(_) if shared.stopper.is_stopped() => break,
            Err(error) => {
                shared.quiet.say(|| warn!("no connection could be taken: {error}"));
                thread::sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        threads.retain(|thread| !thread.is_finished());
        let Some((number, stream)) = shared.admit(stream) else { continue };
        let served = Arc::clone(shared);
        let thread = thread::Builder::new().name("record".to_owned()).spawn(move || {
            let _admitted = Admitted(&served, number);
            connection::serve(&served, &stream);
        });
        match thread {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                shared.dismiss(number);
                warn!("no thread for a connection: {error}");
            }
        }
    }
    for thread in threads {
        // A panic there is in the log, and has let go of its record.
        let _ = thread.join();
    }
    info!("stopped");
}
