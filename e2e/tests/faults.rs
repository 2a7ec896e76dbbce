//! Real nodes keep making blocks through kills, restarts and pauses of either side, and a second signer is locked out.
use anyhow::{Context, Result, ensure};
use e2e::{ChainSpec, Client, Line, Observer, Rig, Sandbox, Transport, Vote, until};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Generous: a node that lost its signer waits 3 s for each attempt.
const RECOVERY: Duration = Duration::from_secs(60);

/// The exit code for a state that is missing, damaged or in use (`tmkms --help`).
const STATE_TROUBLE: i32 = 4;

fn with_rig(name: &str, line: Line, transport: Transport, body: impl FnOnce(&mut Rig) -> Result<()>) -> Result<()> {
    Sandbox::run(name, |sandbox| {
        let mut rig = Rig::start(sandbox, "chain", ChainSpec::new(line, transport))?;
        rig.chain.reach(5, RECOVERY)?;
        body(&mut rig)?;
        let height = rig.chain.grow(10, RECOVERY)?;
        rig.expect_signed(2, height, 1.0)?;
        rig.expect_clean()
    })
}

#[test]
fn a_signer_that_is_killed_and_restarted_signs_on() -> Result<()> {
    with_rig("kill-signer", Line::V038, Transport::Unix, |rig| {
        for pause in [0, 200, 1500] {
            rig.signer.kill();
            sleep(Duration::from_millis(pause));
            rig.signer.start()?;
            rig.chain.grow(5, RECOVERY)?;
        }
        Ok(())
    })
}

#[test]
fn a_node_that_is_killed_and_restarted_is_signed_for_again() -> Result<()> {
    with_rig("kill-node", Line::V040, Transport::Tcp, |rig| {
        for pause in [0, 300] {
            rig.chain.node(0).kill();
            sleep(Duration::from_millis(pause));
            rig.chain.node(0).start()?;
            until("the node to answer again", RECOVERY, || Ok(rig.chain.height().ok()))?;
            rig.chain.grow(5, RECOVERY)?;
        }
        Ok(())
    })
}

#[test]
fn both_killed_and_restarted_in_either_order_go_on() -> Result<()> {
    with_rig("kill-both", Line::V038, Transport::Tcp, |rig| {
        for node_first in [false, true] {
            rig.signer.kill();
            rig.chain.node(0).kill();
            if node_first {
                rig.chain.node(0).start()?;
                // Less than the 3 s for which a node waits for its signer at the start.
                sleep(Duration::from_secs(1));
                rig.signer.start()?;
            } else {
                rig.signer.start()?;
                sleep(Duration::from_secs(1));
                rig.chain.node(0).start()?;
            }
            until("the node to answer again", RECOVERY, || Ok(rig.chain.height().ok()))?;
            rig.chain.grow(5, RECOVERY)?;
        }
        Ok(())
    })
}

#[test]
fn a_signer_that_hangs_for_30_s_signs_on_when_it_wakes() -> Result<()> {
    with_rig("pause-30", Line::V038, Transport::Tcp, |rig| {
        rig.signer.process()?.pause()?;
        let before = rig.chain.height()?;
        sleep(Duration::from_secs(30));
        let meanwhile = rig.chain.height()? - before;
        ensure!(meanwhile <= 1, "the only validator was stopped, and {meanwhile} blocks were made");
        rig.signer.process()?.resume()?;
        rig.chain.grow(5, RECOVERY).map(drop)
    })
}

#[test]
fn a_signer_that_is_away_for_30_s_signs_on_when_it_is_back() -> Result<()> {
    with_rig("stop-30", Line::V038, Transport::Unix, |rig| {
        ensure!(rig.signer.stop()?.success(), "the signer does not end well on SIGTERM");
        sleep(Duration::from_secs(30));
        rig.signer.start()?;
        rig.chain.grow(5, RECOVERY).map(drop)
    })
}

#[test]
fn sigterm_under_load_ends_quickly_and_loses_nothing() -> Result<()> {
    with_rig("sigterm", Line::V039, Transport::Unix, |rig| {
        for _ in 0..5 {
            let begun = Instant::now();
            ensure!(rig.signer.stop()?.success(), "the signer does not end well on SIGTERM");
            ensure!(begun.elapsed() < Duration::from_secs(5), "SIGTERM took {:?}", begun.elapsed());
            rig.signer.start()?;
            rig.chain.grow(3, RECOVERY)?;
        }
        Ok(())
    })
}

#[test]
fn a_second_signer_on_the_same_state_is_refused_by_the_lock_and_the_first_signs_on() -> Result<()> {
    with_rig("second-signer", Line::V038, Transport::Unix, |rig| {
        let mut second = rig.signer.start_another("second-signer")?;
        let status = second.wait(Duration::from_secs(10))?;
        let said = second.log_text();
        ensure!(status.code() == Some(STATE_TROUBLE), "the second signer ended with {status}: {said}");
        let holder = format!("in use by process {}", rig.signer.process()?.id());
        let state = rig.signer.state_file(&rig.chain.spec.id);
        ensure!(said.contains(&holder) && said.contains(&state.display().to_string()), "{said}");
        rig.chain.grow(5, RECOVERY).map(drop)
    })
}

#[test]
fn a_validator_of_four_whose_signer_died_signs_again_when_it_is_back() -> Result<()> {
    Sandbox::run("of-four", |sandbox| {
        let spec = ChainSpec { validators: 4, ..ChainSpec::new(Line::V040, Transport::Tcp) };
        let mut rig = Rig::start(sandbox, "chain", spec)?;
        rig.chain.reach(8, RECOVERY)?;
        rig.signer.kill();
        let gone = rig.chain.node(1).height()?;
        // The other three are enough, and our own node follows them.
        let without = rig.chain.node(1).reach(gone + 10, RECOVERY)?;
        let address = rig.chain.address().to_owned();
        ensure!(!rig.chain.node(1).commit_bears(without - 1, &address)?, "a signature at {without} without a signer");
        rig.signer.start()?;
        let back = rig.chain.node(1).height()?;
        until("a commit with the signature", RECOVERY, || {
            let height = rig.chain.node(1).height()?;
            Ok((height > back + 1 && rig.chain.node(1).commit_bears(height - 1, &address)?).then_some(()))
        })?;
        let from = rig.chain.node(1).height()?;
        let to = rig.chain.node(1).reach(from + 15, RECOVERY)?;
        rig.chain.reach(to, RECOVERY)?;
        rig.expect_signed(from, to - 1, 0.8)?;
        rig.expect_clean()
    })
}

#[test]
fn a_second_node_that_asks_for_other_blocks_beside_a_live_chain_gets_no_signature_and_stops_nothing() -> Result<()> {
    Sandbox::run("beside", |sandbox| {
        let observer = Observer::new();
        let spec = ChainSpec::new(Line::V038, Transport::Tcp);
        let mut second = Client::listen(sandbox, "second", spec.line, Transport::Unix, &spec.id)?;
        let addr = second.addr().to_owned();
        let mut rig = Rig::start_with(sandbox, "chain", spec, &[&addr])?;
        second.connected(RECOVERY)?;
        let (mut conflicts, mut regressions) = (0, 0);
        while rig.chain.height()? < 50 {
            let last = rig.signer.status()?["chains"][0]["last_signed"].take();
            let number = |field: &str| last[field].as_i64().with_context(|| format!("no {field} in {last}"));
            // Steps: 1 proposal, 2 prevote, 3 precommit; types: 1 prevote, 2 precommit.
            let kind = i32::try_from(number("step")?)? - 1;
            let round = i32::try_from(number("round")?)?;
            if number("step")? > 1 {
                let vote = Vote { round, ..Vote::new(kind, number("height")?, 0xee) };
                let text = second.vote(&vote, &observer)?.refused()?;
                conflicts += u32::from(text.contains("conflicting"));
                regressions += u32::from(text.contains("regression"));
            }
        }
        ensure!(conflicts > 20, "only {conflicts} conflicts were asked for");
        let height = rig.chain.height()?;
        rig.expect_signed(2, height, 1.0)?;
        let refused = rig.signer.metrics()?.sum("tmkms_refusals_total", &[]);
        ensure!(refused == f64::from(conflicts + regressions), "{refused} refusals in the metrics");
        e2e::say(&format!(
            "{conflicts} conflicts and {regressions} regressions refused beside a chain that reached {height}"
        ));
        rig.expect_clean()
    })
}
