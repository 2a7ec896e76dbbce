//! The control port: one request a connection, a thread each, all of it bounded.
//!
//! The port can be reached by any process of the parent, so what is asked is hostile until its proof was checked. A
//! push has to prove and to carry the token that rules, reading the log has to prove it; status and metrics are nobody's
//! secret.
mod places;
mod request;
mod token;

pub(crate) use token::RulingToken;

use places::Places;

use crate::attestation::Attestation;
use crate::board::Board;
use crate::desk::Desk;
use log::{debug, warn};
use signer::Build;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;
use wire::endpoint::{Listener, Parent, Stopper, Stream};

/// How many connections may follow the log, so that there is always room for a push.
const MAX_FOLLOWERS: usize = 4;
/// How many may read the log as it is.
const MAX_READERS: usize = 2;
/// How many may have a document made: the module makes one at a time, in some milliseconds.
const MAX_ATTESTERS: usize = 2;
/// How many may push: one is worked on, one waits.
const MAX_PUSHERS: usize = 2;
/// The stack of a connection's thread, in bytes.
const STACK_BYTES: usize = 192 * 1024;
/// After a failed accept (too many open files), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What connections share.
pub(crate) struct Shared {
    board: Arc<Board>,
    desk: Arc<Desk>,
    token: Arc<RulingToken>,
    build: Build,
    attestation: Attestation,
    places: Arc<Places>,
    followers: AtomicUsize,
    readers: AtomicUsize,
    pushers: AtomicUsize,
    attesters: AtomicUsize,
}

/// The port, for as long as this value lives.
pub(crate) struct Control {
    stopper: Stopper,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}

/// Listens, and serves on threads of its own.
pub(crate) fn start((parent, port): (&Parent, u32), shared: Shared) -> io::Result<Control> {
    let listener = Listener::in_enclave(parent, port)?;
    let stopper = listener.stopper();
    let shared = Arc::new(shared);
    let accepting = move || accept(&listener, &shared);
    thread::Builder::new().name("control".to_owned()).stack_size(STACK_BYTES).spawn(accepting)?;
    Ok(Control { stopper })
}

fn accept(listener: &Listener, shared: &Arc<Shared>) {
    let stopper = listener.stopper();
    loop {
        let stream = match listener.accept() {
            Ok(stream) => stream,
            Err(_) if stopper.is_stopped() => return,
            Err(error) => {
                warn!("cannot accept a connection on the control port: {error}");
                thread::sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        serve_on_thread(stream, shared);
    }
}

/// Both a full house and a missing thread end in a closed connection, which the parent can repeat.
fn serve_on_thread(stream: Stream, shared: &Arc<Shared>) {
    let stream = Arc::new(stream);
    let Some(place) = shared.places.take(&stream) else {
        shared.refused("too-many");
        return;
    };
    if place.is_anothers {
        shared.refused("too-many");
    }
    let (name, shared) = ("control request".to_owned(), Arc::clone(shared));
    let _ = thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || {
        if let Err(error) = request::serve(stream, &place, &shared) {
            debug!("a connection on the control port ended: {error}");
        }
    });
}

impl Shared {
    pub(crate) fn new(
        board: Arc<Board>,
        desk: Arc<Desk>,
        token: Arc<RulingToken>,
        build: Build,
        attestation: Attestation,
    ) -> Self {
        Self {
            board,
            desk,
            token,
            build,
            attestation,
            places: Arc::default(),
            followers: AtomicUsize::new(0),
            readers: AtomicUsize::new(0),
            pushers: AtomicUsize::new(0),
            attesters: AtomicUsize::new(0),
        }
    }

    /// Counts, and logs ever less often.
    fn refused(&self, reason: &'static str) {
        let count = self.board.counts.refused(reason);
        if count.is_power_of_two() || count.is_multiple_of(1_024) {
            warn!(reason, count; "a request on the control port was refused");
        }
    }
}

/// One of a bounded number of something.
struct Share(Arc<Shared>, fn(&Shared) -> &AtomicUsize);

impl Share {
    fn take(shared: &Arc<Shared>, of: fn(&Shared) -> &AtomicUsize, most: usize) -> Option<Self> {
        let share = Self(Arc::clone(shared), of);
        (of(shared).fetch_add(1, SeqCst) < most).then_some(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, SeqCst);
    }
}
