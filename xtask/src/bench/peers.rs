//! The signers that are compared, and how each is started.
use crate::step;
use anyhow::{Context, Result};
use e2e::enclave::Machine;
use e2e::signer::{Signer, SignerSpec};
use e2e::{Enclave, EnclaveChain, Line, Process, Sandbox};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

const TMKMS: &str = "0.15.0";

/// A signer of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The least that a durable signer could do; protects from nothing.
    Floor,
    /// This project on a host.
    Ours,
    /// This project in a process that plays an enclave: node, `nitro proxy`, enclave, `nitro persist` and back.
    Enclave,
    /// The enclave's image in the emulator: the same way, with an emulated processor and vsock in it.
    Emulated,
    /// CometBFT's own FilePV behind its SignerServer.
    FilePv,
    /// iqlusion's tmkms with a softsign key. It never syncs its state.
    Tmkms,
}

/// Keeps a signer alive while it is measured.
#[expect(dead_code, reason = "held for its Drop, which ends the process")]
pub enum Running {
    Ours(Box<Signer>),
    Enclave(Box<Enclave>),
    Other(Process),
}

impl Peer {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Ours => "this signer",
            Self::Enclave => "in an enclave",
            Self::Emulated => "in the emulator",
            Self::FilePv => "FilePV",
            Self::Tmkms => "tmkms 0.15.0",
        }
    }

    /// The name of its files.
    pub const fn short(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Ours => "ours",
            Self::Enclave => "enclave",
            Self::Emulated => "emulated",
            Self::FilePv => "filepv",
            Self::Tmkms => "tmkms",
        }
    }

    /// Starts it, so that it dials `addr`.
    pub fn start(self, sandbox: &Sandbox, name: &str, chain_id: &str, addr: &str) -> Result<Running> {
        let folder = sandbox.dir().join(name);
        match self {
            Self::Ours => {
                let spec = SignerSpec { log_level: "info", ..SignerSpec::one(chain_id, addr) };
                let mut signer = Signer::prepare(sandbox, name, &spec)?;
                signer.start()?;
                return Ok(Running::Ours(Box::new(signer)));
            }
            Self::Enclave => {
                let mut enclave = Enclave::prepare(sandbox, name, vec![EnclaveChain::new(chain_id, addr)])?;
                enclave.start()?;
                return Ok(Running::Enclave(Box::new(enclave)));
            }
            Self::Emulated => {
                let chains = vec![EnclaveChain::new(chain_id, addr)];
                let mut enclave = Enclave::prepare_emulated(sandbox, name, chains, Machine::built()?)?;
                enclave.start()?;
                return Ok(Running::Enclave(Box::new(enclave)));
            }
            Self::Floor => {
                fs::create_dir_all(&folder)?;
                let mut command = Command::new(step::root().join("target/release/floor"));
                command.arg(addr.trim_start_matches("unix://")).arg(folder.join("state"));
                Process::spawn(sandbox, name, command)
            }
            Self::FilePv => {
                fs::create_dir_all(&folder)?;
                let mut command = Command::new(Line::V038.harness()?);
                command.args(["filepv", "--chain-id", chain_id, "--dial", addr]);
                command.arg("--key").arg(folder.join("key.json")).arg("--state").arg(folder.join("state.json"));
                Process::spawn(sandbox, name, command)
            }
            Self::Tmkms => {
                fs::create_dir_all(&folder)?;
                let config = write_tmkms_config(&folder, chain_id, addr)?;
                let mut command = Command::new(tmkms());
                command.arg("start").arg("-c").arg(config);
                Process::spawn(sandbox, name, command)
            }
        }
        .map(Running::Other)
    }
}

fn tmkms() -> PathBuf {
    step::root().join(".cache/peers/bin/tmkms")
}

/// Builds tmkms from the registry into the ignored cache, once.
pub fn build_tmkms() -> Result<()> {
    if tmkms().exists() {
        return Ok(());
    }
    println!("tmkms {TMKMS} is missing and is built into .cache/peers, about five minutes on two cores");
    let install = ["install", "tmkms", "--locked", "--version", TMKMS, "--features", "softsign", "--root"];
    step::run("build tmkms", step::cargo().args(install).arg(step::root().join(".cache/peers")))
}

fn write_tmkms_config(folder: &std::path::Path, chain_id: &str, addr: &str) -> Result<PathBuf> {
    for secret in ["consensus.key", "identity.key"] {
        let path = folder.join(secret);
        let made = Command::new(tmkms()).args(["softsign", "keygen", "-t", "consensus"]).arg(&path).output();
        made.context("cannot run tmkms")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    }
    let at = folder.display();
    // tmkms takes the socket's path as it stands.
    let text = format!(
        "[[chain]]\nid = \"{chain_id}\"\nkey_format = {{ type = \"hex\" }}\nstate_file = \"{at}/state.json\"\n\n\
         [[validator]]\nchain_id = \"{chain_id}\"\naddr = \"{addr}\"\nsecret_key = \"{at}/identity.key\"\n\
         protocol_version = \"v0.34\"\nreconnect = true\n\n\
         [[providers.softsign]]\nchain_ids = [\"{chain_id}\"]\nkey_type = \"consensus\"\npath = \"{at}/consensus.key\"\n"
    );
    let config = folder.join("tmkms.toml");
    fs::write(&config, text)?;
    Ok(config)
}
