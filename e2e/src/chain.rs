//! Real chains on loopback: homes made by `harness testnet`, nodes that are the stock command or the harness with vote extensions.
use crate::script::Script;
use crate::signer::Key;
use crate::{Line, Process, Sandbox, Transport, http, until};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// What a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Application {
    /// The stock `cometbft node` with its built-in kvstore.
    Stock,
    /// `harness node`: vote extensions of this many bytes, from height 2 on.
    Extensions(usize),
}

/// A chain to make.
#[derive(Clone, Debug)]
pub struct ChainSpec {
    /// The chain id.
    pub id: String,
    /// The line of all its nodes.
    pub line: Line,
    /// What carries privval to the signer of validator 0.
    pub transport: Transport,
    /// How many validators, each with its own node; the others keep their keys in files.
    pub validators: u16,
    /// The type of the keys that are made: `ed25519` or `secp256k1`.
    pub key_type: &'static str,
    /// The public key of validator 0, `ed25519:BASE64`; without one a key file is made (see [`Chain::key`]).
    pub public_key: Option<String>,
    /// What the nodes run.
    pub application: Application,
    /// Some ten blocks a second instead of one.
    pub fast: bool,
    /// How long nodes wait for more precommits once they have enough for a block (`timeout_commit`), where it is to be another time than that of
    /// `fast`: a validator that is later has its signature missing in the commit, and nothing else.
    pub commit_wait: Option<Duration>,
}

impl ChainSpec {
    /// One validator, ed25519, stock node, fast.
    #[must_use]
    pub fn new(line: Line, transport: Transport) -> Self {
        Self {
            id: format!("e2e-{}-{transport}", line.name().replace('.', "-")),
            line,
            transport,
            validators: 1,
            key_type: "ed25519",
            public_key: None,
            application: Application::Stock,
            fast: true,
            commit_wait: None,
        }
    }
}

/// A chain's nodes. Validator 0 is the one that uses the signer.
pub struct Chain {
    /// What it was made from.
    pub spec: ChainSpec,
    nodes: Vec<Node>,
    signer_addr: String,
    key_file: PathBuf,
    address: String,
}

impl Chain {
    /// Makes the homes. Nothing runs yet: start the signer first, because a node gives up after 3 s without it.
    ///
    /// # Errors
    /// When the line has not been built, or the harness refuses.
    pub fn prepare(sandbox: &Sandbox, name: &str, spec: ChainSpec) -> Result<Self> {
        let signer_addr = match spec.transport {
            Transport::Unix => format!("unix://{}", sandbox.dir().join(format!("{name}.sock")).display()),
            Transport::Tcp => format!("tcp://127.0.0.1:{}", sandbox.port()?),
        };
        let out = sandbox.dir().join(name);
        let base = contiguous_ports(sandbox, spec.validators * 2)?;
        let mut command = Command::new(spec.line.harness()?);
        command.arg("testnet").arg("--out").arg(&out);
        command.args(["--validators", &spec.validators.to_string(), "--chain-id", &spec.id]);
        command.args(["--laddr-base", &base.to_string(), "--signer-validator", "0", "--privval-laddr", &signer_addr]);
        command.args(["--key-type", spec.key_type]).arg(format!("--fast={}", spec.fast));
        if let Some(key) = &spec.public_key {
            command.args(["--pubkey", key]);
        }
        let output = command.output().context("cannot run the harness")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "harness testnet of {} failed: {said}", spec.line);
        let made: Value = serde_json::from_slice(&output.stdout).context("harness testnet printed no JSON")?;
        let nodes: Vec<Node> = made["nodes"]
            .as_array()
            .context("no nodes")?
            .iter()
            .map(|node| Node::new(sandbox, name, &spec, node))
            .collect::<Result<_>>()?;
        if let Some(wait) = spec.commit_wait {
            nodes.iter().try_for_each(|node| node.set_commit_wait(wait))?;
        }
        let address = made["nodes"][0]["pub_key"]["address"].as_str().context("no address")?.to_uppercase();
        Ok(Self { spec, nodes, signer_addr, key_file: out.join("signer/priv_validator_key.json"), address })
    }

    /// Where validator 0 waits for its signer: what goes into the signer's `addr`.
    #[must_use]
    pub fn signer_addr(&self) -> &str {
        &self.signer_addr
    }

    /// The key of validator 0, where the specification named no public key.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::File(self.key_file.clone())
    }

    /// The address of validator 0, upper-case hex.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Starts every node.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn start(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(Node::start)
    }

    /// A node; 0 is the one with the signer.
    pub fn node(&mut self, index: usize) -> &mut Node {
        &mut self.nodes[index]
    }

    /// Node 0's height.
    ///
    /// # Errors
    /// When its RPC does not answer.
    pub fn height(&self) -> Result<u64> {
        self.nodes[0].height()
    }

    /// Waits until node 0 has committed `height`.
    ///
    /// # Errors
    /// When it ends, or has not got there `within`.
    pub fn reach(&mut self, height: u64, within: Duration) -> Result<u64> {
        self.nodes[0].reach(height, within)
    }

    /// Waits for `more` blocks from now on.
    ///
    /// # Errors
    /// As [`Chain::reach`].
    pub fn grow(&mut self, more: u64, within: Duration) -> Result<u64> {
        let from = self.height().unwrap_or(0);
        self.reach(from + more, within)
    }

    /// Fails when a node, in any of its lives, has seen a double sign.
    ///
    /// # Errors
    /// With the line of its log, or when there is no log to look at.
    pub fn expect_no_evidence(&self) -> Result<()> {
        for node in &self.nodes {
            let path = node.sandbox.dir().join(format!("{}.log", node.name));
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let log = String::from_utf8_lossy(&bytes);
            let evidence = log.lines().find(|line| DOUBLE_SIGNS.iter().any(|words| line.contains(words)));
            ensure!(evidence.is_none(), "{} saw a double sign: {evidence:?}", node.name);
        }
        Ok(())
    }

    /// The round in which node 0 has that height's commit.
    ///
    /// # Errors
    /// When the RPC does not answer.
    pub fn commit_round(&self, height: u64) -> Result<u64> {
        let commit = http::rpc(self.nodes[0].rpc_port, &format!("/commit?height={height}"))?;
        commit["signed_header"]["commit"]["round"].as_u64().with_context(|| format!("no round in {commit}"))
    }

    /// Of the blocks `from..=to`, those whose commit bears the signature of validator 0.
    ///
    /// # Errors
    /// When the RPC does not answer.
    pub fn signed_heights(&self, from: u64, to: u64) -> Result<Vec<u64>> {
        let mut signed = Vec::new();
        for height in from..=to {
            if self.nodes[0].commit_bears(height, &self.address)? {
                signed.push(height);
            }
        }
        Ok(signed)
    }
}

/// What a node logs when it learns of two votes of one validator: `types/evidence.go` and `internal/consensus/state.go` (before v1: `consensus/state.go`)
/// of CometBFT.
const DOUBLE_SIGNS: [&str; 2] = ["DuplicateVoteEvidence", "found conflicting vote from ourselves"];

/// Ports that follow each other, as `harness testnet` takes them.
fn contiguous_ports(sandbox: &Sandbox, count: u16) -> Result<u16> {
    let mut base = sandbox.port()?;
    let mut last = base;
    while last - base + 1 < count {
        let next = sandbox.port()?;
        base = if next == last + 1 { base } else { next };
        last = next;
    }
    Ok(base)
}

/// One node of a chain.
pub struct Node {
    sandbox: Sandbox,
    name: String,
    line: Line,
    application: Application,
    home: PathBuf,
    rpc_port: u16,
    socket: Option<PathBuf>,
    running: Running,
}

enum Running {
    Not,
    Stock(Process),
    Harness(Script),
}

impl Node {
    fn new(sandbox: &Sandbox, chain: &str, spec: &ChainSpec, made: &Value) -> Result<Self> {
        let text = |field: &str| made[field].as_str().with_context(|| format!("no {field} in {made}"));
        let rpc_port = text("rpc")?.rsplit(':').next().and_then(|port| port.parse().ok()).context("no RPC port")?;
        let socket = made["privval_laddr"].as_str().and_then(|addr| addr.strip_prefix("unix://")).map(PathBuf::from);
        Ok(Self {
            sandbox: sandbox.clone(),
            name: format!("{chain}-node{}", made["index"]),
            line: spec.line,
            application: spec.application,
            home: text("home")?.into(),
            rpc_port,
            socket,
            running: Running::Not,
        })
    }

    /// Nodes go on as soon as they have all precommits (`skip_timeout_commit`), and after `wait` in any case.
    fn set_commit_wait(&self, wait: Duration) -> Result<()> {
        let path = self.home.join("config/config.toml");
        let text = std::fs::read_to_string(&path)?;
        let line = text.lines().find(|line| line.starts_with("timeout_commit = "));
        let line = line.with_context(|| format!("no timeout_commit in {}", path.display()))?;
        let text = text.replace(line, &format!("timeout_commit = \"{}ms\"", wait.as_millis()));
        let all = "skip_timeout_commit = ";
        ensure!(text.contains(all), "no skip_timeout_commit in {}", path.display());
        let text = text.replace(&format!("{all}false"), &format!("{all}true"));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Starts it, or starts it again.
    ///
    /// # Errors
    /// When its binary is missing.
    pub fn start(&mut self) -> Result<()> {
        // A node that was killed leaves its socket file, and stock nodes do not listen on one that exists.
        if let Some(socket) = &self.socket {
            let _ = std::fs::remove_file(socket);
        }
        self.running = match self.application {
            Application::Stock => {
                let mut command = Command::new(self.line.cometbft()?);
                command.args(["node", "--proxy_app", "kvstore", "--home"]).arg(&self.home);
                Running::Stock(Process::spawn(&self.sandbox, &self.name, command)?)
            }
            Application::Extensions(bytes) => {
                let mut command = Command::new(self.line.harness()?);
                command
                    .args(["node", "--extension-bytes", &bytes.to_string(), "--log", "info", "--home"])
                    .arg(&self.home);
                Running::Harness(Script::start(&self.sandbox, &self.name, command)?)
            }
        };
        Ok(())
    }

    /// The process.
    ///
    /// # Errors
    /// When it has not been started.
    pub fn process(&mut self) -> Result<&mut Process> {
        match &mut self.running {
            Running::Not => anyhow::bail!("{} has not been started", self.name),
            Running::Stock(process) => Ok(process),
            Running::Harness(script) => Ok(script.process()),
        }
    }

    /// What the application of a node with extensions has said and nobody has read.
    pub fn events(&mut self) -> Vec<Value> {
        match &mut self.running {
            Running::Harness(script) => script.pending(),
            _ => Vec::new(),
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Ok(process) = self.process() {
            process.kill();
        }
    }

    /// Its RPC port.
    #[must_use]
    pub fn rpc_port(&self) -> u16 {
        self.rpc_port
    }

    /// The last committed height.
    ///
    /// # Errors
    /// When the RPC does not answer.
    pub fn height(&self) -> Result<u64> {
        let status = http::rpc(self.rpc_port, "/status")?;
        let height = status["sync_info"]["latest_block_height"].as_str().context("no height")?;
        Ok(height.parse()?)
    }

    /// Waits until it has committed `height`.
    ///
    /// # Errors
    /// When it ends, or has not got there `within`.
    pub fn reach(&mut self, height: u64, within: Duration) -> Result<u64> {
        let what = format!("{} to reach height {height}", self.name);
        let mut last = None;
        until(&what, within, || {
            self.process()?.check()?;
            std::thread::sleep(Duration::from_millis(30));
            last = self.height().ok().or(last);
            Ok(last.filter(|now| *now >= height))
        })
        .with_context(|| format!("the last height seen was {last:?}"))
    }

    /// Whether the commit of a block bears that validator's signature for the block (not nil, not absent).
    ///
    /// # Errors
    /// When the RPC does not answer.
    pub fn commit_bears(&self, height: u64, address: &str) -> Result<bool> {
        let commit = http::rpc(self.rpc_port, &format!("/commit?height={height}"))?;
        let signatures = commit["signed_header"]["commit"]["signatures"].as_array().context("no signatures")?.clone();
        Ok(signatures.iter().any(|signature| {
            signature["validator_address"] == address
                && signature["block_id_flag"] == 2
                && signature["signature"].as_str().is_some_and(|text| !text.is_empty())
        }))
    }
}
