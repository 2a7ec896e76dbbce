//! `cargo xtask guest`: an ordinary Linux guest for power cuts and true vsock: Debian's QEMU, and Debian's cloud kernel and static busybox unpacked
//! into `.cache/guest`, not installed.
use crate::debian::{self, Need};
use crate::step;
use anyhow::{Context, Result, ensure};
use e2e::guest::{Tools, folder};
use std::collections::BTreeSet;
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

/// What a guest with systemd is made of; `sh`, `cp` and their like are what the programs of the units may call.
const SYSTEMD: [&str; 6] = ["systemd", "base-files", "coreutils", "dash", "util-linux", "libc-bin"];
/// What the scripts of those packages would have written: root can log in nowhere, and is there.
const SYSTEMD_FILES: [(&str, &str); 5] = [
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
    ("etc/machine-id", ""),
];

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
    let fetch = || unpack(&[&kernel_package()?, "busybox-static"], &new);
    // Lists of last week name versions that the archive has no more; a new machine has none.
    fetch().or_else(|_| debian::refresh().and_then(|()| fetch()))?;
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

/// A root folder with Debian's systemd in it, as one file: what the units of `packaging/` are started under. Its packages are unpacked and not
/// installed, as the kernel's are; what their scripts would have made (users, groups) systemd makes itself.
pub fn ensure_systemd() -> Result<()> {
    ensure()?;
    let (image, made_of) = (folder().join("systemd.sqfs"), folder().join("systemd.of"));
    let recipe = format!("{SYSTEMD:?} {SYSTEMD_FILES:?}");
    if image.is_file() && fs::read_to_string(&made_of).is_ok_and(|there| there == recipe) {
        return Ok(());
    }
    debian::ensure_installed("a guest with systemd", &[Need { probe: "mksquashfs", package: "squashfs-tools" }])?;
    let started = Instant::now();
    println!("==> systemd's packages are fetched from Debian into .cache/guest (some 30 MB, about a minute)");
    let new = folder().join("new-systemd");
    if new.exists() {
        fs::remove_dir_all(&new).with_context(|| format!("cannot remove {}", new.display()))?;
    }
    fs::create_dir_all(new.join("debs"))?;
    // As every Debian has it; packages of Debian 12 still bring files of `/lib`, for which dpkg follows these links.
    for name in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(new.join("root/usr").join(name))?;
        std::os::unix::fs::symlink(format!("usr/{name}"), new.join("root").join(name))?;
    }
    let fetch = || {
        let packages = with_dependencies(&SYSTEMD)?;
        unpack(&packages.iter().map(String::as_str).collect::<Vec<_>>(), &new)?;
        Ok(packages)
    };
    let packages = fetch().or_else(|_: anyhow::Error| debian::refresh().and_then(|()| fetch()))?;
    let root = new.join("root");
    for (path, text) in SYSTEMD_FILES {
        fs::write(root.join(path), text).with_context(|| format!("cannot write {path} of the guest"))?;
    }
    let staged = new.join("systemd.sqfs");
    let mut pack = Command::new("mksquashfs");
    pack.arg(&root).arg(&staged).args(["-quiet", "-no-progress", "-all-root", "-comp", "xz", "-e", "usr/share"]);
    step::run("pack the guest's root folder", &mut pack)?;
    fs::rename(&staged, &image)?;
    fs::remove_dir_all(&new)?;
    println!(
        "    a guest with systemd: {} packages, ready after {:.0} s",
        packages.len(),
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The packages and everything that they depend on, as apt would install them on a machine that has nothing.
fn with_dependencies(packages: &[&str]) -> Result<BTreeSet<String>> {
    let mut command = Command::new("apt-get");
    command.args(["-s", "-q", "-o", "Dir::State::status=/dev/null", "install", "--no-install-recommends"]);
    let output = command.args(packages).output().context("cannot run apt-get")?;
    let names = installed(&String::from_utf8_lossy(&output.stdout));
    for package in packages {
        ensure!(
            names.contains(*package),
            "apt knows no way to install {package}: run `apt-get update`; it says {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(names)
}

/// The names in apt's simulation: `Inst NAME (VERSION …)`.
fn installed(said: &str) -> BTreeSet<String> {
    let names = said.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    names.map(str::to_owned).collect()
}

fn dependency(said: &str) -> Option<String> {
    let depends = said.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    depends.map(str::trim).find(|name| name.starts_with("linux-image-")).map(str::to_owned)
}

fn unpack(packages: &[&str], new: &Path) -> Result<()> {
    let debs = new.join("debs");
    step::run("fetch packages", Command::new("apt-get").args(["-q", "download"]).args(packages).current_dir(&debs))?;
    let mut fetched = fs::read_dir(&debs)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    fetched.sort();
    for deb in fetched {
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

    #[test]
    fn what_apt_would_install_is_named_once() {
        let said = "Reading lists\nInst libc6 (2.36 Debian:12 [amd64])\nInst systemd (252 Debian [amd64]) []\nConf libc6 (2.36)\n";
        assert_eq!(installed(said).into_iter().collect::<Vec<_>>(), ["libc6", "systemd"]);
    }
}
