//! Stopping: one flag for all, the sockets that wait, and the wait for what is still being answered.
use crate::connection::Socket;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Asks all sessions to end, without cutting off one that is answering. Clones are the same handle.
///
/// Not for use inside a signal handler: it locks. A thread that waits for signals calls it.
#[derive(Clone, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The same as in `state`, to be read without the lock before each request.
    is_set: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_set: bool,
    /// Threads wait before their first dial.
    is_held: bool,
    sockets: HashMap<u64, Socket>,
    next_socket: u64,
    threads: usize,
}

impl Stop {
    /// A handle that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every session as soon as it has answered what it has read, and starts none. Returns at once.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.is_set = true;
        self.0.is_set.store(true, SeqCst);
        state.sockets.values().for_each(Socket::stop_reading);
        self.0.changed.notify_all();
    }

    /// A handle whose threads wait until [`Stop::release`].
    pub(crate) fn held() -> Self {
        let stop = Self::new();
        stop.lock().is_held = true;
        stop
    }

    /// Lets threads begin that were held.
    pub(crate) fn release(&self) {
        self.lock().is_held = false;
        self.0.changed.notify_all();
    }

    /// Waits until threads may begin, or until it is set.
    pub(crate) fn wait_for_release(&self) {
        self.wait_until(None, |state| state.is_set || !state.is_held);
    }

    /// Whether it was set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.is_set.load(SeqCst)
    }

    /// Waits for a while, or until it is set. Says whether it is.
    pub(crate) fn pause(&self, duration: Duration) -> bool {
        self.wait_until(Some(Instant::now() + duration), |state| state.is_set)
    }

    /// Lets `stop` wake reads of this socket until the returned value is dropped; none if it is set already.
    pub(crate) fn watch(&self, socket: &Socket) -> Option<Watched> {
        let mut state = self.lock();
        if state.is_set {
            return None;
        }
        let id = state.next_socket;
        state.next_socket += 1;
        state.sockets.insert(id, socket.clone());
        Some(Watched { stop: self.clone(), id })
    }

    /// Counts a thread until the returned value is dropped.
    pub(crate) fn count_thread(&self) -> Running {
        self.lock().threads += 1;
        Running(self.clone())
    }

    /// Waits until no session is open. Threads that only dial are not waited for: they hold nothing, and begin
    /// nothing once the handle is set. Says whether that was reached.
    pub(crate) fn wait_for_sessions(&self, limit: Duration) -> bool {
        self.wait_until(Some(Instant::now() + limit), |state| state.sockets.is_empty())
    }

    /// Waits until it is set, or until no thread is left.
    pub(crate) fn wait(&self) {
        self.wait_until(None, |state| state.is_set || state.threads == 0);
    }

    fn wait_until(&self, deadline: Option<Instant>, mut reached: impl FnMut(&State) -> bool) -> bool {
        let mut state = self.lock();
        while !reached(&state) {
            let Some(deadline) = deadline else {
                state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket that `stop` can wake.
pub(crate) struct Watched {
    stop: Stop,
    id: u64,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stop.lock().sockets.remove(&self.id);
        self.stop.0.changed.notify_all();
    }
}

/// A thread that runs.
pub(crate) struct Running(Stop);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().threads -= 1;
        self.0.0.changed.notify_all();
    }
}
