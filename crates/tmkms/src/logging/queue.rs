//! The lines that wait for stderr: a bounded queue and the one thread that writes.
use super::line::MAX_LINE_BYTES;
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How much may wait, in bytes: some thousand lines. As much again may be in the writer's hands.
const MAX_BYTES: usize = 1 << 20;
/// The writer's stack, in bytes.
const STACK_BYTES: usize = 128 * 1024;
/// Before trying again on a stderr that never blocks: its other end was left so by someone else.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Takes lines without ever waiting for whoever reads them.
pub(super) struct Queue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    drained: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// Whole lines, in their order.
    text: Vec<u8>,
    /// A line did not fit: none does until the writer has taken these, so that what is lost is lost in one place.
    is_full: bool,
    is_writing: bool,
    /// Lost and not told yet.
    untold: u64,
    /// Lost since the start.
    lost: u64,
}

impl Waiting {
    fn lose(&mut self, lines: u64) {
        self.untold += lines;
        self.lost += lines;
    }
}

impl Queue {
    /// Starts the thread that writes, for as long as the process lives. `tell_lost` makes the line that says how many
    /// are missing where it stands.
    pub(super) fn start(
        mut out: impl Write + Send + 'static,
        tell_lost: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let queue = Self(Arc::clone(&shared));
        let write = move || {
            loop {
                let text = shared.take(&tell_lost);
                shared.written(write_lines(&mut out, &text));
            }
        };
        thread::Builder::new().name("log".to_owned()).stack_size(STACK_BYTES).spawn(write)?;
        Ok(queue)
    }

    /// Puts whole lines at the end, or counts them as lost.
    pub(super) fn push(&self, lines: &str) {
        let mut waiting = self.0.lock();
        if waiting.is_full || waiting.text.len() + lines.len() > MAX_BYTES {
            waiting.is_full = true;
            return waiting.lose(count_lines(lines.as_bytes()));
        }
        // While it writes it looks by itself afterwards.
        let sleeps = waiting.text.is_empty() && !waiting.is_writing;
        waiting.text.extend_from_slice(lines.as_bytes());
        drop(waiting);
        if sleeps {
            self.0.filled.notify_one();
        }
    }

    /// Waits until all is written, at most that long. Says whether it is.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let is_busy = |waiting: &mut Waiting| waiting.is_writing || !waiting.text.is_empty();
        let waited = self.0.drained.wait_timeout_while(self.0.lock(), limit, is_busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// How many lines were lost since the start.
    pub(super) fn lost_lines(&self) -> u64 {
        self.0.lock().lost
    }
}

impl Shared {
    /// Waits for lines and takes them all, with the word on what was lost behind them.
    fn take(&self, tell_lost: &impl Fn(u64) -> String) -> Vec<u8> {
        let waiting = self.filled.wait_while(self.lock(), |waiting| waiting.text.is_empty());
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        waiting.is_writing = true;
        waiting.is_full = false;
        let mut text = mem::take(&mut waiting.text);
        let untold = mem::take(&mut waiting.untold);
        drop(waiting);
        if untold > 0 {
            text.extend_from_slice(tell_lost(untold).as_bytes());
        }
        text
    }

    fn written(&self, lost: u64) {
        let mut waiting = self.lock();
        waiting.is_writing = false;
        waiting.lose(lost);
        if waiting.text.is_empty() {
            self.drained.notify_all();
        }
    }

    /// Nothing that this protects can be left half done.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes, and says how many lines could not be written.
fn write_lines(out: &mut impl Write, mut text: &[u8]) -> u64 {
    while !text.is_empty() {
        let (group, rest) = text.split_at(group_bytes(text));
        if write_group(out, group).is_err() {
            return count_lines(text);
        }
        text = rest;
    }
    0
}

/// As many whole lines as a pipe takes at once: it takes all of them or none, so that no line is torn when the process
/// ends meanwhile, or mixed with another process's.
fn group_bytes(text: &[u8]) -> usize {
    if text.len() <= MAX_LINE_BYTES {
        return text.len();
    }
    let end = |byte: &u8| *byte == b'\n';
    let last = text[..MAX_LINE_BYTES].iter().rposition(end);
    last.or_else(|| text.iter().position(end)).map_or(text.len(), |at| at + 1)
}

fn write_group(out: &mut impl Write, mut group: &[u8]) -> io::Result<()> {
    while !group.is_empty() {
        match out.write(group) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => group = &group[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY_PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn count_lines(text: &[u8]) -> u64 {
    text.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// A reader that takes a write only when it is told to.
    struct Gate {
        writes: SyncSender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.writes.send(bytes.to_owned()).map_err(|_| ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue() -> (Queue, Receiver<Vec<u8>>) {
        let (writes, read) = sync_channel(0);
        (Queue::start(Gate { writes }, |lost| format!("lost {lost}\n")).unwrap(), read)
    }

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn lines_come_in_their_order_and_whole_and_what_is_lost_is_told_where_it_was() {
        let (queue, read) = queue();
        let pushed = 30_000;
        for number in 0..pushed {
            queue.push(&format!("line {number} {}\n", "x".repeat(80)));
        }
        assert!(!queue.flush(SHORT), "nobody reads");
        let lost = queue.lost_lines();
        // Twice MAX_BYTES can be on its way, waiting and in the writer's hands: some 23,000 of these lines.
        assert!(lost > pushed / 6 && lost < pushed, "{lost}");
        let reader = thread::spawn(move || {
            let mut text = String::new();
            while let Ok(write) = read.recv() {
                assert!(write.len() <= MAX_LINE_BYTES && write.ends_with(b"\n"));
                text.push_str(std::str::from_utf8(&write).unwrap());
                if text.ends_with("the end\n") {
                    break;
                }
            }
            text
        });
        assert!(queue.flush(LONG));
        queue.push("the end\n");
        let text = reader.join().unwrap();
        // When the writer comes late for its first lines there can be a second gap.
        let mut next = 0;
        for line in text.strip_suffix("the end\n").unwrap().lines() {
            match line.strip_prefix("lost ") {
                Some(count) => next += count.parse::<u64>().unwrap(),
                None => {
                    assert_eq!(line.split(' ').nth(1).unwrap().parse(), Ok(next));
                    next += 1;
                }
            }
        }
        assert_eq!(next, pushed);
    }

    #[test]
    fn a_reader_that_is_gone_costs_the_lines_and_no_more() {
        let (queue, read) = queue();
        drop(read);
        queue.push("one\ntwo\n");
        assert!(queue.flush(LONG));
        queue.push("three\n");
        assert!(queue.flush(LONG));
        // The word on the first two is lost as well.
        assert_eq!(queue.lost_lines(), 4);
    }
}
