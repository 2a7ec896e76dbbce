//! The places of the control port, and who has to go when all are taken.
//!
//! Any process of the parent can connect, so a place is nobody's before a proof: the newest caller takes that of the oldest
//! one that proved nothing. Those who proved something cannot take all places ([`MAX_FOLLOWERS`], [`MAX_READERS`] and [`MAX_PUSHERS`]).
use super::{MAX_FOLLOWERS, MAX_PUSHERS, MAX_READERS};
use crate::lock;
use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use wire::endpoint::Stream;

/// How many connections are served at once.
pub(super) const MAX_CONNECTIONS: usize = 10;
/// How many threads there are at most, with those of connections that were ended and are just noticing it.
const MAX_THREADS: usize = 2 * MAX_CONNECTIONS;
const _: () = assert!(
    MAX_FOLLOWERS + MAX_READERS + MAX_PUSHERS <= MAX_CONNECTIONS - 2,
    "two places are left for who proved nothing"
);

/// All places.
#[derive(Default)]
pub(super) struct Places {
    /// The oldest first.
    taken: Mutex<Vec<Arc<Taken>>>,
    threads: AtomicUsize,
}

struct Taken {
    stream: Arc<Stream>,
    is_proven: Mutex<bool>,
}

/// One place.
pub(super) struct Place {
    places: Arc<Places>,
    taken: Arc<Taken>,
    /// Whether another connection was hung up on for it.
    pub(super) is_anothers: bool,
}

impl Places {
    /// A place for that connection; the oldest connection that proved nothing is hung up on for it. None if there are
    /// more threads than that may end at once.
    pub(super) fn take(self: &Arc<Self>, stream: &Arc<Stream>) -> Option<Place> {
        let mut places = lock(&self.taken);
        if self.threads.load(SeqCst) >= MAX_THREADS {
            return None;
        }
        let is_anothers = places.len() >= MAX_CONNECTIONS;
        if is_anothers {
            let oldest = places.iter().position(|taken| !*lock(&taken.is_proven))?;
            // Whoever waits in it sees its end at once.
            let _ = places.remove(oldest).stream.shutdown(Shutdown::Both);
        }
        let taken = Arc::new(Taken { stream: Arc::clone(stream), is_proven: Mutex::new(false) });
        places.push(Arc::clone(&taken));
        self.threads.fetch_add(1, SeqCst);
        Some(Place { places: Arc::clone(self), taken, is_anothers })
    }
}

impl Place {
    /// Its caller has proven that it may ask: it is not hung up on for another one.
    pub(super) fn is_proven(&self) {
        *lock(&self.taken.is_proven) = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places.taken).retain(|taken| !Arc::ptr_eq(taken, &self.taken));
        self.places.threads.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn stream() -> (Arc<Stream>, Stream) {
        let (one, other) = Stream::pair().unwrap();
        other.set_nonblocking(true).unwrap();
        (Arc::new(one), other)
    }

    fn is_up(other: &mut Stream) -> bool {
        other.read(&mut [0]).is_err()
    }

    #[test]
    fn the_newest_takes_the_place_of_the_oldest_that_proved_nothing() {
        let places = Arc::new(Places::default());
        let mut all: Vec<_> = (0..MAX_CONNECTIONS)
            .map(|_| {
                let (one, other) = stream();
                (places.take(&one).unwrap(), other)
            })
            .collect();
        all[0].0.is_proven();
        let newest = places.take(&stream().0).unwrap();
        let up: Vec<_> = all.iter_mut().map(|(_, other)| is_up(other)).collect();
        assert!(!up[1] && up.iter().filter(|up| **up).count() == MAX_CONNECTIONS - 1, "{up:?}");
        // The place of one that was hung up on is taken: its end frees no other.
        drop(all.remove(1));
        assert_eq!(lock(&places.taken).len(), MAX_CONNECTIONS);
        drop(newest);
        assert_eq!(lock(&places.taken).len(), MAX_CONNECTIONS - 1);
    }

    #[test]
    fn threads_that_do_not_end_are_bounded_and_proven_places_are_kept() {
        let places = Arc::new(Places::default());
        let held: Vec<_> = (0..MAX_THREADS).map(|_| places.take(&stream().0).unwrap()).collect();
        assert!(places.take(&stream().0).is_none());
        drop(held);
        let held: Vec<_> = (0..MAX_CONNECTIONS).map(|_| places.take(&stream().0).unwrap()).collect();
        held.iter().for_each(Place::is_proven);
        assert!(places.take(&stream().0).is_none());
    }
}
