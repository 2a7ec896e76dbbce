//! The enclave's way, from its first step to its last.
use crate::attestation::Attestation;
use crate::board::Board;
use crate::ceremony::{Ceremonies, Room};
use crate::control::{self, RulingToken, Shared};
use crate::desk::{Desk, Job, Pusher, Work};
use crate::init::Booted;
use crate::log_ring::LogRing;
use crate::nsm::Nsm;
use crate::records::{OnParent, Records};
use crate::release::{AwsKms, Kms};
use crate::trouble::failure;
use crate::way::{Enclave, Parse, Pushing, self_check};
use log::{error, info};
use signer::{Build, Keyring};
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use wire::control::{Failure, Phase, Push, Serving};
use wire::endpoint::Parent;
use wire::state::Life;

/// How long a broken enclave stays readable before it ends.
const BROKEN_LINGER: Duration = Duration::from_secs(10);

/// What an enclave is started with.
pub struct Options {
    /// Where the parent is.
    pub parent: Parent,
    /// The port of this enclave on which it is configured and asked.
    pub control_port: u32,
    /// The measured policy. Without a name it is `policy.toml` next to the binary, where there is one.
    pub policy: Option<PathBuf>,
    /// Whether the log's level is the command line's, whatever the configuration says.
    pub verbose: bool,
    /// Which build this is.
    pub build: Build,
    /// Where the log's lines are kept for whoever asks.
    pub log: Arc<LogRing>,
    /// What the process itself adds to the metrics, in Prometheus' text format.
    pub more_metrics: fn() -> String,
    /// What ends it.
    pub ending: Ending,
    /// What a ceremony image does; a signer's has none.
    pub ceremonies: Option<Box<dyn Ceremonies>>,
    /// How the machine was made ready, where this is the image's first program.
    pub booted: Option<Booted>,
}

/// Ends an enclave from another thread. Clones are the same handle.
#[derive(Clone, Default)]
pub struct Ending(Arc<Desk>);

impl Ending {
    /// Votes in progress are answered, keys are zeroized, and [`run`] returns.
    pub fn end(&self) {
        self.0.end();
    }
}

/// Something that is not the parent's to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub Failure);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.reason)
    }
}

impl std::error::Error for Broken {}

/// Runs an enclave until it is told to end.
///
/// # Errors
/// [`Broken`]: the self-checks failed, or the control port cannot be had. It stayed readable for some seconds.
pub fn run(options: Options, nsm: Box<dyn Nsm>, parse: Parse) -> Result<(), Broken> {
    let nsm: Arc<dyn Nsm> = Arc::from(nsm);
    let (parent, version) = (options.parent.clone(), options.build.version);
    let records = move |life| Box::new(OnParent::new(parent, life, version)) as Box<dyn Records>;
    let (parent, module, desk) = (options.parent.clone(), Arc::clone(&nsm), Arc::clone(&options.ending.0));
    let kms = move |measured| Box::new(AwsKms::new(module, parent, measured, desk)) as Box<dyn Kms>;
    run_with(options, &nsm, parse, kms, records)
}

/// The same with another KMS and other records: for tests.
///
/// # Errors
/// As [`run`].
#[doc(hidden)]
pub fn run_with(
    options: Options,
    nsm: &Arc<dyn Nsm>,
    parse: Parse,
    kms: impl FnOnce(Option<crate::policy::MeasuredEndpoint>) -> Box<dyn Kms>,
    records: impl FnOnce(Life) -> Box<dyn Records>,
) -> Result<(), Broken> {
    let Options {
        parent,
        control_port,
        policy,
        verbose,
        build,
        log,
        more_metrics,
        ending: Ending(desk),
        ceremonies,
        booted,
    } = options;
    let board = Arc::new(Board::new(build, ceremonies.is_some(), log, more_metrics));
    // Before anything that the parent sends.
    let checked = self_check::check(&**nsm, policy.as_deref(), booted.as_ref(), &board);
    let pinned = checked.as_ref().ok().and_then(|checked| checked.policy.as_ref()?.token_sha256);
    let token = Arc::new(RulingToken::pinned(pinned));
    let policy_sha256 = checked.as_ref().ok().and_then(|checked| Some(checked.policy.as_ref()?.sha256.clone()));
    let shared = Shared::new(
        Arc::clone(&board),
        Arc::clone(&desk),
        Arc::clone(&token),
        build,
        Attestation::new(Arc::clone(nsm), build, policy_sha256),
    );
    let control = control::start((&parent, control_port), shared);
    let _control = control.map_err(|error| no_control(control_port, &error))?;
    let checked = checked.map_err(|failure| broken(failure, &board, &desk))?;
    let debug = checked.measured.debug;
    if let Some(ceremonies) = ceremonies {
        let room = Room::new(Arc::clone(nsm), (parent, Arc::clone(&desk)), checked.policy, debug, build);
        let room = room.map_err(|failure| broken(failure, &board, &desk))?;
        info!("self-checks passed, control port {control_port}: a ceremony image, which makes keys and signs nothing");
        hold_ceremonies(&*ceremonies, &room, &board);
        return Ok(());
    }
    info!(debug, policy = checked.policy.is_some(); "self-checks passed, control port {control_port}");
    let kms = kms(checked.policy.as_ref().and_then(|policy| policy.kms.endpoint.clone()));
    let mut enclave = Enclave {
        parent,
        board,
        desk,
        parse,
        kms,
        records: records(checked.life),
        policy: checked.policy,
        debug,
        verbose,
        keyring: Keyring::new(),
        guards: HashMap::new(),
        let_go: HashMap::new(),
        chains: Vec::new(),
        identities: Vec::new(),
        identity_keys: Vec::new(),
        config_sha256: None,
        token,
        credentials: None,
    };
    while let Some(job) = enclave.wait() {
        let (work, pusher) = job.open();
        match work {
            Work::Push(push) => {
                let result = enclave.take(*push, &pusher);
                enclave.tell(result, pusher);
            }
            // The control port has refused it already.
            Work::Ceremony(_) => pusher.answer(Err(failure(enclave.rest(), "not-a-ceremony", "a signer's image", ""))),
        }
    }
    info!("stopping, votes in progress are answered first");
    enclave.end();
    info!("stopped");
    Ok(())
}

/// One after the other, until the end. A push has nothing to do here.
fn hold_ceremonies(ceremonies: &dyn Ceremonies, room: &Room, board: &Board) {
    board.enter(Phase::Waiting);
    while let Some(job) = room.desk.take() {
        let (work, pusher) = job.open();
        let result = match work {
            Work::Ceremony(ceremony) => {
                let progress = |detail: String| {
                    info!("ceremony: {detail}");
                    pusher.progress(Phase::Releasing, detail);
                };
                ceremonies.perform(room, *ceremony, &progress)
            }
            Work::Push(_) => {
                let reason = "this is a ceremony image, which makes keys and signs nothing";
                Err(failure(Phase::Waiting, "a-ceremony", reason, "start the signer's image, and push to that"))
            }
        };
        match &result {
            Ok(_) => info!("ceremony: done"),
            Err(failure) => error!(code = failure.code.as_str(); "ceremony: {}", whole(failure)),
        }
        pusher.answer(result);
    }
    info!("stopped");
}

impl Enclave {
    /// Waits for a push. What the first one will need is made meanwhile.
    fn wait(&mut self) -> Option<Job> {
        self.board.enter(self.rest());
        if self.chains.is_empty() {
            self.kms.prepare();
        }
        self.desk.take()
    }

    /// The way of a push. Each step takes what the one before it made; only the last one changes what is served, and it
    /// begins when everything is ready.
    fn take(&mut self, push: Push, pusher: &Pusher) -> Result<Serving, Failure> {
        self.enter(pusher, Phase::Checking, "the configuration");
        let checked = match self.check(push)? {
            Pushing::Same(pushed) => return Ok(self.refresh(pushed)),
            Pushing::Other(checked) => *checked,
        };
        self.enter(pusher, Phase::Releasing, "attesting, so that KMS releases the keys");
        let released = self.release(checked, pusher)?;
        self.enter(pusher, Phase::Recovering, "the signing records");
        let recovered = self.recover(released, pusher)?;
        pusher.progress(Phase::Serving, "everything is ready");
        self.apply(recovered)
    }

    /// Says how a push ended, to the log, the status and whoever pushed. A failure leaves everything as it was.
    fn tell(&self, result: Result<Serving, Failure>, pusher: Pusher) {
        self.board.enter(self.rest());
        match &result {
            Ok(Serving { added, removed, changed, unchanged, credentials_refreshed }) => info!(
                credentials_refreshed = *credentials_refreshed;
                "serving: {} chains added, {} removed, {} changed, {} unchanged",
                added.len(), removed.len(), changed.len(), unchanged.len()
            ),
            Err(failure) => {
                error!(code = failure.code.as_str(); "the push failed: {}", whole(failure));
                self.board.failed(failure.clone());
            }
        }
        pusher.end(result);
    }
}

/// A failure with its remedy, where it has one apart.
fn whole(failure: &Failure) -> String {
    let Failure { reason, remedy, .. } = failure;
    if remedy.is_empty() { reason.clone() } else { format!("{reason}; {remedy}") }
}

fn no_control(port: u32, error: &std::io::Error) -> Broken {
    let reason = format!("cannot listen on the control port {port}: {error}");
    error!("{reason}");
    Broken(failure(Phase::Broken, "control", reason, "take another port with -p, or end the other process"))
}

/// Stays readable for a while, so that whoever watches learns why.
fn broken(failure: Failure, board: &Board, desk: &Desk) -> Broken {
    error!(code = failure.code.as_str(); "broken: {}", whole(&failure));
    board.enter(Phase::Broken);
    board.failed(failure.clone());
    let until = std::time::Instant::now() + BROKEN_LINGER;
    while !desk.is_ending() && std::time::Instant::now() < until {
        thread::sleep(Duration::from_millis(50));
    }
    Broken(failure)
}
