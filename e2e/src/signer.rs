//! The signer under test: its configuration, keys and state in a folder of its own, and the real binary on top.
use crate::metrics::Metrics;
use crate::{Process, Sandbox, http};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

/// How long a command of the binary may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a chain's consensus key comes from.
#[derive(Clone, Debug)]
pub enum Key {
    /// `tmkms softsign keygen -t consensus`: ed25519.
    Generated,
    /// A node's `priv_validator_key.json`, of any type that the signer knows; it is copied.
    File(PathBuf),
}

/// What `tmkms state init` is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initial {
    /// `--new-validator`.
    NewValidator,
    /// `--height H`.
    Height(u64),
    /// No `state init` at all.
    Missing,
}

/// One chain of the signer's configuration.
#[derive(Clone, Debug)]
pub struct SignerChain {
    /// The chain id.
    pub id: String,
    /// Its key.
    pub key: Key,
    /// Its state at first.
    pub initial: Initial,
    /// One `[[validator]]` per address.
    pub connections: Vec<String>,
    /// The chain's `max_height`, if any.
    pub max_height: Option<u64>,
}

impl SignerChain {
    /// A new validator with a generated key and one connection.
    #[must_use]
    pub fn new(id: &str, addr: &str) -> Self {
        Self {
            id: id.to_owned(),
            key: Key::Generated,
            initial: Initial::NewValidator,
            connections: vec![addr.to_owned()],
            max_height: None,
        }
    }
}

/// A signer's configuration.
#[derive(Clone, Debug)]
pub struct SignerSpec {
    /// Its chains.
    pub chains: Vec<SignerChain>,
    /// `level` of `[log]`.
    pub log_level: &'static str,
}

impl SignerSpec {
    /// One chain, one connection.
    #[must_use]
    pub fn one(chain_id: &str, addr: &str) -> Self {
        Self::of(vec![SignerChain::new(chain_id, addr)])
    }

    /// These chains, logging at debug: one line a signature.
    #[must_use]
    pub fn of(chains: Vec<SignerChain>) -> Self {
        Self { chains, log_level: "debug" }
    }
}

/// A signer: a folder and, while it is started, a process.
pub struct Signer {
    sandbox: Sandbox,
    name: String,
    folder: PathBuf,
    metrics_port: u16,
    process: Option<Process>,
}

impl Signer {
    /// Makes the folder `NAME` with configuration, keys and state, by the binary's own commands. Nothing runs yet.
    ///
    /// # Errors
    /// When the binary is missing or one of its commands fails.
    pub fn prepare(sandbox: &Sandbox, name: &str, spec: &SignerSpec) -> Result<Self> {
        let folder = sandbox.dir().join(name);
        for dir in ["secrets", "state"] {
            fs::create_dir_all(folder.join(dir))?;
        }
        fs::set_permissions(folder.join("secrets"), fs::Permissions::from_mode(0o700))?;
        let metrics_port = sandbox.port()?;
        let signer = Self { sandbox: sandbox.clone(), name: name.to_owned(), folder, metrics_port, process: None };
        signer.write_keys(spec)?;
        signer.write_config(spec)?;
        signer.init_state(spec)?;
        Ok(signer)
    }

    fn write_keys(&self, spec: &SignerSpec) -> Result<()> {
        self.command(&["softsign", "keygen", "-t", "consensus", "secrets/identity.key"])?;
        for chain in &spec.chains {
            match &chain.key {
                Key::Generated => {
                    self.command(&["softsign", "keygen", "-t", "consensus", &format!("secrets/{}.key", chain.id)])?;
                }
                Key::File(from) => {
                    let to = self.folder.join(format!("secrets/{}.json", chain.id));
                    fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
                    fs::set_permissions(&to, fs::Permissions::from_mode(0o600))?;
                }
            }
        }
        Ok(())
    }

    /// Writes `tmkms.toml` anew, e.g. with other connections; keys and state stay.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_config(&self, spec: &SignerSpec) -> Result<()> {
        let mut text = String::new();
        for chain in &spec.chains {
            let id = &chain.id;
            let (file, format) = match chain.key {
                Key::Generated => (format!("{id}.key"), "base64"),
                Key::File(_) => (format!("{id}.json"), "json"),
            };
            write!(
                text,
                "[[chain]]\nid = \"{id}\"\nkey_format = {{ type = \"hex\" }}\nstate_file = \"state/{id}.json\"\n\n\
                 [[providers.softsign]]\nchain_ids = [\"{id}\"]\nkey_type = \"consensus\"\nkey_format = \"{format}\"\n\
                 path = \"secrets/{file}\"\n\n"
            )?;
            let max_height = chain.max_height.map_or(String::new(), |height| format!("max_height = {height}\n"));
            for addr in &chain.connections {
                let secret_key =
                    if addr.starts_with("tcp://") { "secret_key = \"secrets/identity.key\"\n" } else { "" };
                write!(text, "[[validator]]\nchain_id = \"{id}\"\naddr = \"{addr}\"\n{secret_key}{max_height}\n")?;
            }
        }
        write!(
            text,
            "[metrics]\nlisten = \"127.0.0.1:{}\"\n\n[log]\nlevel = \"{}\"\n",
            self.metrics_port, spec.log_level
        )?;
        fs::write(self.config_file(), text).context("cannot write tmkms.toml")
    }

    fn init_state(&self, spec: &SignerSpec) -> Result<()> {
        if spec.chains.iter().all(|chain| chain.initial == Initial::NewValidator) {
            return self.command(&["state", "init", "-c", "tmkms.toml", "--new-validator"]).map(drop);
        }
        for chain in &spec.chains {
            let of_chain = ["state", "init", "-c", "tmkms.toml", "--chain-id", &chain.id];
            match chain.initial {
                Initial::NewValidator => drop(self.command(&[&of_chain[..], &["--new-validator"]].concat())?),
                Initial::Height(height) => {
                    drop(self.command(&[&of_chain[..], &["--height", &height.to_string()]].concat())?);
                }
                Initial::Missing => {}
            }
        }
        Ok(())
    }

    /// Runs a command of the binary in the folder and gives back what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        let output = self.try_command(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "tmkms {} failed ({}):\n{said}", arguments.join(" "), output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The same, for commands that are meant to fail.
    ///
    /// # Errors
    /// When the binary is missing.
    pub fn try_command(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new("timeout");
        command.arg(format!("{}", PATIENCE.as_secs())).arg(binary()?).args(arguments).current_dir(&self.folder);
        command.env_remove("TMKMS_CONFIG_FILE").env("NO_COLOR", "1").stdin(std::process::Stdio::null());
        command.output().context("cannot run tmkms")
    }

    /// The consensus key of a chain as `tmkms keys show --json` prints it.
    ///
    /// # Errors
    /// When the command fails or prints something else.
    pub fn keys(&self) -> Result<Value> {
        let text = self.command(&["keys", "show", "-c", "tmkms.toml", "--json"])?;
        serde_json::from_str(&text).context("`tmkms keys show --json` printed no JSON")
    }

    /// The public key of a chain as `harness testnet --pubkey` takes it: `ed25519:BASE64`.
    ///
    /// # Errors
    /// As [`Signer::keys`], and when the chain has none.
    pub fn public_key(&self, chain_id: &str) -> Result<String> {
        let keys = self.keys()?;
        let found = keys.as_array().into_iter().flatten().find(|key| key["chain_id"] == chain_id);
        let key = found.with_context(|| format!("no key of {chain_id} in {keys}"))?;
        let text = |field: &str| key[field].as_str().with_context(|| format!("no {field} in {key}"));
        Ok(format!("{}:{}", text("algorithm")?, text("base64")?))
    }

    /// Starts the process.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.process.as_mut().is_none_or(|process| !process.is_running()), "{} runs already", self.name);
        self.process = Some(self.start_another(&self.name.clone())?);
        Ok(())
    }

    /// Starts one more process on the same folder, as a careless operator does; the lock should end it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_another(&self, log_name: &str) -> Result<Process> {
        let mut command = Command::new(binary()?);
        command.args(["start", "-c"]).arg(self.config_file()).current_dir(&self.folder).env("NO_COLOR", "1");
        command.env_remove("TMKMS_CONFIG_FILE");
        Process::spawn(&self.sandbox, log_name, command)
    }

    /// The running process.
    ///
    /// # Errors
    /// When it has not been started.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().with_context(|| format!("{} has not been started", self.name))
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
    }

    /// SIGTERM, and its exit status.
    ///
    /// # Errors
    /// When it does not end within 10 s.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.process()?.terminate(Duration::from_secs(10))
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `tmkms.toml`.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("tmkms.toml")
    }

    /// A chain's state file.
    #[must_use]
    pub fn state_file(&self, chain_id: &str) -> PathBuf {
        self.folder.join(format!("state/{chain_id}.json"))
    }

    /// The port of `/metrics`, `/status` and `/healthz`.
    #[must_use]
    pub fn metrics_port(&self) -> u16 {
        self.metrics_port
    }

    /// What `/metrics` says.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn metrics(&self) -> Result<Metrics> {
        let (status, text) = http::get(self.metrics_port, "/metrics")?;
        ensure!(status == 200, "/metrics: status {status}");
        Ok(Metrics::parse(&text))
    }

    /// What `/status` says.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn status(&self) -> Result<Value> {
        let (status, text) = http::get(self.metrics_port, "/status")?;
        ensure!(status == 200, "/status: status {status}");
        serde_json::from_str(&text).context("/status is no JSON")
    }
}

/// The signer's binary: `TMKMS_BIN`, or `tmkms` in the folder of the running program's profile (`target/release`).
///
/// # Errors
/// When it has not been built, with how to build it.
pub fn binary() -> Result<PathBuf> {
    match std::env::var_os("TMKMS_BIN") {
        Some(path) => Ok(path.into()),
        None => built("tmkms"),
    }
}

/// A program of this workspace, beside the running one or in the folder above.
///
/// # Errors
/// When it has not been built, with how to build it.
pub fn built(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let found = program.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("the program {name} is missing; run `cargo build --release --bin {name}` first"))
}
