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
    /// Whether the last line is of a trouble that is not over.
    troubled: bool,
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
        said.troubled = true;
        drop(said);
        match unsaid {
            0 => line(""),
            unsaid => line(&format!(" ({unsaid} more since the last such line)")),
        }
    }

    /// The trouble is over. Whether that is worth a line: once for each line that said it.
    pub(super) fn clear(&self) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut said.troubled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_that_comes_and_goes_is_said_once_in_a_while() {
        let throttle = Throttle::default();
        let (mut lines, mut ends) = (0, 0);
        for _ in 0..100 {
            throttle.say(|more| {
                assert_eq!(more, "");
                lines += 1;
            });
            ends += usize::from(throttle.clear());
        }
        assert_eq!((lines, ends), (1, 1));
        throttle.0.lock().unwrap().last = None;
        throttle.say(|more| assert_eq!(more, " (99 more since the last such line)"));
        assert!(throttle.clear());
    }
}
