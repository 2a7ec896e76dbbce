//! The image's first program (PID 1): what a kernel leaves to its init before anything else can run, and its end.
//!
//! The image's own ramdisk names the binary `/init`, and the kernel starts it under that name. Started in any other way,
//! by AWS' own init in an image that was made by Docker or by a person, it is an ordinary program, and none of this runs.
//!
//! In order: devices, `/proc` and `/sys` are mounted; the options on the kernel's measured command line are read; the
//! loader on the parent is told that the enclave lives (`heartbeat`); the kernel's random pool is seeded from the security
//! module (`entropy`), before a key or a nonce is made of it; children are reaped. The end is a restart, which the
//! hypervisor takes for the enclave's end (`end`), as after AWS' own init.
mod entropy;
mod heartbeat;
mod mounts;
mod options;

pub use options::InitOptions;

use crate::nsm::Nsm;
use rustix::process::{Pid, Resource, Rlimit, WaitOptions, getpid, setrlimit, wait};
use rustix::system::{RebootCommand, reboot};
use rustix::time::{ClockId, clock_gettime};
use signal_hook::consts::SIGCHLD;
use signal_hook::iterator::Signals;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// The name under which the kernel starts an initramfs' init (`ramdisk_execute_command` of `init/main.c`).
const INIT: &str = "/init";

/// The measured policy's place in the image. It is not looked for anywhere else.
pub const POLICY: &str = "/policy.toml";

/// How the machine was found when it was made ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Booted {
    /// What the kernel's command line says.
    pub options: InitOptions,
    /// Why the loader did not answer the heartbeat; none if it did.
    pub heartbeat: Option<String>,
    /// How long the kernel took to get to this program.
    pub kernel: Duration,
}

/// Why the image's first program cannot go on.
#[derive(Debug, PartialEq, Eq)]
pub struct BootError(String);

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BootError {}

/// Whether this is the image's first program: the process that the kernel itself started, under the name that it uses.
#[must_use]
pub fn is_init() -> bool {
    is_init_of(getpid(), std::env::args_os().next().as_deref())
}

fn is_init_of(pid: Pid, called: Option<&OsStr>) -> bool {
    pid == Pid::INIT && called == Some(OsStr::new(INIT))
}

/// Makes the machine ready: mounts, options, heartbeat, reaping. To be called once, by the first program, before it starts a
/// thread.
///
/// # Errors
/// Something is missing without which nothing after it can be trusted; the reason is for the console.
pub fn boot() -> Result<Booted, BootError> {
    // Before anything takes time.
    let kernel = clock_gettime(ClockId::Boottime).try_into().unwrap_or_default();
    // No limit but the machine's own: memory is then locked as on a host, and nobody is warned of a swap that does not exist.
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    mounts::mount_all().map_err(BootError)?;
    let cmdline = std::fs::read_to_string("/proc/cmdline");
    let cmdline = cmdline.map_err(|error| BootError(format!("cannot read /proc/cmdline: {error}")))?;
    let options = InitOptions::parse(&cmdline).map_err(BootError)?;
    let heartbeat = heartbeat::beat(&options.parent).err();
    reap().map_err(|error| BootError(format!("cannot wait for children: {error}")))?;
    Ok(Booted { options, heartbeat, kernel })
}

/// Seeds the kernel's random pool from the security module, and sees to it that the kernel goes on drawing from it.
///
/// # Errors
/// The kernel's source of randomness is not the security module, or it takes no seed.
pub(crate) fn seed(nsm: &dyn Nsm) -> Result<(), BootError> {
    entropy::expect_module(Path::new("/")).map_err(BootError)?;
    entropy::seed(nsm).map_err(BootError)
}

/// The kernel's present source of randomness, as it calls it; none without one, or where `/sys` cannot be read.
pub(crate) fn random_source() -> Option<String> {
    entropy::source(Path::new("/"))
}

/// Every orphan becomes init's child, and stays a zombie until it is waited for. This program starts none; that nothing else
/// does is not this program's to know.
fn reap() -> std::io::Result<()> {
    let mut signals = Signals::new([SIGCHLD])?;
    let reaper = thread::Builder::new().name("reaper".to_owned()).spawn(move || {
        for _ in signals.forever() {
            while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        }
    });
    reaper.map(drop)
}

/// Ends the enclave. Nothing is synced: there is no disk.
///
/// A restart and not a power-off, as AWS' own init does it (`reboot(RB_AUTOBOOT)` in `init.c` of
/// aws-nitro-enclaves-sdk-bootstrap): there is no ACPI that could switch off, and the hypervisor takes a restart for the end.
pub fn end() -> ! {
    if let Err(error) = reboot(RebootCommand::Restart) {
        eprintln!(
            "tmkms: the enclave cannot be ended: {error}; the kernel panics without its init, and restarts after `panic=` seconds"
        );
    }
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_process_under_the_kernels_name_is_init() {
        let other = Pid::from_raw(2).unwrap();
        assert!(is_init_of(Pid::INIT, Some(OsStr::new("/init"))));
        // A container's first process, or AWS' init's child.
        assert!(!is_init_of(Pid::INIT, Some(OsStr::new("/tmkms"))));
        assert!(!is_init_of(other, Some(OsStr::new("/init"))));
        assert!(!is_init_of(Pid::INIT, None));
        assert!(!is_init());
    }
}
