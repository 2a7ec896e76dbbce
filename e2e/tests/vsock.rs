//! The host's true vsock code: two guests that are parent (CID 3) and enclave (CID 16), as on Nitro, and between them persist, proxies, pushes and
//! `sim-enclave` over AF_VSOCK. What is checked stands in `src/bin/vsock-probe`, which runs in the guests; here its lines are read.
//!
//! `vhost-device-vsock` plays the hypervisor. Two guests, because the kernel gives connections within one machine the loopback's CID.
use anyhow::{Context, Result, bail, ensure};
use e2e::guest::{Guest, GuestSpec};
use e2e::line::repository;
use e2e::signer::{binary, built};
use e2e::{Process, Sandbox, until};
use sim::kms::{DEFAULT_REGION, Server, Settings};
use sim::nsm::TestRoot;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use wire::endpoint::Enclave;

/// Every check of `vsock-probe` that has to be among its lines.
const CHECKS: usize = 30;
const BOOT: Duration = Duration::from_secs(90);
const ALL: Duration = Duration::from_secs(600);
/// `sockets::HOSTS_PORT` and `peer::PORT` of the probe.
const HOSTS_PORT: u32 = 7003;
const PEERS_PORT: u32 = 6000;

/// What both guests know: KMS' certificates, the root of the simulated security module, and the enclave's policy.
fn stage(sandbox: &Sandbox) -> Result<PathBuf> {
    let folder = sandbox.dir().join("stage");
    fs::create_dir(&folder)?;
    let kms = Server::start(&Settings::new(folder.join("kms")))?;
    fs::copy(kms.ca_pem_path(), folder.join("kms-ca.pem"))?;
    kms.stop();
    fs::create_dir(folder.join("nsm"))?;
    TestRoot::load_or_generate(&folder.join("nsm"))?;
    let policy =
        format!("[kms.endpoint]\nhost = \"localhost\"\nregion = \"{DEFAULT_REGION}\"\nroot = \"kms-ca.pem\"\n");
    fs::write(folder.join("policy.toml"), policy)?;
    Ok(folder)
}

/// The device of both guests, which therefore reach each other.
fn device(sandbox: &Sandbox) -> Result<Process> {
    let program = repository().join(".cache/emulator/bin/vhost-device-vsock");
    // As published it cuts off what one guest sends another.
    let version = Command::new(&program).arg("--version").output();
    let is_mended = version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("+mended"));
    ensure!(is_mended, "{} is missing or as published: run `cargo xtask enclave setup` first", program.display());
    let mut command = Command::new(program);
    for cid in [3, 16] {
        let (socket, base) = (socket(sandbox, cid), base(sandbox, cid));
        let (socket, base) = (socket.display(), base.display());
        command.args(["--vm", &format!("guest-cid={cid},socket={socket},uds-path={base},groups=nitro")]);
    }
    let mut device = Process::spawn(sandbox, "device", command)?;
    until("vhost-device-vsock", Duration::from_secs(20), || {
        device.check()?;
        Ok([3, 16].iter().all(|&cid| socket(sandbox, cid).exists()).then_some(()))
    })?;
    Ok(device)
}

fn socket(sandbox: &Sandbox, cid: u32) -> PathBuf {
    sandbox.dir().join(format!("vhost-{cid}"))
}

fn base(sandbox: &Sandbox, cid: u32) -> PathBuf {
    sandbox.dir().join(format!("cid-{cid}"))
}

fn guest(sandbox: &Sandbox, cid: u32, stage: &Path, role: &str) -> Result<GuestSpec> {
    let programs =
        [(binary()?, "tmkms"), (built("sim-enclave")?, "sim-enclave"), (built("vsock-probe")?, "vsock-probe")];
    Ok(GuestSpec {
        memory_mib: 512,
        programs: programs.into_iter().map(|(host, name)| (host, format!("bin/{name}"))).collect(),
        files: vec![(stage.to_owned(), "stage".to_owned())],
        script: format!("cd /tmp\nstart {role}\n"),
        vsock_loopback: true,
        vsock_device: Some(socket(sandbox, cid)),
        ..GuestSpec::default()
    })
}

/// Connects from the hypervisor's side, CID 2, which no guest of ours may accept.
fn is_hung_up_on(base: &Path, port: u32) -> Result<()> {
    let mut stream = Enclave::Unix { base: base.to_owned() }.connect(port, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    match stream.read(&mut [0]) {
        Ok(0) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
        other => bail!("port {port} does not hang up on CID 2: {other:?}"),
    }
}

#[test]
fn our_programs_talk_over_true_vsock_and_its_refusals_ends_and_limits_are_what_they_take_them_for() -> Result<()> {
    Sandbox::run("vsock", |sandbox| {
        let stage = stage(sandbox)?;
        let _device = device(sandbox)?;
        let begun = Instant::now();
        let enclave =
            "peer vsock-probe peer sim-enclave start -v --policy /stage/policy.toml --nsm-dir /stage/nsm --parent 3";
        let mut enclave = Guest::start(sandbox, "enclave", guest(sandbox, 16, &stage, enclave)?)?;
        // Nothing is sent to a guest before it has its driver: the device would end.
        enclave.wait_for("PEER ready", BOOT)?;
        is_hung_up_on(&base(sandbox, 16), PEERS_PORT).context("the enclave's side")?;
        let parent = guest(sandbox, 3, &stage, "parent vsock-probe parent")?;
        let mut parent = Guest::start(sandbox, "parent", parent)?;
        parent.wait_for("guest: ready", BOOT)?;
        e2e::say(&format!("both guests are up after {:.0} s", begun.elapsed().as_secs_f64()));
        parent.wait_for("HOST connect", ALL)?;
        is_hung_up_on(&base(sandbox, 3), HOSTS_PORT)?;
        parent.wait_for("HOST cut", ALL)?;
        enclave.cut();
        until("the device to be free", BOOT, || Ok(socket(sandbox, 16).exists().then_some(())))?;
        enclave.boot(&[])?;
        enclave.wait_for("PEER ready", BOOT)?;
        is_hung_up_on(&base(sandbox, 3), HOSTS_PORT)?;
        parent.wait_for("PARENT done", ALL)?;
        let console = parent.console();
        let checks: Vec<_> =
            console.lines().filter_map(|line| line.split_once("CHECK ").map(|(_, check)| check)).collect();
        for check in &checks {
            e2e::say(check);
        }
        let failed: Vec<_> = checks.iter().filter(|check| !check.starts_with("ok ")).collect();
        ensure!(failed.is_empty(), "{failed:#?}");
        ensure!(checks.len() == CHECKS, "expected {CHECKS} checks, got {}", checks.len());
        e2e::say(&format!("{} checks over true vsock in {:.0} s", checks.len(), begun.elapsed().as_secs_f64()));
        Ok(())
    })
}
