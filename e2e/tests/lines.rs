//! Real nodes of every line make blocks with this signer.
use anyhow::{Result, ensure};
use e2e::{ChainSpec, Line, Rig, Sandbox, Transport, pool};
use std::time::{Duration, Instant};

/// Each chain of one validator gets this far.
const BLOCKS: u64 = 55;

#[test]
fn every_line_over_every_transport_makes_blocks_that_bear_the_signature() -> Result<()> {
    let cases: Vec<(Line, Transport)> =
        Line::ALL.into_iter().flat_map(|line| Transport::ALL.map(|transport| (line, transport))).collect();
    let names: Vec<String> = cases.iter().map(|(line, transport)| format!("{line} over {transport}")).collect();
    let results = pool::run(&cases, pool::cores(), |(line, transport)| one_validator(*line, *transport));
    pool::report("one validator, ed25519, stock node: heights reached", &names, results)
}

fn one_validator(line: Line, transport: Transport) -> Result<String> {
    Sandbox::run(&format!("{}-{transport}", line.name()), |sandbox| {
        let begun = Instant::now();
        let mut rig = Rig::start(sandbox, "chain", ChainSpec::new(line, transport))?;
        let height = rig.chain.reach(BLOCKS, Duration::from_secs(90))?;
        let signed = rig.expect_signed(2, height, 1.0)?;
        rig.expect_clean()?;
        let metrics = rig.signer.metrics()?;
        ensure!(metrics.sum("tmkms_signatures_total", &[]) >= 3.0 * 50.0, "the metrics count too few signatures");
        ensure!(metrics.sum("tmkms_refusals_total", &[]) == 0.0, "an honest node was refused something");
        ensure!(rig.signer.stop()?.success(), "the signer does not end well on SIGTERM");
        Ok(format!(
            "height {height}, signed in {signed} of {} blocks, {:.0} s",
            height - 1,
            begun.elapsed().as_secs_f64()
        ))
    })
}

#[test]
fn one_of_four_validators_uses_the_signer_and_its_signature_is_in_the_blocks() -> Result<()> {
    let cases = [
        (Line::V038, Transport::Unix, "ed25519"),
        (Line::V038, Transport::Tcp, "secp256k1"),
        (Line::V040, Transport::Tcp, "ed25519"),
        (Line::V040, Transport::Unix, "secp256k1"),
    ];
    let names: Vec<String> =
        cases.iter().map(|(line, transport, key)| format!("{line} over {transport}, {key}")).collect();
    // Four nodes each: one chain at a time is enough for two cores.
    let results =
        pool::run(&cases, pool::cores() / 2, |(line, transport, key)| four_validators(*line, *transport, key));
    pool::report("four validators, one of them with the signer: heights reached", &names, results)
}

fn four_validators(line: Line, transport: Transport, key_type: &'static str) -> Result<String> {
    Sandbox::run(&format!("four-{}-{transport}", line.name()), |sandbox| {
        let spec = ChainSpec { validators: 4, key_type, ..ChainSpec::new(line, transport) };
        let mut rig = Rig::start(sandbox, "chain", spec)?;
        let height = rig.chain.reach(30, Duration::from_secs(120))?;
        // Three of four are enough for a commit, so that one may now and then come too late for it.
        let signed = rig.expect_signed(4, height - 1, 0.8)?;
        rig.expect_clean()?;
        Ok(format!("height {height}, signed in {signed} of {} blocks", height - 4))
    })
}
