//! An ordinary Linux guest: Debian's cloud kernel in Debian's QEMU, for what a process cannot show. Its power can be cut, and it has true vsock.
//!
//! The first process is a script of ours on busybox, see `init.sh`; a test gives it commands, programs, files and disks. The guest reaches ports
//! of the host's loopback at 10.0.2.2.
mod chance;
pub mod cuts;
mod disk;
mod initramfs;
mod nbd;
pub mod relay;
mod tools;

pub use chance::Chance;
pub use disk::{Cut, Disk, Filesystem, Loss};
pub use relay::Relay;
pub use tools::{Tools, folder};

use crate::process::tail;
use crate::{Process, Sandbox, until};
use anyhow::{Context, Result, ensure};
use initramfs::Initramfs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// What every guest needs for disks, network and randomness.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_blk", "virtio_net", "xfs"];
/// Of a guest with vsock: its own CID, and that of the loopback (CID 1).
const VSOCK_MODULES: [&str; 3] = ["vsock", "vmw_vsock_virtio_transport", "vsock_loopback"];
/// Without what only costs time where every instruction is emulated: address space randomization, mitigations, calibrating timers, auditing.
/// `reboot=t` and `panic=-1` end QEMU at once.
const CMDLINE: &str = "console=ttyS0 quiet panic=-1 reboot=t nokaslr mitigations=off no_timer_check tsc=reliable audit=0 security=none \
     random.trust_cpu=on";

/// What a guest is given.
#[derive(Clone, Default)]
pub struct GuestSpec {
    /// Its memory; 0 is 256.
    pub memory_mib: u32,
    /// Its disks; the script mounts each by its name.
    pub disks: Vec<Arc<Disk>>,
    /// Programs of the host, and their paths in the guest; their libraries come along.
    pub programs: Vec<(PathBuf, String)>,
    /// Files and whole folders of the host, and their paths in the guest.
    pub files: Vec<(PathBuf, String)>,
    /// Commands for `sh`, with the functions of `init.sh`: `disk`, `seed`, `start`. When they are done, the console says `guest: ready`.
    pub script: String,
    /// Ports of the host's loopback, and the guest's TCP ports to which they lead.
    pub forwards: Vec<(u16, u16)>,
    /// Loads vsock with the loopback transport (CID 1).
    pub vsock_loopback: bool,
    /// A virtio-vsock device, which the test runs (`vhost-device-vsock`): the socket where it waits for QEMU (vhost-user).
    pub vsock_device: Option<PathBuf>,
    /// More modules, by name; what they need comes along.
    pub modules: Vec<&'static str>,
}

/// A guest: a folder of files and, while it has power, a process.
pub struct Guest {
    sandbox: Sandbox,
    name: String,
    spec: GuestSpec,
    tools: Tools,
    initramfs: PathBuf,
    machine: Option<Process>,
}

impl Guest {
    /// Makes its first file system and boots it; the console goes to `NAME.log` in the sandbox.
    ///
    /// # Errors
    /// When QEMU, the kernel or a program is missing.
    pub fn start(sandbox: &Sandbox, name: &str, spec: GuestSpec) -> Result<Self> {
        let mut guest = Self::prepare(sandbox, name, spec)?;
        guest.boot(&[])?;
        Ok(guest)
    }

    /// The same without booting it.
    ///
    /// # Errors
    /// As [`Guest::start`].
    pub fn prepare(sandbox: &Sandbox, name: &str, spec: GuestSpec) -> Result<Self> {
        let tools = Tools::find()?;
        let mut modules = MODULES.to_vec();
        if spec.vsock_loopback || spec.vsock_device.is_some() {
            modules.extend(VSOCK_MODULES);
        }
        modules.extend(&spec.modules);
        let mut first = Initramfs::new(&tools, &modules, &spec.script)?;
        for (host, path) in &spec.programs {
            first.program(host, path)?;
        }
        for (host, path) in &spec.files {
            first.tree(host, path)?;
        }
        let initramfs = sandbox.dir().join(format!("{name}.cpio"));
        first.write(&initramfs)?;
        Ok(Self { sandbox: sandbox.clone(), name: name.to_owned(), spec, tools, initramfs, machine: None })
    }

    /// Gives it power; `words` are added to the kernel's command line.
    ///
    /// # Errors
    /// When it has power already, or QEMU does not start.
    pub fn boot(&mut self, words: &[String]) -> Result<()> {
        ensure!(self.machine.as_mut().is_none_or(|machine| !machine.is_running()), "{} runs already", self.name);
        self.machine = Some(Process::spawn(&self.sandbox, &self.name, self.command(words))?);
        Ok(())
    }

    fn command(&self, words: &[String]) -> Command {
        let memory = if self.spec.memory_mib == 0 { 256 } else { self.spec.memory_mib };
        let mut command = Command::new(&self.tools.qemu);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"]);
        // Plain instructions are what is emulated fastest; RDRAND spares the wait for entropy.
        command.args(["-accel", "tcg", "-cpu", "qemu64,+rdrand", "-smp", "1", "-m", &format!("{memory}M")]);
        let vsock = self.spec.vsock_device.as_deref();
        let memory_of = if vsock.is_some() { ",memory-backend=mem" } else { "" };
        command.args(["-M", &format!("pc{memory_of}")]);
        command.arg("-kernel").arg(&self.tools.kernel).arg("-initrd").arg(&self.initramfs);
        command.args(["-append", &format!("{CMDLINE} {}", words.join(" "))]);
        for (index, disk) in self.spec.disks.iter().enumerate() {
            let socket = comma(disk.socket());
            command
                .args(["-blockdev", &format!("driver=nbd,node-name=d{index},server.type=unix,server.path={socket}")]);
            let serial = disk.name();
            command.args(["-device", &format!("virtio-blk-pci,drive=d{index},serial={serial},write-cache=on")]);
        }
        let mut network = "user,id=net".to_owned();
        for (host, guest) in &self.spec.forwards {
            network += &format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}");
        }
        command.args(["-netdev", &network, "-device", "virtio-net-pci,netdev=net,romfile="]);
        if let Some(socket) = vsock {
            // The device is a process of its own, which reads and writes the guest's memory.
            command.args(["-object", &format!("memory-backend-memfd,id=mem,size={memory}M,share=on")]);
            command.args(["-chardev", &format!("socket,id=vsock,path={}", comma(socket))]);
            command.args(["-device", "vhost-user-vsock-pci,chardev=vsock"]);
        }
        command
    }

    /// What stood on the console since this boot.
    #[must_use]
    pub fn console(&self) -> String {
        self.machine.as_ref().map(Process::log_text).unwrap_or_default()
    }

    /// Waits until the console has a line with `needle`, and gives it back.
    ///
    /// # Errors
    /// When it has not come `within`, or the guest has ended or its script failed before.
    pub fn wait_for(&mut self, needle: &str, within: Duration) -> Result<String> {
        let what = format!("{needle:?} on the console of {}", self.name);
        until(&what, within, || {
            let console = self.console();
            let line = console.lines().find(|line| line.contains(needle)).map(str::to_owned);
            if line.is_none() {
                ensure!(!console.contains("guest: the script has failed"), "{}", tail(&console, 20));
                self.process()?.check()?;
            }
            Ok(line)
        })
        .with_context(|| format!("the console's end:\n{}", tail(&self.console(), 20)))
    }

    /// Waits until the script is done.
    ///
    /// # Errors
    /// As [`Guest::wait_for`].
    pub fn ready(&mut self, within: Duration) -> Result<()> {
        self.wait_for("guest: ready", within).map(drop)
    }

    /// QEMU.
    ///
    /// # Errors
    /// When it has not been booted.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.machine.as_mut().with_context(|| format!("{} has not been booted", self.name))
    }

    /// Cuts its power: SIGKILL to QEMU, and with it go the guest's memory and page cache. The disks are cut each on its own: [`Disk::cut`].
    pub fn cut(&mut self) {
        if let Some(machine) = &mut self.machine {
            machine.kill();
        }
    }

    /// Waits for the guest to end by itself, as `poweroff -f` in its script does.
    ///
    /// # Errors
    /// When it still runs after `within`.
    pub fn wait(&mut self, within: Duration) -> Result<()> {
        self.process()?.wait(within).map(drop)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.cut();
    }
}

/// In QEMU's options a comma ends a value, and two are one.
fn comma(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}
