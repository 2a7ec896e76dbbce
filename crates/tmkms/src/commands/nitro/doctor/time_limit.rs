//! A group of checks in a thread of its own: it may take so long, and whatever becomes of it, the others go on.
use super::finding::{Finding, Say};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

enum Told<T> {
    Finding(Finding),
    Done(T),
}

/// A group that is being looked at.
pub(super) struct Running<T> {
    limit: Duration,
    until: Instant,
    told: Receiver<Told<T>>,
}

/// Starts a group.
pub(super) fn start<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce(Say<'_>) -> T + Send + 'static,
) -> Running<T> {
    let (send, told) = mpsc::channel();
    let until = Instant::now() + limit;
    let thread = thread::Builder::new().name("doctor".to_owned()).spawn(move || {
        // Nobody listens any more once the time is over.
        let done = work(&mut |finding| drop(send.send(Told::Finding(finding))));
        let _ = send.send(Told::Done(done));
    });
    // Without a thread nothing is told, and the receiver sees the end.
    drop(thread);
    Running { limit, until, told }
}

impl<T> Running<T> {
    /// What it found, and its result if it came to one.
    pub(super) fn finish(self) -> (Vec<Finding>, Option<T>) {
        let mut findings = Vec::new();
        loop {
            match self.told.recv_timeout(self.until.saturating_duration_since(Instant::now())) {
                Ok(Told::Finding(finding)) => findings.push(finding),
                Ok(Told::Done(result)) => return (findings, Some(result)),
                Err(RecvTimeoutError::Timeout) => {
                    let found = format!("expected an end within {} s, got none", self.limit.as_secs_f64());
                    let help = "what it had found by then stands above; see whether a disk, a name server or a program that \
                                gives credentials hangs";
                    findings.push(Finding::warning("time", found, help));
                    return (findings, None);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let help = "report it, with what stands on stderr; the other checks are not touched by it";
                    findings.push(Finding::error("fault", "these checks broke off: a fault of tmkms", help));
                    return (findings, None);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn a_group_that_hangs_or_breaks_keeps_what_it_found_and_says_so() {
        let (findings, result) = start(Duration::from_secs(60), |say| {
            say(Finding::ok("a", "found"));
            7
        })
        .finish();
        assert_eq!((findings, result), (vec![Finding::ok("a", "found")], Some(7)));

        let begun = Instant::now();
        let hanging = start(Duration::from_millis(100), |say| {
            say(Finding::ok("a", "found"));
            thread::sleep(Duration::from_secs(600));
        });
        let (findings, result) = hanging.finish();
        assert!(begun.elapsed() < Duration::from_secs(60) && result.is_none());
        assert_eq!((findings[0].check, findings[1].check, findings[1].verdict), ("a", "time", Verdict::Warning));
        assert!(findings[1].found.contains("within 0.1 s"), "{findings:?}");

        let breaking = start(Duration::from_secs(60), |say| -> u32 {
            say(Finding::ok("a", "found"));
            panic!("as it is told to, by a test");
        });
        let (findings, result) = breaking.finish();
        assert!(result.is_none());
        assert_eq!((findings[0].check, findings[1].check, findings[1].verdict), ("a", "fault", Verdict::Error));
    }
}
