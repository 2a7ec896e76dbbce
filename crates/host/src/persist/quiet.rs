//! Lines that a peer can cause are said once a second at most, with how many were not said.
use log::warn;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_secs(1);

/// When the last line was said, and how many have been left out since.
#[derive(Default)]
pub(super) struct Quiet(Mutex<(Option<Instant>, u64)>);

impl Quiet {
    pub(super) fn say(&self, line: impl FnOnce()) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0.is_some_and(|at| at.elapsed() < PAUSE) {
            last.1 += 1;
            return;
        }
        let left_out = std::mem::replace(&mut *last, (Some(Instant::now()), 0)).1;
        drop(last);
        if left_out > 0 {
            warn!("{left_out} lines about connections were left out");
        }
        line();
    }
}
