//! An episode with the signer in an emulated enclave: what happens to the parent's processes, to KMS, and to the enclave itself.
use super::{Chance, FAULTS_PER_EPISODE, RECOVERY, Totals, ask_for_other_blocks};
use anyhow::{Context, Result, ensure};
use e2e::enclave::said;
use e2e::{ChainSpec, Client, EnclaveRig, Line, Observer, Process, Sandbox, Transport, until};
use sim::kms::Fault as KmsFault;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

/// What happens to machines and to operators.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    KillPersist,
    KillProxy,
    KillKmsProxy,
    RestartKms,
    KillNode,
    KillEnclave,
    KillEnclaveAndPersist,
    PausePersist,
    PauseProxy,
    PauseEnclave,
    PushAgain,
    PushWrong,
    PushUnderTrouble,
}

impl Fault {
    pub(super) const ALL: [Self; 13] = [
        Self::KillPersist,
        Self::KillProxy,
        Self::KillKmsProxy,
        Self::RestartKms,
        Self::KillNode,
        Self::KillEnclave,
        Self::KillEnclaveAndPersist,
        Self::PausePersist,
        Self::PauseProxy,
        Self::PauseEnclave,
        Self::PushAgain,
        Self::PushWrong,
        Self::PushUnderTrouble,
    ];

    fn happen(self, rig: &mut EnclaveRig, chance: &mut Chance) -> Result<()> {
        let pause = Duration::from_millis(chance.below(2500) as u64);
        let enclave = &mut rig.enclave;
        match self {
            Self::KillPersist => {
                running(&mut enclave.persist)?.kill();
                sleep(pause);
                enclave.start_persist()
            }
            Self::KillProxy => {
                enclave.proxies[0].kill();
                sleep(pause);
                enclave.start_proxy(0)
            }
            Self::KillKmsProxy => {
                running(&mut enclave.kms_proxy)?.kill();
                sleep(pause);
                enclave.start_kms_proxy()
            }
            Self::RestartKms => enclave.restart_kms(pause),
            Self::KillNode => {
                rig.chain.node(0).kill();
                sleep(pause);
                rig.chain.node(0).start()
            }
            Self::KillEnclave => {
                running(&mut enclave.enclave)?.kill();
                sleep(pause);
                enclave.start_enclave()?;
                enclave.push().map(drop)
            }
            Self::KillEnclaveAndPersist => {
                running(&mut enclave.enclave)?.kill();
                running(&mut enclave.persist)?.kill();
                sleep(pause);
                enclave.start_enclave()?;
                enclave.start_persist()?;
                enclave.push().map(drop)
            }
            Self::PausePersist => paused(running(&mut enclave.persist)?, pause * 2),
            Self::PauseProxy => paused(&mut enclave.proxies[0], pause * 2),
            Self::PauseEnclave => paused(running(&mut enclave.enclave)?, pause * 4),
            Self::PushAgain => enclave.push().map(drop),
            Self::PushWrong => {
                fs::write(enclave.config_file(), enclave.config_text().replace("kms_key_arn", "kms_key_am"))?;
                let output = enclave.try_push(&[])?;
                ensure!(!output.status.success(), "a wrong configuration was taken: {}", said(&output));
                enclave.write_config()
            }
            Self::PushUnderTrouble => under_fault(rig, chance),
        }
    }
}

/// A fresh enclave that KMS treats badly at first.
fn under_fault(rig: &mut EnclaveRig, chance: &mut Chance) -> Result<()> {
    let faults = [
        KmsFault::ExpiredToken,
        KmsFault::CloseMidAnswer,
        KmsFault::AnotherKey,
        KmsFault::WrongCertificate,
        KmsFault::GarbageBody,
        KmsFault::PlaintextBeside,
    ];
    let enclave = &mut rig.enclave;
    running(&mut enclave.enclave)?.kill();
    enclave.start_enclave()?;
    enclave.kms().faults().always(faults[chance.below(faults.len())].clone());
    let output = enclave.try_push(&[])?;
    enclave.kms().faults().clear();
    ensure!(!output.status.success(), "a push under a fault of KMS ended well: {}", said(&output));
    enclave.push().map(drop)
}

fn running(process: &mut Option<Process>) -> Result<&mut Process> {
    process.as_mut().context("it was not started")
}

fn paused(process: &mut Process, time: Duration) -> Result<()> {
    process.pause()?;
    sleep(time);
    process.resume()
}

pub(super) fn episode(sandbox: &Sandbox, spec: ChainSpec, chance: &mut Chance, totals: &mut Totals) -> Result<()> {
    let observer = Observer::new();
    let mut rival = Client::listen(sandbox, "rival", Line::V038, Transport::Unix, &spec.id)?;
    let mut rig = EnclaveRig::start_with(sandbox, spec, &[rival.addr()])?;
    rival.connected(RECOVERY)?;
    for _ in 0..FAULTS_PER_EPISODE {
        let fault = Fault::ALL[chance.below(Fault::ALL.len())];
        fault.happen(&mut rig, chance).with_context(|| format!("{fault:?}"))?;
        totals.enclave_faults[fault as usize] += 1;
        until("the node to answer", RECOVERY, || Ok(rig.chain.height().ok()))?;
        rig.grow(3).with_context(|| format!("after {fault:?}"))?;
        rival.wait(RECOVERY).with_context(|| format!("the second connection, after {fault:?}"))?;
        ask_for_other_blocks(rig.chain.height()?, &mut rival, &observer, totals)?;
    }
    totals.blocks += rig.chain.height()?;
    rig.expect_clean()
}
