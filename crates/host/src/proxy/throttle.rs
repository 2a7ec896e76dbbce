//! Says the same trouble at most once in ten seconds, with how often it was there in between.
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two lines about the same trouble.
const PAUSE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Throttle(Mutex<Said>);

#[derive(Default)]
struct Said {
    last: Option<Instant>,
    unsaid: u64,
}

impl Throttle {
    /// Lets `line` say it, with the end of its sentence, unless it was said a moment ago.
    pub(super) fn say(&self, line: impl FnOnce(&str)) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.last.is_some_and(|last| last.elapsed() < PAUSE) {
            said.unsaid += 1;
            return;
        }
        let unsaid = std::mem::take(&mut said.unsaid);
        said.last = Some(Instant::now());
        drop(said);
        match unsaid {
            0 => line(""),
            unsaid => line(&format!(" ({unsaid} more since the last such line)")),
        }
    }

    /// The trouble is over: the next one is said at once. Whether there was any.
    pub(super) fn clear(&self) -> bool {
        let said = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        said.last.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_said_once_until_it_is_over() {
        let throttle = Throttle::default();
        let mut lines = 0;
        for _ in 0..100 {
            throttle.say(|_| lines += 1);
        }
        assert!(throttle.clear());
        assert!(!throttle.clear());
        throttle.say(|before| assert_eq!(before, ""));
        assert_eq!(lines, 1);
    }
}
