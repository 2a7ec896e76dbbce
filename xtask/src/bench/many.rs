//! Many chains in one process, the cold start, and the system calls of a vote.
//!
//! The nodes are threads of ours here (Unix sockets, frames written by hand): 256 Go processes would measure the machine.
use super::report::{ColdStart, Many, at_quantile};
use anyhow::{Context, Result, ensure};
use e2e::signer::{Signer, SignerChain, SignerSpec};
use e2e::vote::varint;
use e2e::{Process, Sandbox, Vote};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// A scripted node of one chain: listens, and asks for votes at rising heights.
pub(super) struct Node {
    pub(super) chain_id: String,
    listener: UnixListener,
    path: PathBuf,
}

impl Node {
    pub(super) fn listen(sandbox: &Sandbox, chain_id: &str) -> Result<Self> {
        let path = sandbox.dir().join(format!("{chain_id}.s"));
        let listener = UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
        Ok(Self { chain_id: chain_id.to_owned(), listener, path })
    }

    fn chain(&self) -> SignerChain {
        SignerChain::new(&self.chain_id, &self.address())
    }

    pub(super) fn address(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    pub(super) fn accept(&self) -> Result<Asker> {
        let (stream, _) = self.listener.accept()?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Asker { stream, chain_id: self.chain_id.clone(), height: 0 })
    }
}

/// One connection of a signer.
pub(super) struct Asker {
    stream: UnixStream,
    chain_id: String,
    pub(super) height: i64,
}

impl Asker {
    /// Asks for the next height's prevote; returns nanoseconds from request to answer.
    pub(super) fn vote(&mut self) -> Result<u64> {
        self.height += 1;
        let message = Vote::prevote(self.height, 1).request(&self.chain_id);
        let mut frame = Vec::with_capacity(message.len() + 3);
        varint(&mut frame, message.len() as u64);
        frame.extend(message);
        let started = Instant::now();
        self.stream.write_all(&frame)?;
        let mut answer = [0; 4096];
        let read = self.stream.read(&mut answer)?;
        let nanos = u64::try_from(started.elapsed().as_nanos())?;
        // A signed vote is far longer than an error; its tag is 0x22 after a two-byte length.
        ensure!(read > 100 && answer[2] == 0x22, "{}: height {} was not signed", self.chain_id, self.height);
        Ok(nanos)
    }

    /// One vote every `pace`, `count` times, beginning after `delay`.
    fn votes(mut self, delay: Duration, pace: Duration, count: u32) -> Result<Vec<u64>> {
        let begin = Instant::now() + delay;
        let mut latencies = Vec::with_capacity(count as usize);
        for turn in 0..count {
            thread::sleep((begin + pace * turn).saturating_duration_since(Instant::now()));
            latencies.push(self.vote()?);
        }
        Ok(latencies)
    }
}

pub fn run(sandbox: &Sandbox, chains: u32, seconds: u32) -> Result<Many> {
    println!("==> {chains} chains in one process, one vote a second each, for {seconds} s; then one chain alone");
    let nodes: Vec<Node> =
        (0..chains).map(|index| Node::listen(sandbox, &format!("many-{index}"))).collect::<Result<_>>()?;
    let mut signer = prepare(sandbox, "many", &nodes)?;
    let started = Instant::now();
    signer.start()?;
    let askers: Vec<Asker> = nodes.iter().map(Node::accept).collect::<Result<_>>()?;
    let start_to_connected_ms = started.elapsed().as_secs_f64() * 1000.0;
    let pace = Duration::from_secs(1);
    let threads: Vec<_> = (0..chains)
        .zip(askers)
        .map(|(index, asker)| thread::spawn(move || asker.votes(pace * index / chains, pace, seconds)))
        .collect();
    thread::sleep(pace * seconds / 2);
    let resident_bytes = signer.process()?.resident_bytes()?;
    let mut latencies = vec![];
    for thread in threads {
        latencies.extend(thread.join().map_err(|_| anyhow::anyhow!("a scripted node panicked"))??);
    }
    signer.stop()?;
    let one = one_chain(sandbox, seconds)?;
    let micros = |sorted: &[u64], quantile| at_quantile(sorted, quantile) as f64 / 1000.0;
    latencies.sort_unstable();
    Ok(Many {
        chains,
        votes: latencies.len(),
        p50_us: micros(&latencies, 0.5),
        p99_us: micros(&latencies, 0.99),
        one_chain_p50_us: micros(&one, 0.5),
        one_chain_p99_us: micros(&one, 0.99),
        resident_bytes,
        start_to_connected_ms,
    })
}

/// One chain that is asked as often as it takes to have a 99th percentile: fifty votes a second.
fn one_chain(sandbox: &Sandbox, seconds: u32) -> Result<Vec<u64>> {
    let node = Node::listen(sandbox, "one")?;
    let mut signer = prepare(sandbox, "one", std::slice::from_ref(&node))?;
    signer.start()?;
    let mut latencies = node.accept()?.votes(Duration::ZERO, Duration::from_millis(20), seconds * 50)?;
    signer.stop()?;
    latencies.sort_unstable();
    Ok(latencies)
}

fn prepare(sandbox: &Sandbox, name: &str, nodes: &[Node]) -> Result<Signer> {
    let spec = SignerSpec { log_level: "info", ..SignerSpec::of(nodes.iter().map(Node::chain).collect()) };
    Signer::prepare(sandbox, &format!("signer-{name}"), &spec)
}

/// From starting the process to its first signature, one chain.
pub fn cold_start(sandbox: &Sandbox, times: u32) -> Result<ColdStart> {
    let node = Node::listen(sandbox, "cold")?;
    let mut signer = prepare(sandbox, "cold", std::slice::from_ref(&node))?;
    let mut millis = vec![];
    let mut height = 0;
    for _ in 0..times {
        let started = Instant::now();
        signer.start()?;
        let mut asker = node.accept()?;
        asker.height = height;
        asker.vote()?;
        height = asker.height;
        millis.push(u64::try_from(started.elapsed().as_micros())?);
        signer.stop()?;
    }
    millis.sort_unstable();
    Ok(ColdStart {
        p50_ms: at_quantile(&millis, 0.5) as f64 / 1000.0,
        max_ms: at_quantile(&millis, 1.0) as f64 / 1000.0,
    })
}

/// Counts the system calls of 1,000 votes with strace, where it is installed.
pub fn system_calls(sandbox: &Sandbox) -> Result<Vec<(String, f64)>> {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("strace is missing, so system calls are not counted: apt-get install strace");
        return Ok(vec![]);
    }
    const VOTES: u32 = 1000;
    let node = Node::listen(sandbox, "calls")?;
    let mut signer = prepare(sandbox, "calls", std::slice::from_ref(&node))?;
    signer.start()?;
    let mut asker = node.accept()?;
    asker.vote()?;
    let counts = sandbox.dir().join("strace.out");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-p", &signer.process()?.id().to_string(), "-o"]).arg(&counts);
    let mut strace = Process::spawn(sandbox, "strace", strace)?;
    strace.wait_for_log("attached", Duration::from_secs(10))?;
    for _ in 0..VOTES {
        asker.vote()?;
    }
    strace.terminate(Duration::from_secs(10))?;
    signer.stop()?;
    let text = std::fs::read_to_string(&counts).context("strace wrote nothing")?;
    Ok(parse_strace(&text, f64::from(VOTES)))
}

/// Rows of `strace -c`: `% time  seconds  usecs/call  calls  [errors]  syscall`; what happens less than every tenth vote is left out.
fn parse_strace(text: &str, votes: f64) -> Vec<(String, f64)> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let calls: f64 = words.get(3)?.parse().ok()?;
        Some(((*words.last()?).to_owned(), calls / votes))
    };
    text.lines().filter_map(row).filter(|(name, calls)| name != "total" && *calls >= 0.1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_strace_is_read_per_vote() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n------ ----------- ----------- --------- --------- ----------------\n 90.00    0.100000         100      1000           fdatasync\n  5.00    0.010000          10      2000         3 read\n  0.1 0.0 1 2 futex\n100.00    0.1                  3002         3 total\n";
        assert_eq!(parse_strace(text, 1000.0), [("fdatasync".to_owned(), 1.0), ("read".to_owned(), 2.0)]);
    }
}
