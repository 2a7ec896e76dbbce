//! Persist, proxies and pushes as an operator starts them, with `-i 16`, and a scripted node that asks for votes.
use crate::peer::{self, KILL};
use crate::{ENCLAVE, check, sockets};
use anyhow::{Context, Result, ensure};
use base64ct::{Base64, Encoding};
use e2e::enclave::{key_policy, said};
use e2e::{PlainNode, Process, Sandbox, Vote, until};
use serde_json::Value;
use sim::kms::{DEFAULT_REGION as REGION, Server, Settings};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use wire::endpoint::Enclave;

/// Where the test on the host has put the KMS' certificates and the root of the simulated security module.
pub const STAGE: &str = "/stage";
pub const CHAIN: &str = "vsock-1";
/// TEST CREDENTIALS.
pub const ROLE: &str = "arn:aws:iam::111122223333:role/validator";
pub const ACCESS_KEY: &str = "AKIATESTVALIDATOR000";
pub const SECRET_KEY: &str = "TESTSECRETcanary/validator/0000000000000";
const SOON: Duration = Duration::from_secs(20);
/// A restarted enclave makes an RSA key and asks KMS, in software emulation.
const AGAIN: Duration = Duration::from_secs(90);
const NOBODY: u32 = 65_534;

/// The parent's folder, KMS, programs and node.
struct World {
    sandbox: Sandbox,
    kms: Server,
    node: PlainNode,
    height: i64,
}

pub fn run() {
    let result = Sandbox::run("vsock", |sandbox| {
        let world = World::prepare(sandbox);
        check("everything is prepared", || {
            world.as_ref().map(|_| "state, key and KMS".to_owned()).map_err(|e| anyhow::anyhow!("{e:#}"))
        });
        world.and_then(World::run)
    });
    if let Err(error) = result {
        println!("CHECK FAILED the arrangement: {}", format!("{error:#}").replace('\n', " | "));
    }
}

/// A KMS with the certificates that the enclave's policy names, which believes the simulated security module.
pub fn kms() -> Result<Server> {
    let kms = Server::start(&Settings::new(Path::new(STAGE).join("kms")))?;
    kms.add_principal(ACCESS_KEY, SECRET_KEY, None, ROLE, None);
    kms.trust_nsm_root(&sim::nsm::TestRoot::load_certificate(&Path::new(STAGE).join("nsm"))?);
    Ok(kms)
}

/// Encrypts the key under a new KMS key that is released to that measurement, and gives the configuration with it.
pub fn configuration(kms: &Server, pcr0: &str, key: &[u8]) -> Result<String> {
    let arn = kms.create_key(&key_policy(pcr0))?;
    let sealed = kms.encrypt(&arn, key, &[("chain", CHAIN), ("purpose", "consensus")])?;
    Ok(format!(
        "[nitro]\nkms_proxy_port = 800\n\n[[chain]]\nid = \"{CHAIN}\"\nkey_format = {{ type = \"hex\" }}\nstate_vsock_port = 555\n\n\
         [[providers.softsign]]\nchain_ids = [\"{CHAIN}\"]\nkey_type = \"consensus\"\nencrypted_key_b64 = \"{}\"\naws_region = \"{REGION}\"\n\
         kms_key_arn = \"{arn}\"\nencryption_context = {{ chain = \"{CHAIN}\", purpose = \"consensus\" }}\n\n\
         [[validator]]\nchain_id = \"{CHAIN}\"\naddr = {{ port = 500 }}\nreconnect = true\n",
        Base64::encode_string(&sealed)
    ))
}

impl World {
    fn prepare(sandbox: &Sandbox) -> Result<Self> {
        let kms = kms()?;
        let node = PlainNode::listen(sandbox, "node")?;
        let world = Self { sandbox: sandbox.clone(), kms, node, height: 0 };
        fs::create_dir(world.path("state"))?;
        world.tool(&["state", "init", "--file", "state", "--chain-id", CHAIN, "--new-validator"])?;
        world.tool(&["softsign", "keygen", "-t", "consensus", "consensus.key"])?;
        let status = world.status()?;
        let pcr0 = status["pcrs"]["0"].as_str().context("no PCR0 in the status")?.to_owned();
        let config = configuration(&world.kms, &pcr0, &fs::read(world.path("consensus.key"))?)?;
        fs::write(world.path("tmkms.toml"), config)?;
        fs::set_permissions(world.path("tmkms.toml"), fs::Permissions::from_mode(0o600))?;
        Ok(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.sandbox.dir().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(crate::PROGRAM);
        command.args(arguments).current_dir(self.sandbox.dir()).env("NO_COLOR", "1");
        command.env("TMKMS_TOKEN_FILE", self.path("control-token")).env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command
    }

    fn tool(&self, arguments: &[&str]) -> Result<Output> {
        let output = self.command(arguments).output().context("cannot run tmkms")?;
        ensure!(output.status.success(), "tmkms {}: {}", arguments.join(" "), said(&output));
        Ok(output)
    }

    fn start(&self, name: &str, arguments: &[&str]) -> Result<Process> {
        let mut command = self.command(&["nitro"]);
        command.args(arguments).args(["-i", &ENCLAVE.to_string()]);
        Process::spawn(&self.sandbox, name, command)
    }

    fn status(&self) -> Result<Value> {
        let cid = ENCLAVE.to_string();
        until("the enclave's status", AGAIN, || {
            let output = self.command(&["nitro", "status", "--json", "-i", &cid]).output()?;
            Ok(serde_json::from_slice(&output.stdout).ok())
        })
    }

    /// Under emulation on a busy host KMS' answer may come too late, which is an answer to try again.
    fn push(&self) -> Result<String> {
        let cid = ENCLAVE.to_string();
        let mut tried = 0;
        until("a push", AGAIN, || {
            tried += 1;
            let output = self.command(&["nitro", "push-config", "-c", "tmkms.toml", "-i", &cid]).output()?;
            let said = said(&output);
            ensure!(output.status.success() || said.contains("no answer in time"), "{said}");
            Ok(output.status.success().then(|| format!("at attempt {tried}")))
        })
    }

    fn persist(&self) -> Result<Process> {
        self.start("persist", &["persist", "-s", "state", "-p", "555"])
    }

    fn node_proxy(&self) -> Result<Process> {
        let socket = self.node.addr();
        let socket = socket.strip_prefix("unix://").context("no socket")?;
        self.start("proxy", &["proxy", "-p", "500", "-u", socket])
    }

    /// Votes for as many further heights. A connection that broke is taken anew, as a node does.
    fn votes(&mut self, count: i64, within: Duration) -> Result<()> {
        let last = self.height + count;
        until(&format!("votes up to height {last}"), within, || {
            let _ = self.node.try_accept()?;
            while self.height < last {
                let request = Vote::prevote(self.height + 1, 1).request(CHAIN);
                match self.node.is_signed(&request) {
                    Ok(true) => self.height += 1,
                    _ => return Ok(None),
                }
            }
            Ok(Some(()))
        })
    }

    fn run(mut self) -> Result<()> {
        let kms = self.kms.address().to_string();
        let mut persist = self.persist()?;
        let _kms_proxy = self.start("kms-proxy", &["proxy", "-p", "800", "-t", &kms])?;
        let mut proxy = self.node_proxy()?;
        let cid = ENCLAVE.to_string();
        check("a push goes through, from the configuration to serving", || self.push());

        check("votes are signed, each recorded over vsock", || {
            self.votes(20, SOON)?;
            let shown = self.tool(&["state", "show", "--file", "state"])?;
            ensure!(said(&shown).contains("last signed 20/0/prevote"), "{}", said(&shown));
            Ok("20 heights".to_owned())
        });
        check("the log and the metrics are read over vsock", || {
            let log = said(&self.tool(&["nitro", "logs", "-i", &cid])?);
            ensure!(log.contains("serving"), "{log}");
            let status = self.status()?;
            ensure!(status["chains"][0]["state"]["height"].as_i64().is_none_or(|height| height == 20), "{status}");
            Ok(format!("{} lines", log.lines().count()))
        });
        check("persist that is killed and started again goes on", || {
            persist.kill();
            persist = self.persist()?;
            self.votes(10, SOON).map(|()| "10 heights".to_owned())
        });
        check("the node's proxy that is killed and started again goes on", || {
            proxy.kill();
            self.node.hang_up();
            proxy = self.node_proxy()?;
            self.votes(10, SOON).map(|()| "10 heights".to_owned())
        });
        check("a second persist on the port is refused, and says so", || {
            let output = self.command(&["nitro", "persist", "-s", "state", "-p", "555", "-i", &cid]).output()?;
            ensure!(
                output.status.code() == Some(1) && said(&output).contains("vsock port 555 is in use"),
                "{}",
                said(&output)
            );
            Ok(first_line(&output))
        });
        check("a port below 1024 wants root, and the program says so", || {
            let mut command = self.command(&["nitro", "proxy", "-p", "703", "-u", "/nowhere"]);
            let output = command.current_dir("/").uid(NOBODY).gid(NOBODY).output()?;
            ensure!(
                output.status.code() == Some(1) && said(&output).contains("CAP_NET_BIND_SERVICE"),
                "{}",
                said(&output)
            );
            Ok(first_line(&output))
        });
        let mut watch = self.start("watch", &["push-config", "-c", "tmkms.toml", "--watch"])?;
        check("an enclave that is killed is pushed to again by the watch, and signs on", || {
            let mut stream = Enclave::Vsock { cid: ENCLAVE }.connect(peer::PORT, SOON)?;
            stream.write_all(&[KILL])?;
            self.node.hang_up();
            self.votes(10, AGAIN).map(|()| format!("height {}", self.height))
        });
        // Without a watch: while nobody is there, the device that stands for the hypervisor ends over what is sent to it.
        watch.terminate(Duration::from_secs(10))?;
        check("an enclave whose machine is cut off without a word is replaced, and its successor signs on", || {
            self.node.hang_up();
            sockets::host("cut", AGAIN)?;
            self.push()?;
            self.votes(10, SOON)?;
            ensure!(
                persist.log_text().contains("its connection is left over"),
                "the connection of the first one was not left over"
            );
            Ok(format!("height {}", self.height))
        });
        for mut process in [proxy, persist] {
            let name = process.name().to_owned();
            check(&format!("{name} ends on SIGTERM"), || {
                let status = process.terminate(Duration::from_secs(10))?;
                ensure!(status.success(), "{status}: {}", process.log_text());
                Ok("with exit code 0".to_owned())
            });
        }
        Ok(())
    }
}

fn first_line(output: &Output) -> String {
    said(output).lines().next().unwrap_or_default().to_owned()
}
