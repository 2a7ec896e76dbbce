//! `cargo xtask guest`: an ordinary Linux guest for power cuts and true vsock: Debian's QEMU, and Debian's cloud kernel and static busybox unpacked
//! into `.cache/guest`, not installed.
use crate::debian::{self, Need};
use crate::step;
use anyhow::{Context, Result, ensure};
use e2e::guest::{Tools, folder};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// What is installed on this machine; the file systems' programs make the guest's disks.
const NEEDS: [Need; 4] = [
    Need { probe: "/usr/bin/qemu-system-x86_64", package: "qemu-system-x86" },
    Need { probe: "/usr/sbin/mkfs.ext4", package: "e2fsprogs" },
    Need { probe: "/usr/sbin/mkfs.xfs", package: "xfsprogs" },
    Need { probe: "ldd", package: "libc-bin" },
];
/// Debian's name for its newest kernel without drivers of real machines; it depends on the package that has it.
const KERNEL: &str = "linux-image-cloud-amd64";

pub fn run() -> Result<()> {
    ensure()?;
    let tools = Tools::find()?;
    println!("Linux {} in {}, {}", tools.release, folder().display(), qemu_version()?);
    Ok(())
}

/// Makes what is missing; does nothing, and asks no network, when nothing is.
pub fn ensure() -> Result<()> {
    debian::ensure_installed("an ordinary Linux guest", &NEEDS)?;
    if Tools::find().is_ok() {
        return Ok(());
    }
    let started = Instant::now();
    println!(
        "==> the guest's kernel and busybox are fetched from Debian into .cache/guest (28 MB, less than a minute)"
    );
    let (new, old) = (folder().join("new"), folder().join("root"));
    for left in [&new, &old] {
        if left.exists() {
            fs::remove_dir_all(left).with_context(|| format!("cannot remove {}", left.display()))?;
        }
    }
    fs::create_dir_all(new.join("debs"))?;
    let kernel = kernel_package()?;
    unpack(&[&kernel, "busybox-static"], &new)?;
    // Under its own name only when it is whole.
    fs::rename(new.join("root"), &old)?;
    fs::remove_dir_all(&new)?;
    let tools = Tools::find()?;
    println!("    the guest: Linux {}, ready after {:.0} s", tools.release, started.elapsed().as_secs_f64());
    Ok(())
}

/// What is measured with this QEMU.
pub fn qemu_version() -> Result<String> {
    let output = Command::new(NEEDS[0].probe).arg("--version").output().context("cannot run QEMU")?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

fn kernel_package() -> Result<String> {
    let output = Command::new("apt-cache").args(["depends", KERNEL]).output().context("cannot run apt-cache")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = dependency(&said);
    found.with_context(|| {
        format!("apt knows no {KERNEL}: expected a line \"Depends: linux-image-…\", got {said:?}; run `apt-get update`")
    })
}

fn dependency(said: &str) -> Option<String> {
    let depends = said.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    depends.map(str::trim).find(|name| name.starts_with("linux-image-")).map(str::to_owned)
}

fn unpack(packages: &[&str], new: &Path) -> Result<()> {
    let debs = new.join("debs");
    step::run("fetch packages", Command::new("apt-get").args(["-q", "download"]).args(packages).current_dir(&debs))?;
    for entry in fs::read_dir(&debs)? {
        let deb = entry?.path();
        let status = Command::new("dpkg").arg("-x").arg(&deb).arg(new.join("root")).status();
        ensure!(status.context("cannot run dpkg")?.success(), "cannot unpack {}", deb.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_in_the_package_that_the_newest_one_depends_on() {
        let said = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n  Recommends: firmware\n";
        assert_eq!(dependency(said).as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(dependency(""), None);
    }
}
