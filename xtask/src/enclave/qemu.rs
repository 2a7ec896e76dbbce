//! A QEMU that has `-M nitro-enclave`: the system's, where it has it, else one built from Debian's source package. (Debian's own packages are built
//! without libcbor, and so without that machine.)
use super::progress::{self, Progress};
use super::setup::copy;
use super::{cause, source};
use crate::debian::{self, Need};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use toml::de::DeTable;

const PROGRAM: &str = "qemu-system-x86_64";

/// What a build takes, each with its package.
const NEEDS: [Need; 17] = [
    Need { probe: "gcc", package: "gcc" },
    Need { probe: "make", package: "make" },
    Need { probe: "ninja", package: "ninja-build" },
    Need { probe: "pkg-config", package: "pkg-config" },
    Need { probe: "flex", package: "flex" },
    Need { probe: "bison", package: "bison" },
    Need { probe: "xz", package: "xz-utils" },
    Need { probe: "python3", package: "python3" },
    Need { probe: "/usr/include/stdio.h", package: "libc6-dev" },
    Need { probe: "/usr/include/cbor.h", package: "libcbor-dev" },
    Need { probe: "/usr/include/gnutls/gnutls.h", package: "libgnutls28-dev" },
    Need { probe: "/usr/include/glib-2.0/glib.h", package: "libglib2.0-dev" },
    Need { probe: "/usr/include/pixman-1/pixman.h", package: "libpixman-1-dev" },
    Need { probe: "/usr/include/libfdt.h", package: "libfdt-dev" },
    Need { probe: "/usr/include/zlib.h", package: "zlib1g-dev" },
    Need { probe: "dpkg-source", package: "dpkg-dev" },
    // A package's documents are where a module of Python cannot be probed for.
    Need { probe: "/usr/share/doc/python3-venv", package: "python3-venv" },
];

/// One machine, one accelerator beside KVM, and what nitro-enclave asks for (hw/i386/Kconfig, meson.build): libcbor for the
/// Nitro Secure Module, gnutls for the fingerprint of a signed image's certificate, vhost-user for vsock.
const OPTIONS: [&str; 12] = [
    "--python=/usr/bin/python3",
    "--target-list=x86_64-softmmu",
    "--without-default-features",
    "--enable-libcbor",
    "--enable-gnutls",
    "--enable-tcg",
    "--enable-kvm",
    "--enable-vhost-user",
    "--enable-vhost-kernel",
    "--enable-fdt=system",
    "--disable-docs",
    "--disable-install-blobs",
];

/// What the unpacked source and the objects take, and some air.
const DISK_BYTES: u64 = 2 << 30;

/// Whether that QEMU runs and has the machine.
pub fn has_nitro_enclave(qemu: &Path) -> bool {
    let output = Command::new(qemu).args(["-M", "help"]).stderr(Stdio::null()).output();
    output.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout).lines().any(|line| line.starts_with("nitro-enclave "))
    })
}

/// Puts it into `FOLDER/bin`, and says where it came from.
pub fn ensure(folder: &Path) -> Result<String> {
    let program = folder.join("bin").join(PROGRAM);
    fs::create_dir_all(folder.join("bin"))?;
    let origin_file = folder.join("qemu-origin.txt");
    if has_nitro_enclave(&program) {
        let origin = fs::read_to_string(&origin_file).map(|text| text.trim().to_owned());
        return Ok(origin.unwrap_or_else(|_| format!("{}, put there by hand", version(&program))));
    }
    let origin = match of_the_system() {
        Some(found) => {
            println!("==> QEMU: {} has -M nitro-enclave; nothing is built", found.display());
            let _ = fs::remove_file(&program);
            symlink(&found, &program).with_context(|| format!("cannot link {}", program.display()))?;
            format!("{}, the system's {}", version(&found), found.display())
        }
        None => build(folder, &program)?,
    };
    fs::write(&origin_file, format!("{origin}\n"))?;
    Ok(origin)
}

fn of_the_system() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(PROGRAM)).find(|found| has_nitro_enclave(found))
}

fn version(qemu: &Path) -> String {
    let output = Command::new(qemu).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

fn build(folder: &Path, program: &Path) -> Result<String> {
    println!(
        "==> QEMU with -M nitro-enclave is missing: built from Debian's source package, about five minutes on two cores, once"
    );
    let work = folder.join("work");
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    enough_disk(&work)?;
    debian::ensure_installed("QEMU with -M nitro-enclave", &NEEDS)?;
    let package = source::fetch(&work)?;
    let tree = unpack(&work, &package)?;
    wheels(&tree)?;
    configure(&tree)?;
    compile(&tree)?;
    let built = tree.join("build").join(PROGRAM);
    ensure!(has_nitro_enclave(&built), "{} was built and has no -M nitro-enclave", built.display());
    copy(&built, program)?;
    let origin = format!("{}, built from Debian's source package {}", version(program), package.described());
    // 700 MB that nobody needs any more.
    let _ = fs::remove_dir_all(&work);
    Ok(origin)
}

fn enough_disk(work: &Path) -> Result<()> {
    let disk = rustix::fs::statvfs(work).with_context(|| format!("cannot ask for the space at {}", work.display()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    // An interrupted build has taken some of it already.
    ensure!(
        free >= DISK_BYTES || work.join("qemu/build").exists(),
        "not enough disk to build QEMU: expected {} MiB free at {}, got {} MiB",
        DISK_BYTES >> 20,
        work.display(),
        free >> 20
    );
    Ok(())
}

fn unpack(work: &Path, package: &source::Package) -> Result<PathBuf> {
    let tree = work.join("qemu");
    let unpacked_from = work.join("unpacked");
    if fs::read_to_string(&unpacked_from).is_ok_and(|there| there == package.sha256) && tree.is_dir() {
        return Ok(tree);
    }
    let staged = work.join("qemu.new");
    for old in [&staged, &tree] {
        match fs::remove_dir_all(old) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", old.display()));
            }
            _ => {}
        }
    }
    fs::create_dir_all(&staged)?;
    let mut tar = Command::new("tar");
    tar.arg("xf").arg(&package.archive).arg("-C").arg(&staged).arg("--strip-components=1");
    progress::run("unpack QEMU's source", &mut tar, &work.join("unpack.log"), Progress::None)?;
    without_edk2(&staged.join("pc-bios/meson.build"))?;
    fs::rename(&staged, &tree)?;
    fs::write(&unpacked_from, &package.sha256)?;
    Ok(tree)
}

/// Debian's archive has no firmware blobs; what unpacks edk2's is switched off. Ours boots with qboot.
fn without_edk2(meson: &Path) -> Result<()> {
    let text = fs::read_to_string(meson).with_context(|| format!("cannot read {}", meson.display()))?;
    let off = text.replacen("\nif unpack_edk2_blobs", "\nif false and unpack_edk2_blobs", 1);
    ensure!(off != text, "{} has no block of edk2's blobs: a newer QEMU than this was written for", meson.display());
    fs::write(meson, off).with_context(|| format!("cannot write {}", meson.display()))
}

/// QEMU sets up its own meson from wheels beside its source, which Debian's archive lacks: PyPI's, in the versions that this QEMU names.
fn wheels(tree: &Path) -> Result<()> {
    let folder = tree.join("python/wheels");
    fs::create_dir_all(&folder)?;
    let text = fs::read_to_string(tree.join("pythondeps.toml")).context("QEMU's source has no pythondeps.toml")?;
    let wanted = pinned(&text)?;
    let there = |requirement: &String| {
        let stem = requirement.replacen("==", "-", 1);
        fs::read_dir(&folder).is_ok_and(|entries| {
            entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{stem}-")))
        })
    };
    if wanted.iter().all(there) {
        return Ok(());
    }
    let venv = tree.join("pip");
    let log = tree.with_file_name("wheels.log");
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-m", "venv", "--clear"]).arg(&venv);
    progress::run("a Python environment for pip", &mut python, &log, Progress::None)?;
    let mut pip = Command::new(venv.join("bin/pip"));
    pip.args(["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest"]).arg(&folder).args(&wanted);
    progress::run(&format!("{} from PyPI", wanted.join(" and ")), &mut pip, &log, Progress::None)
}

/// `NAME==VERSION` of what QEMU's build system itself is made of.
fn pinned(pythondeps: &str) -> Result<Vec<String>> {
    let table = DeTable::parse(pythondeps).context("pythondeps.toml is not TOML")?.into_inner();
    let group = table.get("meson").and_then(|group| group.get_ref().as_table());
    let pins: Vec<_> = group
        .context("pythondeps.toml has no [meson]")?
        .iter()
        .filter_map(|(name, entry)| {
            let version = entry.get_ref().get("installed")?.get_ref().as_str()?;
            Some(format!("{}=={version}", name.get_ref()))
        })
        .collect();
    if pins.is_empty() {
        bail!("pythondeps.toml pins nothing in [meson]: a newer QEMU than this was written for");
    }
    Ok(pins)
}

fn configure(tree: &Path) -> Result<()> {
    let build = tree.join("build");
    fs::create_dir_all(&build)?;
    // Written last, so that an interrupted one is done again.
    let configured = tree.with_file_name("configured");
    if fs::read_to_string(&configured).is_ok_and(|there| there == OPTIONS.join(" ")) {
        return Ok(());
    }
    let mut command = Command::new("../configure");
    command.args(OPTIONS).current_dir(&build);
    progress::run("configure QEMU", &mut command, &tree.with_file_name("configure.log"), Progress::Time)?;
    fs::write(&configured, OPTIONS.join(" "))?;
    Ok(())
}

fn compile(tree: &Path) -> Result<()> {
    let mut command = Command::new("ninja");
    command.arg(PROGRAM).current_dir(tree.join("build")).env_remove("NINJA_STATUS");
    progress::run("compile QEMU", &mut command, &tree.with_file_name("ninja.log"), Progress::Ninja)
        .context(cause::CONTINUES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pins_of_qemu_s_build_system_are_read_from_its_own_file() {
        let text = "# The Python's own\n[meson]\nmeson = { accepted = \">=1.5.0\", installed = \"1.5.0\", canary = \"meson\" }\n\
            pycotap = { accepted = \">=1.1.0\", installed = \"1.3.1\" }\n[docs]\nsphinx = { installed = \"5.3.0\" }\n";
        assert_eq!(pinned(text).unwrap(), ["meson==1.5.0", "pycotap==1.3.1"]);
        assert!(pinned("[docs]\n").unwrap_err().to_string().contains("no [meson]"));
        assert!(pinned("[meson]\nmeson = { accepted = \"x\" }\n").unwrap_err().to_string().contains("pins nothing"));
    }

    #[test]
    fn what_is_no_qemu_with_the_machine_is_not_taken_for_one() {
        assert!(!has_nitro_enclave(Path::new("/bin/true")));
        assert!(!has_nitro_enclave(Path::new("/nonexistent")));
    }
}
