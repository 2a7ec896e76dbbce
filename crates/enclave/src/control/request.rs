//! One connection: hello, a request, its answers.
use super::{MAX_FOLLOWERS, Place, Shared};
use crate::desk::Job;
use crate::trouble::failure;
use crate::way::wrong_token;
use signer::connection::{Deadline, Socket, Timeouts};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use wire::control::{Answer, Phase, Progress, Push, Received, Request};
use wire::endpoint::Stream;
use wire::frame::{self, MAX_PUSH_BYTES};
use wire::hello::{self, Channel, Side};

/// How long a parent may take for its hello and its request together.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to accept an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long a push waits for another one that is being worked on.
const PUSH_PATIENCE: Duration = Duration::from_secs(60);
/// How often a follower of the log is looked after that gets no line: it may have gone.
const FOLLOW_PAUSE: Duration = Duration::from_secs(1);

/// The parent on the other end.
struct Caller(Socket);

impl Caller {
    fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        frame::write(&mut Deadline::new(&mut self.0, Instant::now() + ANSWER_LIMIT), &answer.encode())
    }

    /// Whether it hung up. Nothing else is expected from it once it has asked.
    fn is_gone(&mut self) -> bool {
        use std::io::Read;
        let quick = Duration::from_millis(1);
        let mut byte = [0];
        match self.0.set_timeouts(quick, ANSWER_LIMIT).and_then(|()| self.0.read(&mut byte)) {
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            Ok(_) => true,
        }
    }
}

/// Serves one connection to its end.
pub(super) fn serve(stream: Stream, shared: &Arc<Shared>) -> io::Result<()> {
    let mut socket = Socket::Unix(Arc::new(stream));
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    let mut bounded = Deadline::new(&mut socket, Instant::now() + REQUEST_LIMIT);
    if let Err(error) = hello::exchange(&mut bounded, Side::Enclave, Channel::Control, nonce, shared.build.version) {
        shared.refused("hello");
        return Err(io::Error::other(error.to_string()));
    }
    let Some(bytes) = frame::read(&mut bounded, MAX_PUSH_BYTES)? else { return Ok(()) };
    let mut caller = Caller(socket);
    let received = match Request::decode(&bytes) {
        Ok(received) => received,
        Err(malformed) => {
            shared.refused("malformed");
            let remedy = "use the tmkms of this enclave's version on the parent";
            return caller.answer(&Answer::Failed(failure(Phase::Waiting, "request", malformed.to_string(), remedy)));
        }
    };
    drop(bytes);
    let Received { request, proof, proven } = received;
    match request {
        Request::Status => caller.answer(&Answer::Status(Box::new(shared.board.status()))),
        Request::Metrics => caller.answer(&Answer::Metrics(Box::new(shared.board.page()))),
        Request::Push(push) => {
            let is_proven = push.token.verify(wire::control::REQUEST_DOMAIN, &nonce, &proven, &proof);
            drop(proven);
            if is_proven && shared.token.admits(&push.token) {
                take_push(push, &mut caller, shared)
            } else {
                refuse(&mut caller, shared)
            }
        }
        Request::Logs { from, follow } => {
            if shared.token.verifies(&nonce, &proven, &proof) {
                send_log(from, follow, &mut caller, shared)
            } else {
                refuse(&mut caller, shared)
            }
        }
    }
}

fn refuse(caller: &mut Caller, shared: &Shared) -> io::Result<()> {
    shared.refused("proof");
    caller.answer(&Answer::Failed(wrong_token()))
}

/// Hands a push on, and its words back. Once it is handed on it goes its way, whether or not anybody listens.
fn take_push(push: Box<Push>, caller: &mut Caller, shared: &Shared) -> io::Result<()> {
    if let Some(failure) = shared.board.broken() {
        return caller.answer(&Answer::Failed(failure));
    }
    shared.token.saw(&push.token);
    let (job, answers) = Job::new(push);
    if let Err(job) = shared.desk.put(job, Duration::ZERO) {
        let phase = shared.board.phase();
        let detail = "another push is being worked on; this one waits for it".to_owned();
        caller.answer(&Answer::Progress(Progress { phase, detail }))?;
        if shared.desk.put(job, PUSH_PATIENCE).is_err() {
            shared.refused("busy");
            let reason = "another push is being worked on, or the enclave ends";
            let remedy = "see `tmkms nitro status`, and push again";
            return caller.answer(&Answer::Failed(failure(shared.board.phase(), "busy", reason, remedy)));
        }
    }
    relay(&answers, caller)
}

fn relay(answers: &Receiver<Answer>, caller: &mut Caller) -> io::Result<()> {
    // The sender goes with the push.
    while let Ok(answer) = answers.recv() {
        caller.answer(&answer)?;
    }
    Ok(())
}

/// Sends what there is, and what comes if that is wanted. Whoever is too slow for it is told what it missed.
fn send_log(from: u64, follow: bool, caller: &mut Caller, shared: &Arc<Shared>) -> io::Result<()> {
    let place = if follow { Place::take(shared, |shared| &shared.followers, MAX_FOLLOWERS) } else { None };
    if follow && place.is_none() {
        let reason = format!("{MAX_FOLLOWERS} others follow the log already");
        return caller.answer(&Answer::Failed(failure(shared.board.phase(), "busy", reason, "end one of them")));
    }
    let log = &shared.board.log;
    let (mut next, mut missed) = (from, 0);
    loop {
        let batch = if follow { log.wait(next, FOLLOW_PAUSE) } else { log.read(next) };
        missed += batch.missed;
        for line in &batch.lines {
            next = line.number + 1;
            caller.answer(&Answer::Log(line.clone()))?;
        }
        if batch.lines.is_empty() && (!follow || log.is_closed()) {
            return caller.answer(&Answer::LogEnd { dropped: missed });
        }
        if follow && batch.lines.is_empty() && caller.is_gone() {
            return Ok(());
        }
    }
}
