//! When to push again: before credentials expire, and after something failed.
use std::time::Duration;

/// How long before their end credentials are replaced at the latest. AWS's instance roles have new ones at least five
/// minutes before ("IAM roles for Amazon EC2").
const BEFORE_EXPIRY: Duration = Duration::from_secs(600);
/// Never more often than this.
const SHORTEST: Duration = Duration::from_secs(60);

/// How long to wait before new credentials are fetched for some that live for `left`: three quarters of that, or until ten
/// minutes before the end, whichever is earlier; never less than a minute.
#[must_use]
pub fn refresh_after(left: Duration) -> Duration {
    (left * 3 / 4).min(left.saturating_sub(BEFORE_EXPIRY)).max(SHORTEST)
}

/// Pauses between attempts: doubled after each failure, up to a minute.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure: 2 s, 4 s, … 60 s.
    pub fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1).min(6);
        Duration::from_secs(1 << self.failures).min(Duration::from_secs(60))
    }

    /// It went well.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_replaced_at_three_quarters_of_their_life_or_ten_minutes_before_its_end() {
        let after = |seconds| refresh_after(Duration::from_secs(seconds)).as_secs();
        assert_eq!(after(6 * 3600), 16_200);
        assert_eq!(after(3600), 2700);
        assert_eq!(after(2400), 1800);
        assert_eq!(after(1200), 600);
        for seconds in [0, 30, 600, 650] {
            assert_eq!(after(seconds), 60, "{seconds}");
        }
    }

    #[test]
    fn attempts_become_rarer_up_to_one_a_minute_and_frequent_again_after_a_success() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..8).map(|_| backoff.failed().as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60, 60]);
        backoff.succeeded();
        assert_eq!(backoff.failed().as_secs(), 2);
    }
}
