//! An emulated Nitro Enclave: QEMU's nitro-enclave machine, which boots and measures an image and has a Nitro Secure Module, and
//! `vhost-device-vsock`, which makes its vsock ports Unix sockets in Firecracker's convention (`-i CID@FOLDER`).
//!
//! What of it is real and what is not: docs/adr/0014-the-emulated-enclave.md.
mod clock;
mod heartbeat;

use crate::{Process, Sandbox, until};
use anyhow::{Context, Result, ensure};
pub use heartbeat::{HEARTBEAT, HEARTBEAT_PORT, Heartbeat};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The parent's CID in the emulator: `vhost-device-vsock` drops what goes to any CID but the host's.
pub const PARENT_CID: u32 = 2;

/// Memory that `nitro-cli run-enclave` gives at least, in MiB.
pub const LEAST_MEMORY_MIB: u64 = 64;

/// The credit that the parent gives the enclave on each connection, and so the longest packet. Linux puts more than 32 KiB less its own
/// bookkeeping into several pieces (`virtio_vsock_alloc_skb`), and vhost-device-vsock drops a packet of several pieces without a word.
const CREDIT_BYTES: u32 = 28 << 10;

/// The longest `FOLDER/CID`: a socket's path has 107 bytes, and `_4294967295` may follow.
const MAX_BASE_BYTES: usize = 107 - 11;

/// The programs and firmware of the emulator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools {
    /// A `qemu-system-x86_64` that has `-M nitro-enclave`.
    pub qemu: PathBuf,
    /// `vhost-device-vsock`.
    pub vsock: PathBuf,
    /// The folder with `qboot.rom`.
    pub firmware: PathBuf,
}

impl Tools {
    /// Where they are kept: `.cache/emulator`, or `E2E_EMULATOR`.
    #[must_use]
    pub fn folder() -> PathBuf {
        let kept = || crate::line::repository().join(".cache/emulator");
        std::env::var_os("E2E_EMULATOR").map_or_else(kept, PathBuf::from)
    }

    /// Finds them.
    ///
    /// # Errors
    /// When one is missing, with how to get it.
    pub fn find() -> Result<Self> {
        Self::find_in(&Self::folder())
    }

    /// Finds them in a folder that is laid out as [`Tools::folder`].
    ///
    /// # Errors
    /// When one is missing, with how to get it.
    pub fn find_in(folder: &Path) -> Result<Self> {
        let bin = folder.join("bin");
        let (qemu, vsock) = (bin.join("qemu-system-x86_64"), bin.join("vhost-device-vsock"));
        let firmware = folder.join("firmware");
        for file in [&qemu, &vsock, &firmware.join("qboot.rom")] {
            let path = file.display();
            ensure!(
                file.is_file(),
                "{path} is missing: an emulated enclave needs it; run `cargo xtask enclave setup` first"
            );
        }
        Ok(Self { qemu, vsock, firmware })
    }
}

/// What to boot, and on what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmulatorSpec {
    /// The image.
    pub eif: PathBuf,
    /// Its CID, 4 or higher.
    pub cid: u32,
    /// Its memory.
    pub memory_mib: u32,
    /// Its processors.
    pub cpus: u32,
    /// The ARN of the parent's role: PCR3.
    pub role: Option<String>,
    /// The parent's instance id: PCR4.
    pub instance: Option<String>,
    /// Where its sockets are: `FOLDER/CID` to reach it, `FOLDER/CID_PORT` for the parent's ports that it reaches.
    pub folder: PathBuf,
}

impl EmulatorSpec {
    /// An enclave with CID 16, 256 MiB and two processors, on a parent without a role and an instance id.
    #[must_use]
    pub fn new(eif: PathBuf, folder: PathBuf) -> Self {
        Self { eif, cid: 16, memory_mib: 256, cpus: 2, role: None, instance: None, folder }
    }

    /// The base path of its sockets.
    #[must_use]
    pub fn base(&self) -> PathBuf {
        self.folder.join(self.cid.to_string())
    }

    /// Refuses what `nitro-cli run-enclave` would refuse, and a path that no socket can have.
    ///
    /// # Errors
    /// What is wrong and what was expected.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.cid > 3 && self.cid < u32::MAX,
            "CID {} is not an enclave's: expected 4 or higher (0 to 3 are the hypervisor's, the loopback's, the host's and the parent's)",
            self.cid
        );
        ensure!(self.cpus > 0, "expected at least one processor, got none");
        let image = fs::metadata(&self.eif).with_context(|| format!("cannot read the image {}", self.eif.display()))?;
        let least = least_memory_mib(image.len());
        ensure!(
            u64::from(self.memory_mib) >= least,
            "too little memory: got {} MiB, expected at least {least} MiB for an image of {} bytes (nitro-cli refuses it, too, with E26: \
             four times the image's size, and {LEAST_MEMORY_MIB} MiB)",
            self.memory_mib,
            image.len()
        );
        let (base, length) = (self.base(), self.base().as_os_str().as_bytes().len());
        let path = base.display();
        ensure!(
            length <= MAX_BASE_BYTES,
            "{path} is too long for sockets: expected at most {MAX_BASE_BYTES} bytes, got {length}; choose a shorter folder"
        );
        Ok(())
    }
}

/// The memory that `nitro-cli run-enclave` asks for, for an image of so many bytes: four times as much (its error E26).
#[must_use]
pub const fn least_memory_mib(image_bytes: u64) -> u64 {
    let four_times = image_bytes.saturating_mul(4).div_ceil(1 << 20);
    if four_times > LEAST_MEMORY_MIB { four_times } else { LEAST_MEMORY_MIB }
}

/// A running emulated enclave. Killing it is the power cut of an enclave, and all that `nitro-cli terminate-enclave` does.
pub struct Emulator {
    /// QEMU; its log is the enclave's console.
    pub machine: Process,
    /// `vhost-device-vsock`: to pause it is to stall the enclave's vsock, to kill it is to cut it.
    pub vsock: Process,
    spec: EmulatorSpec,
    heartbeat: Heartbeat,
    killed: bool,
}

impl Emulator {
    /// Boots an image. The console goes to `NAME.log` in the sandbox, `vhost-device-vsock`'s words to `NAME-vsock.log`.
    ///
    /// The folder may be the one of an emulator that was killed: the sockets that it left are removed.
    ///
    /// # Errors
    /// When the spec is refused, the CID is in use in that folder, or a program does not start.
    pub fn start(sandbox: &Sandbox, name: &str, spec: &EmulatorSpec) -> Result<Self> {
        let tools = Tools::find()?;
        spec.check()?;
        fs::create_dir_all(&spec.folder).with_context(|| format!("cannot create {}", spec.folder.display()))?;
        // One name for one folder: a socket that is in use is found by it.
        let folder = spec.folder.canonicalize().with_context(|| format!("cannot find {}", spec.folder.display()))?;
        let spec = &EmulatorSpec { folder, ..spec.clone() };
        spec.check()?;
        free_base(spec)?;
        // Before the machine, for it is connected to once in a boot.
        let heartbeat = Heartbeat::listen(&spec.base())?;
        let vsock = start_vsock(sandbox, name, &tools, spec)?;
        let machine = Process::spawn(sandbox, name, machine(&tools, spec))?;
        Ok(Self { machine, vsock, spec: spec.clone(), heartbeat, killed: false })
    }

    /// What was booted.
    #[must_use]
    pub fn spec(&self) -> &EmulatorSpec {
        &self.spec
    }

    /// The base path `FOLDER/CID`: what `unix:PATH` takes.
    #[must_use]
    pub fn base(&self) -> PathBuf {
        self.spec.base()
    }

    /// What `-i` takes: `CID@FOLDER`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}@{}", self.spec.cid, self.spec.folder.display())
    }

    /// What stood on the console since this boot, and QEMU's own words.
    #[must_use]
    pub fn console(&self) -> String {
        self.machine.log_text()
    }

    /// Waits until the enclave has told the loader that it lives.
    ///
    /// # Errors
    /// When it has not `within`, or has ended before.
    pub fn heartbeat(&mut self, within: Duration) -> Result<()> {
        until("the enclave's heartbeat", within, || {
            if self.heartbeat.came() {
                return Ok(Some(()));
            }
            self.check()?;
            Ok(None)
        })
    }

    /// Fails with the end of the console if the enclave does not run.
    ///
    /// # Errors
    /// When it has ended.
    pub fn check(&mut self) -> Result<()> {
        self.machine.check()?;
        self.vsock.check()?;
        // One of its threads may be dead, and the process alive.
        let said = self.vsock.log_text();
        ensure!(
            !said.contains("panicked at"),
            "vhost-device-vsock is broken, so the enclave cannot be reached:\n{said}"
        );
        Ok(())
    }

    /// Waits for the enclave to end by itself, as it does after a fatal error.
    ///
    /// # Errors
    /// When it still runs after `within`.
    pub fn wait(&mut self, within: Duration) -> Result<std::process::ExitStatus> {
        let status = self.machine.wait(within)?;
        self.kill();
        Ok(status)
    }

    /// The power is cut: nothing is flushed, and the parent's connections break.
    pub fn kill(&mut self) {
        // Once: another may have its place in the folder by now.
        if std::mem::replace(&mut self.killed, true) {
            return;
        }
        self.machine.kill();
        self.vsock.kill();
        self.heartbeat.stop();
        for socket in own_sockets(&self.spec) {
            let _ = fs::remove_file(socket);
        }
    }

    /// Kills it, if it runs, and boots the same image again in the same folder, its PCRs and CID as before.
    ///
    /// # Errors
    /// As [`Emulator::start`].
    pub fn restart(&mut self, sandbox: &Sandbox) -> Result<()> {
        self.kill();
        *self = Self::start(sandbox, self.machine.name(), &self.spec.clone())?;
        Ok(())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The sockets that are ours; `FOLDER/CID_PORT` are the parent's own, and stay.
fn own_sockets(spec: &EmulatorSpec) -> [PathBuf; 2] {
    [spec.base(), vhost_socket(spec)]
}

fn vhost_socket(spec: &EmulatorSpec) -> PathBuf {
    spec.folder.join(format!("{}.vhost", spec.cid))
}

/// Removes what a killed emulator left. `vhost-device-vsock` would take a living one's place without a word.
fn free_base(spec: &EmulatorSpec) -> Result<()> {
    for socket in own_sockets(spec) {
        let path = socket.display();
        ensure!(
            !listens(&socket)?,
            "CID {} is in use: an enclave is running with its sockets at {path}; choose another CID or folder, or end that one",
            spec.cid
        );
        match fs::symlink_metadata(&socket) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot look at {path}")),
            Ok(_) => {
                ensure!(is_socket(&socket), "{path} is in the way and is not a socket");
                fs::remove_file(&socket).with_context(|| format!("cannot remove {path}"))?;
            }
        }
    }
    Ok(())
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

fn start_vsock(sandbox: &Sandbox, name: &str, tools: &Tools, spec: &EmulatorSpec) -> Result<Process> {
    let mut command = Command::new(&tools.vsock);
    // One option each: in its `--vm a=b,c=d` a path could not have a comma.
    command.arg("--guest-cid").arg(spec.cid.to_string());
    command.arg("--uds-path").arg(spec.base());
    command.arg("--socket").arg(vhost_socket(spec));
    command.arg("--tx-buffer-size").arg(CREDIT_BYTES.to_string());
    let mut process = Process::spawn(sandbox, &format!("{name}-vsock"), command)?;
    until("vhost-device-vsock", Duration::from_secs(20), || {
        process.check()?;
        Ok(listens(&vhost_socket(spec))?.then_some(()))
    })?;
    Ok(process)
}

/// Whether somebody listens on a Unix socket, without connecting: the one connection that `CID.vhost` takes is QEMU's.
/// proc_net_unix: `Num: RefCount Protocol Flags Type St Inode Path`, the flag of a listener is 0x10000 (`__SO_ACCEPTCON`).
fn listens(socket: &Path) -> Result<bool> {
    let table = fs::read("/proc/net/unix").context("cannot read /proc/net/unix")?;
    let wanted = socket.as_os_str().as_bytes();
    Ok(table.split(|byte| *byte == b'\n').any(|line| {
        let flags = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).nth(3);
        line.strip_suffix(wanted).is_some_and(|rest| rest.ends_with(b" ")) && flags == Some(b"00010000")
    }))
}

/// QEMU's command line.
fn machine(tools: &Tools, spec: &EmulatorSpec) -> Command {
    let mut options = format!("nitro-enclave,vsock=vsock,id={}", comma(&module_id(spec)));
    if let Some(role) = &spec.role {
        options += &format!(",parent-role={}", comma(role));
    }
    if let Some(instance) = &spec.instance {
        options += &format!(",parent-id={}", comma(instance));
    }
    let socket = format!("socket,id=vsock,path={}", comma(&vhost_socket(spec).display().to_string()));
    let mut command = Command::new(&tools.qemu);
    // It unpacks the image's kernel and ramdisks into temporary files for a moment; killed just then, it leaves them.
    command.env("TMPDIR", &spec.folder);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-monitor", "none"]);
    command.arg("-L").arg(&tools.firmware);
    command.args(["-accel", "tcg", "-cpu", "max", "-M", &options, "-chardev", &socket]);
    command.args(["-m", &format!("{}M", spec.memory_mib), "-smp", &spec.cpus.to_string()]);
    // With event notifiers the module's device is looked at once out of turn when its driver is ready (hw/virtio/virtio.c, "Kick right
    // away"): between the two buffers of a first request on a busy host, after which it is broken ("Expected response buffer after
    // request buffer in virtqueue", seen). Without, it is looked at when the driver says so.
    command.args(["-global", "virtio-mmio.ioeventfd=off"]);
    // As on Nitro: an enclave that reboots has ended. This machine has no keyboard controller, though, to which the image's
    // `reboot=k` turns: the kernel would jump into the firmware after a second, and boot again in this same QEMU.
    command.arg("-no-reboot").arg("-kernel").arg(&spec.eif);
    // Not measured: QEMU puts it after the image's own command line, whose hash is taken before.
    command.args(["-append", &format!("reboot=t{} tmkms.parent_cid={PARENT_CID}", clock::words())]);
    command
}

/// What Nitro calls an enclave: the instance's id, `-enc` and a number.
fn module_id(spec: &EmulatorSpec) -> String {
    format!("{}-enc{:016x}", spec.instance.as_deref().unwrap_or("i-emulated"), spec.cid)
}

/// In QEMU's options a comma ends a value, and two are one.
fn comma(value: &str) -> String {
    value.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(bytes: u64, memory_mib: u32) -> (Sandbox, EmulatorSpec) {
        let sandbox = Sandbox::new("spec").unwrap();
        let eif = sandbox.dir().join("x.eif");
        fs::File::create(&eif).unwrap().set_len(bytes).unwrap();
        let mut spec = EmulatorSpec::new(eif, sandbox.dir().to_path_buf());
        spec.memory_mib = memory_mib;
        (sandbox, spec)
    }

    #[test]
    fn memory_is_four_times_the_image_and_at_least_what_nitro_gives() {
        assert_eq!(least_memory_mib(1), 64);
        assert_eq!(least_memory_mib(16 << 20), 64);
        assert_eq!(least_memory_mib((16 << 20) + 1), 65);
        let (_kept, enough) = spec(20 << 20, 80);
        enough.check().unwrap();
        let (_kept, too_little) = spec(20 << 20, 79);
        let error = too_little.check().unwrap_err().to_string();
        assert!(error.contains("got 79 MiB, expected at least 80 MiB") && error.contains("E26"), "{error}");
    }

    #[test]
    fn cids_processors_images_and_folders_that_cannot_be_are_refused() {
        for cid in [0, 1, 2, 3, u32::MAX] {
            let (_kept, mut bad) = spec(1, 64);
            bad.cid = cid;
            assert!(bad.check().unwrap_err().to_string().contains("4 or higher"), "{cid}");
        }
        let (_kept, mut bad) = spec(1, 64);
        bad.cpus = 0;
        assert!(bad.check().is_err());
        let (_kept, mut bad) = spec(1, 64);
        bad.folder = PathBuf::from(format!("/tmp/{}", "x".repeat(100)));
        assert!(bad.check().unwrap_err().to_string().contains("shorter folder"));
        bad.eif = PathBuf::from("/nonexistent.eif");
        assert!(bad.check().unwrap_err().to_string().contains("/nonexistent.eif"));
    }

    #[test]
    fn a_socket_that_somebody_listens_on_is_in_use_and_one_that_was_left_is_removed() {
        let (_kept, spec) = spec(1, 64);
        let listener = std::os::unix::net::UnixListener::bind(spec.base()).unwrap();
        assert!(listens(&spec.base()).unwrap());
        assert!(free_base(&spec).unwrap_err().to_string().contains("CID 16 is in use"));
        drop(listener);
        assert!(!listens(&spec.base()).unwrap());
        free_base(&spec).unwrap();
        assert!(!spec.base().exists());
        fs::write(spec.base(), "somebody's file").unwrap();
        assert!(free_base(&spec).unwrap_err().to_string().contains("not a socket"));
        assert!(spec.base().exists());
    }

    #[test]
    fn values_in_qemu_s_options_cannot_bring_options_of_their_own() {
        let (_kept, mut spec) = spec(1, 64);
        spec.role = Some("arn:aws:iam::1:role/a,id=b".to_owned());
        let tools = Tools { qemu: "q".into(), vsock: "v".into(), firmware: "f".into() };
        let words: Vec<String> =
            machine(&tools, &spec).get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        assert!(words.iter().any(|word| word.contains(",parent-role=arn:aws:iam::1:role/a,,id=b")), "{words:?}");
        assert!(!words.iter().any(|word| word.contains("parent-id")));
    }

    #[test]
    fn missing_tools_are_named_with_the_command_that_makes_them() {
        let error = Tools::find_in(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/bin/qemu-system-x86_64") && error.contains("cargo xtask enclave setup"));
    }
}
