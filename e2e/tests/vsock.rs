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
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use wire::endpoint::Enclave;

/// Every check of `vsock-probe` that has to be among its lines.
const CHECKS: usize = 30;
/// The same, of `vsock-probe units`.
const UNIT_CHECKS: usize = 15;
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
    let programs = [
        (binary()?, "usr/local/bin/tmkms"),
        (built("sim-enclave")?, "bin/sim-enclave"),
        (built("vsock-probe")?, "bin/vsock-probe"),
    ];
    Ok(GuestSpec {
        memory_mib: 512,
        programs: programs.into_iter().map(|(host, name)| (host, name.to_owned())).collect(),
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
        expect_checks(&parent.console(), CHECKS)?;
        e2e::say(&format!("all of that over true vsock in {:.0} s", begun.elapsed().as_secs_f64()));
        Ok(())
    })
}

/// The systemd of a Debian root folder, made by `cargo xtask soak --only units` into `.cache/guest`.
fn systemd_root() -> Result<PathBuf> {
    let root = repository().join(".cache/guest/systemd.sqfs");
    ensure!(root.is_file(), "{} is missing: run `cargo xtask soak --only units`, which makes it", root.display());
    Ok(root)
}

/// What is laid over that root: packaging as the guide installs it, the stand-in for nitro-cli, and a unit that checks the others.
fn installation(sandbox: &Sandbox) -> Result<PathBuf> {
    let folder = sandbox.dir().join("install");
    let packaging = repository().join("packaging/systemd");
    let place = |from: &Path, to: &str, mode: u32| -> Result<()> {
        let to = folder.join(to);
        fs::create_dir_all(to.parent().context("no folder")?)?;
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(fs::set_permissions(&to, fs::Permissions::from_mode(mode))?)
    };
    for entry in fs::read_dir(&packaging)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_file() {
            place(&path, &format!("etc/systemd/system/{name}"), 0o644)?;
        }
    }
    for file in ["sysusers.d/tmkms-nitro.conf", "tmpfiles.d/tmkms-nitro.conf", "tmpfiles.d/privval.conf"] {
        place(&packaging.join(file), &format!("etc/{file}"), 0o644)?;
    }
    place(&packaging.join("env/nitro.env"), "etc/tmkms/nitro.env", 0o600)?;
    place(&packaging.join("env/node.env"), "etc/tmkms/nodes/node.env", 0o600)?;
    for program in [binary()?, built("vsock-probe")?] {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stripped = sandbox.dir().join(&name);
        let strip = Command::new("strip").arg("-o").arg(&stripped).arg(&program).status();
        let from = if strip.is_ok_and(|status| status.success()) { &stripped } else { &program };
        place(from, &format!("usr/local/bin/{name}"), 0o755)?;
    }
    let write = |to: &str, text: &str, mode: u32| -> Result<()> {
        let from = sandbox.dir().join("text");
        fs::write(&from, text)?;
        place(&from, to, mode)
    };
    write("etc/sysusers.d/node.conf", "u node - \"the node\"\n", 0o644)?;
    write("usr/bin/nitro-cli", "#!/bin/sh\nexec /usr/local/bin/vsock-probe nitro-cli \"$@\"\n", 0o755)?;
    let probe = "[Service]\nType=exec\nExecStart=/usr/local/bin/vsock-probe units\nStandardOutput=file:/dev/ttyS0\n\
        StandardError=file:/dev/ttyS0\nEnvironment=HOME=/root\n";
    write("etc/systemd/system/probe.service", probe, 0o644)?;
    Ok(folder)
}

/// Over a squashfs root, so that nothing of it has to be unpacked.
const SYSTEMD: &str = "mkdir -p /ro /rw /new\nmount -t tmpfs rw /rw\nmkdir /rw/upper /rw/work\nlosetup /dev/loop0 /systemd.sqfs\n\
    mount -t squashfs -o ro /dev/loop0 /ro\nmount -t overlay -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work over /new\n\
    cp -a /install/. /new/\nmkdir /new/stage\ncp -a /stage/. /new/stage/\nhostname parent\n\
    mkdir -p /new/etc/systemd/system/multi-user.target.wants\n\
    ln -s ../probe.service /new/etc/systemd/system/multi-user.target.wants/\nexec switch_root /new /lib/systemd/systemd --log-target=journal --show-status=0\n";

#[test]
#[ignore = "boots systemd under emulation, minutes: `cargo xtask soak --only units`"]
fn the_units_start_what_they_name_in_order_bring_back_what_is_killed_and_stop_well_under_a_real_systemd() -> Result<()>
{
    Sandbox::run("units", |sandbox| {
        let stage = stage(sandbox)?;
        // What the key's policy names, as the simulated module computes it.
        let files = [fs::read(stripped_enclave(sandbox)?)?, fs::read(stage.join("policy.toml"))?];
        let pcr0 = sim::nsm::Measurements::of_files(files.iter().map(Vec::as_slice)).image_sha384();
        fs::write(stage.join("pcr0"), pcr0)?;
        let _device = device(sandbox)?;
        let begun = Instant::now();
        let role =
            "peer vsock-probe held sim-enclave start -v --policy /stage/policy.toml --nsm-dir /stage/nsm --parent 3";
        let mut enclave = guest(sandbox, 16, &stage, role)?;
        enclave.files.push((sandbox.dir().join("sim-enclave"), "bin/sim-enclave".to_owned()));
        let mut enclave = Guest::start(sandbox, "enclave", enclave)?;
        enclave.wait_for("PEER ready", BOOT)?;
        let mut parent = guest(sandbox, 3, &stage, "")?;
        parent.memory_mib = 1024;
        parent.files.push((systemd_root()?, "systemd.sqfs".to_owned()));
        parent.files.push((installation(sandbox)?, "install".to_owned()));
        parent.modules.extend(["loop", "squashfs", "overlay"]);
        SYSTEMD.clone_into(&mut parent.script);
        let mut parent = Guest::start(sandbox, "parent", parent)?;
        parent.wait_for("CHECK ", ALL).context("systemd does not come up")?;
        e2e::say(&format!("systemd is up after {:.0} s", begun.elapsed().as_secs_f64()));
        parent.wait_for("UNITS done", ALL)?;
        expect_checks(&parent.console(), UNIT_CHECKS)?;
        e2e::say(&format!("units under systemd in {:.0} s", begun.elapsed().as_secs_f64()));
        Ok(())
    })
}

/// `sim-enclave` as it is in the guest: it measures itself.
fn stripped_enclave(sandbox: &Sandbox) -> Result<PathBuf> {
    let stripped = sandbox.dir().join("sim-enclave");
    let status = Command::new("strip").arg("-o").arg(&stripped).arg(built("sim-enclave")?).status()?;
    ensure!(status.success(), "strip failed");
    fs::set_permissions(&stripped, fs::Permissions::from_mode(0o755))?;
    Ok(stripped)
}

/// Every check is there, and none failed.
fn expect_checks(console: &str, count: usize) -> Result<()> {
    let checks: Vec<_> = console.lines().filter_map(|line| line.split_once("CHECK ").map(|(_, check)| check)).collect();
    for check in &checks {
        e2e::say(check);
    }
    let failed: Vec<_> = checks.iter().filter(|check| !check.starts_with("ok ")).collect();
    ensure!(failed.is_empty(), "{failed:#?}");
    ensure!(checks.len() == count, "expected {count} checks, got {}", checks.len());
    Ok(())
}
