//! An episode with the signer in an enclave, a process or emulated: what happens to the parent's processes, to KMS, and to the enclave itself.
use super::{Chance, FAULTS_PER_EPISODE, RECOVERY, Rival, Totals};
use anyhow::{Context, Result, ensure};
use e2e::enclave::{Machine, said};
use e2e::flood::{Flood, Manner, Target};
use e2e::{ChainSpec, Enclave, EnclaveRig, Process, Sandbox, until};
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
    PauseVsock,
    KillVsock,
    Flood,
}

impl Fault {
    /// The last three have no meaning for an enclave that is a process.
    pub(super) const ALL: [Self; 16] = [
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
        Self::PauseVsock,
        Self::KillVsock,
        Self::Flood,
    ];
    const OF_A_PROCESS: usize = 13;

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
                enclave.kill_enclave();
                sleep(pause);
                enclave.start_enclave()?;
                enclave.push().map(drop)
            }
            Self::KillEnclaveAndPersist => {
                enclave.kill_enclave();
                running(&mut enclave.persist)?.kill();
                sleep(pause);
                enclave.start_enclave()?;
                enclave.start_persist()?;
                enclave.push().map(drop)
            }
            Self::PausePersist => paused(running(&mut enclave.persist)?, pause * 2),
            Self::PauseProxy => paused(&mut enclave.proxies[0], pause * 2),
            Self::PauseEnclave => paused(enclave.process()?, pause * 4),
            Self::PushAgain => enclave.push().map(drop),
            Self::PushWrong => {
                fs::write(enclave.config_file(), enclave.config_text().replace("kms_key_arn", "kms_key_am"))?;
                let output = enclave.try_push(&[])?;
                ensure!(!output.status.success(), "a wrong configuration was taken: {}", said(&output));
                enclave.write_config()
            }
            Self::PushUnderTrouble => under_fault(rig, chance),
            Self::PauseVsock => paused(&mut enclave.emulator()?.vsock, pause * 4),
            Self::KillVsock => {
                enclave.emulator()?.vsock.kill();
                sleep(pause);
                enclave.start_enclave()?;
                enclave.push().map(drop)
            }
            Self::Flood => {
                let flood = Flood::begin(&targets(enclave), &Manner::ALL);
                sleep(pause * 3);
                drop(flood);
                Ok(())
            }
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

/// Every port that can be flooded: the control port, one that nobody listens on, and the parent's.
pub(super) fn targets(enclave: &Enclave) -> Vec<Target> {
    let parent = Enclave::parent_ports().map(|port| Target::Parent(enclave.parent_port(port)));
    [5050, 1].map(|port| Target::Enclave(enclave.vsock(), port)).into_iter().chain(parent).collect()
}

pub(super) fn episode(sandbox: &Sandbox, spec: ChainSpec, chance: &mut Chance, totals: &mut Totals) -> Result<()> {
    any_episode(sandbox, spec, None, chance, totals)
}

/// An episode of some enclave; `machine` where it is emulated.
pub(super) fn any_episode(
    sandbox: &Sandbox,
    spec: ChainSpec,
    machine: Option<Machine>,
    chance: &mut Chance,
    totals: &mut Totals,
) -> Result<()> {
    let faults = if machine.is_some() { Fault::ALL.len() } else { Fault::OF_A_PROCESS };
    let others_suffice = spec.validators > 3;
    let mut rival = Rival::listen(sandbox, &spec.id)?;
    let mut rig = match machine {
        None => EnclaveRig::start_with(sandbox, spec, &[rival.client.addr()])?,
        Some(machine) => EnclaveRig::start_emulated(sandbox, spec, &[rival.client.addr()], machine, |_| Ok(()))?,
    };
    rival.client.connected(RECOVERY)?;
    for _ in 0..FAULTS_PER_EPISODE {
        let fault = Fault::ALL[chance.below(faults)];
        fault.happen(&mut rig, chance).with_context(|| format!("{fault:?}"))?;
        totals.enclave_faults[fault as usize] += 1;
        until("the node to answer", RECOVERY, || Ok(rig.chain.height().ok()))?;
        rig.grow(3).with_context(|| format!("after {fault:?}"))?;
        if others_suffice {
            rig.signs_again(RECOVERY).with_context(|| format!("after {fault:?}"))?;
        }
        rival.client.wait(RECOVERY).with_context(|| format!("the second connection, after {fault:?}"))?;
        rival.asks(&rig.chain, totals).with_context(|| format!("after {fault:?}"))?;
    }
    rig.grow(2)?;
    rival.compare(&rig.chain)?;
    totals.blocks += rig.chain.height()?;
    rig.expect_clean()
}
