//! `cargo xtask soak`: random chains, random faults, for as long as you like, with an eye on every signature.
//!
//! Each episode takes a line, a transport and one or four validators by chance, lets a chain run on the signer, and does
//! things to it that happen to machines: kills, pauses, restarts of the signer and of its node. Beside the node, CometBFT's own client asks the same
//! key for other blocks at the heights where the chain is, over a second connection. What it gets signed is remembered; a conflict ends the run.
mod cuts;
mod emulated;
mod enclave;

use crate::{fuzz, nodes, step};
use anyhow::{Context, Result, bail, ensure};
use e2e::{Answer, Chain, ChainSpec, Client, Line, Observer, Rig, Sandbox, Transport, Vote, until};
use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[derive(clap::Args)]
pub struct Args {
    /// How long: 30m, 8h
    #[arg(long, default_value = "30m", value_parser = fuzz::duration)]
    time: Duration,
    /// Only episodes with this side: host, enclave (a process), or emulated (the image in QEMU, on v0.40 with four validators, first ten
    /// minutes under load in both directions, then faults), or cuts (of the power of a guest in which this signer and others sign), or units (of
    /// systemd, once, in a guest); default: host and enclave, by chance
    #[arg(long, value_parser = ["host", "enclave", "emulated", "cuts", "units"])]
    only: Option<String>,
    /// With cuts: this many, however long it takes
    #[arg(long)]
    count: Option<u32>,
    /// Repeat the episodes of an earlier run (it prints its seed)
    #[arg(long)]
    seed: Option<u64>,
}

/// How long a chain may take to come back after a fault; a node without a signer waits 3 s for each of its attempts.
const RECOVERY: Duration = Duration::from_secs(90);
const FAULTS_PER_EPISODE: u32 = 8;

pub fn run(args: &Args) -> Result<()> {
    step::run("build the signer", step::cargo().args(["build", "--release", "--package", "tmkms"]))?;
    step::run("build the enclave", step::cargo().args(["build", "--release", "--package", "sim", "--bins"]))?;
    if args.only.as_deref() == Some("emulated") {
        crate::emulated::ensure()?;
    }
    if args.only.as_deref() == Some("units") {
        return units();
    }
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let seed = args.seed.unwrap_or(clock);
    if args.only.as_deref() == Some("cuts") {
        return cuts::run(&args.count.map_or(cuts::Until::Time(args.time), cuts::Until::Count), seed);
    }
    nodes::build_all()?;
    println!("\n==> soak for {} s with --seed {seed}", args.time.as_secs());
    let begun = Instant::now();
    if args.only.as_deref() == Some("emulated") {
        let time = emulated::load_time(args.time);
        println!("under load in both directions for {} s", time.as_secs());
        let carried = Sandbox::run("soak-load", |sandbox| emulated::load(sandbox, time)).context("under load")?;
        println!("    nothing hung: {carried}");
    }
    let mut totals = Totals::default();
    let mut episode = 0;
    while begun.elapsed() < args.time {
        episode += 1;
        let mut chance = Chance::new(seed.wrapping_add(episode));
        let spec = random_chain(&mut chance);
        let by_chance = if chance.below(2) == 0 { "host" } else { "enclave" };
        let side = args.only.as_deref().unwrap_or(by_chance);
        let (line, transport, validators) = (spec.line.name(), spec.transport, spec.validators);
        match side {
            "emulated" => println!("episode {episode}: v0.40 over {transport}, 4 validators, signer: in the emulator"),
            _ => println!("episode {episode}: {line} over {transport}, {validators} validators, signer: {side}"),
        }
        let episode_of = match side {
            "host" => one_episode,
            "enclave" => enclave::episode,
            _ => emulated::episode,
        };
        Sandbox::run(&format!("soak-{episode}"), |sandbox| episode_of(sandbox, spec, &mut chance, &mut totals))
            .with_context(|| format!("episode {episode} of --seed {seed}; {totals}"))?;
        println!("    {totals}");
    }
    println!("\n{} episodes in {:.0} s: {totals}; no conflicting signature", episode, begun.elapsed().as_secs_f64());
    Ok(())
}

const UNITS: &str =
    "the_units_start_what_they_name_in_order_bring_back_what_is_killed_and_stop_well_under_a_real_systemd";

/// The units of `packaging/` under a real systemd, in a guest beside one that is the enclave.
fn units() -> Result<()> {
    crate::enclave::ensure()?;
    crate::guest::ensure_systemd()?;
    let test = [
        "test",
        "--release",
        "--package",
        "e2e",
        "--test",
        "vsock",
        "--",
        "--exact",
        UNITS,
        "--ignored",
        "--nocapture",
    ];
    let mut ran = false;
    let command = &mut step::cargo();
    let ok = step::run_lines("the units under systemd", command.args(test), |line| ran |= line.contains("1 passed"))?;
    ensure!(ok && ran, "the units under systemd: failed, or the test {UNITS} is not there");
    Ok(())
}

fn random_chain(chance: &mut Chance) -> ChainSpec {
    let line = Line::ALL[chance.below(Line::ALL.len())];
    let transport = if chance.below(2) == 0 { Transport::Unix } else { Transport::Tcp };
    let validators = if chance.below(3) == 0 { 4 } else { 1 };
    ChainSpec { validators, ..ChainSpec::new(line, transport) }
}

fn one_episode(sandbox: &Sandbox, spec: ChainSpec, chance: &mut Chance, totals: &mut Totals) -> Result<()> {
    let mut rival = Rival::listen(sandbox, &spec.id)?;
    let mut rig = Rig::start_with(sandbox, "chain", spec, &[rival.client.addr()])?;
    rival.client.connected(RECOVERY)?;
    for _ in 0..FAULTS_PER_EPISODE {
        let fault = Fault::ALL[chance.below(Fault::ALL.len())];
        fault.happen(&mut rig, chance)?;
        totals.faults[fault as usize] += 1;
        until("the node to answer", RECOVERY, || Ok(rig.chain.height().ok()))?;
        rig.chain.grow(3, RECOVERY).with_context(|| format!("after {fault:?}"))?;
        rival.client.wait(RECOVERY).with_context(|| format!("the second connection, after {fault:?}"))?;
        rival.asks(&rig.chain, totals).with_context(|| format!("after {fault:?}"))?;
    }
    rig.chain.grow(2, RECOVERY)?;
    rival.compare(&rig.chain)?;
    totals.blocks += rig.chain.height()?;
    rig.expect_clean()
}

/// A second node of the same key, which asks for other blocks in round 0 where its validator has signed, or is about to.
struct Rival {
    client: Client,
    observer: Observer,
    /// Heights whose precommit for another block this one was given first: the chain must not have it as well.
    precommits: Vec<u64>,
}

impl Rival {
    fn listen(sandbox: &Sandbox, chain_id: &str) -> Result<Self> {
        let client = Client::listen(sandbox, "rival", Line::V038, Transport::Unix, chain_id)?;
        Ok(Self { client, observer: Observer::new(), precommits: Vec::new() })
    }

    /// Below, at and just above the chain's height.
    fn asks(&mut self, chain: &Chain, totals: &mut Totals) -> Result<()> {
        let committed = chain.height()?;
        let mut refused = 0;
        for height in [committed - 1, committed, committed + 1] {
            let asked = i64::try_from(height)?;
            for (vote, is_precommit) in [(Vote::prevote(asked, 0xaa), false), (Vote::precommit(asked, 0xbb), true)] {
                match self.client.vote(&vote, &self.observer)? {
                    // Its validator may have been away at that height. If it was not, it went on from there.
                    Answer::Signed(_) if height <= committed && !chain.signed_heights(height, height)?.is_empty() => {
                        bail!(
                            "DOUBLE SIGN: the commit of height {height} bears the signature, and so does another block: {vote:?}"
                        )
                    }
                    Answer::Signed(_) => {
                        totals.rival_signed += 1;
                        self.precommits.extend(is_precommit.then_some(height));
                    }
                    Answer::Refused(_) => refused += 1,
                    // The client notices only now that its signer died in the fault before; the signer has dialled again.
                    Answer::Broken(_) => self.client.wait(RECOVERY)?,
                }
            }
        }
        totals.rival_refused += refused;
        ensure!(refused > 0, "nothing was refused around height {committed}, so nothing was shown");
        Ok(())
    }

    /// When all of those heights are decided: what was signed for this one is in no commit of the same round.
    fn compare(&self, chain: &Chain) -> Result<()> {
        let last = chain.height()?;
        for height in self.precommits.iter().copied().filter(|height| *height < last) {
            let is_in_commit = !chain.signed_heights(height, height)?.is_empty() && chain.commit_round(height)? == 0;
            ensure!(!is_in_commit, "DOUBLE SIGN: height {height}, round 0: precommits for two blocks");
        }
        Ok(())
    }
}

/// What happens to machines.
#[derive(Clone, Copy, Debug)]
enum Fault {
    KillSigner,
    StopSigner,
    PauseSigner,
    KillNode,
    KillBoth,
    PauseNode,
}

impl Fault {
    const ALL: [Self; 6] =
        [Self::KillSigner, Self::StopSigner, Self::PauseSigner, Self::KillNode, Self::KillBoth, Self::PauseNode];

    fn happen(self, rig: &mut Rig, chance: &mut Chance) -> Result<()> {
        let pause = Duration::from_millis(chance.below(2500) as u64);
        match self {
            Self::KillSigner => {
                rig.signer.kill();
                std::thread::sleep(pause);
                rig.signer.start()
            }
            Self::StopSigner => {
                ensure!(rig.signer.stop()?.success(), "the signer does not end well on SIGTERM");
                std::thread::sleep(pause);
                rig.signer.start()
            }
            Self::PauseSigner => {
                rig.signer.process()?.pause()?;
                std::thread::sleep(pause * 4);
                rig.signer.process()?.resume()
            }
            Self::KillNode => {
                rig.chain.node(0).kill();
                std::thread::sleep(pause);
                rig.chain.node(0).start()
            }
            Self::KillBoth => {
                rig.signer.kill();
                rig.chain.node(0).kill();
                std::thread::sleep(pause);
                rig.signer.start()?;
                rig.chain.node(0).start()
            }
            Self::PauseNode => {
                rig.chain.node(0).process()?.pause()?;
                std::thread::sleep(pause * 2);
                rig.chain.node(0).process()?.resume()
            }
        }
    }
}

#[derive(Default)]
struct Totals {
    blocks: u64,
    rival_signed: u64,
    rival_refused: u64,
    faults: [u64; Fault::ALL.len()],
    enclave_faults: [u64; enclave::Fault::ALL.len()],
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} blocks, {} other votes refused, {} signed first",
            self.blocks, self.rival_refused, self.rival_signed
        )?;
        Fault::ALL.iter().zip(self.faults).try_for_each(|(fault, count)| write!(f, ", {fault:?} {count}"))?;
        f.write_str("; in an enclave")?;
        let faults = enclave::Fault::ALL.iter().zip(self.enclave_faults);
        faults.into_iter().try_for_each(|(fault, count)| write!(f, ", {fault:?} {count}"))
    }
}

/// Numbers by chance from a seed (SplitMix64): the same seed gives the same episodes.
struct Chance(u64);

impl Chance {
    const fn new(seed: u64) -> Self {
        Self(seed)
    }

    const fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 33) as usize % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_episodes() {
        let draw = |seed| {
            let mut chance = Chance::new(seed);
            (0..20).map(|_| chance.below(6)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
