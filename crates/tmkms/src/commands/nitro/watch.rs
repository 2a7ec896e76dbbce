//! `push-config --watch`: an enclave that was restarted gets its configuration again, and credentials never run out.
use super::asking;
use super::push_config::{Checked, Order, progress_line, serving_line};
use crate::config::LogSettings;
use crate::failure::{Exit, Failure};
use crate::logging;
use host::control_client::{Client, ClientError};
use host::push::{Backoff, refresh_after};
use log::{debug, error, info, warn};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wire::control::{Answer, Phase, Request, Status};

/// How often the enclave is asked how it is.
const POLL: Duration = Duration::from_secs(2);

/// How often a push may follow from what was seen alone, so that two watchers with two files make no storm.
const PAUSE_BETWEEN_CURES: Duration = Duration::from_secs(60);

/// What is known between two looks.
pub(super) struct Watch<F> {
    order: Order,
    read: F,
    /// When to push, whatever the enclave says: at first, after a failure, before credentials expire.
    due: Option<Instant>,
    /// When pushing may be tried again after a failure.
    not_before: Instant,
    backoff: Backoff,
    /// Since when the enclave runs, as it said last, in seconds.
    uptime: f64,
    is_reachable: bool,
    /// When a push may follow from what was seen alone: it cures neither a second pusher nor an unreadable status.
    not_again_before: Instant,
    /// Whether this file was pushed by us, and taken, in the enclave's present life.
    is_pushed: bool,
    /// Whether somebody who holds the control token replaced it since: then it is theirs to push.
    is_replaced: bool,
    /// When the pushed credentials expire, in seconds since 1970.
    expires_at: Option<i64>,
}

impl<F: Fn() -> Result<Checked, Failure>> Watch<F> {
    pub(super) fn new(order: Order, read: F) -> Result<Self, Failure> {
        let now = Instant::now();
        let backoff = Backoff::default();
        Ok(Self {
            order,
            read,
            due: Some(now),
            not_before: now,
            backoff,
            uptime: 0.0,
            is_reachable: true,
            not_again_before: now,
            is_pushed: false,
            is_replaced: false,
            expires_at: None,
        })
    }

    /// Until a signal.
    pub(super) fn run(mut self, verbose: bool) -> Result<(), Failure> {
        logging::install(LogSettings::default(), verbose)
            .map_err(|error| Failure::new(Exit::Runtime, format!("no thread for the log: {error}"), ""))?;
        let signals = signals()?;
        info!("watching {}", self.order.target);
        loop {
            self.look();
            match signals.recv_timeout(POLL) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(SIGHUP) => self.reload(),
                Ok(_) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        info!("stopped; the enclave goes on");
        Ok(())
    }

    /// One look at the enclave, and a push if it needs one.
    fn look(&mut self) {
        let client = match Client::connect(&self.order.target) {
            Ok(client) => client,
            Err(error) => return self.trouble(&asking::unreachable(&error)),
        };
        let now = Instant::now();
        let is_due = self.due.is_some_and(|due| due <= now);
        let needs_push = match status(client) {
            Ok(status) => {
                self.note(&status);
                self.note_replaced(&status);
                // First, so that it is told; a fresh enclave waits, and so does one whose first push failed.
                !self.is_replaced && (self.serves_another(&status) || is_due || status.phase == Phase::Waiting)
            }
            // It greets: what it cannot tell, it may still take.
            Err(failure) => {
                self.trouble(&failure);
                let is_time = self.is_time_again(now);
                !self.is_replaced && (is_due || is_time)
            }
        };
        if needs_push && self.not_before <= now {
            self.push();
        }
    }

    /// Tells the first of a row of troubles.
    fn trouble(&mut self, failure: &Failure) {
        if std::mem::replace(&mut self.is_reachable, false) {
            tell(failure);
        }
    }

    /// Tells what changed since the last look.
    fn note(&mut self, status: &Status) {
        if !std::mem::replace(&mut self.is_reachable, true) {
            info!("{} answers again", self.order.target);
        }
        let was_restarted = status.uptime_seconds < self.uptime;
        self.uptime = status.uptime_seconds;
        if was_restarted {
            self.is_pushed = false;
            info!("the enclave was restarted, and is {}", asking::phase(status.phase));
        }
    }

    /// Ours was taken, and another one is served: whoever replaced it holds the control token and meant it. To push ours again could
    /// bring back a chain that was taken out, and whose key by now signs elsewhere.
    fn note_replaced(&mut self, status: &Status) {
        let own = self.order.file.sha256();
        let other = status.config_sha256.as_ref().filter(|found| **found != own && status.phase == Phase::Serving);
        let was_replaced = self.is_replaced;
        self.is_replaced = self.is_pushed && other.is_some();
        if let Some(found) = other
            && self.is_replaced
            && !was_replaced
        {
            error!(
                "somebody else pushed another configuration than {}: expected SHA-256 {own}, got {}; it is left alone, and its \
                 credentials are not refreshed: send SIGHUP to push the file as it is now, or end this watch",
                self.order.file.config.path.display(),
                asking::plain(found)
            );
        }
    }

    /// Whether it serves another text than ours, though nobody could replace ours, and it is time to do something about it.
    fn serves_another(&mut self, status: &Status) -> bool {
        let own = self.order.file.sha256();
        let Some(found) = status.config_sha256.as_ref().filter(|found| **found != own) else { return false };
        if status.phase != Phase::Serving || !self.is_time_again(Instant::now()) {
            return false;
        }
        warn!(
            "the enclave serves another configuration than {}: expected SHA-256 {own}, got {}; ours is pushed",
            self.order.file.config.path.display(),
            asking::plain(found)
        );
        true
    }

    /// At most once in [`PAUSE_BETWEEN_CURES`].
    fn is_time_again(&mut self, now: Instant) -> bool {
        let is_time = self.not_before <= now && self.not_again_before <= now;
        if is_time {
            self.not_again_before = now + PAUSE_BETWEEN_CURES;
        }
        is_time
    }

    /// Pushes the file with fresh credentials, and sets when to do it again.
    fn push(&mut self) {
        let outcome = self.try_push();
        let now = Instant::now();
        match outcome {
            Ok(()) => {
                self.is_pushed = true;
                self.backoff.succeeded();
                self.not_before = now;
                self.due = self.expires_at.map(|at| now + refresh_after(left(at)));
            }
            Err(failure) => {
                let pause = self.backoff.failed();
                tell(&failure);
                warn!("trying again in {} s", pause.as_secs());
                self.not_before = now + pause;
                self.due = Some(self.not_before);
            }
        }
    }

    fn try_push(&mut self) -> Result<(), Failure> {
        let credentials = self.order.credentials()?;
        let expires_at = credentials.as_ref().and_then(|credentials| credentials.expires_at);
        if let Some(credentials) = &credentials {
            let expiry = expires_at.map_or_else(String::new, |at| format!(", they expire in {} s", left(at).as_secs()));
            debug!("credentials of {}{expiry}", credentials.source);
        }
        let client = Client::connect(&self.order.target).map_err(|error: ClientError| asking::unreachable(&error))?;
        let serving = self.order.push(client, credentials, &mut |progress| info!("{}", progress_line(progress)))?;
        self.expires_at = expires_at;
        info!("{}", serving_line(&serving));
        Ok(())
    }

    fn reload(&mut self) {
        match (self.read)() {
            Ok(file) => {
                info!("SIGHUP: {} was read again, and is pushed", file.config.path.display());
                self.order.file = file;
                (self.is_pushed, self.is_replaced) = (false, false);
                self.not_again_before = Instant::now();
                (self.due, self.not_before) = (Some(Instant::now()), Instant::now());
                self.look();
            }
            Err(failure) => {
                tell(&failure);
                error!("SIGHUP: the file is wrong, and was not pushed; the last one stays");
            }
        }
    }
}

fn status(client: Client) -> Result<Status, Failure> {
    match client.ask(&Request::Status, None) {
        Ok(Answer::Status(status)) => Ok(*status),
        Ok(Answer::Failed(failure)) => Err(asking::failed(&failure)),
        Ok(_) => Err(asking::unexpected()),
        Err(error) => Err(asking::unreachable(&error)),
    }
}

fn tell(failure: &Failure) {
    for problem in &failure.problems {
        let help = if problem.help.is_empty() { String::new() } else { format!("; {}", problem.help) };
        error!("{}{help}", problem.message);
    }
}

/// The time until then; none once it is over.
fn left(at: i64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(at).map_or(Duration::ZERO, |at| Duration::from_secs(at).saturating_sub(now))
}

fn signals() -> Result<Receiver<i32>, Failure> {
    let fail = |error: std::io::Error| Failure::new(Exit::Runtime, format!("cannot wait for signals: {error}"), "");
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(fail)?;
    let (send, receive) = sync_channel(8);
    let waiting = thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            // A full queue has what ends it, or enough of SIGHUP.
            let _ = send.try_send(signal);
        }
    });
    waiting.map(|_| receive).map_err(fail)
}
