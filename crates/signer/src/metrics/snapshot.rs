//! The state of a process as plain data, and the judgement whether it is well.
use super::histogram::Histogram;
use super::{ConnectionMetrics, Last, Metrics, ValidatorMetrics};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// What `tmkms status` shows and `/healthz` decides by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The running version.
    pub version: String,
    /// The commit that it was built from, or empty.
    pub commit: String,
    /// Seconds since the process started.
    pub uptime_seconds: f64,
    /// Whether every chain is well.
    pub healthy: bool,
    /// One for each key on each chain.
    pub chains: Vec<ChainSnapshot>,
}

/// One key on one chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChainSnapshot {
    /// The chain.
    pub chain_id: String,
    /// The validator's address, upper-case hexadecimal.
    pub validator: String,
    /// How it fares.
    pub state: State,
    /// Why nothing is signed, where the state is [`State::Stopped`].
    #[serde(default)]
    pub stopped_by: Option<String>,
    /// The last signature of this life.
    pub last_signed: Option<LastSigned>,
    /// All signatures of this life, repeats included.
    pub signatures: u64,
    /// How many of them repeated a recorded message.
    pub repeats: u64,
    /// Refusals by reason, those that occurred.
    pub refusals: Vec<Count>,
    /// Invalid requests by reason.
    pub invalid_requests: Vec<Count>,
    /// Failed attempts to save the state, by kind.
    pub store_errors: Vec<Count>,
    /// How long commits took.
    pub commits: Times,
    /// How long answers took.
    pub answers: Times,
    /// Its connections.
    pub connections: Vec<ConnectionSnapshot>,
}

/// How a chain fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It signed within the limit.
    Signing,
    /// It is connected, or starting, and was not yet asked for a signature: a node that still catches up, or a
    /// validator outside the active set.
    Waiting,
    /// It never signed in this life and no node has been connected since the start, for longer than the limit.
    Unconnected,
    /// It signed before, but not within the limit.
    Stalled,
    /// Its signing state was put back, exchanged, removed or damaged while in use: nothing is signed until a person acts.
    Stopped,
}

impl State {
    /// A short fixed name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signing => "signing",
            Self::Waiting => "waiting",
            Self::Unconnected => "unconnected",
            Self::Stalled => "stalled",
            Self::Stopped => "stopped",
        }
    }

    /// Whether nobody has to act.
    #[must_use]
    pub const fn is_healthy(self) -> bool {
        matches!(self, Self::Signing | Self::Waiting)
    }
}

/// The last signature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastSigned {
    /// The block height.
    pub height: u64,
    /// The round.
    pub round: u32,
    /// 1 proposal, 2 prevote, 3 precommit.
    pub step: u8,
    /// Seconds since it was answered.
    pub seconds_ago: f64,
}

/// How often something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What.
    pub reason: String,
    /// How often, at least once.
    pub count: u64,
}

/// A summary of durations; the quantiles are upper bounds of buckets, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// How many were measured.
    pub count: u64,
    /// Half took at most this.
    pub p50_micros: Option<u64>,
    /// 99 in 100 took at most this.
    pub p99_micros: Option<u64>,
}

/// One connection to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionSnapshot {
    /// The configured address.
    pub node: String,
    /// Whether it is connected.
    pub up: bool,
    /// How often it became ready for requests.
    pub connects: u64,
    /// How many dials and handshakes failed.
    pub failures: u64,
}

impl Metrics {
    /// The state of now. A chain that signed before is well only if it did so within `limit`; one that never signed
    /// in this life has that long to be connected.
    #[must_use]
    pub fn snapshot(&self, limit: Duration) -> Snapshot {
        let chains: Vec<_> = self.all().iter().map(|validator| chain(validator, limit)).collect();
        Snapshot {
            version: self.build.version.to_owned(),
            commit: self.build.commit.to_owned(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            healthy: chains.iter().all(|chain| chain.state.is_healthy()),
            chains,
        }
    }
}

fn chain(validator: &ValidatorMetrics, limit: Duration) -> ChainSnapshot {
    let last = validator.last();
    let connections: Vec<_> = validator.all_connections().iter().map(|one| connection(one)).collect();
    let stopped_by = validator.stopped_by();
    let is_connected = connections.iter().any(|connection| connection.up);
    ChainSnapshot {
        chain_id: validator.chain_id.as_str().to_owned(),
        validator: validator.address.clone(),
        state: match stopped_by {
            Some(_) => State::Stopped,
            None => state(last.map(|last| last.at.elapsed()), is_connected, validator.served_for(), limit),
        },
        stopped_by,
        last_signed: last.map(last_signed),
        signatures: validator.signatures.iter().map(|count| count.load(Relaxed)).sum(),
        repeats: validator.repeats.load(Relaxed),
        refusals: occurred(validator.refusals.counts()),
        invalid_requests: occurred(validator.invalid.counts()),
        store_errors: occurred(validator.store_errors.counts()),
        commits: times(&validator.commits),
        answers: times(&validator.answers),
        connections,
    }
}

fn state(since_signed: Option<Duration>, is_connected: bool, served_for: Duration, limit: Duration) -> State {
    match since_signed {
        Some(since) if since <= limit => State::Signing,
        Some(_) => State::Stalled,
        None if is_connected || served_for <= limit => State::Waiting,
        None => State::Unconnected,
    }
}

fn last_signed(last: Last) -> LastSigned {
    LastSigned {
        height: last.position.height.get(),
        round: last.position.round.get(),
        step: last.position.step as u8,
        seconds_ago: last.at.elapsed().as_secs_f64(),
    }
}

fn occurred(counts: Vec<(&'static str, u64)>) -> Vec<Count> {
    let named = counts.into_iter().filter(|(_, count)| *count > 0);
    named.map(|(reason, count)| Count { reason: reason.to_owned(), count }).collect()
}

fn times(histogram: &Histogram) -> Times {
    let counts = histogram.counts();
    Times { count: counts.total(), p50_micros: counts.quantile_micros(50), p99_micros: counts.quantile_micros(99) }
}

fn connection(connection: &ConnectionMetrics) -> ConnectionSnapshot {
    ConnectionSnapshot {
        node: connection.address.clone(),
        up: connection.up.load(Relaxed),
        connects: connection.connects.load(Relaxed),
        failures: connection.failures.load(Relaxed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_looks_at_votes_and_not_only_at_the_connection() {
        let (short, limit, long) = (Duration::from_secs(1), Duration::from_secs(60), Duration::from_secs(61));
        assert_eq!(state(Some(short), false, long, limit), State::Signing);
        assert_eq!(state(Some(long), true, long, limit), State::Stalled);
        assert_eq!(state(None, true, long, limit), State::Waiting);
        assert_eq!(state(None, false, short, limit), State::Waiting);
        assert_eq!(state(None, false, long, limit), State::Unconnected);
    }
}
