//! Real nodes keep making blocks through kills, restarts and pauses of either side, and a second signer is locked out.
use anyhow::{Result, ensure};
use e2e::{ChainSpec, Line, Rig, Sandbox, Transport, until};
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
