//! `cargo xtask demo`: a real CometBFT chain that lives by this signer, shown live, and a double sign that is refused before your eyes.
//!
//! The signer is in a process that plays an enclave, with every process that a real one has around it; with `--emulated` it is the image, booted
//! in QEMU's nitro-enclave machine; with `--host` it is an ordinary process.
mod screen;
mod side;

use crate::{emulated, nodes, step};
use anyhow::{Context, Result, bail};
use e2e::metrics::Metrics;
use e2e::{Answer, Chain, ChainSpec, Client, Line, Observer, Sandbox, Transport, Vote, until};
use screen::{Screen, View};
use serde_json::Value;
use side::{Place, Side};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CHAIN_ID: &str = "demo-1";
const LINE: Line = Line::V038;
/// The first double sign is tried at this height, the next ones this many blocks later each.
const FIRST_ATTEMPT: u64 = 3;
const ATTEMPT_EVERY: u64 = 20;

#[derive(clap::Args)]
pub struct Args {
    /// Stop after this many blocks (default: run until Ctrl-C)
    #[arg(long, value_name = "N")]
    blocks: Option<u64>,
    /// The signer as an ordinary process of this host, without an enclave
    #[arg(long)]
    host: bool,
    /// The signer in the enclave image, booted in the emulator (builds image and emulator the first time, some fifteen minutes)
    #[arg(long, conflicts_with = "host")]
    emulated: bool,
    /// Between node and signer: tcp (SecretConnection) or unix
    #[arg(long, default_value = "tcp", value_parser = ["tcp", "unix"])]
    transport: String,
    /// Some ten blocks a second instead of one
    #[arg(long)]
    fast: bool,
    /// Keep the folder with keys, state and logs
    #[arg(long)]
    keep: bool,
}

pub fn run(args: &Args) -> Result<()> {
    step::run("build the signer", step::cargo().args(["build", "--release", "--package", "tmkms"]))?;
    if args.emulated {
        emulated::ensure()?;
    }
    if !args.host {
        step::run("build the enclave", step::cargo().args(["build", "--release", "--package", "sim", "--bins"]))?;
    }
    nodes::ensure(&[LINE])?;
    let stop = interrupts()?;
    Sandbox::run("demo", |sandbox| {
        if args.keep {
            sandbox.keep();
        }
        println!("\n==> keys, state, a node and the signer in {}", sandbox.dir().display());
        let mut demo = Demo::start(sandbox, args)?;
        let view = demo.watch(args.blocks, &stop)?;
        demo.end(&view)
    })
}

/// Ctrl-C, SIGTERM and a closed terminal ask for an end; a second one ends us at once, and the sandbox's watchdog then ends the children.
fn interrupts() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

struct Demo {
    chain: Chain,
    signer: Side,
    second_node: Client,
    observer: Observer,
    refused: Vec<String>,
    begun: Instant,
}

impl Demo {
    fn start(sandbox: &Sandbox, args: &Args) -> Result<Self> {
        let second_node = Client::listen(sandbox, "second-node", LINE, Transport::Unix, CHAIN_ID)?;
        let transport = if args.transport == "unix" { Transport::Unix } else { Transport::Tcp };
        let place = match (args.host, args.emulated) {
            (true, _) => Place::Host,
            (_, true) => Place::Emulated,
            _ => Place::Process,
        };
        let (mut signer, public_key) = Side::prepare(sandbox, place, CHAIN_ID)?;
        let chain = ChainSpec {
            id: CHAIN_ID.to_owned(),
            public_key: Some(public_key),
            fast: args.fast,
            ..ChainSpec::new(LINE, transport)
        };
        let chain = Chain::prepare(sandbox, "chain", chain)?;
        signer.connect(&[chain.signer_addr(), second_node.addr()])?;
        let (observer, begun) = (Observer::new(), Instant::now());
        let mut demo = Self { chain, signer, second_node, observer, refused: Vec::new(), begun };
        demo.signer.start()?;
        demo.chain.start()?;
        demo.second_node.connected(Duration::from_secs(10))?;
        demo.chain.reach(1, Duration::from_secs(30)).context("the chain does not begin")?;
        Ok(demo)
    }

    fn watch(&mut self, blocks: Option<u64>, stop: &AtomicBool) -> Result<View> {
        let mut screen = Screen::new();
        let mut next_attempt = blocks.unwrap_or(FIRST_ATTEMPT).min(FIRST_ATTEMPT);
        loop {
            self.signer.check()?;
            self.chain.node(0).process()?.check()?;
            let mut view = self.view()?;
            if view.height >= next_attempt && self.attempt_double_sign()? {
                next_attempt = view.height + ATTEMPT_EVERY;
                view = self.view()?;
            }
            let nobody_watches = screen.show(&view).is_err_and(|error| screen::is_closed(&error));
            let is_done = blocks.is_some_and(|blocks| view.height >= blocks) && !self.refused.is_empty();
            if is_done || nobody_watches || stop.load(Ordering::Relaxed) {
                return Ok(view);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// A second node asks for another block where the validator has just signed one. True when it was refused as a
    /// conflict; false when the chain went on in between, so that the question was too late to be the one we mean.
    fn attempt_double_sign(&mut self) -> Result<bool> {
        let status = self.signer.status()?;
        let last = &status["chains"][0]["last_signed"];
        let (Some(height), Some(round), Some(3)) =
            (last["height"].as_i64(), last["round"].as_i64(), last["step"].as_u64())
        else {
            return Ok(false);
        };
        let vote = Vote { round: i32::try_from(round)?, ..Vote::precommit(height, 0xee) };
        match self.second_node.vote(&vote, &self.observer)? {
            Answer::Signed(_) => bail!("DOUBLE SIGN: a second block was signed at {height}/{round}/precommit"),
            Answer::Broken(error) => bail!("the second node lost its signer: {error}"),
            Answer::Refused(text) if text.contains("conflict") => {
                self.refused.push(text);
                Ok(true)
            }
            Answer::Refused(_) => Ok(false),
        }
    }

    fn view(&mut self) -> Result<View> {
        let (status, metrics) = (self.signer.status()?, self.signer.metrics()?);
        let chain = &status["chains"][0];
        let last = &chain["last_signed"];
        let step = match last["step"].as_u64() {
            Some(1) => "proposal",
            Some(2) => "prevote",
            _ => "precommit",
        };
        let mut processes = self.signer.processes()?;
        processes.extend([
            process("node", &format!("CometBFT {LINE}, kvstore"), self.chain.node(0).process()?),
            process("second node", "asks for a double sign now and then", self.second_node.process()),
        ]);
        Ok(View {
            height: self.chain.height()?,
            seconds: self.begun.elapsed().as_secs_f64(),
            votes: count(&chain["signatures"]),
            refusals: sum(&chain["refusals"]),
            last_signed: format!("{}/{}/{step}", last["height"], last["round"]),
            p50_micros: micros(&metrics, "tmkms_answer_seconds", 0.5),
            p99_micros: micros(&metrics, "tmkms_answer_seconds", 0.99),
            commit_p50_micros: micros(&metrics, "tmkms_commit_seconds", 0.5),
            link: self.chain.signer_addr().to_owned(),
            processes,
            refused: self.refused.last().cloned(),
        })
    }

    fn end(mut self, view: &View) -> Result<()> {
        // The last block's own commit is in the next block.
        let last = view.height.saturating_sub(1).max(1);
        let signed = self.chain.signed_heights(1, last)?.len();
        let logged = self.signer.log_text()?;
        let logged = logged.lines().find(|line| line.contains("refused:")).unwrap_or_default();
        let ids = view.processes.iter().map(|process| process.id).collect::<Vec<_>>();
        self.chain.node(0).kill();
        self.signer.stop()?;
        drop(self.chain);
        drop(self.second_node);
        until("every process to end", Duration::from_secs(5), || Ok(ids.iter().all(|id| is_gone(*id)).then_some(())))?;
        screen::summary(view, signed as u64, last, self.refused.len(), logged);
        Ok(())
    }
}

/// A process as it is shown.
fn process(name: &'static str, what: &str, process: &e2e::Process) -> screen::Shown {
    screen::Shown {
        name,
        what: what.to_owned(),
        id: process.id(),
        resident_bytes: process.resident_bytes().unwrap_or(0),
    }
}

fn is_gone(id: u32) -> bool {
    !std::path::Path::new(&format!("/proc/{id}")).exists()
}

/// A quantile of a histogram in seconds, as microseconds.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn micros(metrics: &Metrics, histogram: &str, q: f64) -> u64 {
    metrics.quantile(histogram, &[], q).map_or(0, |seconds| (seconds * 1e6).max(0.0) as u64)
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn sum(counts: &Value) -> u64 {
    counts.as_array().into_iter().flatten().map(|entry| count(&entry["count"])).sum()
}
