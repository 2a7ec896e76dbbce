//! Where a push waits until the enclave takes it: one at a time.
use crate::lock;
use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;
use wire::control::{Answer, Ceremony, Failure, Phase, Progress, Push, Serving};
use wire::endpoint::Stream;

/// What is to be done.
pub(crate) enum Work {
    Push(Box<Push>),
    Ceremony(Box<Ceremony>),
}

/// Work on its way, and whoever waits for word of it.
pub(crate) struct Job {
    pub(crate) work: Work,
    words: Sender<Answer>,
}

impl Job {
    /// A job, and where its answers come out. The last of them is [`Answer::Serving`] or [`Answer::Failed`].
    pub(crate) fn new(work: Work) -> (Self, Receiver<Answer>) {
        let (words, answers) = channel();
        (Self { work, words }, answers)
    }

    /// Splits off what is told to whoever pushed. That it went away meanwhile changes nothing.
    pub(crate) fn open(self) -> (Work, Pusher) {
        (self.work, Pusher(self.words))
    }
}

/// Whoever pushed.
pub(crate) struct Pusher(Sender<Answer>);

impl Pusher {
    pub(crate) fn progress(&self, phase: Phase, detail: impl Into<String>) {
        let _ = self.0.send(Answer::Progress(Progress { phase, detail: detail.into() }));
    }

    /// The last word on a ceremony.
    pub(crate) fn answer(self, result: Result<Answer, Failure>) {
        let _ = self.0.send(result.unwrap_or_else(Answer::Failed));
    }

    pub(crate) fn end(self, result: Result<Serving, Failure>) {
        let _ = self.0.send(match result {
            Ok(serving) => Answer::Serving(serving),
            Err(failure) => Answer::Failed(failure),
        });
    }
}

/// The desk.
#[derive(Default)]
pub(crate) struct Desk {
    state: Mutex<State>,
    changed: Condvar,
    is_ending: AtomicBool,
    /// What the push that is worked on waits for, outside.
    outside: Mutex<Option<Stream>>,
}

#[derive(Default)]
struct State {
    waiting: Option<Job>,
    /// The last one that was taken is still being worked on.
    is_busy: bool,
}

impl Desk {
    /// Puts a push down, as soon as no other is there. Gives it back after `limit`, or at the end.
    pub(crate) fn put(&self, job: Job, limit: Duration) -> Result<(), Job> {
        let is_taken = |state: &mut State| !self.is_ending() && (state.is_busy || state.waiting.is_some());
        let (mut state, waited) =
            self.changed.wait_timeout_while(lock(&self.state), limit, is_taken).unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() || self.is_ending() {
            return Err(job);
        }
        state.waiting = Some(job);
        self.changed.notify_all();
        Ok(())
    }

    /// Waits for the next push; the one before is done. None at the end.
    pub(crate) fn take(&self) -> Option<Job> {
        let mut state = lock(&self.state);
        state.is_busy = false;
        self.changed.notify_all();
        let is_empty = |state: &mut State| !self.is_ending() && state.waiting.is_none();
        let mut state = self.changed.wait_while(state, is_empty).unwrap_or_else(PoisonError::into_inner);
        let job = state.waiting.take().filter(|_| !self.is_ending());
        state.is_busy = job.is_some();
        job
    }

    /// Ends the waiting, and whatever looks at [`Desk::is_ending`].
    pub(crate) fn end(&self) {
        let _state = lock(&self.state);
        self.is_ending.store(true, SeqCst);
        self.changed.notify_all();
        if let Some(stream) = lock(&self.outside).take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// A push is about to wait for that stream, which the end shuts down, until [`Desk::waits_no_more`].
    ///
    /// # Errors
    /// It ends already; or the system's.
    pub(crate) fn waits_for(&self, stream: &Stream) -> io::Result<()> {
        let mut outside = lock(&self.outside);
        if self.is_ending() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the enclave was told to end"));
        }
        *outside = Some(stream.try_clone()?);
        Ok(())
    }

    pub(crate) fn waits_no_more(&self) {
        *lock(&self.outside) = None;
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.load(SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;
    use wire::token::Token;
    use zeroize::Zeroizing;

    fn push(config: &str) -> Work {
        let config = Zeroizing::new(config.to_owned());
        Work::Push(Box::new(Push { token: Token::new(&[1; 32]), config, credentials: None }))
    }

    fn config(job: Option<Job>) -> String {
        match job.map(|job| job.work) {
            Some(Work::Push(push)) => push.config.to_string(),
            _ => panic!("a push was to be there"),
        }
    }

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_second_push_waits_for_the_first_and_is_given_back_if_that_takes_too_long() {
        let desk = Arc::new(Desk::default());
        assert!(desk.put(Job::new(push("one")).0, SHORT).is_ok());
        assert!(desk.put(Job::new(push("two")).0, SHORT).is_err(), "one waits already");
        assert_eq!(config(desk.take()), "one");
        assert!(desk.put(Job::new(push("two")).0, SHORT).is_err(), "one is worked on");
        let waiting = {
            let desk = Arc::clone(&desk);
            thread::spawn(move || desk.put(Job::new(push("three")).0, LONG).is_ok())
        };
        assert_eq!(config(desk.take()), "three");
        assert!(waiting.join().unwrap());
    }

    #[test]
    fn the_end_wakes_whoever_waits_and_takes_no_more() {
        let desk = Arc::new(Desk::default());
        let taking = {
            let desk = Arc::clone(&desk);
            thread::spawn(move || desk.take().is_none())
        };
        desk.end();
        assert!(taking.join().unwrap());
        assert!(desk.put(Job::new(push("late")).0, LONG).is_err());
        assert!(desk.take().is_none());
    }

    #[test]
    fn a_pusher_that_went_away_stops_nothing() {
        let (job, answers) = Job::new(push("one"));
        drop(answers);
        let (_push, pusher) = job.open();
        pusher.progress(Phase::Checking, "");
        pusher.end(Ok(Serving::default()));
    }
}
