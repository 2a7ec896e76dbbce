//! What can be in the guest, and how each is prepared there.
use crate::line::repository;
use crate::signer::{Signer, SignerSpec};
use crate::{Line, Process, Sandbox};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The release of iqlusion's tmkms that stands beside this signer.
pub const TMKMS_PEER: &str = "0.15.0";

/// A signer in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `tmkms start` of this project, with its file store.
    Start,
    /// `tmkms nitro persist` of this project; the enclave is outside and dies with every cut.
    Persist,
    /// CometBFT's FilePV behind its own SignerServer.
    FilePv,
    /// The same on a file system that is mounted with sync,dirsync.
    FilePvSync,
    /// iqlusion's tmkms with a softsign key.
    Tmkms,
}

impl Kind {
    /// For a name of files and disks.
    #[must_use]
    pub const fn short(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Persist => "persist",
            Self::FilePv => "filepv",
            Self::FilePvSync => "filepv-sync",
            Self::Tmkms => "tmkms",
        }
    }

    /// As the table has it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Start => "this signer, `tmkms start`".to_owned(),
            Self::Persist => "this signer, enclave with `tmkms nitro persist`".to_owned(),
            Self::FilePv => format!("FilePV as a remote signer, CometBFT {}", Line::V038.version()),
            Self::FilePvSync => format!("FilePV, {}, mounted with sync,dirsync", Line::V038.version()),
            Self::Tmkms => format!("tmkms {TMKMS_PEER}, softsign"),
        }
    }

    /// Whether it is this project's.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Start | Self::Persist)
    }

    /// Whether it must refuse after every cut: ours, and FilePV where every write is durable when it returns.
    #[must_use]
    pub const fn is_safe(self) -> bool {
        self.is_ours() || matches!(self, Self::FilePvSync)
    }

    /// Options of its mount.
    pub const fn mount_options(self) -> &'static str {
        match self {
            Self::FilePvSync => "sync,dirsync",
            _ => "rw",
        }
    }

    /// Its command in the guest, in the folder `at`.
    pub fn command(self, name: &str, at: &str, chain_id: &str, port: u16, state_port: u16) -> String {
        match self {
            Self::Start => "/opt/tmkms start -c tmkms.toml".to_owned(),
            Self::Persist => format!(
                "env TMKMS_TOKEN_FILE={at}/control-token NO_COLOR=1 /opt/tmkms nitro persist -s {at}/state -p {state_port} \
                 -i unix:/run/{name}"
            ),
            Self::FilePv | Self::FilePvSync => format!(
                "/opt/harness filepv --chain-id {chain_id} --key {at}/key.json --state {at}/state.json --dial tcp://10.0.2.2:{port}"
            ),
            Self::Tmkms => format!("/opt/tmkms-peer start -c {at}/tmkms.toml"),
        }
    }
}

/// The peer's program, which `cargo xtask soak --only cuts` and `bench` build.
#[must_use]
pub fn tmkms_peer() -> PathBuf {
    repository().join(".cache/peers/bin/tmkms")
}

/// The folder with what `tmkms start` starts from.
pub fn seed_start(sandbox: &Sandbox, name: &str, chain_id: &str, port: u16) -> Result<PathBuf> {
    let spec = SignerSpec { log_level: "info", ..SignerSpec::one(chain_id, &format!("tcp://10.0.2.2:{port}")) };
    Ok(Signer::prepare(sandbox, name, &spec)?.folder().to_path_buf())
}

/// Lets FilePV make its key and its first state, as it does at its first start.
pub fn seed_filepv(sandbox: &Sandbox, name: &str, chain_id: &str) -> Result<PathBuf> {
    let folder = sandbox.dir().join(name);
    fs::create_dir_all(&folder)?;
    let mut command = Command::new(Line::V038.harness()?);
    command.args(["filepv", "--chain-id", chain_id, "--dial", &format!("tcp://127.0.0.1:{}", sandbox.port()?)]);
    command.arg("--key").arg(folder.join("key.json")).arg("--state").arg(folder.join("state.json"));
    let mut process = Process::spawn(sandbox, &format!("{name}-seed"), command)?;
    process.wait_for_log("\"started\"", Duration::from_secs(20))?;
    process.kill();
    Ok(folder)
}

/// The peer's keys and configuration, with the paths that it has in the guest.
pub fn seed_tmkms(sandbox: &Sandbox, name: &str, chain_id: &str, at: &str, port: u16) -> Result<PathBuf> {
    let folder = sandbox.dir().join(name);
    fs::create_dir_all(&folder)?;
    for secret in ["consensus.key", "identity.key"] {
        keygen(&folder.join(secret))?;
    }
    let text = format!(
        "[[chain]]\nid = \"{chain_id}\"\nkey_format = {{ type = \"hex\" }}\nstate_file = \"{at}/state.json\"\n\n\
         [[validator]]\nchain_id = \"{chain_id}\"\naddr = \"tcp://10.0.2.2:{port}\"\nsecret_key = \"{at}/identity.key\"\n\
         protocol_version = \"v0.34\"\nreconnect = true\n\n\
         [[providers.softsign]]\nchain_ids = [\"{chain_id}\"]\nkey_type = \"consensus\"\npath = \"{at}/consensus.key\"\n"
    );
    fs::write(folder.join("tmkms.toml"), text)?;
    Ok(folder)
}

fn keygen(path: &Path) -> Result<()> {
    let program = tmkms_peer();
    ensure!(program.is_file(), "{} is missing; `cargo xtask soak --only cuts` builds it", program.display());
    let output = Command::new(program).args(["softsign", "keygen", "-t", "consensus"]).arg(path).output()?;
    ensure!(output.status.success(), "the peer's keygen failed: {}", String::from_utf8_lossy(&output.stderr));
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).context("cannot chmod a key")
}
