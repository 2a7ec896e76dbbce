//! Development only, and **not AWS's program**: it stands in for the init that `nitro-cli build-enclave` puts into an image, so that an
//! image which is laid out as nitro-cli does can be booted in an emulator. Written after what `init/init.c` of
//! aws-nitro-enclaves-sdk-bootstrap does, in its order: `/dev` and the console, the module for the Nitro Secure Module if there is
//! one, the heartbeat to the loader, `/cmd` and `/env`, a root in `/rootfs` with its own mounts, one child, reaping until that child
//! ends, a reboot, which ends an enclave.
//!
//! Where it differs: the loader's CID is taken from the kernel's command line if `tmkms.parent_cid=N` is there (an emulated parent
//! is CID 2); what the kernel does not have (pseudo terminals, control groups) is said and left out, where AWS's ends; the child
//! gets a process group, not a session; signals are not blocked.
#![forbid(unsafe_code)]

mod mounts;

use rustix::fs::{CWD, Mode, OFlags, open, openat};
use rustix::io::Errno;
use rustix::process::{WaitOptions, chdir, chroot, wait};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::system::{RebootCommand, finit_module, reboot};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::Duration;
use wire::endpoint::Parent;

const CONSOLE: &str = "/dev/console";
const NSM_MODULE: &str = "nsm.ko";
/// `DEFAULT_PATH_ENV` of AWS's init.
const PATH: &str = "/sbin:/usr/sbin:/bin:/usr/bin";
/// The parent's CID on Nitro, and the loader's port and byte.
const PARENT_CID: u32 = 3;
const HEARTBEAT_PORT: u32 = 9000;
const HEARTBEAT: u8 = 0xb7;
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(10);

type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!(
            "docker-init: expected to be process 1 of an emulated enclave; there is nothing to do for it elsewhere"
        );
        return ExitCode::FAILURE;
    }
    if let Err(error) = run() {
        eprintln!("docker-init: {error}");
    }
    // With `reboot=k` and QEMU's -no-reboot, as on Nitro: the enclave has ended. AWS's init leaves the kernel to panic where it fails.
    match reboot(RebootCommand::Restart) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("docker-init: reboot: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    mounts::dev()?;
    use_console().map_err(|error| format!("{CONSOLE}: {error}"))?;
    insert_module()?;
    send_heartbeat(parent_cid()?).map_err(|error| format!("the heartbeat: {error}"))?;
    let (env, cmd) = (lines("/env")?, lines("/cmd")?);
    for path in ["/env", "/cmd"] {
        fs::remove_file(path).map_err(|error| format!("{path}: {error}"))?;
    }
    chdir("/rootfs").and_then(|()| chroot("/rootfs")).map_err(|error| format!("/rootfs: {error}"))?;
    mounts::dev()?;
    mounts::container()?;
    reap_until_it_ends(start(&cmd, &env)?)
}

fn use_console() -> rustix::io::Result<()> {
    let console = open(CONSOLE, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
    dup2_stdin(&console)?;
    dup2_stdout(&console)?;
    dup2_stderr(&console)
}

/// For a kernel whose driver of the Nitro Secure Module is a file in the boot ramdisk, as that of nitro-cli.
fn insert_module() -> Result<()> {
    let file = match openat(CWD, NSM_MODULE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(format!("{NSM_MODULE}: {error}")),
    };
    finit_module(&file, c"", 0).map_err(|error| format!("{NSM_MODULE}: cannot insert it: {error}"))?;
    fs::remove_file(NSM_MODULE).map_err(|error| format!("{NSM_MODULE}: {error}"))
}

/// The last `tmkms.parent_cid=` of the kernel's command line, as `tmkms` itself reads it where it is init.
fn parent_cid() -> Result<u32> {
    let cmdline = mounts::kernel_cmdline()?;
    let given = cmdline.split_whitespace().filter_map(|word| word.strip_prefix("tmkms.parent_cid=")).next_back();
    given.map_or(Ok(PARENT_CID), |cid| {
        cid.parse().map_err(|_| format!("tmkms.parent_cid: expected a number, got {cid:?}"))
    })
}

fn send_heartbeat(cid: u32) -> io::Result<()> {
    let mut stream = Parent::Vsock { cid }.connect(HEARTBEAT_PORT, HEARTBEAT_LIMIT)?;
    stream.write_all(&[HEARTBEAT])?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    if answer == [HEARTBEAT] { Ok(()) } else { Err(io::Error::new(ErrorKind::InvalidData, "another byte came back")) }
}

/// One word a line; a last line may lack its end.
fn lines(path: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Starts the image's command and gives its process id.
fn start(cmd: &[String], env: &[String]) -> Result<u32> {
    let (program, arguments) = cmd.split_first().ok_or("/cmd names no program")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATH).process_group(0);
    command.envs(env.iter().filter_map(|line| line.split_once('=')));
    let child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    Ok(child.id())
}

fn reap_until_it_ends(child: u32) -> Result<()> {
    loop {
        let ended = wait(WaitOptions::empty()).map_err(|error| format!("wait: {error}"))?;
        let Some((pid, status)) = ended else { continue };
        if u32::try_from(pid.as_raw_nonzero().get()) == Ok(child) {
            match (status.exit_status(), status.terminating_signal()) {
                (Some(0), _) => eprintln!("docker-init: the child ended"),
                (Some(code), _) => eprintln!("docker-init: the child ended with exit status {code}"),
                (None, signal) => {
                    eprintln!("docker-init: the child was ended by signal {}", signal.unwrap_or_default());
                }
            }
            return Ok(());
        }
    }
}
