//! What can be asked of the enclave at any time: where it is on its way and why, what it serves, who chose what.
//!
//! Nothing on it is secret, and asking holds up nobody: what the status needs of a chain is read without waiting for it.
use crate::counts::Counts;
use crate::lock;
use crate::log_ring::LogRing;
use crate::machine::Machine;
use evidence::ChainKey;
use signer::{Build, Metrics, Validator};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wire::control::{
    ChainStatus, Choice, ConnectionStatus, Credentials, CredentialsStatus, Failure, MetricsPage, Phase, Status,
};

/// Health's limit until a configuration sets another.
const UNHEALTHY_AFTER: Duration = Duration::from_secs(60);

/// The board.
pub(crate) struct Board {
    build: Build,
    /// Whether this image makes keys, and signs nothing.
    pub(crate) is_ceremony: bool,
    started: Instant,
    pub(crate) metrics: Metrics,
    pub(crate) counts: Counts,
    pub(crate) log: Arc<LogRing>,
    /// What the process itself adds to the metrics.
    more_metrics: fn() -> String,
    shown: Mutex<Shown>,
}

/// What self-checks found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) pcrs: BTreeMap<u8, String>,
    pub(crate) debug: bool,
    pub(crate) has_policy: bool,
}

/// What is applied.
#[derive(Default)]
pub(crate) struct Applied {
    pub(crate) config_sha256: Option<String>,
    pub(crate) choices: Vec<Choice>,
    pub(crate) chains: Vec<ShownChain>,
    pub(crate) unhealthy_after: Option<Duration>,
}

/// A chain that is served.
pub(crate) struct ShownChain {
    pub(crate) validator: Arc<Validator>,
    pub(crate) state_port: u32,
}

struct Shown {
    phase: Phase,
    since: Instant,
    failure: Option<Failure>,
    machine: Option<Machine>,
    measured: Measured,
    applied: Applied,
    credentials: Option<ShownCredentials>,
}

struct ShownCredentials {
    source: String,
    expires_at: Option<i64>,
}

impl Board {
    pub(crate) fn new(build: Build, is_ceremony: bool, log: Arc<LogRing>, more_metrics: fn() -> String) -> Self {
        let now = Instant::now();
        let shown = Shown {
            phase: Phase::Starting,
            since: now,
            failure: None,
            machine: None,
            measured: Measured::default(),
            applied: Applied::default(),
            credentials: None,
        };
        let (metrics, counts) = (Metrics::new(build), Counts::default());
        Self { build, is_ceremony, started: now, metrics, counts, log, more_metrics, shown: Mutex::new(shown) }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        let mut shown = lock(&self.shown);
        if shown.phase != phase {
            (shown.phase, shown.since) = (phase, Instant::now());
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        lock(&self.shown).phase
    }

    /// Why nothing can be done any more.
    pub(crate) fn broken(&self) -> Option<Failure> {
        let shown = lock(&self.shown);
        shown.failure.clone().filter(|_| shown.phase == Phase::Broken)
    }

    pub(crate) fn machine(&self, machine: Machine) {
        lock(&self.shown).machine = Some(machine);
    }

    pub(crate) fn measured(&self, measured: Measured) {
        lock(&self.shown).measured = measured;
    }

    pub(crate) fn failed(&self, failure: Failure) {
        lock(&self.shown).failure = Some(failure);
    }

    /// A push ended well.
    pub(crate) fn applied(&self, applied: Applied) {
        let mut shown = lock(&self.shown);
        shown.applied = applied;
        shown.failure = None;
    }

    /// Nothing is wrong any more: the same configuration was pushed again.
    pub(crate) fn confirmed(&self) {
        lock(&self.shown).failure = None;
    }

    pub(crate) fn credentials(&self, credentials: &Credentials) {
        let source = printable(&credentials.source);
        lock(&self.shown).credentials = Some(ShownCredentials { source, expires_at: credentials.expires_at });
    }

    /// Everything that may be told.
    pub(crate) fn status(&self) -> Status {
        let shown = lock(&self.shown);
        let credentials = shown.credentials.as_ref().map(|credentials| CredentialsStatus {
            source: credentials.source.clone(),
            expires_in_seconds: credentials.expires_at.map(|at| at.saturating_sub(now())),
        });
        let validators: Vec<_> =
            shown.applied.chains.iter().map(|chain| (Arc::clone(&chain.validator), chain.state_port)).collect();
        let limit = shown.applied.unhealthy_after.unwrap_or(UNHEALTHY_AFTER);
        let mut status = Status {
            version: self.build.version.to_owned(),
            commit: self.build.commit.to_owned(),
            phase: shown.phase,
            phase_seconds: shown.since.elapsed().as_secs_f64(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            failure: shown.failure.clone(),
            pcrs: shown.measured.pcrs.clone(),
            debug: shown.measured.debug,
            has_policy: shown.measured.has_policy,
            choices: shown.applied.choices.clone(),
            config_sha256: shown.applied.config_sha256.clone(),
            credentials,
            chains: Vec::new(),
            log_lines_dropped: self.log.dropped(),
            ceremony: self.is_ceremony,
            machine: None,
        };
        let machine = shown.machine.clone();
        // A guard may be held for as long as a commit takes, and /proc is read: not under this lock.
        drop(shown);
        status.machine = machine.map(|machine| machine.status());
        status.chains = self.chains(&validators, limit);
        status
    }

    /// The configuration's hash and the consensus keys that are held; none while nothing is served.
    pub(crate) fn held(&self) -> Option<(String, Vec<ChainKey>)> {
        let shown = lock(&self.shown);
        let config_sha256 = shown.applied.config_sha256.clone()?;
        let chain = |chain: &ShownChain| ChainKey {
            chain_id: chain.validator.chain_id().to_owned(),
            algorithm: chain.validator.public_key().algorithm().name().to_owned(),
            public_key: chain.validator.public_key().base64(),
            address: chain.validator.address().to_owned(),
        };
        Some((config_sha256, shown.applied.chains.iter().map(chain).collect()))
    }

    fn chains(&self, validators: &[(Arc<Validator>, u32)], limit: Duration) -> Vec<ChainStatus> {
        let snapshot = self.metrics.snapshot(limit);
        let chain = |(validator, state_port): &(Arc<Validator>, u32)| {
            let is_it = |seen: &&signer::metrics::ChainSnapshot| {
                seen.chain_id == validator.chain_id() && seen.validator == validator.address()
            };
            let seen = snapshot.chains.iter().find(is_it);
            let connections = seen.iter().flat_map(|seen| &seen.connections);
            ChainStatus {
                id: validator.chain_id().to_owned(),
                public_key: validator.public_key().base64(),
                algorithm: validator.public_key().algorithm().name().to_owned(),
                address: validator.address().to_owned(),
                state_port: *state_port,
                position: validator.recorded().map(|position| position.to_string()),
                state: seen.map_or("stopped", |seen| seen.state.name()).to_owned(),
                detail: seen.map_or_else(String::new, signer::metrics::ChainSnapshot::describe),
                connections: connections
                    .map(|one| ConnectionStatus { address: one.node.clone(), up: one.up })
                    .collect(),
            }
        };
        validators.iter().map(chain).collect()
    }

    /// What a scraper of the parent's relay gets.
    pub(crate) fn page(&self) -> MetricsPage {
        let shown = lock(&self.shown);
        let (phase, limit) = (shown.phase, shown.applied.unhealthy_after.unwrap_or(UNHEALTHY_AFTER));
        let expires_at = shown.credentials.as_ref().and_then(|credentials| credentials.expires_at);
        let reason = shown.failure.as_ref().map(|failure| format!(": {}", failure.reason)).unwrap_or_default();
        drop(shown);
        let mut snapshot = self.metrics.snapshot(limit);
        let is_serving = phase == Phase::Serving;
        let health = if is_serving { snapshot.health() } else { format!("{}{reason}\n", phase_name(phase)) };
        snapshot.healthy &= is_serving;
        let own = self.counts.render(phase, expires_at.map(|at| at.saturating_sub(now())), self.log.dropped());
        MetricsPage {
            metrics: self.metrics.render() + &own + &(self.more_metrics)(),
            healthy: snapshot.healthy,
            health,
            status: serde_json::to_string(&snapshot).unwrap_or_default(),
        }
    }
}

/// The phase's name, as the wire has it.
pub(crate) const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Waiting => "waiting",
        Phase::Checking => "checking",
        Phase::Releasing => "releasing",
        Phase::Recovering => "recovering",
        Phase::Serving => "serving",
        Phase::Broken => "broken",
    }
}

/// Seconds since 1970, by the enclave's clock: for what is shown, and nothing else.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A parent's words, as they may stand in a status.
fn printable(text: &str) -> String {
    const MOST: usize = 120;
    text.chars().take(MOST).map(|c| if c.is_control() { '?' } else { c }).collect()
}
