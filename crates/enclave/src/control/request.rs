//! One connection: hello, a request, its answers.
use super::places::Place;
use super::{MAX_ATTESTERS, MAX_FOLLOWERS, MAX_PUSHERS, MAX_READERS, Share, Shared};
use crate::desk::{Job, Work};
use crate::trouble::failure;
use crate::way::wrong_token;
use signer::connection::{Deadline, Socket, Timeouts};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use wire::control::{Answer, Ceremony, LogLine, Phase, Progress, Push, Received, Request};
use wire::endpoint::Stream;
use wire::frame::{self, MAX_PUSH_BYTES};
use wire::hello::{self, Channel, Side};

/// How long a parent may take for its hello.
const HELLO_LIMIT: Duration = Duration::from_secs(2);
/// How long it may take for its hello and its request together.
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
pub(super) fn serve(stream: Arc<Stream>, place: &Place, shared: &Arc<Shared>) -> io::Result<()> {
    let begun = Instant::now();
    let mut socket = Socket::Unix(stream);
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    let mut hello = Deadline::new(&mut socket, begun + HELLO_LIMIT);
    if let Err(error) = hello::exchange(&mut hello, Side::Enclave, Channel::Control, nonce, shared.build.version) {
        shared.refused("hello");
        return Err(io::Error::other(error.to_string()));
    }
    let mut bounded = Deadline::new(&mut socket, begun + REQUEST_LIMIT);
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
        Request::Ceremony(ceremony) => take_ceremony(ceremony, &mut caller, place, shared),
        Request::Attest { nonce } => attest(&nonce, &mut caller, shared),
        Request::Metrics => caller.answer(&Answer::Metrics(Box::new(shared.board.page()))),
        Request::Push(push) => {
            let is_proven = push.token.verify(wire::control::REQUEST_DOMAIN, &nonce, &proven, &proof);
            drop(proven);
            if is_proven && shared.token.admits(&push.token) {
                take_push(push, &mut caller, place, shared)
            } else {
                refuse(&mut caller, shared)
            }
        }
        Request::Logs { from, follow } => {
            let Some(generation) = shared.token.verifies(&nonce, &proven, &proof) else {
                return refuse(&mut caller, shared);
            };
            if follow {
                follow_log(from, generation, &mut caller, place, shared)
            } else {
                send_log(from, generation, &mut caller, place, shared)
            }
        }
    }
}

/// Anyone may ask; whoever finds others asking is told so.
fn attest(nonce: &[u8], caller: &mut Caller, shared: &Arc<Shared>) -> io::Result<()> {
    let Some(_share) = Share::take(shared, |shared| &shared.attesters, MAX_ATTESTERS) else {
        let reason = format!("{MAX_ATTESTERS} others are having documents made just now");
        return caller.answer(&Answer::Failed(failure(shared.board.phase(), "busy", reason, "try again")));
    };
    caller.answer(&match shared.attestation.of_what_is_served(&shared.board, nonce) {
        Ok(attested) => Answer::Attested(Box::new(attested)),
        Err(failure) => Answer::Failed(failure),
    })
}

fn refuse(caller: &mut Caller, shared: &Shared) -> io::Result<()> {
    shared.refused("proof");
    caller.answer(&Answer::Failed(wrong_token(shared.token.is_pinned())))
}

/// Hands a push on, and its words back. Once it is handed on it goes its way, whether or not anybody listens.
fn take_push(push: Box<Push>, caller: &mut Caller, place: &Place, shared: &Arc<Shared>) -> io::Result<()> {
    if let Some(failure) = shared.board.broken() {
        return caller.answer(&Answer::Failed(failure));
    }
    let Some(_share) = Share::take(shared, |shared| &shared.pushers, MAX_PUSHERS) else {
        return busy(caller, shared);
    };
    place.is_proven();
    shared.token.saw(&push.token);
    put(Work::Push(push), caller, shared)
}

/// The same for a ceremony, which only a ceremony image takes. Nobody has to prove anything: the credentials are what may.
fn take_ceremony(ceremony: Box<Ceremony>, caller: &mut Caller, place: &Place, shared: &Arc<Shared>) -> io::Result<()> {
    if let Some(failure) = shared.board.broken() {
        return caller.answer(&Answer::Failed(failure));
    }
    if !shared.board.is_ceremony {
        let reason = "this is a signer's image, which makes and takes in no keys";
        let remedy = "start the ceremony image (cargo xtask image --ceremony), and give its CID";
        return caller.answer(&Answer::Failed(failure(shared.board.phase(), "not-a-ceremony", reason, remedy)));
    }
    let Some(_share) = Share::take(shared, |shared| &shared.pushers, MAX_PUSHERS) else {
        return busy(caller, shared);
    };
    place.is_proven();
    put(Work::Ceremony(ceremony), caller, shared)
}

/// Puts work down, waits for it to be done, and tells what it says.
fn put(work: Work, caller: &mut Caller, shared: &Arc<Shared>) -> io::Result<()> {
    let (job, answers) = Job::new(work);
    if let Err(job) = shared.desk.put(job, Duration::ZERO) {
        let phase = shared.board.phase();
        let detail = "another push is being worked on; this one waits for it".to_owned();
        caller.answer(&Answer::Progress(Progress { phase, detail }))?;
        if shared.desk.put(job, PUSH_PATIENCE).is_err() {
            return busy(caller, shared);
        }
    }
    relay(&answers, caller)
}

fn busy(caller: &mut Caller, shared: &Shared) -> io::Result<()> {
    shared.refused("busy");
    let reason = "another push is being worked on, or the enclave ends";
    let remedy = "see `tmkms nitro status`, and push again";
    caller.answer(&Answer::Failed(failure(shared.board.phase(), "busy", reason, remedy)))
}

fn relay(answers: &Receiver<Answer>, caller: &mut Caller) -> io::Result<()> {
    // The sender goes with the push.
    while let Ok(answer) = answers.recv() {
        caller.answer(&answer)?;
    }
    Ok(())
}

/// Sends what there is now, as long as the token rules by which it was asked for; what is logged meanwhile is not waited for, or it
/// might never end.
fn send_log(
    mut next: u64,
    generation: u64,
    caller: &mut Caller,
    place: &Place,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    let Some(_share) = Share::take(shared, |shared| &shared.readers, MAX_READERS) else {
        let reason = format!("{MAX_READERS} others read the log just now");
        return caller.answer(&Answer::Failed(failure(shared.board.phase(), "busy", reason, "try again")));
    };
    // It takes long enough for newer callers to claim the place.
    place.is_proven();
    let end = shared.board.log.next();
    let mut missed = 0;
    loop {
        let batch = shared.board.log.read(next);
        missed += batch.missed;
        if batch.lines.is_empty() || next >= end || shared.token.generation() != generation {
            return caller.answer(&Answer::LogEnd { dropped: missed });
        }
        next = send_lines(&batch.lines, next, caller)?;
    }
}

/// The same, and what comes. Whoever is too slow for it is told what it missed. Another token ends it: who proved the one
/// before, which may have been a stranger's, has no right to lines that were written since.
fn follow_log(
    mut next: u64,
    generation: u64,
    caller: &mut Caller,
    place: &Place,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    let Some(_share) = Share::take(shared, |shared| &shared.followers, MAX_FOLLOWERS) else {
        let reason = format!("{MAX_FOLLOWERS} others follow the log already");
        return caller.answer(&Answer::Failed(failure(shared.board.phase(), "busy", reason, "end one of them")));
    };
    place.is_proven();
    let (log, mut missed) = (&shared.board.log, 0);
    loop {
        let batch = log.wait(next, FOLLOW_PAUSE);
        missed += batch.missed;
        let is_over = batch.lines.is_empty() && log.is_closed();
        if is_over || shared.token.generation() != generation {
            return caller.answer(&Answer::LogEnd { dropped: missed });
        }
        next = send_lines(&batch.lines, next, caller)?;
        if batch.lines.is_empty() && caller.is_gone() {
            return Ok(());
        }
    }
}

/// Gives the number of the line that comes after them.
fn send_lines(lines: &[LogLine], next: u64, caller: &mut Caller) -> io::Result<u64> {
    lines.iter().try_fold(next, |_, line| {
        caller.answer(&Answer::Log(line.clone()))?;
        Ok(line.number + 1)
    })
}
