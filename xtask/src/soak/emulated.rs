//! `soak --only emulated`: the image in the emulator, first under load in both directions, then through random faults.
use super::{Chance, RECOVERY, Totals, enclave};
use anyhow::{Context, Result, ensure};
use e2e::enclave::Machine;
use e2e::flood::{Flood, Manner};
use e2e::{ChainSpec, Enclave, EnclaveChain, EnclaveRig, Line, PlainNode, Process, Sandbox, Transport, Vote};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long the load lasts, where there is time for it.
const LOAD: Duration = Duration::from_secs(600);
/// Further chains in the same enclave, each with a node that asks as fast as it is answered.
const ASKERS: usize = 4;
/// Each vote and its answer carry a vote extension of this many bytes: the bulk in both directions.
const EXTENSION_BYTES: usize = 8_000;
/// An asker that was not answered for so long says that something hangs; a node of CometBFT gives up after 5 s.
const HANGS: Duration = Duration::from_secs(30);
/// The whole log, in one piece, as often as that.
const LOG_EVERY: Duration = Duration::from_secs(3);

/// How long the load is to last of the time that there is.
pub(super) fn load_time(all: Duration) -> Duration {
    LOAD.min(all * 2 / 3)
}

/// A chain of the newest line, and faults.
pub(super) fn episode(sandbox: &Sandbox, spec: ChainSpec, chance: &mut Chance, totals: &mut Totals) -> Result<()> {
    let spec = ChainSpec { id: "soak-emulated".to_owned(), line: Line::V040, validators: 4, ..spec };
    enclave::any_episode(sandbox, spec, Some(Machine::built()?), chance, totals)
}

/// What passed in both directions while nothing hung.
#[derive(Default)]
pub(super) struct Carried {
    votes: u64,
    blocks: u64,
    signed: u64,
    log_lines: u64,
    logs: u64,
    statuses: u64,
    metrics: u64,
    pushes: u64,
    connections: u64,
    noise_bytes: u64,
    longest: Duration,
    last_status: String,
    last_metrics: String,
    last_log: String,
    last_push: String,
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} votes of {EXTENSION_BYTES} bytes each way, {} blocks ({} signed), {} log lines followed, {} whole logs, {} statuses, {} pages of metrics, \
             {} pushes, {} hostile connections with {} MiB; the longest wait for a vote {:.2} s",
            self.votes,
            self.blocks,
            self.signed,
            self.log_lines,
            self.logs,
            self.statuses,
            self.metrics,
            self.pushes,
            self.connections,
            self.noise_bytes >> 20,
            self.longest.as_secs_f64()
        )
    }
}

/// Votes with bulk, every reader that there is, pushes and noise, all at once. Kernels before 6.15 are known to be able to stop both
/// directions of virtio-vsock then.
pub(super) fn load(sandbox: &Sandbox, time: Duration) -> Result<Carried> {
    let spec = ChainSpec { validators: 4, ..ChainSpec::new(Line::V040, Transport::Tcp) };
    let machine = Machine::built()?.with_option("tmkms.verbose=1");
    let nodes: Vec<PlainNode> =
        (0..ASKERS).map(|index| PlainNode::listen(sandbox, &format!("bulk-{index}"))).collect::<Result<_>>()?;
    let addresses: Vec<String> = nodes.iter().map(PlainNode::addr).collect();
    let more_chains = |enclave: &mut Enclave| {
        for (index, address) in addresses.iter().enumerate() {
            enclave.add_chain(EnclaveChain::new(&chain_id(index), address))?;
        }
        enclave.write_config()
    };
    let mut rig = EnclaveRig::start_emulated(sandbox, spec, &[], machine, more_chains)?;
    rig.enclave.start_metrics()?;
    let stop = Arc::new(AtomicBool::new(false));
    let askers: Vec<Asker> =
        nodes.into_iter().enumerate().map(|(index, node)| Asker::start(node, index, &stop)).collect();
    let mut followers: Vec<Process> = (0..3).map(|_| rig.enclave.follow_log()).collect::<Result<_>>()?;
    let flood = Flood::begin(&enclave::targets(&rig.enclave)[..1], &[Manner::Garbage, Manner::HangUp]);
    let carried = under_load(&mut rig, &askers, time).map(|carried| Carried {
        connections: flood.counts().0,
        noise_bytes: flood.counts().1,
        log_lines: followers.iter().map(|follower| follower.log_text().lines().count() as u64).sum(),
        ..carried
    });
    stop.store(true, Relaxed);
    followers.iter_mut().for_each(Process::kill);
    drop(flood);
    let mut carried = carried?;
    for asker in askers {
        let (votes, longest) = asker.end()?;
        carried.votes += votes;
        carried.longest = carried.longest.max(longest);
    }
    rig.signs_again(RECOVERY).context("after the load")?;
    rig.expect_clean()?;
    Ok(carried)
}

/// Asks, and watches whether everybody else gets on, until the time is over.
fn under_load(rig: &mut EnclaveRig, askers: &[Asker], time: Duration) -> Result<Carried> {
    let begun = Instant::now();
    let first = rig.chain.height()?;
    let mut carried = Carried::default();
    let mut last_log = begun;
    let mut seen: Vec<(u64, Instant)> = askers.iter().map(|asker| (asker.votes(), begun)).collect();
    let mut chain = (first, begun);
    while begun.elapsed() < time {
        seen_one(rig.enclave.status(), &mut carried.statuses, &mut carried.last_status);
        seen_one(rig.enclave.page("/metrics"), &mut carried.metrics, &mut carried.last_metrics);
        if last_log.elapsed() > LOG_EVERY {
            last_log = Instant::now();
            let log = rig.enclave.command(&["nitro", "logs", "-i", &rig.enclave.cid()]);
            seen_one(log, &mut carried.logs, &mut carried.last_log);
            seen_one(rig.enclave.push(), &mut carried.pushes, &mut carried.last_push);
        }
        for (index, (asker, (votes, at))) in askers.iter().zip(&mut seen).enumerate() {
            advanced(&format!("votes of {}", chain_id(index)), asker.votes(), votes, at)?;
        }
        advanced("blocks", rig.chain.height()?, &mut chain.0, &mut chain.1)?;
    }
    let last = rig.chain.height()? - 1;
    carried.blocks = last - first;
    carried.signed = rig.chain.signed_heights(first, last)?.len() as u64;
    for (what, count, last) in [
        ("a status", carried.statuses, &carried.last_status),
        ("metrics", carried.metrics, &carried.last_metrics),
        ("a log", carried.logs, &carried.last_log),
        ("a push", carried.pushes, &carried.last_push),
    ] {
        ensure!(count > 0, "{what} was never had under load, at the last time because: {last}");
    }
    Ok(carried)
}

/// Counts it, or keeps why not: the control port is flooded, and not everybody has to get through at each time.
fn seen_one<T>(result: Result<T>, count: &mut u64, last: &mut String) {
    match result {
        Ok(_) => *count += 1,
        Err(error) => *last = format!("{error:#}"),
    }
}

/// Fails when a count has not grown for too long.
fn advanced(what: &str, now: u64, count: &mut u64, at: &mut Instant) -> Result<()> {
    if now > *count {
        (*count, *at) = (now, Instant::now());
    }
    ensure!(at.elapsed() < HANGS, "HANGS: no more {what} for {:.0} s, after {count}", at.elapsed().as_secs_f64());
    Ok(())
}

fn chain_id(index: usize) -> String {
    format!("bulk-{index}")
}

/// A node of one further chain: votes with an extension at rising heights, one after another.
struct Asker {
    votes: Arc<AtomicU64>,
    thread: JoinHandle<Result<Duration>>,
}

impl Asker {
    fn start(mut node: PlainNode, index: usize, stop: &Arc<AtomicBool>) -> Self {
        let (votes, stop) = (Arc::new(AtomicU64::new(0)), Arc::clone(stop));
        let counted = Arc::clone(&votes);
        let thread = thread::spawn(move || {
            node.accept(RECOVERY)?;
            let (mut height, mut longest) = (0, Duration::ZERO);
            while !stop.load(Relaxed) {
                height += 1;
                let asked = Instant::now();
                let vote = Vote { extension: "ab".repeat(EXTENSION_BYTES), ..Vote::precommit(height, 1) };
                ensure!(
                    node.is_signed(&vote.request(&chain_id(index)))?,
                    "height {height} of {} was refused",
                    chain_id(index)
                );
                longest = longest.max(asked.elapsed());
                counted.fetch_add(1, Relaxed);
            }
            Ok(longest)
        });
        Self { votes, thread }
    }

    fn votes(&self) -> u64 {
        self.votes.load(Relaxed)
    }

    fn end(self) -> Result<(u64, Duration)> {
        let votes = self.votes();
        let longest = self.thread.join().map_err(|_| anyhow::anyhow!("a node panicked"))??;
        Ok((votes, longest))
    }
}
