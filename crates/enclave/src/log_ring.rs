//! The log's last lines, in the enclave's memory, for whoever asks for them from the parent.
//!
//! A line never waits for a reader: where there is no room, the oldest lines go. A reader who comes too late is told how
//! many it missed. Overloading one direction of vsock with log lines has hung enclaves; here nothing is sent unasked.
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wire::control::LogLine;

/// The most lines that are kept.
pub const MAX_LINES: usize = 2_000;
/// The most bytes that all kept lines have together.
pub const MAX_RING_BYTES: usize = 512 << 10;
/// The longest line, in bytes; longer ones are cut.
pub const MAX_LINE_BYTES: usize = 4 << 10;
/// The most lines that are handed out at once.
const MAX_BATCH_LINES: usize = 64;

/// The ring.
#[derive(Default)]
pub struct LogRing {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Default)]
struct State {
    /// The oldest first.
    lines: VecDeque<Box<str>>,
    bytes: usize,
    /// The number of the first kept line, less one: how many were dropped.
    dropped: u64,
    is_closed: bool,
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The lines, in their order.
    pub lines: Vec<LogLine>,
    /// Lines that were wanted but are gone.
    pub missed: u64,
}

impl LogRing {
    /// An empty ring.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line, without its end.
    pub fn push(&self, line: &str) {
        let line = line.trim_end_matches('\n');
        let line = &line[..line.floor_char_boundary(MAX_LINE_BYTES)];
        let mut state = self.lock();
        while state.lines.len() >= MAX_LINES || state.bytes + line.len() > MAX_RING_BYTES {
            let Some(oldest) = state.lines.pop_front() else { break };
            state.bytes -= oldest.len();
            state.dropped += 1;
        }
        state.bytes += line.len();
        state.lines.push_back(line.into());
        drop(state);
        self.grown.notify_all();
    }

    /// Lines from that number on (0: from the oldest), at most some dozens.
    #[must_use]
    pub fn read(&self, from: u64) -> Batch {
        self.lock().batch(from)
    }

    /// The same, but waits for a while if there is none yet; at once if the ring was closed.
    #[must_use]
    pub fn wait(&self, from: u64, limit: Duration) -> Batch {
        let has_none = |state: &mut State| !state.is_closed && state.next() <= from.max(1);
        let waited = self.grown.wait_timeout_while(self.lock(), limit, has_none);
        waited.unwrap_or_else(PoisonError::into_inner).0.batch(from)
    }

    /// The number of the line that comes next.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.lock().next()
    }

    /// How many lines were dropped to make room, since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Wakes whoever waits: no more lines will be waited for.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.grown.notify_all();
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Nothing that this protects can be left half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The number of the line that comes next.
    fn next(&self) -> u64 {
        self.dropped + self.lines.len() as u64 + 1
    }

    fn batch(&self, from: u64) -> Batch {
        let oldest = self.dropped + 1;
        let missed = if from == 0 { 0 } else { oldest.saturating_sub(from) };
        let skipped = usize::try_from(from.saturating_sub(oldest)).unwrap_or(usize::MAX);
        let first = from.max(oldest);
        let lines = self.lines.iter().skip(skipped).take(MAX_BATCH_LINES);
        let lines = (first..).zip(lines).map(|(number, text)| LogLine { number, text: text.to_string() });
        Batch { lines: lines.collect(), missed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_numbers_and_the_oldest_make_room() {
        let ring = LogRing::new();
        for number in 1..=MAX_LINES + 10 {
            ring.push(&format!("line {number}\n"));
        }
        assert_eq!(ring.dropped(), 10);
        let batch = ring.read(0);
        assert_eq!(batch.lines[0], LogLine { number: 11, text: "line 11".to_owned() });
        assert_eq!((batch.lines.len(), batch.missed), (MAX_BATCH_LINES, 0));
        assert_eq!(ring.read(4).missed, 7);
        let last = ring.read(MAX_LINES as u64 + 10);
        assert_eq!((last.lines.len(), last.missed), (1, 0));
        assert!(ring.read(MAX_LINES as u64 + 11).lines.is_empty());
        assert!(ring.read(u64::MAX).lines.is_empty());
    }

    #[test]
    fn the_bytes_are_bounded_and_a_long_line_is_cut() {
        let ring = LogRing::new();
        for _ in 0..200 {
            ring.push(&"é".repeat(4_000));
        }
        let state = ring.lock();
        assert!(state.bytes <= MAX_RING_BYTES && state.lines.len() >= 128, "{}", state.bytes);
        assert_eq!(state.dropped + state.lines.len() as u64, 200);
        assert!(state.lines.iter().all(|line| line.len() == MAX_LINE_BYTES));
    }

    #[test]
    fn a_reader_that_waits_is_woken_by_a_line_and_by_the_end() {
        let ring = std::sync::Arc::new(LogRing::new());
        let reader = {
            let ring = std::sync::Arc::clone(&ring);
            std::thread::spawn(move || {
                let first = ring.wait(1, Duration::from_secs(60));
                (first, ring.wait(2, Duration::from_secs(60)))
            })
        };
        ring.push("one");
        ring.close();
        let (first, end) = reader.join().unwrap();
        assert_eq!((first.lines.len(), end.lines.len()), (1, 0));
    }
}
