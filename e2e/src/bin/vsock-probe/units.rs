//! The parent under systemd, with the units of `packaging/` as the guide installs them: started, killed part by part, stopped, started again.
use crate::arrangement::{ACCESS_KEY, CHAIN, SECRET_KEY, configuration, kms};
use crate::peer::{self, HOLD, KILL};
use crate::{ENCLAVE, PROGRAM, check};
use anyhow::{Context, Result, ensure};
use e2e::enclave::said;
use e2e::{PlainNode, Vote, until};
use rustix::fs::Mode;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;
use wire::endpoint::{Enclave, Stream};

const TARGET: &str = "tmkms-nitro.target";
const PERSIST: &str = "tmkms-nitro-persist.service";
const KMS_PROXY: &str = "tmkms-nitro-proxy-kms.service";
const NODE_PROXY: &str = "tmkms-nitro-proxy@node.service";
const ENCLAVES: &str = "tmkms-enclave.service";
const PUSH: &str = "tmkms-nitro-push.service";
const METRICS: &str = "tmkms-nitro-metrics.service";
const UNITS: [&str; 6] = [PERSIST, KMS_PROXY, NODE_PROXY, ENCLAVES, PUSH, METRICS];
/// Under emulation, with KMS and an RSA key in it.
const LONG: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(30);
const NODE: &str = "/run/privval/node.sock";
/// `CAP_NET_BIND_SERVICE` alone.
const LOW_PORTS: &str = "0000000000000400";
const NONE: &str = "0000000000000000";

fn peer() -> Result<Stream> {
    Ok(Enclave::Vsock { cid: ENCLAVE }.connect(peer::PORT, SOON)?)
}

/// Stands in for AWS's: what keeps the enclave is a connection to its guest, where it is the driver's descriptor on Nitro; it is held by a
/// process that is left behind, has nothing open else, and ends with 0 when the enclave does (`src/enclave_proc` of aws-nitro-enclaves-cli).
pub fn nitro_cli(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["run-enclave", options @ ..] => {
            let option = |name: &str| options.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
            let cid = option("--enclave-cid").context("no --enclave-cid")?;
            ensure!(cid == ENCLAVE.to_string() && option("--memory") == Some("256"), "other options: {options:?}");
            ensure!(option("--cpu-count") == Some("2") && option("--eif-path").is_some(), "other options: {options:?}");
            let mut stream = peer()?;
            stream.write_all(&[HOLD])?;
            stream.set_read_timeout(Some(SOON))?;
            stream.read_exact(&mut [0]).context("[ E29 ] the CID is in use")?;
            stream.set_read_timeout(None)?;
            let mut holder = Command::new(std::env::current_exe()?);
            holder.arg("hold").stdin(OwnedFd::from(stream)).stdout(Stdio::null()).stderr(Stdio::null());
            holder.process_group(0).spawn()?;
            Ok(())
        }
        ["terminate-enclave", "--enclave-name", "tmkms"] => Ok(peer()?.write_all(&[KILL])?),
        other => anyhow::bail!("[ E14 ] {other:?}"),
    }
}

/// The process that is left behind.
pub fn hold() -> Result<()> {
    let mut rest = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut rest);
    Ok(())
}

fn run_tool(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), said(&output));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn systemctl(arguments: &[&str]) -> Result<String> {
    run_tool("systemctl", arguments)
}

fn show(unit: &str, property: &str) -> Result<String> {
    systemctl(&["show", "--value", "-p", property, unit])
}

fn main_pid(unit: &str) -> Result<i32> {
    let pid = show(unit, "MainPID")?.parse()?;
    ensure!(pid > 0, "{unit} has no main process");
    Ok(pid)
}

/// Kills a unit's main process, and waits until another one has its place.
fn killed(unit: &str) -> Result<()> {
    let before = main_pid(unit)?;
    kill_process(Pid::from_raw(before).context("no process")?, Signal::KILL)?;
    until(&format!("{unit} to come back"), SOON, || Ok(main_pid(unit).ok().filter(|now| *now != before))).map(drop)
}

struct Host {
    node: PlainNode,
    height: i64,
}

impl Host {
    fn votes(&mut self, count: i64, within: Duration) -> Result<String> {
        let last = self.height + count;
        until(&format!("votes up to height {last}"), within, || {
            let _ = self.node.try_accept()?;
            while self.height < last {
                match self.node.is_signed(&Vote::prevote(self.height + 1, 1).request(CHAIN)) {
                    Ok(true) => self.height += 1,
                    _ => return Ok(None),
                }
            }
            Ok(Some(format!("height {last}")))
        })
    }
}

/// What the guide has an operator do, with KMS and node on this host, and credentials in the file of settings in the place of a role.
fn install() -> Result<(Host, sim::kms::Server)> {
    run_tool("systemd-sysusers", &[])?;
    run_tool("systemd-tmpfiles", &["--create"])?;
    fs::DirBuilder::new().mode(0o700).create("/var/lib/tmkms/states")?;
    let states = "/var/lib/tmkms/states";
    run_tool(PROGRAM, &["state", "init", "--file", states, "--chain-id", CHAIN, "--new-validator"])?;
    run_tool(PROGRAM, &["softsign", "keygen", "-t", "consensus", "/run/consensus.key"])?;
    let kms = kms()?;
    let pcr0 = fs::read_to_string("/stage/pcr0")?;
    let config = configuration(&kms, pcr0.trim(), &fs::read("/run/consensus.key")?)?;
    fs::write("/etc/tmkms/tmkms.toml", config)?;
    fs::set_permissions("/etc/tmkms/tmkms.toml", fs::Permissions::from_mode(0o600))?;
    let address = kms.address().to_string();
    let settings = fs::read_to_string("/etc/tmkms/nitro.env")?.replace("kms.eu-central-1.amazonaws.com:443", &address);
    fs::write(
        "/etc/tmkms/nitro.env",
        format!("{settings}\nAWS_ACCESS_KEY_ID={ACCESS_KEY}\nAWS_SECRET_ACCESS_KEY={SECRET_KEY}\n"),
    )?;
    let node = fs::read_to_string("/etc/tmkms/nodes/node.env")?.replace("/run/privval/cosmoshub-4.sock", NODE);
    fs::write("/etc/tmkms/nodes/node.env", node)?;
    // As the guide has the node's unit.
    rustix::process::umask(Mode::from_bits_retain(0o007));
    let node = PlainNode::listen_at(NODE.into())?;
    rustix::process::umask(Mode::from_bits_retain(0o022));
    systemctl(&["daemon-reload"])?;
    systemctl(&[["enable", TARGET].as_slice(), UNITS.as_slice()].concat())?;
    Ok((Host { node, height: 0 }, kms))
}

pub fn run() -> Result<()> {
    let installed = install();
    check("the units are installed as the guide says", || match &installed {
        Ok(_) => Ok("users, folders, settings, enabled".to_owned()),
        Err(error) => Err(anyhow::anyhow!("{error:#}")),
    });
    let (mut host, _kms) = installed?;
    check("all of them run after one start of the target, and votes are signed", || {
        systemctl(&["start", TARGET])?;
        let votes = host.votes(10, LONG)?;
        UNITS.iter().try_for_each(|unit| systemctl(&["is-active", unit]).map(drop))?;
        Ok(votes)
    });
    check("persist and proxies are started before the enclave, and the watch after it", order);
    check("each process has no more than it needs", || {
        confined(PERSIST, "0", LOW_PORTS)?;
        confined(PUSH, "0", NONE)?;
        for (unit, capabilities) in [(NODE_PROXY, LOW_PORTS), (KMS_PROXY, LOW_PORTS), (METRICS, NONE)] {
            let user = confined(unit, "", capabilities)?;
            ensure!(user != "0", "{unit} runs as root");
        }
        Ok("users, capabilities, no new privileges, system calls filtered, no core files".to_owned())
    });
    check("the metrics are served", || {
        let (status, page) = e2e::http::get(26661, "/metrics")?;
        ensure!(status == 200 && page.contains("tmkms_enclave_phase"), "{status}: {page}");
        Ok(format!("{} lines", page.lines().count()))
    });
    for unit in [PERSIST, NODE_PROXY, KMS_PROXY, PUSH] {
        check(&format!("{unit} that is killed comes back, and votes go on"), || {
            killed(unit)?;
            host.votes(5, LONG)
        });
    }
    check("the metrics' unit that is killed comes back and serves", || {
        killed(METRICS)?;
        until("the metrics", SOON, || Ok(e2e::http::get(26661, "/metrics").ok().filter(|(status, _)| *status == 200)))?;
        Ok("200".to_owned())
    });
    // With the KMS proxy and the watch that came back just now: both have work in this one.
    check("the enclave's end is seen, the next one started and configured, and it signs", || {
        let before = main_pid(ENCLAVES)?;
        peer()?.write_all(&[KILL])?;
        until("another enclave", SOON, || Ok(main_pid(ENCLAVES).ok().filter(|now| *now != before)))?;
        host.node.hang_up();
        host.votes(5, LONG)
    });
    check("the process that holds the enclave is killed, and so is the enclave; the next one signs", || {
        killed(ENCLAVES)?;
        host.node.hang_up();
        host.votes(5, LONG)
    });
    check("the target's stop ends all of them, and well", || {
        systemctl(&["stop", TARGET])?;
        for unit in UNITS {
            // The target's own stop does not wait for what is part of it.
            until(&format!("{unit} to end"), SOON, || {
                let state = show(unit, "ActiveState")?;
                ensure!(state != "failed", "{unit} has failed: {}", show(unit, "Result")?);
                Ok((state == "inactive").then_some(()))
            })?;
            let result = show(unit, "Result")?;
            ensure!(result == "success", "{unit}: {result}");
        }
        let left = Enclave::Vsock { cid: ENCLAVE }.connect(5050, SOON);
        ensure!(left.is_err(), "the enclave still runs");
        Ok("inactive, success; no enclave".to_owned())
    });
    check("and they start again", || {
        systemctl(&["start", TARGET])?;
        host.node.hang_up();
        host.votes(5, LONG)
    });
    check("nothing that a unit asked the kernel for was denied", || {
        let journal = run_tool("journalctl", &["-b", "--no-pager", "-o", "cat", "-u", "tmkms-*"])?;
        let denied: Vec<_> = journal
            .lines()
            .filter(|line| line.contains("not permitted") || line.contains("Permission denied"))
            .collect();
        ensure!(denied.is_empty(), "{denied:?}");
        for said in ["keeping signing states", "leads to /run/privval/node.sock", "watching enclave", "metrics on http"]
        {
            ensure!(journal.contains(said), "the journal lacks {said:?}, so that it shows nothing");
        }
        Ok(format!("{} lines of the journal", journal.lines().count()))
    });
    println!("JOURNAL\n{}", run_tool("journalctl", &["-b", "--no-pager", "-o", "short-monotonic", "-u", "tmkms-*"])?);
    println!("UNITS done");
    Ok(())
}

fn order() -> Result<String> {
    let started = |unit: &str| -> Result<u64> { Ok(show(unit, "ExecMainStartTimestampMonotonic")?.parse()?) };
    let active = |unit: &str| -> Result<u64> { Ok(show(unit, "ActiveEnterTimestampMonotonic")?.parse()?) };
    let enclave = active(ENCLAVES)?;
    for unit in [PERSIST, NODE_PROXY, KMS_PROXY] {
        ensure!(active(unit)? <= enclave, "{unit} was active after the enclave");
    }
    ensure!(started(PUSH)? >= enclave, "the watch was started before the enclave");
    Ok("as they should be".to_owned())
}

/// What the kernel says of a unit's main process; gives its user.
fn confined(unit: &str, user: &str, capabilities: &str) -> Result<String> {
    let pid = main_pid(unit)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()).unwrap_or_default().to_owned()
    };
    for (name, expected) in [("CapEff", capabilities), ("CapBnd", capabilities), ("NoNewPrivs", "1"), ("Seccomp", "2")]
    {
        ensure!(field(name) == expected, "{unit}: {name} is {}, expected {expected}", field(name));
    }
    ensure!(user.is_empty() || field("Uid") == user, "{unit} runs as {}", field("Uid"));
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
    ensure!(core.split_whitespace().nth(4) == Some("0"), "{unit}: {core}");
    Ok(field("Uid"))
}
