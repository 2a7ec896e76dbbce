//! `cargo xtask bench`: this signer beside its peers and beside the floor, in one run, in turns.
mod emulated;
mod enclave;
mod many;
mod peers;
mod report;

use crate::{nodes, step};
use anyhow::{Context, Result};
use e2e::{Client, Line, Sandbox, Transport};
use peers::Peer;
pub use peers::build_tmkms;
use report::{Figures, Report};
use std::path::PathBuf;
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    /// Rounds; in each, every signer gets its votes in turn
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Votes of each signer in each round
    #[arg(long, default_value_t = 1000)]
    votes: u32,
    /// Chains in the test of many chains
    #[arg(long, default_value_t = 256)]
    chains: u32,
    /// Seconds that the many chains vote, one vote a second each
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Where the state files are; the disk is half of what is measured
    #[arg(long, default_value = ".cache/bench")]
    folder: PathBuf,
    /// Boots of the image in the emulator
    #[arg(long, default_value_t = 10)]
    boots: u32,
    /// Also build the image from nothing, some five minutes
    #[arg(long)]
    build_image: bool,
    /// Leave tmkms 0.15.0 out (it is built from the registry the first time, some five minutes)
    #[arg(long)]
    without_tmkms: bool,
}

/// Signatures that each signer makes before anything is counted.
const WARMUP: u32 = 100;

pub fn run(args: &Args) -> Result<()> {
    nodes::build_all()?;
    step::run("build the signer", step::cargo().args(["build", "--release", "--package", "tmkms"]))?;
    step::run("build the enclave", step::cargo().args(["build", "--release", "--package", "sim", "--bins"]))?;
    crate::emulated::ensure()?;
    step::run("build the floor", step::cargo().args(["build", "--release", "--package", "e2e", "--bin", "floor"]))?;
    let mut wanted = vec![
        (Peer::Floor, Transport::Unix),
        (Peer::Ours, Transport::Unix),
        (Peer::Enclave, Transport::Unix),
        (Peer::Emulated, Transport::Unix),
        (Peer::FilePv, Transport::Unix),
        (Peer::Ours, Transport::Tcp),
        (Peer::Enclave, Transport::Tcp),
        (Peer::Emulated, Transport::Tcp),
        (Peer::FilePv, Transport::Tcp),
    ];
    if !args.without_tmkms {
        peers::build_tmkms()?;
        wanted.extend([(Peer::Tmkms, Transport::Unix), (Peer::Tmkms, Transport::Tcp)]);
    }
    let folder = step::root().join(&args.folder);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut report = Report::new();
    let sandbox = Sandbox::in_folder(&folder, "bench")?;
    measure(&mut report, &sandbox, &wanted, args).map_err(|error| {
        sandbox.keep();
        error.context(format!("the logs are in {}", sandbox.dir().display()))
    })?;
    report.print();
    report.save(&step::root().join("docs/bench/latest.json"))
}

fn measure(report: &mut Report, sandbox: &Sandbox, wanted: &[(Peer, Transport)], args: &Args) -> Result<()> {
    report.latency = latencies(sandbox, wanted, args)?;
    report.many = Some(many::run(sandbox, args.chains, args.seconds)?);
    report.cold_start = Some(many::cold_start(sandbox, 20)?);
    report.enclave = Some(enclave::run(sandbox, 10, 64)?);
    report.emulated = Some(emulated::run(sandbox, args.boots, args.votes, args.build_image)?);
    report.system_calls = many::system_calls(sandbox)?;
    Ok(())
}

/// Starts every signer with a CometBFT client of its own, then gives each its votes, round by round, in changing order.
fn latencies(sandbox: &Sandbox, wanted: &[(Peer, Transport)], args: &Args) -> Result<Vec<Figures>> {
    let mut running = vec![];
    for (index, (peer, transport)) in wanted.iter().enumerate() {
        let name = format!("{}-{}", peer.short(), if *transport == Transport::Unix { "unix" } else { "tcp" });
        let chain_id = format!("bench-{index}");
        let mut client = Client::listen(sandbox, &format!("client-{name}"), Line::V038, *transport, &chain_id)?;
        let signer = peer.start(sandbox, &name, &chain_id, client.addr())?;
        client.connected(Duration::from_secs(30)).with_context(|| format!("{name} did not connect"))?;
        running.push((Figures::new(*peer, *transport), client, signer, 1_i64));
    }
    for round in 0..args.rounds {
        println!("==> round {} of {}: {} votes each", round + 1, args.rounds, args.votes);
        let count = running.len();
        for turn in 0..count {
            let (figures, client, _, height) = &mut running[(turn + round as usize) % count];
            client.begin_bench(*height, WARMUP, args.votes, Duration::ZERO)?;
            let bench = client.finish_bench(Duration::from_secs(120))?;
            *height = bench.next_height;
            figures.add_round(bench.latencies_ns);
        }
    }
    Ok(running.into_iter().map(|(figures, ..)| figures).collect())
}
