//! Who signs in the demo: an enclave (a process, or the image in the emulator) with everything around it, or an ordinary process. All show the same pages.
use super::{process, screen};
use anyhow::{Context, Result, ensure};
use e2e::enclave::{Machine, said};
use e2e::metrics::Metrics;
use e2e::signer::SignerChain;
use e2e::{Enclave, EnclaveChain, Sandbox, Signer, SignerSpec};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Where the signer is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An ordinary process of this host.
    Host,
    /// A process that plays an enclave.
    Process,
    /// The image, booted in the emulator.
    Emulated,
}

pub(super) enum Side {
    Host { signer: Box<Signer>, chain_id: String },
    Enclave(Box<Enclave>),
}

impl Side {
    /// Makes the key and all that belongs to it. Also gives the public key, as `harness testnet --pubkey` takes it.
    pub(super) fn prepare(sandbox: &Sandbox, place: Place, chain_id: &str) -> Result<(Self, String)> {
        if place == Place::Host {
            let spec = SignerSpec::of(vec![SignerChain::new(chain_id, "unix:///nowhere")]);
            let signer = Signer::prepare(sandbox, "signer", &spec)?;
            let public_key = signer.public_key(chain_id)?;
            println!("    consensus key {public_key}, state for a new validator");
            return Ok((Self::Host { signer: Box::new(signer), chain_id: chain_id.to_owned() }, public_key));
        }
        let chains = vec![EnclaveChain::new(chain_id, "unix:///nowhere")];
        let enclave = match place {
            Place::Emulated => Enclave::prepare_emulated(sandbox, "enclave", chains, Machine::built()?)?,
            _ => Enclave::prepare(sandbox, "enclave", chains)?,
        };
        let public_key = enclave.public_key(chain_id)?;
        println!("    a KMS on {} that checks attestations and key policies", enclave.kms().url());
        println!("    consensus key {public_key}, encrypted under {}", enclave.key_arn(0)?);
        println!("    state for a new validator, kept by `nitro persist` outside the enclave");
        Ok((Self::Enclave(Box::new(enclave)), public_key))
    }

    /// Names the nodes, so that it can be started.
    pub(super) fn connect(&mut self, nodes: &[&str]) -> Result<()> {
        match self {
            Self::Host { signer, chain_id } => {
                let mut entry = SignerChain::new(chain_id, nodes[0]);
                entry.connections = nodes.iter().map(|node| (*node).to_owned()).collect();
                signer.write_config(&SignerSpec::of(vec![entry]))
            }
            Self::Enclave(enclave) => {
                enclave.set_nodes(0, nodes);
                enclave.write_config()
            }
        }
    }

    /// Starts it. An enclave is first refused, as one of another measurement, so that a person sees what KMS says then.
    pub(super) fn start(&mut self) -> Result<()> {
        let Self::Enclave(enclave) = self else {
            let Self::Host { signer, .. } = self else { return Ok(()) };
            return signer.start();
        };
        enclave.start_parent()?;
        boot(enclave)?;
        let status = enclave.status()?;
        let pcr0 = status["pcrs"]["0"].as_str().context("no PCR0 in the status")?.to_owned();
        println!("    the enclave measures PCR0 {pcr0}");
        println!("\n==> first, a key policy that names another measurement: KMS refuses, and an operator sees");
        enclave.allow(&"0123456789ab".repeat(8))?;
        let refused = enclave.try_push(&[])?;
        ensure!(!refused.status.success(), "KMS released the key to a measurement that its policy does not name");
        said(&refused).lines().for_each(|line| println!("    | {line}"));
        println!("\n==> now the policy names this enclave's PCR0: attestation, release, sessions");
        enclave.allow(&pcr0)?;
        enclave.push()?.lines().for_each(|line| println!("    | {line}"));
        enclave.start_metrics()
    }

    pub(super) fn check(&mut self) -> Result<()> {
        match self {
            Self::Host { signer, .. } => signer.process()?.check(),
            Self::Enclave(enclave) => enclave.processes().into_iter().try_for_each(|(_, process)| process.check()),
        }
    }

    pub(super) fn status(&self) -> Result<Value> {
        match self {
            Self::Host { signer, .. } => signer.status(),
            Self::Enclave(enclave) => Ok(serde_json::from_str(&enclave.page("/status")?)?),
        }
    }

    pub(super) fn metrics(&self) -> Result<Metrics> {
        match self {
            Self::Host { signer, .. } => signer.metrics(),
            Self::Enclave(enclave) => Ok(Metrics::parse(&enclave.page("/metrics")?)),
        }
    }

    pub(super) fn processes(&mut self) -> Result<Vec<screen::Shown>> {
        Ok(match self {
            Self::Host { signer, .. } => {
                vec![process("signer (tmkms)", "holds the key, judges, records, signs", signer.process()?)]
            }
            Self::Enclave(enclave) => {
                let what = |name: &str| match name {
                    "enclave" => ("enclave", "holds the key, judges, signs; no disk, no network"),
                    "vsock" => ("vhost vsock", "the emulated enclave's only way out"),
                    "persist" => ("nitro persist", "keeps the record, durable before each signature"),
                    "kms proxy" => ("nitro proxy", "carries TLS between the enclave and KMS"),
                    "metrics" => ("nitro metrics", "relays the enclave's metrics"),
                    _ => ("nitro proxy", "carries privval between the enclave and a node"),
                };
                enclave.processes().into_iter().map(|(name, one)| process(what(name).0, what(name).1, one)).collect()
            }
        })
    }

    /// What it logged, for the evidence of a refusal.
    pub(super) fn log_text(&mut self) -> Result<String> {
        match self {
            Self::Host { signer, .. } => Ok(signer.process()?.log_text()),
            Self::Enclave(enclave) => enclave.command(&["nitro", "logs", "-i", &enclave.cid()]),
        }
    }

    /// SIGTERM to all of it.
    pub(super) fn stop(&mut self) -> Result<()> {
        match self {
            Self::Host { signer, .. } => {
                ensure!(signer.stop()?.success(), "the signer did not end well on SIGTERM");
            }
            Self::Enclave(enclave) => {
                // An enclave is ended by cutting its power: `nitro-cli terminate-enclave` does the same.
                if enclave.emulator().is_ok() {
                    enclave.kill_enclave();
                }
                for (name, process) in enclave.processes() {
                    let status = process.terminate(Duration::from_secs(10))?;
                    ensure!(status.success(), "{name} did not end well on SIGTERM: {status}");
                }
            }
        }
        Ok(())
    }
}

/// Starts the enclave; where it is emulated, says what is booted and how long that takes.
fn boot(enclave: &mut Enclave) -> Result<()> {
    let Ok(machine) = enclave.machine() else { return enclave.start_enclave() };
    let (memory, cpus) = (machine.memory_mib, machine.cpus);
    let begun = Instant::now();
    enclave.start_enclave()?;
    let seconds = begun.elapsed().as_secs_f64();
    let image = enclave.image()?;
    let (file, bytes) = (image.eif.display().to_string(), std::fs::metadata(&image.eif)?.len());
    println!("    {file}: {bytes} bytes, kernel, program and this demo's policy");
    println!(
        "    QEMU's nitro-enclave machine with {memory} MiB and {cpus} processors booted it in {seconds:.1} s, image made"
    );
    Ok(())
}
