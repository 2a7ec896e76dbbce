//! What an emulated enclave takes, piece by piece into `.cache/emulator`: each piece is whole there or not at all, so that an interrupted setup
//! goes on where it stopped.
use super::{qemu, vsock};
use crate::debian::{self, Need};
use anyhow::{Context, Result};
use e2e::emulator::Tools;
use rustix::fs::FlockOperation;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// QEMU's nitro-enclave machine starts a bzImage with these two; Debian's package of QEMU's source has neither.
const FIRMWARE: [&str; 2] = ["qboot.rom", "linuxboot_dma.bin"];
const FIRMWARE_PACKAGE: &str = "qemu-system-data";

/// `Setup`: says what there is, and what it came from.
pub fn run() -> Result<()> {
    let tools = ensure()?;
    println!("\nAn emulated Nitro Enclave can run: cargo xtask enclave run target/image/tmkms.eif");
    print!("{}", fs::read_to_string(record(&Tools::folder())).unwrap_or_default());
    println!("in {}", tools.firmware.parent().unwrap_or(&tools.firmware).display());
    Ok(())
}

/// The tools, set up where they are missing.
pub fn ensure() -> Result<Tools> {
    let folder = Tools::folder();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Tests, bench and demo may ask at one time.
    let lock =
        fs::File::create(folder.join("lock")).with_context(|| format!("cannot write in {}", folder.display()))?;
    if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        println!("==> waiting for another setup of the emulator in {}", folder.display());
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).context("cannot lock the emulator's folder")?;
    }
    if let Some(tools) = found(&folder) {
        return Ok(tools);
    }
    firmware(&folder)?;
    let origin = qemu::ensure(&folder)?;
    vsock::ensure(&folder)?;
    fs::write(record(&folder), told(&folder, &origin)?)?;
    let lost = "the emulator was set up and does not run: remove that folder and set it up again";
    found(&folder).with_context(|| format!("{}: {lost}", folder.display()))
}

/// What is there, if all of it runs here and a setup ended with it.
fn found(folder: &Path) -> Option<Tools> {
    let tools = Tools::find_in(folder).ok()?;
    let whole = record(folder).is_file() && qemu::has_nitro_enclave(&tools.qemu) && vsock::is_ours(&tools.vsock);
    whole.then_some(tools)
}

/// What stands in for a stamp: written last, with what the pieces are, for whoever compares two machines.
fn record(folder: &Path) -> PathBuf {
    folder.join("record.txt")
}

fn told(folder: &Path, origin: &str) -> Result<String> {
    let mut text = format!(
        "QEMU                {origin}\nvhost-device-vsock  {}, as published, with mends (xtask/src/enclave/vsock.rs)\n",
        vsock::VERSION
    );
    for name in FIRMWARE {
        let bytes = fs::read(folder.join("firmware").join(name))?;
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        text += &format!("{name:<19} sha256 {digest}\n");
    }
    Ok(text)
}

fn firmware(folder: &Path) -> Result<()> {
    let target = folder.join("firmware");
    if FIRMWARE.iter().all(|name| target.join(name).is_file()) {
        return Ok(());
    }
    // Another distribution's QEMU brings its own.
    let mut source = places().into_iter().find(|place| holds_firmware(place));
    if source.is_none() {
        let needs = [
            Need { probe: "/usr/share/qemu/qboot.rom", package: FIRMWARE_PACKAGE },
            Need { probe: "/usr/share/qemu/linuxboot_dma.bin", package: FIRMWARE_PACKAGE },
        ];
        debian::ensure_installed("the emulated enclave's firmware", &needs)?;
        source = places().into_iter().find(|place| holds_firmware(place));
    }
    let source = source.with_context(|| format!("{} are nowhere in QEMU's folders", FIRMWARE.join(" and ")))?;
    fs::create_dir_all(&target)?;
    for name in FIRMWARE {
        copy(&source.join(name), &target.join(name))?;
    }
    println!("==> firmware for the emulated enclave: copied from {}", source.display());
    Ok(())
}

fn holds_firmware(place: &Path) -> bool {
    FIRMWARE.iter().all(|name| place.join(name).is_file())
}

/// Where QEMU's firmware may be: Debian's folders, and those that an installed QEMU names.
fn places() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from("/usr/share/qemu"), PathBuf::from("/usr/share/qboot")];
    let named = Command::new("qemu-system-x86_64").args(["-L", "help"]).stderr(Stdio::null()).output();
    let named = named.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    places.extend(named.lines().map(PathBuf::from));
    places
}

/// A file that is there whole or not at all.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let staged = to.with_extension("new");
    let told = || format!("cannot copy {} to {}", from.display(), to.display());
    fs::copy(from, &staged).with_context(told)?;
    fs::rename(&staged, to).with_context(told)
}
