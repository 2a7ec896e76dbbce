//! What AWS's init mounts (`init_dev`, `ops` and `init_cgroups` of its init.c).
use crate::Result;
use rustix::fs::symlink;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CStr;
use std::fs;
use std::io::ErrorKind;

const CLOSED: MountFlags = MountFlags::NODEV.union(MountFlags::NOSUID).union(MountFlags::NOEXEC);

/// `/dev`, wherever the root is.
pub fn dev() -> Result<()> {
    match mount("dev", "/dev", "devtmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, None) {
        // The kernel did so itself.
        Err(Errno::BUSY) => Ok(()),
        other => other.map_err(|error| format!("mount /dev: {error}")),
    }
}

/// The rest, in the image's own root. Its folders are there: nitro-cli puts them in.
pub fn container() -> Result<()> {
    must("proc", "/proc", "proc", CLOSED, None)?;
    for (link, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        match symlink(target, format!("/dev/{link}")) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(format!("/dev/{link}: {error}")),
        }
    }
    must("tmpfs", "/run", "tmpfs", CLOSED, Some(c"mode=0755"))?;
    must("tmpfs", "/tmp", "tmpfs", CLOSED, None)?;
    folder("/dev/shm")?;
    must("shm", "/dev/shm", "tmpfs", CLOSED, None)?;
    folder("/dev/pts")?;
    may("devpts", "/dev/pts", "devpts", MountFlags::NOSUID | MountFlags::NOEXEC, None)?;
    must("sysfs", "/sys", "sysfs", CLOSED, None)?;
    control_groups()
}

/// The kernel's command line, for which `/proc` is mounted for a moment.
pub fn kernel_cmdline() -> Result<String> {
    folder("/proc")?;
    must("proc", "/proc", "proc", CLOSED, None)?;
    let text = fs::read_to_string("/proc/cmdline").map_err(|error| format!("/proc/cmdline: {error}"));
    unmount("/proc", UnmountFlags::empty()).map_err(|error| format!("unmount /proc: {error}"))?;
    text
}

/// A line of `/proc/cgroups` has name, hierarchy, number of groups, and whether it is on.
fn control_groups() -> Result<()> {
    let text = match fs::read_to_string("/proc/cgroups") {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("docker-init: this kernel has no control groups (AWS's init would end here)");
            return Ok(());
        }
        other => other.map_err(|error| format!("/proc/cgroups: {error}"))?,
    };
    must("cgroup_root", "/sys/fs/cgroup", "tmpfs", CLOSED, Some(c"mode=0755"))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let names = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    for name in names.filter(|words| words.get(3) == Some(&"1")).map(|words| words[0].to_owned()) {
        let path = format!("/sys/fs/cgroup/{name}");
        folder(&path)?;
        let data = std::ffi::CString::new(name.as_str()).map_err(|error| error.to_string())?;
        must(&name, &path, "cgroup", CLOSED, Some(&data))?;
    }
    Ok(())
}

fn must(source: &str, target: &str, kind: &str, flags: MountFlags, data: Option<&CStr>) -> Result<()> {
    mount(source, target, kind, flags, data).map_err(|error| format!("mount {target} ({kind}): {error}"))
}

/// As [`must`], but a kernel that does not know it is enough of a reason to go on.
fn may(source: &str, target: &str, kind: &str, flags: MountFlags, data: Option<&CStr>) -> Result<()> {
    match mount(source, target, kind, flags, data) {
        Err(Errno::NODEV) => {
            eprintln!("docker-init: this kernel has no {kind} (AWS's init would end here)");
            Ok(())
        }
        other => other.map_err(|error| format!("mount {target} ({kind}): {error}")),
    }
}

fn folder(path: &str) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(format!("{path}: {error}")),
        _ => Ok(()),
    }
}
