//! Who signs in the demo: an emulated enclave with everything around it, or an ordinary process. Both show the same pages.
use super::{process, screen};
use anyhow::{Context, Result, ensure};
use e2e::enclave::said;
use e2e::metrics::Metrics;
use e2e::signer::SignerChain;
use e2e::{Enclave, EnclaveChain, Sandbox, Signer, SignerSpec};
use serde_json::Value;
use std::time::Duration;

pub(super) enum Side {
    Host { signer: Box<Signer>, chain_id: String },
    Enclave(Box<Enclave>),
}

impl Side {
    /// Makes the key and all that belongs to it. Also gives the public key, as `harness testnet --pubkey` takes it.
    pub(super) fn prepare(sandbox: &Sandbox, on_host: bool, chain_id: &str) -> Result<(Self, String)> {
        if on_host {
            let spec = SignerSpec::of(vec![SignerChain::new(chain_id, "unix:///nowhere")]);
            let signer = Signer::prepare(sandbox, "signer", &spec)?;
            let public_key = signer.public_key(chain_id)?;
            println!("    consensus key {public_key}, state for a new validator");
            return Ok((Self::Host { signer: Box::new(signer), chain_id: chain_id.to_owned() }, public_key));
        }
        let enclave = Enclave::prepare(sandbox, "enclave", vec![EnclaveChain::new(chain_id, "unix:///nowhere")])?;
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
        enclave.start_enclave()?;
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
            Self::Enclave(enclave) => Ok(enclave.enclave.as_ref().context("no enclave")?.log_text()),
        }
    }

    /// SIGTERM to all of it.
    pub(super) fn stop(&mut self) -> Result<()> {
        match self {
            Self::Host { signer, .. } => {
                ensure!(signer.stop()?.success(), "the signer did not end well on SIGTERM");
            }
            Self::Enclave(enclave) => {
                for (name, process) in enclave.processes() {
                    let status = process.terminate(Duration::from_secs(10))?;
                    ensure!(status.success(), "{name} did not end well on SIGTERM: {status}");
                }
            }
        }
        Ok(())
    }
}
