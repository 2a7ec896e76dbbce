//! When to dial again, and when to say so.
use std::time::Duration;

/// The wait after a first failure.
const SHORTEST: Duration = Duration::from_millis(50);

/// The longest wait. While no signer is connected a node's consensus stands still and each of its attempts waits for
/// 3 s, so more would lose rounds.
const LONGEST: Duration = Duration::from_secs(1);

/// Waits that double from 50 ms to 1 s, each shortened by up to a half, so that many connections to one node do not
/// come at once.
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { next: SHORTEST }
    }

    /// The next connection was good: begin anew.
    pub(crate) const fn reset(&mut self) {
        self.next = SHORTEST;
    }

    /// How long to wait now; `random` is any byte.
    pub(crate) fn wait(&mut self, random: u8) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(LONGEST);
        full - full / 2 * u32::from(random) / u32::from(u8::MAX)
    }
}

/// Lets ever fewer lines through. It counts and reads no clock.
pub(crate) struct Throttle {
    count: u64,
}

/// Beyond the doubling counts, each of these.
const EVERY: u64 = 64;

impl Throttle {
    /// For a dead node, dialled once a second: the 1st, 2nd, 4th, … 64th failure, then one a minute or so.
    pub(crate) const fn doubling() -> Self {
        Self { count: 0 }
    }

    /// Counts, and gives the count if it is to be logged.
    pub(crate) const fn next(&mut self) -> Option<u64> {
        self.count += 1;
        let count = self.count;
        let doubled = count <= EVERY && count.is_power_of_two();
        if doubled || count.is_multiple_of(EVERY) { Some(count) } else { None }
    }

    pub(crate) const fn reset(&mut self) {
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_50_ms_to_1_s_and_jitter_takes_up_to_a_half() {
        let mut backoff = Backoff::new();
        let full: Vec<_> = (0..7).map(|_| backoff.wait(0).as_millis()).collect();
        assert_eq!(full, [50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.wait(255), LONGEST / 2);
        backoff.reset();
        assert_eq!(backoff.wait(255), SHORTEST / 2);
    }

    #[test]
    fn a_dead_node_is_logged_at_doubling_counts_and_then_now_and_then() {
        let mut throttle = Throttle::doubling();
        let logged: Vec<_> = (0..200).filter_map(|_| throttle.next()).collect();
        assert_eq!(logged, [1, 2, 4, 8, 16, 32, 64, 128, 192]);
    }
}
